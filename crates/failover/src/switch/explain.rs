//! Why things are as they are: facts, rule, and what would happen next.

use core::fmt;

use super::decide::{HoldReason, WhatIf, in_time};
use super::doubt::Doubt;
use super::machine::Switch;
use super::output::Kind;
use crate::health::SideHealth;
use crate::names::{Explain, Names, display_numbered};
use crate::side::{PerSide, Side};
use crate::time::Instant;

/// Everything that bears on the next decision. `Display` says it, outcome first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Explanation {
    /// The instant that all of this is true of.
    pub at: Instant,
    /// The side that gets the traffic.
    pub live: Side,
    /// The switch epoch, that of the last switch.
    pub epoch: u64,
    /// What the last switch was.
    pub last: Option<Kind>,
    /// Whether an operator forbade automatic switches.
    pub frozen: bool,
    /// Whether decisions are told and not carried out.
    pub observe: bool,
    /// The health of both sides.
    pub sides: PerSide<SideHealth>,
    /// The doubt in force, if the Edge doubts itself.
    pub doubt: Option<Doubt>,
    /// The budget of automatic switches.
    pub budget: Budget,
    /// The rule that keeps traffic where it is, or lets it move.
    pub standing: HoldReason,
    /// What would happen if the live side died now.
    pub if_live_died: WhatIf,
}

/// The budget of automatic switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Automatic switches in the last hour, at most `limit`.
    pub used: usize,
    /// How many an hour may have.
    pub limit: usize,
    /// While damped, when it allows one again.
    pub back_at: Option<Instant>,
}

impl Budget {
    /// Tells whether the budget is used up.
    pub const fn is_spent(&self) -> bool {
        self.used >= self.limit
    }
}

impl Switch {
    /// Explains the present state as of `now`. Changes nothing.
    pub fn explain(&self, now: Instant) -> Explanation {
        // A copy is asked, as of this moment: a hold that ends by time is over though no event has come since.
        let mut then = self.clone();
        then.now = self.now.max(now);
        then.ledger.forget_old(then.now);
        let standing = then.decide().map_or_else(|standing| standing, |next| HoldReason::Moving { to: next.to });
        Explanation {
            at: then.now,
            live: self.live,
            epoch: self.epoch,
            last: self.last,
            frozen: self.frozen,
            observe: self.policy.observe,
            sides: self.sides,
            doubt: self.doubt,
            budget: Budget { used: then.ledger.used(), limit: then.ledger.limit(), back_at: then.ledger.back_at() },
            standing,
            if_live_died: then.if_live_died(then.now),
        }
    }
}

impl Explain for Explanation {
    fn explain(&self, names: &dyn Names, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { live, epoch, standing, budget, .. } = self;
        standing.explain(names, f)?;
        if let Some(until) = standing.until() {
            write!(f, " (in {})", in_time(until, self.at))?;
        }
        write!(f, ". {live} is live in epoch {epoch}")?;
        for side in Side::BOTH {
            write!(f, "; {side} ")?;
            self.sides[side].explain(names, f)?;
        }
        write!(f, "; {} of {} automatic switches of this hour are used", budget.used, budget.limit)?;
        if let Some(doubt) = self.doubt {
            write!(f, "; {doubt}")?;
        }
        f.write_str(if self.frozen { "; frozen" } else { "" })?;
        f.write_str(if self.observe { "; only observing" } else { "" })?;
        write!(f, ". If {live} died now: ")?;
        self.if_live_died.explain(names, f)?;
        f.write_str(".")
    }
}

display_numbered!(Explanation);
