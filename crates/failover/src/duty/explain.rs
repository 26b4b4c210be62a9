//! Why a node is as it is: facts, rule, and what it waits for.

use core::fmt;
use core::time::Duration;

use super::ask::Waiting;
use super::guard::Guard;
use super::machine::Duty;
use super::relapse::Relapses;
use super::settings::{Mode, Wishes};
use crate::health::Status;
use crate::lease::Record;
use crate::names::{Explain, Names, display_numbered};
use crate::side::Side;
use crate::time::Span;

/// Everything that bears on the next decision. `Display` says it, outcome first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Explanation {
    /// The side of the node that explains itself.
    pub side: Side,
    /// What it does at this moment.
    pub status: Status,
    /// How it is guarded, if it serves.
    pub guard: Option<Guard>,
    /// Why it does not want to serve, if it does not.
    pub waiting: Option<Waiting>,
    /// Activations that failed, if any did since it last served for long.
    pub relapses: Option<Relapses>,
    /// How long its lease lasts, if it has one.
    pub lease: Option<Duration>,
    /// Whose its own vote is: another's keeps it from serving.
    pub vote: Record,
    /// The highest duty epoch it knows.
    pub epoch: u64,
    /// Whether the witness is silent to it.
    pub witness_out: bool,
    /// Whether the peer is silent to it.
    pub peer_silent: bool,
    /// What operators wish of it, over restarts too.
    pub wishes: Wishes,
}

impl Duty {
    /// Explains the present state, from facts alone: nothing is remembered of why it came so.
    pub fn explain(&self) -> Explanation {
        Explanation {
            side: self.settings.side,
            status: self.status(),
            guard: self.guard(),
            // A node that serves, starts or stops waits for nothing, though what would keep it from wanting may hold.
            waiting: if self.status() == Status::Inactive { self.waiting() } else { None },
            relapses: self.relapses(),
            lease: self.lease_until().map(|until| until.since(self.now)),
            vote: self.vote.record(),
            epoch: self.epoch(),
            witness_out: self.witness_is_out(),
            peer_silent: self.peer_is_silent(),
            wishes: self.wishes,
        }
    }
}

impl Explain for Explanation {
    fn explain(&self, _: &dyn Names, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.side, self.status)?;
        match (self.guard, self.waiting) {
            (Some(guard), _) => write!(f, ", {guard}")?,
            (None, Some(waiting)) => write!(f, " and does not want to serve: {waiting}")?,
            (None, None) if self.status == Status::Inactive => f.write_str(" and asks for the votes")?,
            (None, None) => {}
        }
        if let Some(lease) = self.lease {
            write!(f, ", on a lease of {} more", Span(lease))?;
        }
        write!(f, ". Epoch {}; {}", self.epoch, self.vote)?;
        f.write_str(if self.witness_out { "; the witness is out" } else { "" })?;
        f.write_str(if self.peer_silent { "; the peer is silent" } else { "" })?;
        if let Some(relapses) = &self.relapses {
            write!(f, "; {relapses}")?;
        }
        f.write_str(if self.wishes.mode == Mode::Manual { "; manual" } else { "" })?;
        f.write_str(if self.wishes.frozen { "; frozen." } else { "." })
    }
}

display_numbered!(Explanation);
