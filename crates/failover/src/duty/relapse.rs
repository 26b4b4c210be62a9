//! Activations that come to nothing: how many in a row, and for how long Standby does not stop for such a Main.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::machine::Duty;
use super::output::Output;
use super::running::Why;
use super::settings::Settings;
use crate::time::{Instant, Span};
use crate::traps::{Trap, made};

/// What became of a node's activations since it last served for long.
///
/// Each is on trial from its start until it has served for `hold_down_limit`. One that ends before, and not by an operator
/// or for Main, has failed, whatever ended it: a start that was not carried out or not verified, telephony that died, a host
/// that crashed, a link that flaps. Who counted only some of them would fail back for the others for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Relapse {
    /// How many activations have failed since the last good time.
    failed: u8,
    /// The present one is on trial. On the disk it counts from its start: a host that dies with it could not write it down.
    on_trial: bool,
    /// When the present one, verified, has served for long enough.
    good_at: Option<Instant>,
    /// When the last one that failed was over, or this machine began after one.
    ended_at: Option<Instant>,
    /// How that one ended; of one before this machine began nobody knows.
    why: Option<Why>,
}

/// Activations that failed, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Relapses {
    /// So many in a row, none of which served for long.
    pub failed: u8,
    /// How the last one ended, if this machine saw it.
    pub why: Option<Why>,
    /// How long the node must have been fit and in touch since, before Standby stops for it.
    pub hold_down: Duration,
}

impl fmt::Display for Relapses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failed {
            1 => f.write_str("its last activation failed")?,
            failed => write!(f, "its last {failed} activations failed")?,
        }
        if let Some(why) = self.why {
            write!(f, " ({why})")?;
        }
        write!(f, ", hold-down {}", Span(self.hold_down))
    }
}

impl Relapse {
    pub(super) const fn new(failed: u8, now: Instant) -> Self {
        // The disk tells how many failed and not when: the hold-down counts from here, on the safe side.
        let ended_at = if failed > 0 { Some(now) } else { None };
        Self { failed, on_trial: false, good_at: None, ended_at, why: None }
    }

    /// What is kept on the disk: the one on trial has failed until it proves otherwise.
    pub(super) fn count(&self) -> u8 {
        let trial = self.on_trial && !made(Trap::UncountedStart);
        self.failed.saturating_add(u8::from(trial))
    }

    pub(super) const fn begins(&mut self) {
        self.on_trial = true;
        self.good_at = None;
    }

    /// The services are verified: the time of trial counts from here.
    pub(super) fn serves(&mut self, now: Instant, long: Duration) {
        self.good_at = self.on_trial.then(|| now + long);
    }

    /// An activation goes on that began under another watchdog.
    pub(super) fn goes_on(&mut self, now: Instant, long: Duration) {
        if self.failed > 0 {
            // The disk counts the present activation as failed, as it was on trial when that was written: it is on
            // trial again, and must not count twice.
            *self = Self { failed: self.failed - 1, on_trial: true, ended_at: None, ..*self };
            self.serves(now, long);
        }
    }

    /// The present activation ends. What an operator wished, or Main's return, is no failure of it.
    pub(super) fn ends(&mut self, why: Why) {
        if self.on_trial && !why.is_wished() {
            self.failed = self.failed.saturating_add(1);
            self.why = Some(why);
        }
        (self.on_trial, self.good_at) = (false, None);
    }

    /// It is over: the hold-down counts from here.
    pub(super) const fn is_over(&mut self, now: Instant) {
        if self.failed > 0 {
            self.ended_at = Some(now);
        }
    }

    /// Served for long, or an operator knows better: the past no longer counts.
    pub(super) const fn forget(&mut self) {
        *self = Self { failed: 0, on_trial: false, good_at: None, ended_at: None, why: None };
    }

    /// The time from which a hold-down counts at the earliest.
    pub(super) fn ended_at(&self) -> Option<Instant> {
        self.ended_at.filter(|_| !made(Trap::RelapseForgiven))
    }

    #[cfg(test)]
    pub(super) const fn parts(&self) -> (u8, bool, Option<Instant>, Option<Instant>) {
        (self.failed, self.on_trial, self.good_at, self.ended_at)
    }
}

impl Duty {
    /// Returns the activations that failed since the node last served for long; nothing if none did.
    pub fn relapses(&self) -> Option<Relapses> {
        let Relapse { failed, why, .. } = self.activation.relapse;
        (failed > 0).then(|| Relapses { failed, why, hold_down: self.hold_down() })
    }

    /// How long this node must have been fit and in touch before Standby stops for it: doubled for each activation that
    /// failed. Without a limit a Main that cannot start would be away for ever; without the doubling it takes a healthy
    /// Standby down again and again.
    pub(super) fn hold_down(&self) -> Duration {
        let (failed, Settings { hold_down, hold_down_limit, .. }) = (self.activation.relapse.failed, self.settings);
        if failed == 0 || made(Trap::NoDamping) {
            return hold_down;
        }
        // Without a hold-down there is nothing to double.
        let least = hold_down.max(self.settings.timing.promise);
        let factor = 1u32.checked_shl(u32::from(failed)).unwrap_or(u32::MAX);
        // The limit may be shorter than what is doubled, but never takes away from the hold-down that is configured.
        least.saturating_mul(factor).min(hold_down_limit).max(hold_down)
    }

    /// Forgets what failed once the node has served for long.
    pub(super) fn acquit(&mut self, outputs: &mut Vec<Output>) {
        if self.activation.relapse.good_at.is_some_and(|at| at <= self.now) {
            self.activation.relapse.forget();
            outputs.push(Output::Persist(self.memory()));
        }
    }
}
