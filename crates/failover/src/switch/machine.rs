//! The machine that holds the live side and carries out the rules.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::budget::Ledger;
use super::decide::{Candidate, HoldReason};
use super::doubt::{self, Doubt, DoubtReason};
use super::output::{Cause, FreezeReason, Kind, Memory, Move, Output, Refusal, ReprobeReason};
use super::policy::Policy;
use crate::health::{SideHealth, State};
use crate::side::{PerSide, Side};
use crate::time::Instant;

/// Decides which side is live.
///
/// ```text
///              main does not work, standby works (failover), or planned
///           +-----------------------------------------------------------+
///           |                                                           v
///        [ main ]                                                  [ standby ]
///           ^                                                           |
///           +-----------------------------------------------------------+
///              standby does not work, main works (failback), or planned,
///              or prefer-main and main has worked for hold_down
///
///   in the way of an automatic move, in this order:
///     frozen -> settling -> self-doubt -> not confirmed -> damped (unless the live side is dead) -> observe
/// ```
///
/// Unknown is never a reason to leave a side, and never a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Switch {
    pub(super) policy: Policy,
    pub(super) now: Instant,
    pub(super) live: Side,
    pub(super) epoch: u64,
    pub(super) frozen: bool,
    pub(super) last: Option<Kind>,
    pub(super) ledger: Ledger,
    pub(super) sides: PerSide<SideHealth>,
    pub(super) doubt: Option<Doubt>,
    /// When the live side came under suspicion, until all of it has answered since or it does not work.
    pub(super) suspected: Option<Instant>,
    /// The first answer of the other side, working since, after the live side's trouble began.
    pub(super) answered: Option<Instant>,
    /// The side somebody is bringing up to serve, by steps of which moving traffic is one.
    pub(super) wished: Option<Side>,
    pub(super) settled_at: Instant,
    pub(super) standing: HoldReason,
}

/// What happens to a [`Switch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The deadline passed, or the driver woke up for any other reason.
    Timer,
    /// A side's health changed or was confirmed.
    Health {
        /// Main or Standby, live or not.
        side: Side,
        /// What it is judged to be now.
        health: SideHealth,
    },
    /// A required check of a side met its first bad sign.
    Suspected {
        /// The side whose check met its first bad sign.
        side: Side,
    },
    /// The driver's loop woke up this much later than it wanted to.
    Lagged {
        /// By how much the loop turned later than it was due.
        by: Duration,
    },
    /// An operator acts; the outputs say what came of it.
    Act(Act),
    /// Somebody is bringing a side up to serve, or no longer is (none). Moves no traffic by itself: the side that is left may
    /// stop at any moment from now on, and the move that follows is then that person's and not a failure.
    Wished(Option<Side>),
}

/// What an operator can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Make this side live, as an operator's planned switch.
    Switch {
        /// The side that shall get the traffic.
        to: Side,
        /// Whether it is refused when the side does not work.
        guard: Guard,
    },
    /// Forbid automatic switches until an operator resumes.
    Freeze,
    /// Allow automatic switches, and let go of a chosen Standby.
    Resume,
    /// Forget the automatic switches of the last hour.
    ResetBudget,
}

/// Whether an operator insists on a side that may not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// Only if the side works.
    Checked,
    /// Even if it does not. Then automatic switches are frozen, as the next one would undo it.
    Forced,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch { to, guard: Guard::Checked } => write!(f, "switch to {to}"),
            Self::Switch { to, guard: Guard::Forced } => write!(f, "force the switch to {to}"),
            Self::Freeze => f.write_str("freeze"),
            Self::Resume => f.write_str("resume"),
            Self::ResetBudget => f.write_str("reset the switch budget"),
        }
    }
}

impl Switch {
    /// Starts with what was remembered; with nothing, Main is live in epoch 0.
    pub fn new(policy: Policy, memory: Option<&Memory>, now: Instant) -> Self {
        let live = memory.map_or(Side::Main, |memory| memory.live);
        let ages = memory.map_or(&[][..], |memory| &memory.switches);
        // What was known before the restart is too old to move anybody by: both sides are judged anew (E4).
        let unknown = SideHealth::unknown(now);
        Self {
            policy,
            now,
            live,
            epoch: memory.map_or(0, |memory| memory.epoch),
            frozen: memory.is_some_and(|memory| memory.frozen),
            last: memory.and_then(|memory| memory.last),
            ledger: Ledger::new(policy.switches_per_hour, ages, now),
            sides: PerSide { main: unknown, standby: unknown },
            doubt: None,
            suspected: None,
            answered: None,
            wished: None,
            settled_at: now + policy.settle,
            standing: HoldReason::LiveUnknown(live),
        }
    }

    /// Takes in what happened and says what to do.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.now = self.now.max(now);
        // The budget is looked at before old switches leave it, so that the end of the damping is told.
        let was_spent = self.ledger.is_spent();
        self.ledger.forget_old(self.now);
        match event {
            Event::Timer => {}
            Event::Health { side, health } => self.learn(side, health, &mut outputs),
            Event::Suspected { side } => self.suspect(side, &mut outputs),
            Event::Lagged { by } if by > self.policy.lag_limit => {
                self.begin_doubt(DoubtReason::Lagged { by }, &mut outputs);
            }
            Event::Lagged { .. } => {}
            Event::Act(act) => self.act(act, &mut outputs),
            Event::Wished(to) => self.wished = to,
        }
        // A doubt that what just came has settled must not hold back the decision on it.
        self.end_doubt(&mut outputs);
        match self.decide() {
            Ok(candidate) => self.switch(candidate, &mut outputs),
            Err(standing) => self.stand(standing, &mut outputs),
        }
        self.tell_budget(was_spent, &mut outputs);
        outputs
    }

    /// Returns when to call [`Event::Timer`]; may change with each call of [`Switch::handle`].
    pub fn deadline(&self) -> Option<Instant> {
        let (live, other) = (&self.sides[self.live], &self.sides[self.live.other()]);
        let doubt = self.doubt.and_then(|doubt| doubt.ends_at(live, other, self.policy.doubt_limit));
        [self.standing.until(), doubt, self.ledger.back_at()].into_iter().flatten().min()
    }

    /// Returns the side that gets the traffic.
    pub const fn live(&self) -> Side {
        self.live
    }

    /// Returns the switch epoch, which grows by one with each switch.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the side that somebody is bringing up to serve. A restart forgets it, as it ends what brings it up.
    pub const fn wished(&self) -> Option<Side> {
        self.wished
    }

    /// Returns what must survive a restart, as of `now`.
    pub fn memory(&self, now: Instant) -> Memory {
        Memory {
            live: self.live,
            epoch: self.epoch,
            frozen: self.frozen,
            last: self.last,
            switches: self.ledger.ages(self.now.max(now)),
        }
    }

    fn learn(&mut self, side: Side, health: SideHealth, outputs: &mut Vec<Output>) {
        // The Edge doubts itself once, when both sides begin to fail at one instant: that both go on being down is no
        // further sign.
        let before = doubt::both_at_once(&self.sides, self.policy.same_instant);
        self.sides[side] = health;
        self.note_answer();
        let after = doubt::both_at_once(&self.sides, self.policy.same_instant);
        if let (None, Some(apart)) = (before, after) {
            self.begin_doubt(DoubtReason::BothAtOnce { apart }, outputs);
        }
    }

    /// Asks the other side at the first bad sign, so that its answer is there when the live side is judged.
    fn suspect(&mut self, side: Side, outputs: &mut Vec<Output>) {
        if side == self.live && self.sides[side].state != State::NotWorking {
            // A second check that falters belongs to the same trouble: what was answered since it began still counts.
            if self.suspected.is_none() {
                (self.suspected, self.answered) = (Some(self.now), None);
            }
            outputs.push(Output::Reprobe { side: side.other(), reason: ReprobeReason::ConfirmTarget });
        }
    }

    fn note_answer(&mut self) {
        let (live, other) = (self.sides[self.live], self.sides[self.live.other()]);
        let cleared = live.works() && self.suspected.is_some_and(|suspected| live.as_of > suspected);
        let trouble = if live.state == State::NotWorking { Some(live.trouble_since) } else { self.suspected };
        if cleared || live.state == State::NotWorking {
            self.suspected = None;
        }
        // The first answer since the trouble began is kept, not the newest: the live side must have failed after it,
        // and each newer answer would ask for one failure more.
        self.answered = trouble.filter(|_| other.works()).and_then(|trouble| {
            let newest = Some(other.as_of).filter(|as_of| *as_of >= trouble);
            self.answered.filter(|answered| *answered >= trouble).or(newest)
        });
    }

    /// A doubt never restarts: else a loop that lags for ever would never decide.
    fn begin_doubt(&mut self, reason: DoubtReason, outputs: &mut Vec<Output>) {
        if self.doubt.is_some() {
            return;
        }
        let doubt = Doubt { since: self.now, reason };
        self.doubt = Some(doubt);
        outputs.push(Output::SelfDoubt(doubt));
        outputs.extend(Side::BOTH.map(|side| Output::Reprobe { side, reason: ReprobeReason::Doubt }));
    }

    fn end_doubt(&mut self, outputs: &mut Vec<Output>) {
        let (live, other) = (&self.sides[self.live], &self.sides[self.live.other()]);
        let ended = self.doubt.filter(|doubt| {
            let limit = doubt.ends_at(live, other, self.policy.doubt_limit);
            doubt.is_resolved(live, other) || limit.is_some_and(|limit| limit <= self.now)
        });
        if let Some(doubt) = ended {
            self.doubt = None;
            outputs.push(Output::DoubtOver(doubt));
        }
    }

    fn act(&mut self, act: Act, outputs: &mut Vec<Output>) {
        match act {
            Act::Switch { to, guard } => match self.refusal(to, guard) {
                Some(reason) => outputs.push(Output::Refused { act, reason }),
                None => self.switch_as_planned(to, outputs),
            },
            Act::Freeze => {
                self.frozen = true;
                outputs.extend([self.persist(), Output::Frozen(FreezeReason::Operator)]);
            }
            Act::Resume => {
                self.frozen = false;
                self.last = self.last.filter(|last| *last != Kind::Planned);
                outputs.extend([self.persist(), Output::Resumed]);
            }
            Act::ResetBudget => {
                self.ledger.clear();
                outputs.extend([self.persist(), Output::BudgetReset]);
            }
        }
    }

    fn refusal(&self, to: Side, guard: Guard) -> Option<Refusal> {
        let health = self.sides[to];
        if to == self.live {
            Some(Refusal::AlreadyLive(to))
        // Who only observes moves nothing, whoever asks for it.
        } else if self.policy.observe {
            Some(Refusal::Observing)
        } else if guard == Guard::Checked && !health.works() {
            Some(Refusal::NotWorking { side: to, health })
        } else {
            None
        }
    }

    fn switch_as_planned(&mut self, to: Side, outputs: &mut Vec<Output>) {
        let chosen = self.sides[to];
        let forced = !chosen.works();
        // The freeze comes before the move, so that the memory written with the move is frozen already: an Edge that
        // restarts in between would undo it.
        self.frozen |= forced;
        self.switch(Candidate { to, kind: Kind::Planned, cause: Cause::Operator { chosen } }, outputs);
        if forced {
            outputs.push(Output::Frozen(FreezeReason::Forced));
        }
    }

    fn switch(&mut self, candidate: Candidate, outputs: &mut Vec<Output>) {
        let Candidate { to, kind, cause } = candidate;
        let from = self.live;
        self.live = to;
        self.epoch = self.epoch.saturating_add(1);
        self.last = Some(kind);
        // Suspicion and answer were about the side that is left.
        self.suspected = None;
        self.answered = None;
        self.note_answer();
        // What people ask for is no flapping, and must not damp the night's failover (E9).
        if kind != Kind::Planned {
            self.ledger.spend(self.now);
        }
        outputs.push(self.persist());
        outputs.push(Output::SwitchTo(Move { from, to, epoch: self.epoch, kind, at: self.now, cause }));
        let standing = self.decide().map_or_else(|standing| standing, |next| HoldReason::Moving { to: next.to });
        self.stand(standing, outputs);
    }

    fn stand(&mut self, standing: HoldReason, outputs: &mut Vec<Output>) {
        if self.standing == standing {
            return;
        }
        let same_rule = core::mem::discriminant(&self.standing) == core::mem::discriminant(&standing);
        self.standing = standing;
        outputs.push(Output::Stands(standing));
        match standing {
            HoldReason::ConfirmingTarget(side) => {
                outputs.push(Output::Reprobe { side, reason: ReprobeReason::ConfirmTarget });
            }
            HoldReason::ConfirmingFault { to } => {
                outputs.push(Output::Reprobe { side: to.other(), reason: ReprobeReason::ConfirmFault });
            }
            // Both sides are asked once, when the doubt begins to hold a move back: not again with each change of what
            // it holds back.
            HoldReason::Doubting { .. } if !same_rule => {
                outputs.extend(Side::BOTH.map(|side| Output::Reprobe { side, reason: ReprobeReason::Doubt }));
            }
            HoldReason::Observing { to, kind } => outputs.push(Output::WouldSwitch(self.supposed_move(to, kind))),
            _ => {}
        }
    }

    fn supposed_move(&self, to: Side, kind: Kind) -> Move {
        let (from, left) = (self.live, self.sides[self.live]);
        let cause = if left.works() {
            Cause::MainPreferred { worked: self.now.since(self.sides.main.since) }
        } else if kind == Kind::Planned {
            Cause::Operator { chosen: self.sides[to] }
        } else {
            Cause::LiveDoesNotWork { left, damped: self.ledger.is_spent() }
        };
        Move { from, to, epoch: self.epoch.saturating_add(1), kind, at: self.now, cause }
    }

    fn tell_budget(&self, was_spent: bool, outputs: &mut Vec<Output>) {
        match (was_spent, self.ledger.is_spent()) {
            (false, true) => {
                outputs.push(Output::Damped { used: self.ledger.used(), until: self.ledger.back_at() });
            }
            (true, false) => outputs.push(Output::Undamped),
            (true, true) | (false, false) => {}
        }
    }

    fn persist(&self) -> Output {
        Output::Persist(self.memory(self.now))
    }
}
