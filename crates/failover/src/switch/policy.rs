//! The figures and preferences behind a switch, and their relations.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::time::Span;
use crate::verdict;

/// When traffic moves back to Main.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Failback {
    /// Only when Standby does not work.
    #[default]
    Sticky,
    /// Also when Main has worked without a break for `hold_down`, unless an operator chose Standby.
    PreferMain {
        /// How long Main must have worked.
        hold_down: Duration,
    },
}

/// How a switch decides; sound once [`Policy::validate`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// When traffic moves back to Main.
    pub failback: Failback,
    /// Whether to decide and to say so, and to move nothing.
    pub observe: bool,
    /// Automatic switches in any hour before the switch is damped. With 0 it always is.
    pub switches_per_hour: u32,
    /// Time after the start in which nothing moves automatically, so that both sides are judged first. At most
    /// [`Policy::LONGEST_SETTLE`].
    pub settle: Duration,
    /// A loop that wakes up later than this doubts itself.
    pub lag_limit: Duration,
    /// Both sides failing within this time is failing at the same instant. At least the prober's
    /// `interval + jitter + time_limit`: one fault is seen that far apart.
    pub same_instant: Duration,
    /// Longest time a doubt holds back a decision. At least the prober's `stale_after`: by then all evidence is new.
    pub doubt_limit: Duration,
}

impl Policy {
    /// Sticky, four switches an hour.
    pub const DEFAULT: Self = Self {
        failback: Failback::Sticky,
        observe: false,
        switches_per_hour: 4,
        settle: Duration::from_secs(1),
        lag_limit: Duration::from_millis(250),
        same_instant: Duration::from_secs(2),
        doubt_limit: Duration::from_secs(5),
    };

    /// The longest `settle`: users of a dead site wait behind it.
    pub const LONGEST_SETTLE: Duration = Duration::from_secs(60);

    /// Checks every relation between the figures, and between them and those of the prober.
    ///
    /// # Errors
    /// Returns all violated relations, in the order of the fields.
    pub fn validate(&self, prober: &verdict::Policy) -> Result<(), Vec<Violation>> {
        let seen = prober.interval.saturating_add(prober.jitter).saturating_add(prober.time_limit);
        let at_least = |field, value, least, least_field| Violation::TooShort { field, value, least, least_field };
        let mut found = Vec::new();
        if let Failback::PreferMain { hold_down } = self.failback
            && hold_down < prober.interval
        {
            found.push(at_least("hold_down", hold_down, prober.interval, "interval"));
        }
        if self.settle > Self::LONGEST_SETTLE {
            found.push(Violation::TooLong { field: "settle", value: self.settle, limit: Self::LONGEST_SETTLE });
        }
        if self.lag_limit.is_zero() {
            found.push(at_least("lag_limit", self.lag_limit, Duration::from_millis(1), "1 ms"));
        }
        // One fault of our own network is seen by each side's next probe: up to this far apart. A shorter time would
        // take it for two faults, and the Edge would not doubt itself (E7).
        if self.same_instant < seen {
            found.push(at_least("same_instant", self.same_instant, seen, "interval + jitter + time_limit"));
        }
        // The doubt would end while evidence from before it still counts.
        if self.doubt_limit < prober.stale_after {
            found.push(at_least("doubt_limit", self.doubt_limit, prober.stale_after, "stale_after"));
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A relation between the figures of a [`Policy`] that does not hold. Field names are those of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A time is too short.
    TooShort {
        /// The key as it is written in the configuration.
        field: &'static str,
        /// The value that is written there.
        value: Duration,
        /// The shortest value that keeps the relation.
        least: Duration,
        /// What gives the shortest value.
        least_field: &'static str,
    },
    /// A time is too long.
    TooLong {
        /// The key as it is written in the configuration.
        field: &'static str,
        /// The value that is written there.
        value: Duration,
        /// The longest value that keeps the relation.
        limit: Duration,
    },
}

impl Violation {
    /// Returns the name of the field at fault.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::TooShort { field, .. } | Self::TooLong { field, .. } => field,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooShort { field, value, least, least_field } => {
                write!(f, "{field} ({}) must be at least {least_field} ({})", Span(value), Span(least))
            }
            Self::TooLong { field, value, limit } => {
                write!(f, "{field} ({}) must not be longer than {}", Span(value), Span(limit))
            }
        }
    }
}

impl core::error::Error for Violation {}
