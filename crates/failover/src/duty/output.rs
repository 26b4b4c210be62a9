//! What a duty tells its driver to do, to keep and to say.

use core::fmt;
use core::time::Duration;

use super::act::{Act, Refusal};
use super::ask::RemoteVoter;
use super::guard::{Guard, Unguarded};
use super::machine::Memory;
use super::running::Why;
use crate::health::Status;
use crate::lease::{Answer, Request};
use crate::time::{Instant, Span};

/// What a driver must do for a [`Duty`](super::Duty), in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Keep this across restarts, on the disk before anything that follows is done.
    Persist(Memory),
    /// Answer the peer's request, once what was to be kept before is on the disk.
    Answer(Answer),
    /// Ask a voter, and hand `sent` back with its answer.
    Ask {
        /// Who is asked: the peer or the witness.
        voter: RemoteVoter,
        /// The request; nobody waits for its answer.
        request: Request,
        /// When, on this node's clock: a lease counts from here.
        sent: Instant,
    },
    /// Let phones reach the node, until then at the latest: the kernel ends it even if the watchdog cannot. That it was done
    /// is reported ([`Event::Permitted`](super::Event::Permitted)).
    Permit {
        /// The end; none for an unguarded node.
        until: Option<Instant>,
    },
    /// Start the services, check them, and report the outcome.
    Start {
        /// The duty epoch that begins with this start.
        epoch: u64,
        /// Why it may start, for people.
        reason: StartReason,
    },
    /// Make the node unreachable for phones, and report when that is verified. Comes before all else.
    Fence(Why),
    /// Stop the services in order, check, and report the outcome.
    Stop,
    /// Kill the process group of the running command; its outcome is reported all the same.
    Kill,
    /// The fence failed: use the last resort, and report when it is verified.
    HardFence {
        /// How long the fence was waited for.
        waited: Duration,
    },
    /// Read the fence back, and mend what somebody else changed. What was verified once does not stay so by itself: whoever
    /// flushes the kernel's rule set opens a node whose stop hangs, for as long as nobody looks.
    VerifyFence {
        /// The state in which the fence must be found.
        phones: Phones,
    },
    /// Write the memory again, and report how long that took: it shows whether the disk is fast enough for a start.
    ProveDisk,
    /// What the node does, or how it is guarded, changed.
    Changed {
        /// What it did before; equal to `status` when the guard alone changed.
        from: Status,
        /// What it does from now on.
        status: Status,
        /// How it is guarded, if it serves.
        guard: Option<Guard>,
    },
    /// Both nodes serve, by words that are newer than this node's start.
    TwoActives,
    /// An operator's act was carried out.
    Acted(Act),
    /// An operator's act was not carried out.
    Refused {
        /// The act that was asked for.
        act: Act,
        /// The rule that stood against it.
        reason: Refusal,
    },
}

/// Whether phones may reach a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phones {
    /// They may, for as long as was permitted.
    LetIn,
    /// No phone may get in; that must be found so in the kernel.
    KeptOut,
}

/// By which right a node starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartReason {
    /// It has its own vote and this one.
    Granted {
        /// The voter that granted the second vote.
        by: RemoteVoter,
    },
    /// It may serve without a majority.
    Unguarded(Unguarded),
}

impl fmt::Display for StartReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted { by } => write!(f, "it has its own vote and that of {by}"),
            Self::Unguarded(why) => write!(f, "UNGUARDED: {why}"),
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Persist(memory) => {
                write!(f, "remember campaign {} and that {}", memory.campaign, memory.vote.record)
            }
            Self::Answer(answer) => write!(f, "answer {} to the peer's {}", answer.ruling, answer.to),
            Self::Ask { voter, request, .. } => write!(f, "{} to {voter}", request.ask),
            Self::Permit { until: Some(_) } => f.write_str("let phones in until the lease is over"),
            Self::Permit { until: None } => f.write_str("let phones in without a time limit"),
            Self::Start { epoch, reason } => write!(f, "start in epoch {epoch}: {reason}"),
            Self::Fence(why) => write!(f, "fence at once: {why}"),
            Self::Stop => f.write_str("stop the services in order"),
            Self::Kill => f.write_str("kill the process group of the running command"),
            Self::HardFence { waited } => {
                write!(f, "HARD FENCE: still not fenced after {}; the votes are not released", Span(*waited))
            }
            Self::VerifyFence { phones: Phones::LetIn } => f.write_str("look whether the fence still ends the lease"),
            Self::VerifyFence { phones: Phones::KeptOut } => f.write_str("look whether the fence is still closed"),
            Self::ProveDisk => f.write_str("look whether the disk is fast enough"),
            Self::Changed { status, guard, .. } => {
                write!(f, "{status}")?;
                guard.map_or(Ok(()), |guard| write!(f, ", {guard}"))
            }
            Self::TwoActives => f.write_str("TWO ACTIVES: the peer serves too"),
            Self::Refused { act, reason } => write!(f, "refused to {act}: {reason}"),
            Self::Acted(act) => write!(f, "an operator: {act}"),
        }
    }
}
