//! The health of a side, why it is so, and what the illness is called.

use core::fmt;

use super::topology::{BackendId, CheckId, NodeId, ServiceId};
use crate::names::{Explain, Names, display_numbered};
use crate::time::Instant;
use crate::verdict;

crate::closed_set! {
    /// Whether something works, as far as the checks can tell.
    pub enum State {
        /// No check has spoken yet, or the newest word is too old to count.
        Unknown => "unknown",
        /// Nothing that must pass is down or unknown.
        Working => "working",
        /// Something that must pass does not.
        NotWorking => "not_working",
    }

    /// What a node says it does, in XiVO's words.
    pub enum Status {
        /// Its services run and were verified.
        Active => "active",
        /// Its services do not run, and are not meant to.
        Inactive => "inactive",
        /// Its services are being started.
        Starting => "starting",
        /// Its services are being stopped.
        Stopping => "stopping",
        /// Its services should run and do not.
        Faulty => "faulty",
    }
}
crate::spelled!(State, Status);

#[expect(clippy::derivable_impls, reason = "the macro that declares it takes words, no #[default]")]
impl Default for State {
    fn default() -> Self {
        Self::Unknown
    }
}

/// In a sentence, where words are not joined.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotWorking => "not working",
            _ => self.label(),
        })
    }
}

crate::display_label!(Status);

/// The name of what ails a side that does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Diagnosis {
    /// All its required checks are down, and something there still answers that nobody serves.
    Dead,
    /// Nothing of it answers at all: dead, or cut off from here.
    UnreachableFromHere,
    /// A node of it says that it does not serve.
    Inactive,
    /// A node of it says that its services fail.
    Faulty,
    /// Some required services work, others do not.
    PartlyDown,
    /// It answers that it has too much to do.
    Overloaded,
    /// It answers, but not what a working service says.
    Wrong,
}

impl Diagnosis {
    /// Tells whether the side serves nobody for certain. A damped switch leaves only such a side.
    pub const fn is_dead(self) -> bool {
        matches!(self, Self::Dead | Self::UnreachableFromHere | Self::Inactive | Self::Faulty)
    }

    /// Tells whether every required check of the side failed without a word of a working service: what a fault of our own
    /// network or loop would look like.
    pub const fn may_be_our_fault(self) -> bool {
        matches!(self, Self::Dead | Self::UnreachableFromHere)
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dead => "dead",
            Self::UnreachableFromHere => "unreachable from here",
            Self::Inactive => "inactive",
            Self::Faulty => "faulty",
            Self::PartlyDown => "partly down",
            Self::Overloaded => "overloaded",
            Self::Wrong => "wrong answers",
        })
    }
}

/// One check that is down, and what it takes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// The service that does not work.
    pub service: ServiceId,
    /// The backend that does not work.
    pub backend: BackendId,
    /// The check that is down.
    pub check: CheckId,
    /// What its judge made of it.
    pub why: verdict::Reason,
}

impl Explain for Fault {
    fn explain(&self, names: &dyn Names, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        names.service(self.service, f)?;
        f.write_str(" is down on ")?;
        names.backend(self.backend, f)?;
        f.write_str(" (")?;
        names.check(self.check, f)?;
        write!(f, ": {})", self.why)
    }
}

/// Why a side's or a service's health is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Nothing required is down or unknown, whatever optional services are.
    AllWork,
    /// Nothing is required, so that nothing can be said.
    NothingToJudge,
    /// A required service is down.
    Down {
        /// The first one, in the topology's order.
        fault: Fault,
        /// How many more required services are down.
        others: u16,
        /// What the illness is called.
        diagnosis: Diagnosis,
    },
    /// A required check is unknown.
    NotKnown {
        /// The required service of which nothing is known.
        service: ServiceId,
        /// The first of its checks that has none.
        check: CheckId,
        /// Why that check has no verdict.
        why: verdict::Reason,
    },
    /// A node says that it does not serve, or not yet.
    NodeSays {
        /// The node whose own word counts here.
        node: NodeId,
        /// What it says that it does.
        status: Status,
    },
    /// Nothing happened: somebody asks what would be if it were dead.
    Supposed,
}

impl Explain for Reason {
    fn explain(&self, names: &dyn Names, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::AllWork => f.write_str("all that is required works"),
            Self::NothingToJudge => f.write_str("there is nothing to judge it by"),
            Self::Down { fault, others, diagnosis } => {
                write!(f, "{diagnosis}: ")?;
                fault.explain(names, f)?;
                if others > 0 { write!(f, " and {others} more") } else { Ok(()) }
            }
            Self::NotKnown { service, check, why } => {
                names.service(service, f)?;
                f.write_str(" is unknown (")?;
                names.check(check, f)?;
                write!(f, ": {why})")
            }
            Self::NodeSays { node, status } => {
                f.write_str("node ")?;
                names.node(node, f)?;
                write!(f, " says it is {status}")
            }
            Self::Supposed => f.write_str("dead, let us suppose"),
        }
    }
}

/// The health of a side with its evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SideHealth {
    /// Whether the side works, as a whole.
    pub state: State,
    /// The diagnosis, worded for the journal.
    pub reason: Reason,
    /// Since when it is in this state.
    pub since: Instant,
    /// When the newest full set of evidence for this state was asked for: of every check that decides, the newest probe.
    pub as_of: Instant,
    /// When the first bad sign of the present trouble came; meaningful while it does not work.
    pub trouble_since: Instant,
}

impl SideHealth {
    /// Returns the health of a side of which nothing is known.
    pub const fn unknown(now: Instant) -> Self {
        Self { state: State::Unknown, reason: Reason::NothingToJudge, since: now, as_of: now, trouble_since: now }
    }

    /// Tells whether the side works.
    pub fn works(&self) -> bool {
        self.state == State::Working
    }

    /// Returns the name of the illness, when the side does not work.
    pub const fn diagnosis(&self) -> Option<Diagnosis> {
        match (self.state, self.reason) {
            (State::NotWorking, Reason::Down { diagnosis, .. }) => Some(diagnosis),
            (State::NotWorking, Reason::NodeSays { status: Status::Faulty, .. }) => Some(Diagnosis::Faulty),
            (State::NotWorking, Reason::Supposed) => Some(Diagnosis::Dead),
            (State::NotWorking, Reason::NodeSays { .. }) => Some(Diagnosis::Inactive),
            _ => None,
        }
    }
}

impl Explain for SideHealth {
    fn explain(&self, names: &dyn Names, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state {
            State::Working => f.write_str("works"),
            State::NotWorking => {
                f.write_str("does not work: ")?;
                self.reason.explain(names, f)
            }
            State::Unknown => {
                f.write_str("is unknown: ")?;
                self.reason.explain(names, f)
            }
        }
    }
}

display_numbered!(Fault, Reason, SideHealth);
