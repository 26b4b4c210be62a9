//! The machine: messages, time and outcomes in, outputs out.

use super::act::Act;
use super::ask::{Met, PerVoter, RemoteVoter};
use super::disk::Disk;
use super::guard::{Guard, Surroundings, Unguarded};
use super::output::{Output, Phones, StartReason};
use super::relapse::Relapse;
use super::running::{Fence, Stopping, Why};
use super::settings::{Settings, Window, Wishes};
use crate::health::Status;
use crate::lease::{self, Answer, Ask, Campaign, Report, Request, VoteReply, Voter};
use crate::side::Side;
use crate::time::Instant;
use crate::traps::{Trap, made};
use alloc::vec::Vec;
use core::time::Duration;

/// Decides when a XiVO node serves.
///
/// ```text
///                 own vote free, and a fresh grant                 verified
///   [ inactive ] ---------------------------------> [ starting ] -----------> [ active ]
///        ^         (or unguarded)                        |                        |
///        |                                               | lease over, vote lost, telephony dead,
///        |  stop verified: release both votes            | operator, failback: fence at once
///        |                                               v                        |
///        +------------------------------------------ [ stopping ] <---------------+
///              not fenced in time: kill, hard fence, never release
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Duty {
    pub(super) settings: Settings,
    pub(super) wishes: Wishes,
    /// Which machine of its name it is.
    pub(super) instance: lease::Instance,
    pub(super) now: Instant,
    /// Since when it has been turning: before that it slept, and what it has not heard proves nothing.
    pub(super) awake_since: Instant,
    pub(super) vote: Voter,
    /// When the own vote was last another's.
    pub(super) taken_at: Option<Instant>,
    /// The campaign that wants or serves; grows when it ends.
    pub(super) campaign: Campaign,
    pub(super) phase: Phase,
    /// When the newest granted request of this campaign was sent.
    pub(super) grants: PerVoter<Option<Instant>>,
    /// When the newest answered request of this campaign was sent.
    pub(super) heard: PerVoter<Option<Instant>>,
    pub(super) next_ask: PerVoter<Instant>,
    pub(super) last_ask: PerVoter<Ask>,
    /// The campaign whose votes are to be released.
    pub(super) owed: PerVoter<Option<Campaign>>,
    /// When the votes to be released have lapsed anyway.
    pub(super) owed_until: Instant,
    pub(super) fit_since: Option<Instant>,
    /// When the peer was heard last, or this machine began.
    pub(super) peer_at: Instant,
    pub(super) peer: Option<Report>,
    /// Since when the peer answers, and when it last did.
    pub(super) met: Option<Met>,
    /// When the newest answered request to the witness was sent, or this machine began.
    pub(super) witness_at: Instant,
    /// The witness is out for this node, and the peer's last word was that it is for it too.
    pub(super) agreed: bool,
    pub(super) unguarded: Option<Unguarded>,
    pub(super) surroundings: Surroundings,
    pub(super) window: Window,
    /// It does not want before.
    pub(super) rest_until: Instant,
    /// When a node that stepped back last had a reason to believe that its peer takes over.
    pub(super) yielded_at: Instant,
    /// When the fence is looked at next.
    pub(super) fence_look: Instant,
    /// When the kernel keeps phones out by itself, by the last permit that was carried out; none: never. A start counts from
    /// what it asks for.
    pub(super) let_in_until: Option<Instant>,
    /// Failed starts since it was last active.
    pub(super) failed_starts: u8,
    pub(super) relapse: Relapse,
    pub(super) disk: Disk,
    pub(super) told: (Status, Option<Guard>),
    /// Since when it serves, or is about to.
    pub(super) serves_since: Instant,
    /// Since when it is active, or was.
    pub(super) active_since: Instant,
    /// The peer's words since then that it serves, too.
    pub(super) rival: Option<Rival>,
    /// It was told that both serve.
    pub(super) told_two: bool,
}

/// What the peer has said since this node serves: that it serves, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rival {
    /// When the first of an unbroken row of such words came.
    pub(super) since: Instant,
    /// One of them was surely said after this node's start.
    pub(super) is_proven: bool,
}

/// What a duty does at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Inactive,
    Starting { epoch: u64 },
    Active { epoch: u64 },
    Stopping(Stopping),
}

/// What happens to a [`Duty`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The deadline passed, or the driver woke up for any other reason.
    Timer,
    /// The peer asks for this node's vote.
    Asked(Request),
    /// A voter answered a request of this node.
    Answered {
        /// The peer or the witness; the third vote is the node's own.
        by: RemoteVoter,
        /// When the request was sent, on this node's clock.
        sent: Instant,
        /// What it ruled, and what it told of itself.
        answer: Answer,
    },
    /// The node can serve: whatever kept it from that is over.
    Fit,
    /// It cannot: telephony is dead, or could not be started.
    Unfit,
    /// The start command ended, and the services were checked.
    Started(Outcome),
    /// The stop command ended, and the services were checked.
    Stopped(Outcome),
    /// No phone can reach the node.
    Fenced,
    /// The memory was written: what was to be kept, or to prove the disk.
    Written {
        /// How long the write itself took.
        took: Duration,
    },
    /// Phones are let in, as [`Output::Permit`] said. One that could not be carried out is not reported.
    Permitted {
        /// When the kernel keeps them out by itself; none: never, by this kind of fence.
        until: Option<Instant>,
    },
    /// The node looked around: its peer's host and its anchors.
    Surroundings(Surroundings),
    /// It is time for a failback, or is no longer.
    Window(Window),
    /// An operator acts at this node, or hands a wish over from the Edge.
    Act(Act),
}

/// How a start or stop command ended, verification included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// As it should, and verified.
    Done,
    /// The command failed, ran out of time, or did not bring about what it says.
    Failed,
}

/// What the driver found on the node when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// Certainly no service of the node runs.
    Stopped,
    /// Services run, and nobody watched over them.
    Running,
    /// Services run, and the watchdog before this one handed them over, on the same boot's clock.
    HandedOver(Handover),
}

/// What a watchdog that ends leaves to the next, so that an upgrade stops no telephony.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handover {
    /// The duty epoch it serves in.
    pub epoch: u64,
    /// The campaign it serves in.
    pub campaign: Campaign,
    /// When the newest granted requests were sent: the lease goes on from there.
    pub grants: PerVoter<Option<Instant>>,
    /// For how long at most the node serves after each of them, by the times of the watchdog that asked for them: no vote
    /// was promised for longer.
    pub held: Duration,
    /// Why it serves without a majority, if so.
    pub unguarded: Option<Unguarded>,
}

/// What must survive a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Memory {
    /// The node's own vote, and the highest duty epoch.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub vote: lease::Memory,
    /// The newest campaign: numbers below it are spent.
    pub campaign: Campaign,
    /// What operators wish: it survives restarts.
    pub wishes: Wishes,
    /// Activations that failed since the node last served for long, the one under way among them until it has.
    /// A version that did not count them wrote none.
    #[cfg_attr(feature = "serde", serde(default))]
    pub relapses: u8,
}

/// What tells a machine from others of its name, and from itself before its disk was lost. No disk can tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Life {
    /// Made up at random with each boot: a copy of the disk that runs elsewhere has another.
    pub instance: lease::Instance,
    /// Campaigns begin after this, or after what is on the disk if that is more. It must be above any that the node ever had:
    /// the wall clock in milliseconds serves.
    ///
    /// The disk alone does not tell, even one that was never lost: a want waits for no write. A watchdog that wanted while
    /// its disk hung, released, and died leaves a release on its way that frees whatever campaign has that number; the next
    /// watchdog of the same boot, which counted on from its disk, would serve in it.
    pub campaign_base: Campaign,
}

impl Duty {
    /// Starts with what was remembered, and says what to do first.
    pub fn new(
        settings: Settings,
        memory: Option<&Memory>,
        life: Life,
        found: Found,
        now: Instant,
    ) -> (Self, Vec<Output>) {
        // The voter's own outputs are dropped: each way to begin below writes the whole memory, "unknown" of a lost
        // disk with it.
        let (vote, _) = Voter::new(&settings.timing, memory.map(|memory| &memory.vote), now);
        // Standby lets Main speak first: when both begin at once, after a power cut, the witness's vote is that of
        // whoever asks first.
        let rest_until = match settings.side {
            Side::Main => now,
            Side::Standby => now + settings.timing.promise,
        };
        let last = memory.map_or(0, |memory| memory.campaign);
        let forgetful = memory.is_some() && made(Trap::CampaignOfTheDisk);
        let base = if forgetful { last } else { last.max(life.campaign_base) };
        let mut duty = Self {
            settings,
            wishes: memory.map_or(settings.wishes, |memory| memory.wishes),
            instance: life.instance,
            now,
            awake_since: now,
            vote,
            taken_at: None,
            campaign: base.saturating_add(1),
            phase: Phase::Inactive,
            grants: PerVoter::both(None),
            heard: PerVoter::both(None),
            next_ask: PerVoter::both(now),
            last_ask: PerVoter::both(Ask::Hello),
            owed: PerVoter::both(None),
            owed_until: now,
            fit_since: None,
            peer_at: now,
            peer: None,
            met: None,
            witness_at: now,
            agreed: false,
            unguarded: None,
            // Until the driver has looked, the node assumes what keeps it from serving without a majority.
            surroundings: Surroundings { peer_host: true, anchors: false },
            window: Window::Closed,
            rest_until,
            yielded_at: now,
            fence_look: now,
            let_in_until: None,
            failed_starts: 0,
            relapse: Relapse::new(memory.map_or(0, |memory| memory.relapses), now),
            disk: Disk::new(now),
            told: (Status::Inactive, None),
            serves_since: now,
            active_since: now,
            rival: None,
            told_two: false,
        };
        let mut outputs = Vec::new();
        match found {
            Found::Stopped => outputs.push(Output::Persist(duty.memory())),
            // Another campaign than the disk's is a file of another time, or a disk that was lost or put back: nothing
            // shows that the votes are still promised to it.
            Found::HandedOver(from) if memory.is_some_and(|memory| memory.campaign == from.campaign) => {
                duty.take_over(&from, &mut outputs);
            }
            // Nobody vouches for services that run, and the other node may have taken over meanwhile: they are fenced
            // and stopped before the node wants anything (W1).
            Found::HandedOver(_) | Found::Running => duty.step_down(Why::FoundRunning, &mut outputs),
        }
        duty.settle(&mut outputs);
        (duty, outputs)
    }

    /// Returns what the next watchdog needs to go on within the lease; nothing unless this one is active.
    pub fn hand_over(&self) -> Option<Handover> {
        // A start under way is handed over to nobody: whether its services work was not verified yet (W4).
        let Phase::Active { epoch } = self.phase else { return None };
        let held = self.settings.timing.fence_bound();
        Some(Handover { epoch, campaign: self.campaign, grants: self.grants, held, unguarded: self.unguarded })
    }

    /// Goes on where the watchdog before left off, if its lease is not over.
    fn take_over(&mut self, from: &Handover, outputs: &mut Vec<Output>) {
        self.phase = Phase::Active { epoch: from.epoch };
        (self.serves_since, self.active_since) = (self.now, self.now);
        self.vote.epoch = self.vote.epoch.max(from.epoch);
        // The voters' promises name this campaign: renewals and the release at its end must do so, too.
        (self.campaign, self.grants, self.unguarded) = (from.campaign, from.grants, from.unguarded);
        // The votes were promised to the times of the watchdog before: by longer ones it would outlive them.
        let longer = self.settings.timing.fence_bound().saturating_sub(from.held);
        if !made(Trap::LeaseOfOtherTimes) {
            RemoteVoter::BOTH.into_iter().for_each(|by| {
                self.grants[by] = self.grants[by].map(|sent| sent.saturating_sub(longer));
            });
        }
        // So long as a permit of the watchdog before may last. Whether one did is seen by giving it again at once.
        let until = if self.unguarded.is_none() { self.permitted_until() } else { None };
        self.let_in_until = until.or(Some(self.now + self.settings.timing.lease));
        // The services ran a moment ago. That they do not any more is for the driver's own look at them to say, soon.
        self.fit_since = Some(self.now);
        self.relapse.goes_on(self.now, self.settings.hold_down_limit);
        outputs.push(Output::Persist(self.memory()));
        // The lease may have run out while no watchdog was there: that is seen before a permit lets phones in again.
        self.advance(outputs);
        if self.serves() {
            outputs.push(Output::Permit { until });
        }
    }

    /// Takes in what happened and says what to do.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        // Each heartbeat wakes the machine, twice in a lease at least: a gap of a lease is a sleep of its own.
        if now.since(self.now) >= self.settings.timing.lease && !made(Trap::SleepIsSilence) {
            self.awake_since = now;
        }
        self.now = self.now.max(now);
        // The vote is looked at before time passes below: a promise that lapses with this turn held it until this turn.
        self.note_whose_vote();
        // In time is in time: before the deadline is looked at.
        if event == Event::Fenced {
            self.fenced();
        }
        self.advance(&mut outputs);
        match event {
            Event::Timer | Event::Fenced => {}
            Event::Written { took } => self.wrote(took),
            Event::Asked(request) => self.answer(&request, &mut outputs),
            // No question was asked in the future: a lease would begin there, and outlive its promise.
            Event::Answered { by, sent, answer } => self.learn(by, sent.min(self.now), &answer, &mut outputs),
            // A node that says again that it is fit has been so since the first time: the hold-down counts from there.
            Event::Fit => self.fit_since = self.fit_since.or(Some(self.now)),
            Event::Unfit => {
                self.fit_since = None;
                if self.serves() {
                    self.step_down(Why::Unfit, &mut outputs);
                }
            }
            Event::Permitted { until } => {
                if self.serves() {
                    self.let_in_until = until;
                }
            }
            Event::Started(outcome) => self.started(outcome, &mut outputs),
            Event::Stopped(outcome) => self.stopped(outcome, &mut outputs),
            Event::Surroundings(surroundings) => self.surroundings = surroundings,
            Event::Window(window) => self.window = window,
            Event::Act(act) => self.act(act, &mut outputs),
        }
        self.settle(&mut outputs);
        outputs
    }

    /// Returns when to call [`Event::Timer`]; may change with each call of [`Duty::handle`].
    pub fn deadline(&self) -> Option<Instant> {
        // A node without a majority has no lease that could end.
        let lease = if self.serves() && self.unguarded.is_none() { self.lease_until() } else { None };
        let stopping =
            if let Phase::Stopping(stopping) = self.phase { self.stopping_deadline(&stopping) } else { None };
        // A rest that is over is no deadline: the driver would turn without end.
        let rest = (self.now < self.rest_until).then_some(self.rest_until);
        let asks = RemoteVoter::BOTH.map(|voter| self.next_ask[voter]);
        let asks = if self.settings.witness == super::Witness::None { asks[0] } else { asks[0].min(asks[1]) };
        let look = (!self.is_closing()).then_some(self.fence_look);
        let disk = (self.phase == Phase::Inactive).then_some(self.disk.look);
        let lapse = if self.serves() && !made(Trap::LapsedServes) { self.let_in_until } else { None };
        [Some(asks), lease, lapse, stopping, rest, look, disk, self.vote.deadline()].into_iter().flatten().min()
    }

    /// Returns what the node does, as others are told.
    pub const fn status(&self) -> Status {
        match self.phase {
            Phase::Inactive => Status::Inactive,
            Phase::Starting { .. } => Status::Starting,
            Phase::Active { .. } => Status::Active,
            Phase::Stopping(_) => Status::Stopping,
        }
    }

    /// Returns the highest duty epoch it knows; while it serves, mostly the one it serves in.
    pub const fn epoch(&self) -> u64 {
        self.vote.epoch()
    }

    /// Returns what must survive a restart.
    pub fn memory(&self) -> Memory {
        let relapses = self.relapse.count();
        Memory { vote: self.vote.memory(), campaign: self.campaign, wishes: self.wishes, relapses }
    }

    /// Tells whether it serves, or is about to.
    pub(super) const fn serves(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. } | Phase::Active { .. })
    }

    /// Does what time alone brings: leases that end, pauses that are over, looks that are due.
    fn advance(&mut self, outputs: &mut Vec<Output>) {
        if self.vote.advance(self.now).iter().any(|output| matches!(output, lease::Output::Persist(_))) {
            outputs.push(Output::Persist(self.memory()));
        }
        self.acquit(outputs);
        // By then the promises have lapsed by themselves: a voter that is gone is not asked for ever.
        if self.now >= self.owed_until {
            self.owed = PerVoter::both(None);
        }
        // An agreement is about a silence that lasts. A witness that was heard again falls silent anew, and both must
        // say so anew (W1b).
        if !self.witness_is_out() {
            self.agreed = false;
        }
        match self.phase {
            Phase::Stopping(stopping) => self.advance_stop(stopping, outputs),
            // Only when the lease ends is it asked whether the node may go on without a majority: until then it has
            // one.
            _ if self.serves() && self.unguarded.is_none() && self.lease_until().is_none_or(|end| end <= self.now) => {
                self.unguarded = self.may_be_unguarded();
                if self.unguarded.is_some() {
                    // The first permit without an end has a lease's time: where none is carried out the kernel keeps
                    // phones out, and the node must not go on as if it served.
                    self.let_in_until = Some(self.now + self.settings.timing.lease);
                    outputs.push(Output::Permit { until: None });
                } else if !made(Trap::NoStepDown) {
                    self.step_down(Why::LeaseOver, outputs);
                }
            }
            // The kernel keeps phones out of a node that keeps the votes: nobody would serve for as long as that lasts.
            _ if self.serves() && self.has_lapsed() && !made(Trap::LapsedServes) => {
                self.step_down(Why::Lapsed, outputs);
            }
            _ => {}
        }
    }

    /// What follows from any event.
    fn settle(&mut self, outputs: &mut Vec<Output>) {
        self.note_whose_vote();
        if self.phase == Phase::Inactive && self.waiting().is_none() {
            if let Some(why) = self.may_start_unguarded() {
                // No voter assigns an epoch to a start without a majority: the node counts on from the highest that it
                // knows.
                let epoch = self.epoch().saturating_add(1);
                self.start(epoch, StartReason::Unguarded(why), outputs);
            } else if made(Trap::ActivateAlone) {
                self.grants.witness = Some(self.now);
                self.start(self.epoch() + 1, StartReason::Granted { by: RemoteVoter::Witness }, outputs);
            }
        }
        // Requests come after the phase is settled: each tells what the node does from here on.
        self.ask(outputs);
        self.watch_fence(outputs);
        self.prove_disk(outputs);
        let two = self.two_actives();
        // That both serve is told when it begins, once; while it lasts it is shown.
        if two && !self.told_two {
            outputs.push(Output::TwoActives);
        }
        self.told_two = two;
        // The status is compared last, so that an event which leads through two phases is told as one change.
        let (from, now) = (self.told.0, (self.status(), self.guard()));
        if now != self.told {
            self.told = now;
            outputs.push(Output::Changed { from, status: now.0, guard: now.1 });
        }
    }

    /// Tells whether the peer serves beside this node, by words that are newer than this node's start. An ordinary failover
    /// begins while the last word of a Main that died is still that it serves: who believed that would have a person
    /// deactivate the only node that works.
    pub fn two_actives(&self) -> bool {
        self.serves() && !self.peer_is_silent() && self.rival.is_some_and(|rival| rival.is_proven)
    }

    /// Takes in what the peer says of its duty. The answer to a request is newer than that; how old a request is nobody
    /// knows, as a cut that heals lets through what was sent before: so those count once the peer has said so for a lease.
    fn compare(&mut self, report: Report, asked: Option<Instant>) {
        if !self.serves() && !made(Trap::StaleWord) || !matches!(report.status, Status::Starting | Status::Active) {
            self.rival = None;
            return;
        }
        let since = self.rival.map_or(self.now, |rival| rival.since);
        let newer = asked.is_some_and(|asked| asked >= self.serves_since) || made(Trap::StaleWord);
        let lasts = self.now.since(since) >= self.settings.timing.lease;
        let is_proven = newer || lasts || self.rival.is_some_and(|rival| rival.is_proven);
        self.rival = Some(Rival { since, is_proven });
    }

    /// Has the fence looked at when it is time, also while the node serves: a table that is gone ends no lease.
    fn watch_fence(&mut self, outputs: &mut Vec<Output>) {
        if self.now < self.fence_look || self.is_closing() {
            return;
        }
        self.fence_look = self.now + self.settings.fence_watch;
        let phones = if self.serves() { Phones::LetIn } else { Phones::KeptOut };
        if phones == Phones::LetIn || !made(Trap::FencedOnce) {
            outputs.push(Output::VerifyFence { phones });
        }
    }

    /// Tells whether the fence is being closed: then it is verified by that.
    const fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Stopping(Stopping { fence: Fence::Awaited, .. }))
    }

    /// Takes in what a peer tells of itself, the highest epoch it knew then, and when it was asked, if it was.
    fn meet(&mut self, report: Report, epoch: u64, asked: Option<Instant>, outputs: &mut Vec<Output>) {
        // `yield_to` compares with the peer's word before this one: so it comes before that is replaced.
        self.yield_to(report, epoch, outputs);
        self.compare(report, asked);
        self.peer_at = self.now;
        self.peer = Some(report);
        // Both must say so at once: a peer that hears the witness again ends the agreement (`OneSidedSilence`, W1b).
        self.agreed = report.witness_out && self.witness_is_out();
    }

    /// Notes that the own vote is another's. It lapses unseen: then it was so until this machine turned again.
    fn note_whose_vote(&mut self) {
        if !self.vote.is_free() {
            self.taken_at = Some(self.now);
        }
    }

    /// Answers the peer: by its duty if it serves or is stopping, else as a voter.
    fn answer(&mut self, request: &Request, outputs: &mut Vec<Output>) {
        let known = request.epoch;
        let request = &request.with_believed_epoch(self.epoch());
        self.meet(request.report, request.epoch, None, outputs);
        // The report comes after the ruling: an answer that begins a stop says `stopping` already.
        let running = self.serving_answer(request, outputs);
        let report = self.report();
        // A node that serves holds its own vote itself; it is no voter to ask, and its record is left alone.
        let answer = if let Some(ruling) = running {
            self.vote.epoch = self.vote.epoch.max(request.epoch);
            let (epoch, promises) = (lease::tellable(self.epoch(), known), self.vote.longest());
            Answer { to: request.ask, campaign: request.campaign, ruling, epoch, promises, report: Some(report) }
        } else {
            let was = self.vote.record();
            let mut changes = Vec::new();
            let answer = self.vote.rule(request, Some(report), &mut changes);
            if !changes.is_empty() {
                // The vote is on the disk with all else that is remembered: it is one file, replaced as a whole.
                outputs.push(Output::Persist(self.memory()));
            }
            // The peer has let go: there is nothing to wait for. But a node whose own start failed keeps its pause: the
            // services need it, whoever has the votes.
            if request.ask == Ask::Release && !was.eq(&self.vote.record()) && self.failed_starts == 0 {
                self.rest_until = self.now;
            }
            answer
        };
        outputs.push(Output::Answer(answer));
    }

    /// Takes in an answer. What an older campaign asked counts only as a sign of life; a grant in an epoch that cannot be true
    /// is none, nor is one for less time than this node needs.
    fn learn(&mut self, by: RemoteVoter, sent: Instant, answer: &Answer, outputs: &mut Vec<Output>) {
        let epoch = lease::believed(answer.epoch, self.epoch());
        if let Some(report) = answer.report {
            self.meet(report, epoch.unwrap_or_default(), Some(sent), outputs);
        }
        if by == RemoteVoter::Peer {
            self.touch();
        }
        if by == RemoteVoter::Witness {
            // Silence counts from the question: an answer that was long on its way says nothing of the time since.
            self.witness_at = self.witness_at.max(sent);
            self.agreed &= self.witness_is_out();
        }
        if answer.to == Ask::Release && self.owed[by] == Some(answer.campaign) {
            self.owed[by] = None;
        }
        if made(Trap::HearingIsAGrant) && self.serves() {
            self.grants[by] = Some(sent);
        }
        // An answer to an older campaign is of promises that ended with that (`OldAnswers`).
        if answer.campaign == self.campaign || made(Trap::OldAnswers) {
            self.heard[by] = self.heard[by].max(Some(sent));
            match (answer.ruling, epoch) {
                (VoteReply::Grant, Some(epoch)) if answer.promises >= self.needs() => {
                    self.granted(by, sent, epoch, outputs);
                }
                (VoteReply::Lost, _) => self.lost(by, outputs),
                // A denial takes nothing back: what was granted before holds for its lease.
                (VoteReply::Grant | VoteReply::Deny | VoteReply::TooLong, _) => {}
            }
        }
        // A grant's own epoch is taken in by the start that it leads to. A node that noted it without starting would be
        // assigned a new one with each want.
        if let Some(epoch) = epoch.filter(|_| answer.ruling != VoteReply::Grant) {
            self.vote.epoch = self.vote.epoch.max(epoch);
        }
    }
}
