//! What a registrar tells its driver to do and to say.

use core::fmt;

use crate::names::{Explain, Names, display_numbered};
use crate::time::Instant;

/// The number of an MDS in the driver's own table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MdsId(pub u8);

impl MdsId {
    /// Returns the number as an index into a table of the driver's own.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One attempt at one MDS; handed back with its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The media server that the attempt is made at.
    pub mds: MdsId,
    /// Tells a late outcome of an older attempt.
    pub number: u64,
}

/// What a driver must do for a [`Registrar`](super::Registrar); attempts at different MDS run beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Register the node with this MDS, whatever is registered there; done twice it is done once.
    Register(Attempt),
    /// Ask whether the node is registered with this MDS.
    Verify(Attempt),
    /// Take the node's registration with this MDS back.
    Unregister(Attempt),
    /// The state of a registration changed.
    Changed {
        /// The media server whose registration changed.
        mds: MdsId,
        /// What was known of it before.
        from: State,
        /// What is known of it now.
        state: State,
    },
}

/// The state of a node's registration with one MDS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It has none, or could not take it back.
    Unregistered,
    /// It is registering, or verifies its first answer.
    Registering,
    /// It is registered, and that was verified.
    Registered {
        /// When the newest verification began.
        verified: Instant,
    },
    /// It could not register, or is not sure to be, and goes on trying.
    Failing {
        /// When it began to fail, without a success since.
        since: Instant,
        /// How many attempts have failed since then.
        attempts: u32,
    },
    /// It takes its registration back.
    Unregistering,
}

impl State {
    /// Tells whether both are the same but for times and counts: such a change is not told.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        core::mem::discriminant(self) == core::mem::discriminant(other)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unregistered => f.pad("unregistered"),
            Self::Registering => f.pad("registering"),
            Self::Registered { .. } => f.pad("registered"),
            Self::Failing { attempts, .. } => write!(f, "failing: {attempts} attempts in a row came to nothing"),
            Self::Unregistering => f.pad("unregistering"),
        }
    }
}

impl Explain for Output {
    fn explain(&self, names: &dyn Names, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(attempt) => {
                f.write_str("register with ")?;
                names.mds(attempt.mds, f)
            }
            Self::Verify(attempt) => {
                f.write_str("verify the registration with ")?;
                names.mds(attempt.mds, f)
            }
            Self::Unregister(attempt) => {
                f.write_str("take back the registration with ")?;
                names.mds(attempt.mds, f)
            }
            Self::Changed { mds, state, .. } => {
                f.write_str("with ")?;
                names.mds(*mds, f)?;
                write!(f, " it is {state}")
            }
        }
    }
}

display_numbered!(Output);
