//! The machine: messages, time and outcomes in, outputs out.

use alloc::vec::Vec;
use core::time::Duration;

use super::act::Act;
use super::ask::{PerVoter, RemoteVoter};
use super::asking::Asking;
use super::guard::{Guard, Guarding, Surroundings, Unguarded};
use super::output::{Output, Phones, StartReason};
use super::peer::Peer;
use super::ready::Readiness;
use super::running::{Activation, Fence, Permit, Stopping, Why};
use super::settings::{Settings, Window, Wishes};
use crate::health::Status;
use crate::lease::{self, Answer, Ask, Campaign, Report, Request, VoteReply, Voter};
use crate::side::Side;
use crate::time::Instant;
use crate::traps::{Trap, made};

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
    pub(super) now: Instant,
    /// Since when it has been turning: before that it slept, and what it has not heard proves nothing.
    pub(super) awake_since: Instant,
    pub(super) vote: Voter,
    /// When the own vote was last another's.
    pub(super) taken_at: Option<Instant>,
    pub(super) phase: Phase,
    pub(super) asking: Asking,
    pub(super) peer: Peer,
    pub(super) guarding: Guarding,
    pub(super) ready: Readiness,
    pub(super) permit: Permit,
    pub(super) activation: Activation,
    pub(super) told: (Status, Option<Guard>),
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
            now,
            awake_since: now,
            vote,
            taken_at: None,
            phase: Phase::Inactive,
            asking: Asking::new(life.instance, base.saturating_add(1), now),
            peer: Peer::new(now),
            guarding: Guarding::new(now),
            ready: Readiness::new(now, rest_until),
            permit: Permit { until: None, look: now },
            activation: Activation::new(memory.map_or(0, |memory| memory.relapses), now),
            told: (Status::Inactive, None),
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
        Some(Handover {
            epoch,
            campaign: self.asking.campaign,
            grants: self.asking.grants,
            held,
            unguarded: self.guarding.unguarded,
        })
    }

    /// Goes on where the watchdog before left off, if its lease is not over.
    fn take_over(&mut self, from: &Handover, outputs: &mut Vec<Output>) {
        self.phase = Phase::Active { epoch: from.epoch };
        (self.activation.since, self.activation.active_since) = (self.now, self.now);
        self.vote.epoch = self.vote.epoch.max(from.epoch);
        // The voters' promises name this campaign: renewals and the release at its end must do so, too.
        (self.asking.campaign, self.asking.grants, self.guarding.unguarded) =
            (from.campaign, from.grants, from.unguarded);
        // The votes were promised to the times of the watchdog before: by longer ones it would outlive them.
        let longer = self.settings.timing.fence_bound().saturating_sub(from.held);
        if !made(Trap::LeaseOfOtherTimes) {
            RemoteVoter::BOTH.into_iter().for_each(|by| {
                self.asking.grants[by] = self.asking.grants[by].map(|sent| sent.saturating_sub(longer));
            });
        }
        // So long as a permit of the watchdog before may last. Whether one did is seen by giving it again at once.
        let until = if self.guarding.unguarded.is_none() { self.permitted_until() } else { None };
        self.permit.until = until.or(Some(self.now + self.settings.timing.lease));
        // The services ran a moment ago. That they do not any more is for the driver's own look at them to say, soon.
        self.ready.fit_since = Some(self.now);
        self.activation.relapse.goes_on(self.now, self.settings.hold_down_limit);
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
            Event::Fit => self.ready.is_fit(self.now),
            Event::Unfit => {
                self.ready.fit_since = None;
                if self.serves() {
                    self.step_down(Why::Unfit, &mut outputs);
                }
            }
            Event::Permitted { until } => {
                if self.serves() {
                    self.permit.until = until;
                }
            }
            Event::Started(outcome) => self.started(outcome, &mut outputs),
            Event::Stopped(outcome) => self.stopped(outcome, &mut outputs),
            Event::Surroundings(surroundings) => self.guarding.surroundings = surroundings,
            Event::Window(window) => self.ready.window = window,
            Event::Act(act) => self.act(act, &mut outputs),
        }
        self.settle(&mut outputs);
        outputs
    }

    /// Returns when to call [`Event::Timer`]; may change with each call of [`Duty::handle`].
    pub fn deadline(&self) -> Option<Instant> {
        // A node without a majority has no lease that could end.
        let lease = if self.serves() && self.guarding.unguarded.is_none() { self.lease_until() } else { None };
        let stopping =
            if let Phase::Stopping(stopping) = self.phase { self.stopping_deadline(&stopping) } else { None };
        let rest = self.ready.rests_until(self.now);
        let asks = RemoteVoter::BOTH.map(|voter| self.asking.next[voter]);
        let asks = if self.settings.witness == super::Witness::None { asks[0] } else { asks[0].min(asks[1]) };
        let look = (!self.is_closing()).then_some(self.permit.look);
        let disk = (self.phase == Phase::Inactive).then_some(self.ready.disk.look);
        let lapse = if self.serves() && !made(Trap::LapsedServes) { self.permit.until } else { None };
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
        let relapses = self.activation.relapse.count();
        Memory { vote: self.vote.memory(), campaign: self.asking.campaign, wishes: self.wishes, relapses }
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
        self.asking.lapse(self.now);
        // An agreement is about a silence that lasts. A witness that was heard again falls silent anew, and both must
        // say so anew (W1b).
        if !self.witness_is_out() {
            self.guarding.agreed = false;
        }
        match self.phase {
            Phase::Stopping(stopping) => self.advance_stop(stopping, outputs),
            // Only when the lease ends is it asked whether the node may go on without a majority: until then it has
            // one.
            _ if self.serves()
                && self.guarding.unguarded.is_none()
                && self.lease_until().is_none_or(|end| end <= self.now) =>
            {
                self.guarding.unguarded = self.may_be_unguarded();
                if self.guarding.unguarded.is_some() {
                    // The first permit without an end has a lease's time: where none is carried out the kernel keeps
                    // phones out, and the node must not go on as if it served.
                    self.permit.until = Some(self.now + self.settings.timing.lease);
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
                self.asking.grants.witness = Some(self.now);
                self.start(self.epoch() + 1, StartReason::Granted { by: RemoteVoter::Witness }, outputs);
            }
        }
        // Requests come after the phase is settled: each tells what the node does from here on.
        self.ask(outputs);
        self.watch_fence(outputs);
        self.prove_disk(outputs);
        let two = self.two_actives();
        // That both serve is told when it begins, once; while it lasts it is shown.
        if self.peer.begins_beside(two) {
            outputs.push(Output::TwoActives);
        }
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
        self.serves() && !self.peer_is_silent() && self.peer.rival.is_some_and(|rival| rival.is_proven)
    }

    /// Takes in what the peer says of its duty. The answer to a request is newer than that; how old a request is nobody
    /// knows, as a cut that heals lets through what was sent before: so those count once the peer has said so for a lease.
    fn compare(&mut self, report: Report, asked: Option<Instant>) {
        if !self.serves() && !made(Trap::StaleWord) || !matches!(report.status, Status::Starting | Status::Active) {
            self.peer.rival = None;
            return;
        }
        let newer = asked.is_some_and(|asked| asked >= self.activation.since) || made(Trap::StaleWord);
        self.peer.serves_too(newer, self.now, self.settings.timing.lease);
    }

    /// Has the fence looked at when it is time, also while the node serves: a table that is gone ends no lease.
    fn watch_fence(&mut self, outputs: &mut Vec<Output>) {
        if !self.permit.is_due(self.now) || self.is_closing() {
            return;
        }
        self.permit.look = self.now + self.settings.fence_watch;
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
        self.peer.hear(report, self.now);
        // Both must say so at once: a peer that hears the witness again ends the agreement (`OneSidedSilence`, W1b).
        self.guarding.agreed = report.witness_out && self.witness_is_out();
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
            if request.ask == Ask::Release && !was.eq(&self.vote.record()) && self.activation.failed_starts == 0 {
                self.ready.rest_until = self.now;
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
            self.peer.touch(self.now, self.settings.timing.promise);
        }
        if by == RemoteVoter::Witness {
            // Silence counts from the question: an answer that was long on its way says nothing of the time since.
            self.guarding.witness_at = self.guarding.witness_at.max(sent);
            self.guarding.agreed &= self.witness_is_out();
        }
        if answer.to == Ask::Release {
            self.asking.released(by, answer.campaign);
        }
        if made(Trap::HearingIsAGrant) && self.serves() {
            self.asking.grants[by] = Some(sent);
        }
        // An answer to an older campaign is of promises that ended with that (`OldAnswers`).
        if answer.campaign == self.asking.campaign || made(Trap::OldAnswers) {
            self.asking.heard[by] = self.asking.heard[by].max(Some(sent));
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
