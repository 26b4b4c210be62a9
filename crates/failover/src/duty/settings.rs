//! How a duty decides: what is configured, and what operators change while it runs.

use alloc::vec::Vec;
use core::time::Duration;

use crate::lease::{Timing, Violation};
use crate::side::Side;

/// What is configured for one XiVO node; the same for its whole life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The side that the node belongs to.
    pub side: Side,
    /// The protocol's times, which all voters should share.
    pub timing: Timing,
    /// Whether there is a witness. Without one the node is unguarded whenever the peer is silent.
    pub witness: Witness,
    /// What a node does that finds itself alone, before both agreed that the witness is out.
    pub alone: Alone,
    /// Whether an operator's wish handed over by the Edge is followed.
    pub requests: Requests,
    /// How long Main must have been fit, and in touch with Standby, before that stops for it.
    pub hold_down: Duration,
    /// The longest `hold_down` that activations that failed lead to, and how long one must last to be none of them. As
    /// long as `hold_down`: they lead to nothing.
    pub hold_down_limit: Duration,
    /// The pause before a failed start or stop is tried again; doubled each time.
    pub retry: Duration,
    /// Where the pause, doubled by each failure, stops growing.
    pub retry_limit: Duration,
    /// The fence is read back, and mended, this often: others on the node may remove it at any time.
    pub fence_watch: Duration,
    /// While the node is inactive a write is tried this often: a disk that became slow must be known before a start hangs
    /// on it.
    pub disk_watch: Duration,
    /// What operators may change, as configured.
    pub wishes: Wishes,
}

impl Settings {
    /// Returns the settings of a node of this side with a witness and the default times.
    pub const fn new(side: Side) -> Self {
        Self {
            side,
            timing: Timing::DEFAULT,
            witness: Witness::Configured,
            alone: Alone::Wait,
            requests: Requests::Refuse,
            hold_down: Duration::from_secs(60),
            hold_down_limit: Duration::from_secs(3_600),
            retry: Duration::from_secs(1),
            retry_limit: Duration::from_secs(30),
            fence_watch: Duration::from_secs(1),
            disk_watch: Duration::from_secs(10),
            wishes: Wishes { mode: Mode::Automatic, failback: Failback::Auto, frozen: false, choice: Choice::None },
        }
    }

    /// Checks every relation between the times.
    ///
    /// # Errors
    /// Returns all that do not hold.
    pub fn validate(&self) -> Result<(), Vec<Violation>> {
        let mut found = self.timing.validate().err().unwrap_or_default();
        let moment = Duration::from_millis(1);
        for (field, value, least, least_field) in [
            ("retry", self.retry, moment, "1 ms"),
            ("retry_limit", self.retry_limit, self.retry, "retry"),
            // A limit as short as `hold_down` is allowed, and switches the damping off: nothing is then longer than the
            // hold-down itself.
            ("hold_down_limit", self.hold_down_limit, self.hold_down, "hold_down"),
        ] {
            if value < least {
                found.push(Violation { field, value, least, least_field });
            }
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// Returns the longest write that is in time: a start waits for one, and the lease must last for the start's order, too.
    pub fn slowest_write(&self) -> Duration {
        self.timing.lease / 2
    }

    /// Returns the pause before an attempt after so many failed ones.
    pub(super) fn pause_after(&self, failed: u8) -> Duration {
        let factor = 1u32.checked_shl(u32::from(failed.saturating_sub(1))).unwrap_or(u32::MAX);
        self.retry.saturating_mul(factor).min(self.retry_limit)
    }
}

/// Whether there is a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Witness {
    /// The Edge votes: two of three decide.
    Configured,
    /// There is none: the nodes decide between themselves, unguarded after a cut.
    None,
}

crate::closed_set! {
    /// What a node does that finds itself alone: the witness and the peer fell silent before both nodes agreed on the former.
    pub enum Alone {
        /// It waits: it may be the one that is cut off.
        Wait => "wait",
        /// It serves, unguarded, while its anchors answer.
        Serve => "serve",
    }

    /// Who decides that the node serves.
    pub enum Mode {
        /// The protocol decides that the node serves.
        Automatic => "automatic",
        /// An operator, through the protocol's gates.
        Manual => "manual",
    }

    /// When Standby stops for a Main that is back.
    pub enum Failback {
        /// As soon as Main has been fit, and in touch with Standby, for its hold-down.
        Auto => "auto",
        /// The same, but only in the configured window.
        Window => "window",
        /// When an operator says so.
        Manual => "manual",
    }

    /// What an operator chose for a node.
    pub enum Choice {
        /// No operator chose anything that still binds.
        None => "none",
        /// It shall serve: a manual node wants, a Standby does not stop for Main.
        Serve => "serve",
        /// It shall leave the serving to its peer, as long as that is there and fit and takes over; once that has served and
        /// stops, this is over.
        StepBack => "step_back",
    }
}
crate::spelled!(Alone, Mode, Failback, Choice);

/// Whether an operator's wish handed over by the Edge is followed. A machine in the DMZ that is taken must not own the PBX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Requests {
    /// By the node's own rules.
    Accept,
    /// No wish of the Edge's is followed: a DMZ must not own the PBX.
    Refuse,
}

/// What operators change while the node runs; kept across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Wishes {
    /// Who decides that the node serves.
    pub mode: Mode,
    /// When Standby stops for a Main that is back.
    pub failback: Failback,
    /// Whether automatic starts and failback are forbidden. A node that must stop still stops.
    pub frozen: bool,
    /// What an operator chose for this node.
    pub choice: Choice,
}

/// Whether it is time for a failback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// The clock stands within the window: failback may begin.
    Open,
    /// The clock stands outside it: failback waits.
    Closed,
}
