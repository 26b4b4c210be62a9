//! The rules: from what is known to a move, or to the rule that keeps traffic where it is. Without memory of its own.

use core::fmt;

use super::doubt::Doubt;
use super::machine::Switch;
use super::output::{Cause, Kind};
use super::policy::Failback;
use crate::health::{Diagnosis, Reason, SideHealth, State};
use crate::names::{Explain, Names, display_numbered};
use crate::side::Side;
use crate::time::{Instant, Span};
use crate::traps::{Trap, made};

/// The rule that keeps traffic where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldReason {
    /// The live side works: nothing moves (E1).
    LiveWorks(Side),
    /// The live side is unknown, which is no reason to leave it.
    LiveUnknown(Side),
    /// Neither side works: the first one to work gets the traffic (E3).
    NeitherWorks(Side),
    /// The live side does not work, and nothing is known of the other (E3).
    OtherUnknown(Side),
    /// The Edge has just started, and both sides are judged first.
    Settling {
        /// Where traffic would move, were the start longer ago.
        to: Side,
        /// From when on it may move.
        until: Instant,
    },
    /// The target must answer once more, as it has not since the trouble began (E7).
    ConfirmingTarget(Side),
    /// The live side must fail once more, as it has not since the target answered: when our own network comes back, both
    /// sides do, and the first one seen is chance (E7).
    ConfirmingFault {
        /// Where traffic would move, were the fault confirmed.
        to: Side,
    },
    /// The Edge doubts itself, and the evidence is older than the doubt (E7).
    Doubting {
        /// Where traffic would move on newer evidence.
        to: Side,
        /// The doubt that the evidence is older than.
        doubt: Doubt,
    },
    /// An operator forbade automatic switches.
    Frozen {
        /// Where traffic would move, were it not frozen.
        to: Side,
    },
    /// The budget of automatic switches is used up, and the live side is not dead (E9).
    Damped {
        /// Where traffic would move, were there budget left.
        to: Side,
        /// When the budget allows it.
        until: Option<Instant>,
    },
    /// Main works and is preferred, but not for long enough yet.
    HoldingDown {
        /// When it will have been.
        until: Instant,
    },
    /// Main works and is preferred, but an operator chose Standby.
    OperatorChose,
    /// `observe` is on: traffic would move.
    Observing {
        /// Where traffic would move, did the Edge do more than observe.
        to: Side,
        /// What it would be called.
        kind: Kind,
    },
    /// Traffic moves with the next event.
    Moving {
        /// Where it moves: nothing stands against it.
        to: Side,
    },
}

impl Explain for HoldReason {
    fn explain(&self, names: &dyn Names, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LiveWorks(live) => write!(f, "traffic stays on {live}, which works"),
            Self::LiveUnknown(live) => {
                write!(f, "traffic stays on {live}: nothing is known of it, which is no reason to leave")
            }
            Self::NeitherWorks(live) => {
                write!(f, "traffic stays on {live}: neither side works, and the first to work gets the traffic")
            }
            Self::OtherUnknown(live) => {
                write!(f, "traffic stays on {live}, which does not work: nothing is known of {}", live.other())
            }
            Self::Settling { to, until } => {
                write!(f, "traffic moves to {to} no sooner than ")?;
                names.instant(*until, f)?;
                f.write_str(": we have just started")
            }
            Self::ConfirmingTarget(to) => write!(f, "traffic moves to {to} as soon as it answers once more"),
            Self::ConfirmingFault { to } => {
                write!(f, "traffic moves to {to} as soon as {} fails once more", to.other())
            }
            Self::Doubting { to, doubt } => write!(f, "traffic moves to {to} only on new evidence; {doubt}"),
            Self::Frozen { to } => write!(f, "traffic would move to {to}, but an operator froze it"),
            Self::Damped { to, until } => {
                write!(
                    f,
                    "traffic would move to {to}, but the switch budget is used up and the live side is not dead"
                )?;
                let Some(until) = until else { return Ok(()) };
                f.write_str("; it moves at ")?;
                names.instant(*until, f)
            }
            Self::HoldingDown { until } => {
                f.write_str("traffic moves back to main at ")?;
                names.instant(*until, f)?;
                f.write_str(" if main works until then")
            }
            Self::OperatorChose => f.write_str("traffic stays on standby, which works and which an operator chose"),
            Self::Observing { to, kind } => write!(f, "traffic would move to {to} ({kind}), but we only observe"),
            Self::Moving { to } => write!(f, "traffic moves to {to} now"),
        }
    }
}

display_numbered!(HoldReason);

/// What would happen if the live side died now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhatIf {
    /// Traffic would move, once the side answers.
    Moves {
        /// The side that traffic would move to.
        to: Side,
        /// What it would be called.
        kind: Kind,
    },
    /// Traffic would stay, by this rule.
    Stays(HoldReason),
}

impl Explain for WhatIf {
    fn explain(&self, names: &dyn Names, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moves { to, kind } => write!(f, "traffic would move to {to} ({kind})"),
            Self::Stays(standing) => standing.explain(names, f),
        }
    }
}

display_numbered!(WhatIf);

#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) to: Side,
    pub(super) kind: Kind,
    pub(super) cause: Cause,
}

impl Switch {
    /// Applies the rules in order: is there a reason to move, and does anything forbid it?
    pub(super) fn decide(&self) -> Result<Candidate, HoldReason> {
        let live = &self.sides[self.live];
        let candidate = match live.state {
            // Not to know is mostly the Edge's own trouble, a start or a prober that fell silent: to leave a side for
            // it would end every session for nothing (E3).
            State::Unknown => Err(HoldReason::LiveUnknown(self.live)),
            State::NotWorking => self.rescue(live),
            State::Working => self.prefer_main(),
        }?;
        self.permit(candidate)
    }

    fn rescue(&self, live: &SideHealth) -> Result<Candidate, HoldReason> {
        let to = self.live.other();
        match self.sides[to].state {
            State::NotWorking => Err(HoldReason::NeitherWorks(self.live)),
            State::Unknown => Err(HoldReason::OtherUnknown(self.live)),
            State::Working => {
                // Who had the live side stopped had this move made, whether or not they come to it before us.
                if self.wished == Some(to) && !made(Trap::WishIgnored) {
                    let cause = Cause::Operator { chosen: self.sides[to] };
                    return Ok(Candidate { to, kind: Kind::Planned, cause });
                }
                let kind = if to == Side::Main { Kind::Failback } else { Kind::Failover };
                let cause = Cause::LiveDoesNotWork { left: *live, damped: self.ledger.is_spent() };
                Ok(Candidate { to, kind, cause })
            }
        }
    }

    fn prefer_main(&self) -> Result<Candidate, HoldReason> {
        let main = &self.sides.main;
        let Failback::PreferMain { hold_down } = self.policy.failback else {
            return Err(HoldReason::LiveWorks(self.live));
        };
        if self.live == Side::Main || !main.works() {
            return Err(HoldReason::LiveWorks(self.live));
        }
        if self.last == Some(Kind::Planned) {
            return Err(HoldReason::OperatorChose);
        }
        let until = main.since + hold_down;
        if self.now < until {
            return Err(HoldReason::HoldingDown { until });
        }
        let cause = Cause::MainPreferred { worked: self.now.since(main.since) };
        Ok(Candidate { to: Side::Main, kind: Kind::Failback, cause })
    }

    fn permit(&self, candidate: Candidate) -> Result<Candidate, HoldReason> {
        let Candidate { to, kind, cause } = candidate;
        let (live, other) = (&self.sides[self.live], &self.sides[to]);
        let rescue = matches!(cause, Cause::LiveDoesNotWork { .. });
        let planned = kind == Kind::Planned;
        // What a person ordered comes before every rule of the machine's own.
        if self.frozen {
            return Err(HoldReason::Frozen { to });
        }
        if self.now < self.settled_at {
            return Err(HoldReason::Settling { to, until: self.settled_at });
        }
        if let Some(doubt) = self.doubt.filter(|doubt| !doubt.is_answered(live, other)) {
            return Err(HoldReason::Doubting { to, doubt });
        }
        // Where Main is merely preferred both sides work: there is no trouble that could be our own network's.
        if rescue || planned {
            self.require_bracket(to, live)?;
        }
        // A side that is ill serves some; one that is dead serves nobody, and staying there for the sake of calm would
        // be an outage of the Edge's own making (E9).
        if !planned && self.ledger.is_spent() && !(rescue && live.diagnosis().is_some_and(Diagnosis::is_dead)) {
            return Err(HoldReason::Damped { to, until: self.ledger.back_at() });
        }
        // This rule comes last: who observes is told of those moves alone that all others let through.
        if self.policy.observe {
            return Err(HoldReason::Observing { to, kind });
        }
        Ok(candidate)
    }

    /// The target must have answered after the trouble began, and the live side failed after that: a fault of our own network
    /// fails this test whenever it begins and ends. What a node says of itself needs no second failure.
    fn require_bracket(&self, to: Side, live: &SideHealth) -> Result<(), HoldReason> {
        match self.answered {
            None => Err(HoldReason::ConfirmingTarget(to)),
            Some(answered) if live.as_of < answered && !matches!(live.reason, Reason::NodeSays { .. }) => {
                Err(HoldReason::ConfirmingFault { to })
            }
            Some(_) => Ok(()),
        }
    }

    /// Says what would happen if the live side died now, whatever happens anyway.
    pub fn if_live_died(&self, now: Instant) -> WhatIf {
        let mut supposed = self.clone();
        supposed.now = self.now.max(now);
        supposed.ledger.forget_old(supposed.now);
        let now = supposed.now;
        supposed.sides[self.live] = SideHealth {
            state: State::NotWorking,
            reason: Reason::Supposed,
            since: now,
            as_of: now,
            trouble_since: now,
        };
        // The target would be asked again first; we suppose that it answers.
        supposed.sides[self.live.other()].as_of = now;
        supposed.answered = Some(now);
        match supposed.decide() {
            Ok(Candidate { to, kind, .. }) => WhatIf::Moves { to, kind },
            Err(standing) => WhatIf::Stays(standing),
        }
    }
}

impl HoldReason {
    /// Returns when this rule gives way by itself. It is a rule of one moment: the next event may bring another.
    pub(super) fn until(&self) -> Option<Instant> {
        match *self {
            Self::Settling { until, .. } | Self::HoldingDown { until } => Some(until),
            Self::Damped { until, .. } => until,
            _ => None,
        }
    }
}

/// Shows an instant's distance from now, as explanations do.
pub(super) fn in_time(until: Instant, now: Instant) -> Span {
    Span(until.since(now))
}
