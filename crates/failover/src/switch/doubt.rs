//! Self-doubt: when the fault may be ours, only evidence newer than the doubt counts.

use core::fmt;
use core::time::Duration;

use crate::health::{Diagnosis, SideHealth, State};
use crate::side::{PerSide, Side};
use crate::time::{Instant, Span};

/// A doubt of the Edge in its own senses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Doubt {
    /// When it began: evidence from before does not count.
    pub since: Instant,
    /// What made the Edge doubt itself.
    pub reason: DoubtReason,
}

/// Why the Edge doubts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DoubtReason {
    /// Its own loop woke up this much too late: time-outs seen meanwhile may be its own.
    Lagged {
        /// How much later than due the loop turned.
        by: Duration,
    },
    /// Everything on both sides failed within this time of each other: its own network is the likelier cause.
    BothAtOnce {
        /// How far apart the first bad signs of the two sides were.
        apart: Duration,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            DoubtReason::Lagged { by } => write!(f, "self-doubt: our own loop woke up {} too late", Span(by)),
            DoubtReason::BothAtOnce { apart } => {
                write!(f, "self-doubt: everything on both sides failed within {} of each other", Span(apart))
            }
        }
    }
}

impl Doubt {
    /// Tells whether the evidence for leaving `live` is newer than the doubt.
    pub(super) fn is_answered(&self, live: &SideHealth, other: &SideHealth) -> bool {
        // Evidence must be new of both sides: a move rests on the failure of the one and on the answer of the other.
        live.as_of >= self.since && other.as_of >= self.since
    }

    /// Returns when the doubt ends whatever happens; none while nothing is held back by it.
    pub(super) fn ends_at(&self, live: &SideHealth, other: &SideHealth, limit: Duration) -> Option<Instant> {
        match self.reason {
            // A loop that lags for ever must still leave a dead side (E2).
            DoubtReason::Lagged { .. } => Some(self.since + limit),
            DoubtReason::BothAtOnce { .. } if live.works() || other.works() => {
                Some(self.since.max(live.since).max(other.since) + limit)
            }
            // Neither side works, so there is nowhere to go: the doubt holds nothing back, and is in nobody's way.
            DoubtReason::BothAtOnce { .. } => None,
        }
    }

    /// Tells whether newer evidence has settled it.
    pub(super) fn is_resolved(&self, live: &SideHealth, other: &SideHealth) -> bool {
        let fresh = |health: &SideHealth| health.state != State::Unknown && health.as_of >= self.since;
        match self.reason {
            DoubtReason::Lagged { .. } => fresh(live) && fresh(other),
            // That the other side is the first to answer as our own network comes back is chance (E7). Only the answer
            // of the live one settles it.
            DoubtReason::BothAtOnce { .. } => live.works() && fresh(live),
        }
    }
}

/// Returns how far apart both sides failed, when all of both failed in a way that could be our own fault, within `window`.
pub(super) fn both_at_once(sides: &PerSide<SideHealth>, window: Duration) -> Option<Duration> {
    let ours = |side: Side| sides[side].diagnosis().is_some_and(Diagnosis::may_be_our_fault);
    let (main, standby) = (sides.main.trouble_since, sides.standby.trouble_since);
    let apart = main.since(standby).max(standby.since(main));
    (ours(Side::Main) && ours(Side::Standby) && apart <= window).then_some(apart)
}
