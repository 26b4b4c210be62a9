//! The one clock of the engine: monotonic for the machines, wall time for people.

use std::time::Duration;

use failover::Instant;
use tokio::time::Instant as TokioInstant;

use crate::admin::api::Time;

/// Where the machines' time begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    origin: TokioInstant,
    wall: Time,
}

impl Clock {
    /// A clock that starts now.
    pub(super) fn start() -> Self {
        Self { origin: TokioInstant::now(), wall: Time::now() }
    }

    /// When it was started.
    pub(super) fn started(&self) -> Time {
        self.wall
    }

    /// Now, for the machines.
    pub(super) fn now(&self) -> Instant {
        Instant::ORIGIN + self.origin.elapsed()
    }

    /// When to wake for a machine's instant.
    pub(super) fn wake(&self, at: Instant) -> TokioInstant {
        self.origin + at.since(Instant::ORIGIN)
    }

    /// A machine's instant in wall time, reckoned from now: right even when the wall clock was set meanwhile.
    pub(super) fn wall(&self, at: Instant) -> Time {
        let now = self.now();
        let ago = i64::try_from(now.since(at).as_millis()).unwrap_or(i64::MAX);
        let ahead = i64::try_from(at.since(now).as_millis()).unwrap_or(0);
        Time::from_unix_ms(Time::now().unix_ms().saturating_sub(ago).saturating_add(ahead))
    }

    /// How long ago a wall time was; zero if it lies ahead.
    pub(super) fn age(at: Time) -> Duration {
        Duration::from_millis(u64::try_from(Time::now().ms_since(at)).unwrap_or(0))
    }
}
