//! Hosts, links between them, and clocks that go wrong by as much as is assumed.

use core::time::Duration;

use crate::Instant;
use crate::chance::Chance;

/// XiVO and CC of Main and of Standby, and the Edge.
pub(super) const HOSTS: usize = 5;
pub(super) const EDGE: usize = 4;

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// One direction between two hosts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Link {
    pub(super) cut: bool,
    /// How many of a hundred messages it loses.
    pub(super) loss: u64,
    /// The longest a message takes, in milliseconds.
    pub(super) delay: u64,
}

pub(super) const GOOD: Link = Link { cut: false, loss: 0, delay: 5 };

pub(super) type Links = [[Link; HOSTS]; HOSTS];

impl Link {
    /// How long a message takes, if it arrives.
    pub(super) fn carries(&self, chance: &mut Chance) -> Option<Duration> {
        let lost = self.cut || chance.percent(self.loss);
        (!lost).then(|| ms(1 + chance.below(self.delay)))
    }
}

/// A host's own clock: its origin and its rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) origin: u64,
    /// Parts per million that it is fast.
    pub(super) fast: i64,
}

impl Clock {
    pub(super) fn read(&self, now: Instant) -> Instant {
        let micros = now.as_micros();
        let gained = i128::from(micros) * i128::from(self.fast) / 1_000_000;
        Instant::from_micros(self.origin + u64::try_from(i128::from(micros) + gained).unwrap_or(0))
    }

    /// When this clock shows `local`, or a moment later.
    pub(super) fn when(&self, local: Instant) -> Instant {
        let shown = i128::from(local.as_micros().saturating_sub(self.origin));
        let micros = shown * 1_000_000 / (1_000_000 + i128::from(self.fast)) + 2;
        Instant::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}
