//! Whether a node's disk is fast enough for its duty: a start waits for a write, and a lease for nothing.

use alloc::vec::Vec;
use core::time::Duration;

use super::machine::{Duty, Phase};
use super::output::Output;
use crate::time::Instant;
use crate::traps::{Trap, made};

/// A disk that was slow is well again after so many writes in time: one alone is luck.
const RISE: u8 = 3;

/// What writes of the memory told of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Disk {
    /// How long the last write that came too late took, until `RISE` were in time.
    pub(super) slow: Option<Duration>,
    /// Writes in time since then.
    pub(super) in_time: u8,
    /// Since when all were in time.
    pub(super) well_since: Option<Instant>,
    /// When the newest one in time ended.
    pub(super) proven_at: Option<Instant>,
    /// When a write is tried next.
    pub(super) look: Instant,
}

impl Disk {
    pub(super) const fn new(now: Instant) -> Self {
        Self { slow: None, in_time: 0, well_since: None, proven_at: None, look: now }
    }
}

impl Duty {
    /// Takes in how long a write of the memory took.
    pub(super) fn wrote(&mut self, took: Duration) {
        let disk = &mut self.ready.disk;
        if took > self.settings.slowest_write() {
            *disk = Disk { slow: Some(took), in_time: 0, well_since: None, proven_at: None, ..*disk };
            return;
        }
        disk.in_time = disk.in_time.saturating_add(1);
        if disk.in_time >= RISE {
            disk.slow = None;
        }
        // The hold-down counts from the first write in time, though after a slow one it takes `RISE` of them to be
        // well.
        disk.well_since = disk.well_since.or(Some(self.now));
        disk.proven_at = Some(self.now);
    }

    /// Has a write tried when it is time, while nothing else shows how the disk is: who serves writes next to nothing, and
    /// ends no calls for its disk.
    pub(super) fn prove_disk(&mut self, outputs: &mut Vec<Output>) {
        if self.phase == Phase::Inactive && self.now >= self.ready.disk.look {
            self.ready.disk.look = self.now + self.settings.disk_watch;
            outputs.push(Output::ProveDisk);
        }
    }

    /// Tells how long the last write took that came too late for a start, if the disk is not well again since.
    pub fn slow_disk(&self) -> Option<Duration> {
        self.ready.disk.slow.filter(|_| !made(Trap::SlowDiskIsWell))
    }

    /// Since when the disk is known to be fast enough, if a write has proven it lately: Standby is asked to stop only by a
    /// Main that can write down that it starts.
    pub(super) fn disk_is_well_since(&self) -> Option<Instant> {
        if made(Trap::SlowDiskIsWell) {
            return Some(Instant::ORIGIN);
        }
        // A proof counts for twice the pause between looks: one write that is under way must not unsettle a Main whose
        // disk is well.
        let lately = self.settings.disk_watch.saturating_mul(2);
        let proven =
            self.slow_disk().is_none() && self.ready.disk.proven_at.is_some_and(|at| self.now.since(at) <= lately);
        self.ready.disk.well_since.filter(|_| proven)
    }
}
