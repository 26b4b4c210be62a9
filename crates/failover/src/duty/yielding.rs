//! A node that an operator had step back: for how long it leaves the serving to its peer.

use alloc::vec::Vec;
use core::time::Duration;

use super::machine::{Duty, Phase};
use super::output::Output;
use super::settings::Choice;
use crate::health::Status;
use crate::lease::Report;
use crate::traps::{Trap, made};

impl Duty {
    /// Tells whether a peer that is there, or was not heard yet, may take over. Two nodes that both stepped back, or whose peer
    /// is frozen, would else wait for each other for ever.
    pub(super) fn peer_takes_over(&self) -> bool {
        let fit = self.peer.report.is_none_or(|report| report.fit);
        // Each of these ends the wait: a peer that cannot serve, that is gone, or that does not begin though it could.
        fit && !self.peer_is_silent()
            && (self.now.since(self.ready.yielded_at) < self.patience() || made(Trap::EndlessPatience))
    }

    /// Twice what a takeover takes at most.
    fn patience(&self) -> Duration {
        self.settings.timing.takeover_bound().saturating_mul(2)
    }

    /// Steps back no longer once the peer has served and stops: the newest word counts, whoever gave it. Word that is older
    /// than the peer's start, known by its epoch, does not mean that it stopped.
    pub(super) fn yield_to(&mut self, report: Report, epoch: u64, outputs: &mut Vec<Output>) {
        let serves = |report: &Report| matches!(report.status, Status::Starting | Status::Active);
        // A peer that starts, serves or stops is at it: patience counts from its newest word of that.
        if report.status != Status::Inactive {
            self.ready.yielded_at = self.now;
        }
        let stopped = self.peer.report.is_some_and(|before| serves(&before)) && !serves(&report);
        let current = epoch >= self.epoch() || made(Trap::OldWord);
        if stopped && current && self.phase == Phase::Inactive && self.wishes.choice == Choice::StepBack {
            self.wishes.choice = Choice::None;
            outputs.push(Output::Persist(self.memory()));
        }
    }
}
