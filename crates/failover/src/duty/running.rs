//! From start to stop: what a serving node does with answers, and how it ends.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::ask::RemoteVoter;
use super::guard::Unguarded;
use super::machine::{Duty, Outcome, Phase};
use super::output::{Output, StartReason};
use super::relapse::Relapse;
use super::settings::{Choice, Failback, Mode, Window};
use crate::lease::{Ask, Campaign, Request, VoteReply};
use crate::side::Side;
use crate::time::Instant;
use crate::traps::{Trap, made};

/// What made a node stop serving, or stop starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// Neither of the other votes was granted in time.
    LeaseOver,
    /// A voter said that its vote is lost, and no other is fresh.
    VoteLost(RemoteVoter),
    /// Telephony is dead; nothing else that makes a node unfit stops one that serves.
    Unfit,
    /// The services did not start.
    StartFailed,
    /// Phones could not be let in for longer, and the kernel keeps them out.
    Lapsed,
    /// An operator of this node said so.
    Operator,
    /// An operator's wish handed over by the Edge.
    HandedOver,
    /// Main is back and fit.
    Failback,
    /// Unguarded, Standby yields to a Main that serves.
    MainServes,
    /// Services ran that nobody watched over.
    FoundRunning,
}

impl Why {
    /// Tells whether somebody, or the other node's return, ended it: then it did not fail.
    pub(super) const fn is_wished(self) -> bool {
        matches!(self, Self::Operator | Self::HandedOver | Self::Failback | Self::MainServes)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeaseOver => f.write_str("neither the peer nor the witness granted a vote in time"),
            Self::VoteLost(by) => write!(f, "{by} says that its vote is lost, and no other is fresh"),
            Self::Unfit => f.write_str("telephony is dead"),
            Self::StartFailed => f.write_str("the services did not start"),
            Self::Lapsed => f.write_str("phones cannot be let in any longer: the fence does not work"),
            Self::Operator => f.write_str("an operator said so"),
            Self::HandedOver => f.write_str("an operator at the Edge wished it"),
            Self::Failback => f.write_str("main is back and fit"),
            Self::MainServes => f.write_str("main serves, and this side is unguarded"),
            Self::FoundRunning => f.write_str("services ran that nobody watched over"),
        }
    }
}

/// A stop that is under way, until it is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stopping {
    pub(super) why: Why,
    /// The campaign that ended, which its release will name.
    pub(super) campaign: Campaign,
    pub(super) since: Instant,
    pub(super) fence: Fence,
    pub(super) work: Work,
    pub(super) failed: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fence {
    Awaited,
    Verified,
    /// It did not work in time. Nobody knows until when phones got in: the votes are not released.
    Overdue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// The start command was killed, and has not ended yet.
    Aborting,
    Stopping,
    Pausing {
        until: Instant,
    },
}

/// How phones are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Permit {
    /// When the kernel keeps phones out by itself, by the last permit that was carried out; none: never. A start counts from
    /// what it asks for.
    pub(super) until: Option<Instant>,
    /// When the fence is looked at next.
    pub(super) look: Instant,
}

impl Permit {
    pub(super) fn has_lapsed(&self, now: Instant) -> bool {
        self.until.is_some_and(|end| end <= now)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.look
    }
}

/// The present activation, and what became of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Activation {
    /// Since when the node serves, or is about to.
    pub(super) since: Instant,
    /// Since when it is active, or was.
    pub(super) active_since: Instant,
    /// Failed starts since it was last active.
    pub(super) failed_starts: u8,
    pub(super) relapse: Relapse,
}

impl Activation {
    pub(super) const fn new(relapses: u8, now: Instant) -> Self {
        Self { since: now, active_since: now, failed_starts: 0, relapse: Relapse::new(relapses, now) }
    }

    /// It begins. It is counted before the write that comes with it: a host that dies with this start could not write that
    /// down (`UncountedStart`).
    const fn begins(&mut self, now: Instant) {
        self.since = now;
        self.relapse.begins();
    }

    /// Its services are verified; they are on trial until they have served for `long`.
    fn is_active(&mut self, now: Instant, long: Duration) {
        (self.failed_starts, self.active_since) = (0, now);
        self.relapse.serves(now, long);
    }

    const fn start_failed(&mut self) {
        self.failed_starts = self.failed_starts.saturating_add(1);
    }
}

impl Duty {
    pub(super) fn start(&mut self, epoch: u64, reason: StartReason, outputs: &mut Vec<Output>) {
        self.vote.epoch = self.vote.epoch.max(epoch);
        self.phase = Phase::Starting { epoch };
        self.activation.begins(self.now);
        self.peer.rival = self.peer.rival.filter(|_| made(Trap::StaleWord));
        // Its turn has come again.
        if self.wishes.choice == Choice::StepBack {
            self.wishes.choice = Choice::None;
        }
        // What was still to be given back is wanted again: the next renewals ask for it in the new campaign.
        self.asking.owe_nothing();
        let until = match reason {
            StartReason::Granted { .. } => self.permitted_until(),
            // Nobody promises anything to a node without a majority, so there is no instant at which its permit would
            // have to end.
            StartReason::Unguarded(why) => {
                self.guarding.unguarded = Some(why);
                None
            }
        };
        // A start has as long for its first permit as that would last; for one without an end, a lease's time. A kernel
        // that takes none would else keep both votes with a node that no phone reaches (`LapsedServes`, W2).
        self.permit.until = until.or(Some(self.now + self.settings.timing.lease));
        // The disk comes first: a restart must find the epoch used and the activation on trial.
        outputs.extend([Output::Persist(self.memory()), Output::Permit { until }, Output::Start { epoch, reason }]);
    }

    /// The kernel's fence may be late by what the watchdog may.
    pub(super) fn permitted_until(&self) -> Option<Instant> {
        self.lease_until().map(|until| until + self.settings.timing.pause)
    }

    /// Tells whether phones are kept out by the kernel, although the node serves.
    pub(super) fn has_lapsed(&self) -> bool {
        self.permit.has_lapsed(self.now)
    }

    pub(super) fn granted(&mut self, by: RemoteVoter, sent: Instant, epoch: u64, outputs: &mut Vec<Output>) {
        let from = if made(Trap::LeaseFromReceipt) { self.now } else { sent };
        // An answer that was on its way for as long as a lease grants nothing that is not over.
        if !self.is_fresh(Some(from)) {
            return;
        }
        match self.phase {
            // The stop goes on: its campaign is over, and its votes go back when it is verified.
            Phase::Stopping(_) => {}
            Phase::Inactive => {
                let current = self.is_current(sent, epoch) || made(Trap::EpochForgotten) || made(Trap::OldAnswers);
                // What keeps the node from serving may have come up since it asked.
                if self.waiting().is_none() && current {
                    self.asking.grants[by] = Some(from);
                    self.start(epoch, StartReason::Granted { by }, outputs);
                }
            }
            Phase::Starting { .. } | Phase::Active { .. } => {
                let before = self.lease_until();
                // Answers may overtake each other; the request that was sent last counts.
                self.asking.grants[by] = self.asking.grants[by].max(Some(from));
                // A forced node's own vote may be promised: then a grant makes no majority.
                if self.guarding.unguarded.is_some() && !self.vote.is_free() {
                    return;
                }
                // A grant beside the own vote is a majority again: from here on the permit has an end.
                if self.guarding.unguarded.take().is_some() || self.lease_until() > before {
                    outputs.push(Output::Permit { until: self.permitted_until() });
                }
            }
        }
    }

    /// Tells whether nobody can have started on the own vote since this grant was asked for, in an epoch that its voter did
    /// not know of. That the epoch is above all that this node knows is proof, and not needed: a peer that tells ever
    /// higher ones would else make each grant look like one of an older want.
    fn is_current(&self, sent: Instant, epoch: u64) -> bool {
        let own_since = self.taken_at.is_none_or(|taken| sent > taken) && !made(Trap::HearsayOutranks);
        epoch > self.epoch() || own_since || made(Trap::VoteLostSince)
    }

    /// A vote that is lost ends the lease only if the other one does not carry it. A forced node obeys its operator.
    pub(super) fn lost(&mut self, by: RemoteVoter, outputs: &mut Vec<Output>) {
        self.asking.grants[by] = None;
        let carried = self.lease_until().is_some_and(|until| self.now < until);
        if self.serves() && !carried && self.guarding.unguarded != Some(Unguarded::Forced) {
            self.step_down(Why::VoteLost(by), outputs);
        }
    }

    /// How a node that serves or is stopping rules over its peer's request; nothing if it is inactive, or as good as that.
    pub(super) fn serving_answer(&mut self, request: &Request, outputs: &mut Vec<Output>) -> Option<VoteReply> {
        if self.phase == Phase::Inactive || self.is_fenced_and_stuck() {
            return None;
        }
        let standby = self.settings.side == Side::Standby;
        let active = matches!(self.phase, Phase::Active { .. });
        if made(Trap::HearingIsAGrant) && active {
            self.asking.grants.peer = Some(self.now);
        }
        match request.ask {
            // Else Standby would stop, grant nothing, and start again, for ever.
            Ask::Want
                if standby
                    && active
                    && self.fails_back_for(request)
                    && !self.vote.can_promise(request.needs)
                    && !made(Trap::FailbackInVain) =>
            {
                Some(VoteReply::TooLong)
            }
            Ask::Want if standby && active && self.fails_back_for(request) => {
                self.step_down(Why::Failback, outputs);
                Some(VoteReply::Deny)
            }
            // A renewal says that Main serves, and without a majority Standby cannot know that it alone should: of two
            // that serve it is Standby that yields (W3). Who forced it has decided otherwise, and stops it himself.
            Ask::Renew
                if standby && self.serves() && self.guarding.unguarded.is_some_and(|why| why != Unguarded::Forced) =>
            {
                self.step_down(Why::MainServes, outputs);
                Some(VoteReply::Deny)
            }
            // This node has a majority, so the asker can have none: `lost` spares it the wait for its lease to end.
            Ask::Want | Ask::Renew if active && self.guarding.unguarded.is_none() => Some(VoteReply::Lost),
            _ => Some(VoteReply::Deny),
        }
    }

    fn fails_back_for(&self, want: &Request) -> bool {
        let allowed = match self.wishes.failback {
            Failback::Auto => true,
            Failback::Window => self.ready.window == Window::Open,
            Failback::Manual => false,
        };
        let by_itself = self.wishes.mode == Mode::Automatic && self.wishes.choice != Choice::Serve;
        // A Main that hears no answer never learns of the vote it would get: Standby would stop, start again when the
        // promise lapses, and stop, for ever (`OneWayFailback`).
        let proven = want.hears || made(Trap::OneWayFailback);
        // A Main that came back while Standby was still starting has been fit for its hold-down when that is done: users who
        // have just been moved would be moved again at once.
        let rested = self.now.since(self.activation.active_since) >= self.settings.hold_down || made(Trap::NoRest);
        allowed && by_itself && !self.wishes.frozen && want.report.fit && want.settled && proven && rested
    }

    /// Tells whether the stop of a node that no phone can reach could not be verified: a check that hangs, most likely. Its
    /// vote is then as free as that of a node that has stopped; else nobody would serve who has no other to ask.
    fn is_fenced_and_stuck(&self) -> bool {
        let Phase::Stopping(stopping) = self.phase else { return false };
        stopping.failed > 0 && (matches!(stopping.fence, Fence::Verified) || made(Trap::UnfencedVote))
    }

    /// Fences at once, then stops in order, and writes last: no disk is waited for. That the campaign ended must be on the
    /// disk before anybody is asked in the next one, and no earlier: until then a restart finds the old one and ends it.
    pub(super) fn step_down(&mut self, why: Why, outputs: &mut Vec<Output>) {
        let aborting = matches!(self.phase, Phase::Starting { .. });
        // A lease that ends over a start that waits for a disk, or starves the watchdog, is a start that failed: tried again
        // at once it would take both votes again, and the peer would never get its turn.
        if aborting && !why.is_wished() && !made(Trap::AbortedStartsForgotten) {
            self.activation.start_failed();
        }
        let ended = self.asking.end();
        let work = if aborting { Work::Aborting } else { Work::Stopping };
        self.phase =
            Phase::Stopping(Stopping { why, campaign: ended, since: self.now, fence: Fence::Awaited, work, failed: 0 });
        self.activation.relapse.ends(why);
        if made(Trap::EarlyRelease) {
            self.owe(ended);
        }
        // A start under way is killed first, and stopped when it has ended: the two must not overlap (W4).
        let end = if aborting { Output::Kill } else { Output::Stop };
        // This write holds all that an earlier one would.
        outputs.retain(|output| !matches!(output, Output::Persist(_)));
        // The fence comes first: the votes lapse by the clock, whatever the stop takes; two would else serve for as
        // long as a stop is slow (W1).
        outputs.extend([Output::Fence(why), end, Output::Persist(self.memory())]);
    }

    pub(super) fn advance_stop(&mut self, mut stopping: Stopping, outputs: &mut Vec<Output>) {
        let fence = self.settings.timing.fence;
        // The promises allow for `fence` and no more. After it phones may have got in at any time: the services are
        // killed, the last resort closes what it can, and no vote is given back (W1).
        if stopping.fence == Fence::Awaited && self.now >= stopping.since + fence {
            stopping.fence = Fence::Overdue;
            outputs.extend([Output::Kill, Output::HardFence { waited: self.now.since(stopping.since) }]);
        }
        if let Work::Pausing { until } = stopping.work
            && self.now >= until
        {
            stopping.work = Work::Stopping;
            outputs.push(Output::Stop);
        }
        self.phase = Phase::Stopping(stopping);
    }

    pub(super) fn stopping_deadline(&self, stopping: &Stopping) -> Option<Instant> {
        let fence = (stopping.fence == Fence::Awaited).then(|| stopping.since + self.settings.timing.fence);
        let pause = if let Work::Pausing { until } = stopping.work { Some(until) } else { None };
        [fence, pause].into_iter().flatten().min()
    }

    pub(super) fn fenced(&mut self) {
        // Too late stays too late: a fence that closes after its time does not undo that phones got in until then.
        if let Phase::Stopping(stopping) = &mut self.phase
            && stopping.fence == Fence::Awaited
            && self.now <= stopping.since + self.settings.timing.fence
        {
            stopping.fence = Fence::Verified;
            self.guarding.unguarded = None;
        }
    }

    pub(super) fn started(&mut self, outcome: Outcome, outputs: &mut Vec<Output>) {
        match (self.phase, outcome) {
            (Phase::Starting { epoch }, Outcome::Done) => {
                self.activation.is_active(self.now, self.settings.hold_down_limit);
                self.phase = Phase::Active { epoch };
            }
            (Phase::Starting { epoch }, Outcome::Failed) => {
                self.activation.start_failed();
                // The command has ended: there is nothing to abort.
                self.phase = Phase::Active { epoch };
                self.step_down(Why::StartFailed, outputs);
            }
            // The start that was killed has ended, however it did: only from here on may the stop run (W4).
            (Phase::Stopping(stopping), _) if stopping.work == Work::Aborting => {
                self.phase = Phase::Stopping(Stopping { work: Work::Stopping, ..stopping });
                outputs.push(Output::Stop);
            }
            _ => {}
        }
    }

    pub(super) fn stopped(&mut self, outcome: Outcome, outputs: &mut Vec<Output>) {
        let Phase::Stopping(stopping) = self.phase else { return };
        if stopping.work != Work::Stopping {
            return;
        }
        if outcome == Outcome::Failed {
            let failed = stopping.failed.saturating_add(1);
            let until = self.now + self.settings.pause_after(failed);
            self.phase = Phase::Stopping(Stopping { work: Work::Pausing { until }, failed, ..stopping });
            // What the failed command left running must not run into the next attempt (W4).
            outputs.push(Output::Kill);
            return;
        }
        self.phase = Phase::Inactive;
        self.activation.relapse.is_over(self.now);
        self.ready.yielded_at = self.now;
        self.guarding.unguarded = None;
        // Nobody knows until when phones got into a node that was not fenced in time: its votes lapse, instead (W1).
        if stopping.fence != Fence::Overdue {
            self.owe(stopping.campaign);
        }
        match stopping.why {
            // It stopped for Main, and lets Main speak first.
            Why::Failback | Why::MainServes => self.ready.rest_until = self.now + self.settings.timing.promise,
            // Without a pause the node would want again at once, get both votes and fail, and its peer would never have
            // its turn.
            why if self.activation.failed_starts > 0 && !why.is_wished() => {
                self.ready.rest_until = self.now + self.settings.pause_after(self.activation.failed_starts);
            }
            _ => {}
        }
        // In automatic mode a choice is for one activation; a manual node starts again as its operator chose (W7).
        if self.wishes.mode == Mode::Automatic && self.wishes.choice == Choice::Serve {
            self.wishes.choice = Choice::None;
            outputs.push(Output::Persist(self.memory()));
        }
    }

    fn owe(&mut self, ended: Campaign) {
        // A voter keeps a promise at most this long after its last answer, if its times are these: until then a release
        // helps.
        self.asking.owe(ended, self.now + self.settings.timing.promise);
    }
}
