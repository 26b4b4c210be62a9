//! A XiVO node: its duty, its services and the kernel's fence; and a CC.

use core::time::Duration;

use super::net::Clock;
use crate::duty::{Duty, Event, Memory, Settings};
use crate::follow::Follower;
use crate::health::Status;
use crate::lease::Timing;
use crate::{Instant, Side};

/// A XiVO node: its watchdog, services, kernel and disk.
pub(super) struct Xivo {
    pub(super) settings: Settings,
    pub(super) duty: Option<Duty>,
    /// Another with each boot of the host.
    pub(super) instance: crate::lease::Instance,
    pub(super) disk: Option<Memory>,
    /// Counts what was to be kept: a slow write that is overtaken changes nothing.
    pub(super) writes: u64,
    pub(super) clock: Clock,
    /// Grows with each death of the watchdog: what was meant for an older one is lost.
    pub(super) life: u32,
    /// From the start command until a stop is verified.
    pub(super) runs: bool,
    pub(super) gate: Gate,
    /// The kernel lets nobody in until then; and the watchdog knows.
    pub(super) refuses_until: Instant,
    pub(super) denied: bool,
    /// When its duty last was to start, and when it last served or was to.
    pub(super) started_at: Instant,
    pub(super) served_at: Instant,
    /// The number of the command under way: an older one's outcome is nobody's.
    pub(super) command: u64,
    /// How the command under way will end.
    pub(super) busy: Option<Event>,
    /// How long a write of its memory takes.
    pub(super) write: Duration,
    /// What it does with each activation.
    pub(super) flaw: Option<Flaw>,
}

/// What ails a node for ever.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Flaw {
    /// Its start command says yes, and nothing answers until the limit.
    StartFails,
    /// Telephony dies so long after it was verified.
    DiesAfter(Duration),
    /// The host crashes so long after telephony was verified, and boots again.
    CrashesAfter(Duration),
}

/// A write on a good disk.
pub(super) const WRITE: Duration = Duration::from_millis(5);

/// The kernel's fence, which ends a permit by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Gate {
    Closed,
    /// Open until then, on the node's clock.
    Until(Instant),
    /// Open for an unguarded node.
    Open,
    /// Somebody removed the fence, then.
    Removed(Instant),
}

impl Xivo {
    pub(super) fn new(side: Side, clock: Clock, timing: Timing) -> Self {
        let settings = Settings { requests: crate::duty::Requests::Accept, timing, ..Settings::new(side) };
        let vote = crate::lease::Memory { record: crate::lease::Record::Free, epoch: 0 };
        let disk = Some(Memory { vote, campaign: 0, wishes: settings.wishes, relapses: 0 });
        Self {
            settings,
            duty: None,
            instance: 0,
            disk,
            writes: 0,
            clock,
            life: 0,
            runs: false,
            gate: Gate::Closed,
            refuses_until: Instant::ORIGIN,
            denied: false,
            started_at: Instant::ORIGIN,
            served_at: Instant::ORIGIN,
            command: 0,
            busy: None,
            write: WRITE,
            flaw: None,
        }
    }

    /// Whether phones are served: services run, or start, and the kernel lets phones in.
    pub(super) fn serves(&self, now: Instant) -> bool {
        self.runs
            && match self.gate {
                Gate::Closed => false,
                Gate::Until(until) => self.clock.read(now) < until,
                Gate::Open | Gate::Removed(_) => true,
            }
    }

    pub(super) fn status(&self) -> Option<Status> {
        self.duty.map(|duty| duty.status())
    }
}

/// A CC, and what it knows of its XiVO.
pub(super) struct Cc {
    pub(super) follower: Option<Follower>,
    pub(super) life: u32,
    pub(super) runs: bool,
    pub(super) command: u64,
    /// The last plain word of its XiVO, active or inactive, that reached it.
    pub(super) word: Option<Status>,
    /// The number of the newest question.
    pub(super) asked: u64,
    /// Whether its own services failed since it was active.
    pub(super) failed: bool,
}

impl Cc {
    pub(super) const fn new() -> Self {
        Self { follower: None, life: 0, runs: false, command: 0, word: None, asked: 0, failed: false }
    }
}
