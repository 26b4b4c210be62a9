//! A node that follows its XiVO: a CC serves when its XiVO does.
//!
//! It votes on nothing. How the XiVO's status reaches it, and the commands, it leaves to the driver.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::health::Status;
use crate::time::{Instant, Span};
use crate::traps::{Trap, made};

/// Starts and stops a node's services after its XiVO (W5).
///
/// ```text
///                XiVO active                 verified
///   [ inactive ] -----------> [ starting ] -----------> [ active ]
///        ^                         |    failed: stop,       |
///        |   verified              v    and again later     | XiVO inactive
///        +-------------------- [ stopping ] <---------------+
///
///   XiVO out of sight, starting, stopping or faulty: nothing changes
/// ```
///
/// A start and a stop never overlap, and a failed one is tried again after a pause that grows.
///
/// Where services run on both sides ([`Idle::Stale`], XiVO up to 2025.10) nothing is stopped, and the start is a restart: one
/// for each activation of its XiVO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Follower {
    settings: Settings,
    now: Instant,
    phase: Phase,
    /// Whether its XiVO's last plain word was that it serves.
    wanted: bool,
    heard: Option<Instant>,
    blind: bool,
    failed: u8,
    again: Option<Instant>,
    /// Whether the last start was ordered in its XiVO's present activation: what was started before is stale.
    fresh: bool,
    /// The epoch that its XiVO told last; none: it tells none.
    epoch: Option<u64>,
    /// The epoch of the activation that it was last told of.
    served: Option<u64>,
}

/// How a follower behaves when its commands fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// A XiVO that was not heard for so long is out of sight.
    pub stale_after: Duration,
    /// The pause before a failed start or stop is tried again; doubled each time.
    pub retry: Duration,
    /// Where the pause, doubled by each failure, stops growing.
    pub retry_limit: Duration,
    /// What the services do while their XiVO is inactive.
    pub idle: Idle,
}

/// What a follower's services do while their XiVO is inactive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Idle {
    /// They are stopped, and started when it is active (XiVO nextlts).
    Stopped,
    /// They run on, know nothing of the calls to come, and are restarted when it is active (XiVO up to 2025.10).
    Stale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Inactive,
    Starting,
    Active,
    Stopping,
    /// The stop failed, and is tried again.
    StopPaused,
}

/// What happens to a [`Follower`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The deadline passed, or the driver woke up for any other reason.
    Timer,
    /// The epoch of the word that comes next: its XiVO may have been inactive between two words that say that it is active.
    Epoch(u64),
    /// Its XiVO told its status.
    Xivo(Status),
    /// The start command ended, and the services were checked.
    Started(Outcome),
    /// The stop command ended, and the services were checked.
    Stopped(Outcome),
    /// The services, which should run, do not.
    Died,
}

pub use crate::duty::{Found, Outcome};

/// What a driver must do for a [`Follower`], in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Start the services, check them, and report the outcome.
    Start,
    /// Stop them, check, and report the outcome.
    Stop,
    /// What the node does changed.
    Changed(Status),
    /// Its XiVO is out of sight: it goes on as it is.
    OutOfSight {
        /// For how long it has not been heard.
        silent: Duration,
    },
    /// Its XiVO is in sight again.
    InSight,
}

impl Follower {
    /// Starts a follower; services that run go on until its XiVO says that it is inactive.
    pub const fn new(settings: Settings, found: Found, now: Instant) -> Self {
        // Whether stale services were restarted since their XiVO became active, nobody knows after a restart of the watchdog.
        let running = !matches!(found, Found::Stopped) && matches!(settings.idle, Idle::Stopped);
        let phase = if running { Phase::Active } else { Phase::Inactive };
        // The XiVO counts as heard at the start: it gets the whole time before it is called out of sight.
        Self {
            settings,
            now,
            phase,
            wanted: running,
            heard: Some(now),
            blind: false,
            failed: 0,
            again: None,
            fresh: running,
            epoch: None,
            served: None,
        }
    }

    /// Takes in what happened and says what to do.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Output> {
        self.now = self.now.max(now);
        let (before, mut outputs) = (self.status(), Vec::new());
        match event {
            Event::Timer => {}
            Event::Epoch(epoch) => self.epoch = Some(epoch),
            Event::Xivo(status) => self.hear(status, &mut outputs),
            // Outcomes count only in the phase that asked for them: one that was given up says nothing of what runs by
            // now.
            Event::Started(outcome) if self.phase == Phase::Starting => match outcome {
                Outcome::Done => (self.phase, self.failed) = (Phase::Active, 0),
                // A start that failed may have left half of the services running: they are stopped before it is tried
                // again (W4).
                Outcome::Failed => {
                    self.fail();
                    self.end(&mut outputs);
                }
            },
            Event::Stopped(outcome) if self.phase == Phase::Stopping => match outcome {
                // A stop that works is no proof that the next start will: the pause between starts goes on growing.
                Outcome::Done => self.phase = Phase::Inactive,
                Outcome::Failed => {
                    self.fail();
                    self.phase = Phase::StopPaused;
                }
            },
            Event::Died if self.phase == Phase::Active => {
                self.fail();
                self.end(&mut outputs);
            }
            Event::Started(_) | Event::Stopped(_) | Event::Died => {}
        }
        self.follow(&mut outputs);
        let silent = self.heard.map_or(Duration::ZERO, |heard| self.now.since(heard));
        if !self.blind && silent >= self.settings.stale_after {
            self.blind = true;
            self.wanted &= !made(Trap::SilenceIsInactive);
            outputs.push(Output::OutOfSight { silent });
        }
        if self.status() != before {
            outputs.push(Output::Changed(self.status()));
        }
        outputs
    }

    /// Returns when to call [`Event::Timer`]; may change with each call of [`Follower::handle`].
    pub fn deadline(&self) -> Option<Instant> {
        let stale = self.heard.filter(|_| !self.blind).map(|heard| heard + self.settings.stale_after);
        // While a stop runs nothing waits for the pause: its end is what happens next.
        let again = self.again.filter(|_| self.phase != Phase::Stopping);
        [stale, again].into_iter().flatten().min()
    }

    /// Returns what the node does.
    pub const fn status(&self) -> Status {
        match self.phase {
            Phase::Inactive => Status::Inactive,
            Phase::Starting => Status::Starting,
            Phase::Active => Status::Active,
            Phase::Stopping | Phase::StopPaused => Status::Stopping,
        }
    }

    fn hear(&mut self, status: Status, outputs: &mut Vec<Output>) {
        self.heard = Some(self.now);
        let out_of_sight = core::mem::take(&mut self.blind);
        if out_of_sight {
            outputs.push(Output::InSight);
        }
        let stale = self.settings.idle == Idle::Stale;
        // Whatever the first word after a silence is, it does not tell what the silence hid, unless there are epochs.
        if stale && out_of_sight && self.epoch.is_none() {
            (self.wanted, self.fresh) = (false, false);
        }
        match status {
            Status::Active => {
                self.wanted = true;
                // A XiVO that was away and back unheard has calls that services of before know nothing of: its epoch tells.
                if self.epoch != self.served {
                    self.served = self.epoch;
                    self.fresh = false;
                }
            }
            Status::Inactive => (self.wanted, self.fresh) = (false, false),
            // What ran before telephony started, or stopped, will be stale; no user of it is served meanwhile in any case.
            Status::Starting | Status::Stopping if stale => (self.wanted, self.fresh) = (false, false),
            Status::Starting if made(Trap::StartingIsActive) => self.wanted = true,
            Status::Starting | Status::Stopping | Status::Faulty => {}
        }
    }

    fn follow(&mut self, outputs: &mut Vec<Output>) {
        // Before any pause is looked at: stale services are not `active` for a moment.
        if self.settings.idle == Idle::Stale
            && self.phase == Phase::Active
            && !(self.wanted && (self.fresh || made(Trap::StaleServes)))
        {
            self.phase = Phase::Inactive;
        }
        if self.again.is_some_and(|again| self.now < again) {
            return;
        }
        if self.phase != Phase::Stopping {
            self.again = None;
        }
        match (self.phase, self.wanted) {
            (Phase::Inactive, true) => {
                self.phase = Phase::Starting;
                self.fresh = true;
                outputs.push(Output::Start);
            }
            (Phase::Active, false) => self.stop(outputs),
            // The stop goes on whatever the XiVO says meanwhile: what half runs is stopped before anything is started
            // (W4).
            (Phase::StopPaused, _) => self.stop(outputs),
            _ => {}
        }
    }

    /// Ends services that failed: they are stopped before they are started again; stale ones run on, and are restarted.
    fn end(&mut self, outputs: &mut Vec<Output>) {
        match self.settings.idle {
            Idle::Stopped => self.stop(outputs),
            Idle::Stale => self.phase = Phase::Inactive,
        }
    }

    fn stop(&mut self, outputs: &mut Vec<Output>) {
        self.phase = Phase::Stopping;
        outputs.push(Output::Stop);
    }

    fn fail(&mut self) {
        self.failed = self.failed.saturating_add(1);
        let factor = 1u32.checked_shl(u32::from(self.failed - 1)).unwrap_or(u32::MAX);
        self.again = Some(self.now + self.settings.retry.saturating_mul(factor).min(self.settings.retry_limit));
    }
}

/// Tells whether two instance words, of before a restart and of now, prove it. One that could not be had proves nothing: the
/// services may answer, and be those of before.
pub fn is_restarted(before: Option<&str>, now: Option<&str>) -> bool {
    let word = |word: &str| !word.trim().is_empty();
    before.zip(now).is_some_and(|(before, now)| word(before) && word(now) && before.trim() != now.trim())
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start the services: its XiVO is active"),
            Self::Stop => f.write_str("stop the services: its XiVO is inactive, or they do not work"),
            Self::Changed(status) => write!(f, "it is {status}"),
            Self::OutOfSight { silent } => {
                write!(f, "its XiVO has been out of sight for {}; it goes on as it is", Span(*silent))
            }
            Self::InSight => f.write_str("its XiVO is in sight again"),
        }
    }
}

#[cfg(test)]
mod tests;
