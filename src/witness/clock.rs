//! The clock promises are kept by: it goes on while the machine sleeps, as the nodes' clocks do.

use failover::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Microseconds since the machine started, its sleep included.
pub(super) fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000;
    Instant::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}
