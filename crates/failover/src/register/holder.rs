//! An MDS's view: whose registrations it holds, and whether both nodes claim it.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::side::Side;
use crate::time::{Instant, Span};

/// Watches who is registered with an MDS. It changes nothing there: that is the XiVO nodes' part.
///
/// Both at once is normal for a moment, while one node takes over from the other; for longer than `settle` it is a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    settle: Duration,
    now: Instant,
    claims: Claims,
    since: Instant,
    conflict: bool,
}

/// Who is registered with an MDS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claims {
    /// Neither node: each hand-over passes through this.
    None,
    /// One node is, as it should be.
    One(Side),
    /// Both nodes are: calls may go to the one that stopped.
    Both,
}

/// What happens to a [`Holder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sight {
    /// The deadline passed, or the driver woke up for any other reason.
    Timer,
    /// So the registrations are now. Without a look at them, nothing is known to have changed.
    Claims(Claims),
}

/// What a [`Holder`] tells when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// Other nodes are registered than before.
    Changed {
        /// By the look before this one.
        from: Claims,
        /// Who is registered from now on.
        claims: Claims,
    },
    /// Both nodes have been registered for longer than they may.
    Conflict {
        /// How long both have been registered at once.
        lasts: Duration,
    },
    /// One of the two has gone: the conflict is over.
    ConflictOver {
        /// How long both were registered.
        lasted: Duration,
    },
}

impl Holder {
    /// Starts with nobody registered; both may be for `settle`.
    pub const fn new(settle: Duration, now: Instant) -> Self {
        Self { settle, now, claims: Claims::None, since: now, conflict: false }
    }

    /// Takes in what was seen and tells what changed.
    pub fn handle(&mut self, sight: Sight, now: Instant) -> Vec<Seen> {
        self.now = self.now.max(now);
        let (mut seen, lasts) = (Vec::new(), self.now.since(self.since));
        if let Sight::Claims(claims) = sight
            && claims != self.claims
        {
            let from = core::mem::replace(&mut self.claims, claims);
            self.since = self.now;
            seen.push(Seen::Changed { from, claims });
            if core::mem::take(&mut self.conflict) {
                seen.push(Seen::ConflictOver { lasted: lasts });
            }
        } else if self.deadline().is_some_and(|at| at <= self.now) {
            self.conflict = true;
            seen.push(Seen::Conflict { lasts });
        }
        seen
    }

    /// Returns when to call [`Sight::Timer`]; may change with each call of [`Holder::handle`].
    pub fn deadline(&self) -> Option<Instant> {
        (self.claims == Claims::Both && !self.conflict).then(|| self.since + self.settle)
    }

    /// Returns who is registered, as of the newest look.
    pub const fn claims(&self) -> Claims {
        self.claims
    }

    /// Tells whether both have been registered for too long.
    pub const fn has_conflict(&self) -> bool {
        self.conflict
    }
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("nobody"),
            Self::One(side) => side.fmt(f),
            Self::Both => f.pad("both"),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { from, claims } => write!(f, "registered here: {claims}; before: {from}"),
            Self::Conflict { lasts } => {
                write!(f, "CONFLICT: both nodes have been registered here for {}", Span(*lasts))
            }
            Self::ConflictOver { lasted } => write!(f, "the conflict is over after {}", Span(*lasted)),
        }
    }
}
