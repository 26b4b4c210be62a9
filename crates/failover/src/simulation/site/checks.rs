//! The promises, checked after everything that happens, and what must be once all is healed.

use alloc::string::String;
use core::time::Duration;
use std::format;

use super::edge::EVIDENCE;
use super::net::{EDGE, GOOD};
use super::node::Gate;
use super::world::Site;
use crate::duty::Explanation;
use crate::health::Status;
use crate::switch::{Kind, Move};
use crate::{Side, switch};

/// A fence that somebody removed is back within so long: the look, and the delay of a busy machine.
const LOOKED_AT: Duration = Duration::from_millis(1_100);

/// Seconds without service that a failback costs at most: the stop, the start and their verifications.
const UNSERVED: u64 = 10;
/// Starts once a node is active and all is mended: the other one's at a failback, and what a wish of before is worth.
const STARTS: usize = 2;

impl Site {
    pub(super) fn check(&mut self) {
        let now = self.now;
        let serves = Side::BOTH.map(|side| self.xivos[side].serves(now));
        // One that lost its watchdog while it was unguarded shows it, too: nothing else is known of it.
        let unguarded = Side::BOTH.map(|side| {
            let xivo = &self.xivos[side];
            self.is_just_removed(side)
                || xivo.gate == Gate::Open
                || xivo.duty.is_some_and(|duty| duty.report().unguarded)
        });
        if serves == [true; 2] && unguarded == [false; 2] {
            self.breaks("W1: both nodes serve", Side::BOTH.map(|side| self.xivos[side].duty));
        }
        for side in Side::BOTH {
            let meant = matches!(self.xivos[side].status(), Some(Status::Starting | Status::Active));
            if meant || serves[side as usize] {
                self.xivos[side].served_at = now;
            }
            if !self.is_well(side) {
                self.ill_at[side] = now;
            }
            if self.is_closed_and_serves(side) {
                self.breaks("W2: a node goes on although its kernel lets nobody in", self.xivos[side].duty);
            }
        }
    }

    /// Whether somebody removed a node's fence, and its watchdog has not had the time to look; without one nobody looks.
    fn is_just_removed(&self, side: Side) -> bool {
        let xivo = &self.xivos[side];
        let Gate::Removed(at) = xivo.gate else { return false };
        xivo.duty.is_none() || self.now < at.max(self.paused_until[side as usize]) + LOOKED_AT
    }

    /// Whether a node's watchdog has had the time to see that the kernel has closed its fence, and goes on.
    fn is_closed_and_serves(&self, side: Side) -> bool {
        let xivo = &self.xivos[side];
        let (Gate::Until(until), Some(Status::Starting | Status::Active)) = (xivo.gate, xivo.status()) else {
            return false;
        };
        let awake = self.now >= self.paused_until[side as usize] + LOOKED_AT;
        // Who takes over knows of no permit that failed before, and who becomes unguarded asks for another: so long they try.
        let timing = xivo.settings.timing;
        awake && xivo.clock.read(self.now) >= until + timing.lease + timing.pause + LOOKED_AT
    }

    /// Whether nothing at all ails a side, as seen from the Edge.
    fn is_well(&self, side: Side) -> bool {
        let (xivo, cc) = (side as usize, 2 + side as usize);
        let active = self.xivos[side].status() == Some(Status::Active)
            && self.ccs[side].runs
            && self.ccs[side].follower.is_some_and(|cc| cc.status() == Status::Active);
        active
            && [xivo, cc].iter().all(|host| {
                let reached = self.links[EDGE][*host] == GOOD && self.links[*host][EDGE] == GOOD;
                reached && self.powered[*host] && self.paused_until[*host] <= self.now
            })
    }

    pub(super) fn moved(&mut self, step: &Move, epoch: u64) {
        self.moves += 1;
        if step.epoch != epoch + 1 {
            self.breaks("E4: the switch epoch does not grow by one", (epoch, *step));
        }
        let well_for = self.now.since(self.ill_at[step.from]);
        if step.kind != Kind::Planned && well_for > EVIDENCE {
            self.breaks("E1: a side that works is left", (well_for, *step));
        }
    }

    /// The one node that is active, while the other does not serve.
    fn one_active(&self) -> Option<Side> {
        let now = self.now;
        let alone = |side: &Side| {
            let (xivo, other) = (&self.xivos[*side], &self.xivos[side.other()]);
            xivo.status() == Some(Status::Active) && xivo.serves(now) && !other.serves(now)
        };
        Side::BOTH.into_iter().find(alone)
    }

    /// W2: one node is active within so long. A failback may follow.
    pub(super) fn expect_active(&mut self, within: Duration) {
        let end = self.now + within;
        let mut seen = false;
        while self.now < end && self.broken.is_none() {
            self.run(Duration::from_secs(1));
            seen |= self.one_active().is_some();
        }
        if !seen {
            self.breaks("W2: not exactly one node is active", self.explanations());
        }
    }

    /// W2: while nothing is broken any more somebody serves, but for a failback, and no node starts again and again.
    pub(super) fn expect_calm(&mut self, time: Duration) {
        let (starts, mut unserved) = (self.starts, 0);
        for _ in 0..time.as_secs() {
            self.run(Duration::from_secs(1));
            unserved += u64::from(self.one_active().is_none());
        }
        let starts = self.starts - starts;
        self.calm = (self.calm.0.max(unserved), self.calm.1.max(starts));
        if unserved > UNSERVED {
            self.breaks("W2: nobody serves for too long beside nodes that can", (unserved, self.explanations()));
        }
        if starts > STARTS {
            self.breaks("W2: nodes start again and again", (starts, self.explanations()));
        }
    }

    fn explanations(&self) -> [Option<Explanation>; 2] {
        Side::BOTH.map(|side| self.xivos[side].duty.map(|duty| duty.explain()))
    }

    /// The whole site follows the node that is active: at once, or, if a failback is under way, when that is over. Whose
    /// activations failed may come back at any time.
    pub(super) fn expect_all_follow(&mut self, within: Duration) {
        let end = self.now + within;
        while self.what_does_not_follow().is_some() && self.now < end && self.broken.is_none() {
            self.run(Duration::from_secs(1));
        }
        if let Some((promise, how)) = self.what_does_not_follow() {
            self.breaks(promise, how);
        }
    }

    fn what_does_not_follow(&self) -> Option<(&'static str, String)> {
        let Some(active) = self.one_active() else {
            return Some(("W2: not exactly one node is active", format!("{:?}", self.explanations())));
        };
        for side in Side::BOTH {
            let expected = if side == active { Status::Active } else { Status::Inactive };
            let cc = self.ccs[side].follower.map(|cc| cc.status());
            if cc != Some(expected) {
                let how = format!("{:?}", (side, active, self.ccs[side].follower));
                return Some(("W5: a CC does not follow its XiVO", how));
            }
        }
        let switch: &switch::Switch = &self.edge.switch;
        let how = || format!("{active}, {}", switch.explain(self.edge.clock.read(self.now)));
        (switch.live() != active).then(|| ("E2: the Edge is not live where the site works", how()))
    }
}
