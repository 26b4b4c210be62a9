//! The node's clock: it goes on while the machine is suspended, as the promises of others do.

use failover::Instant;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Longest sleep at a time: a suspended machine's timers stand still, its clock does not.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Returns the time since the machine's boot, suspension included: the same in every process of one boot.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let micros = u64::try_from(time.tv_nsec).unwrap_or_default() / 1_000;
    Instant::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}

/// Sleeps until `at`, and no longer than a suspended machine's awakening plus a second.
pub async fn sleep_until(at: Instant) {
    loop {
        let left = at.since(now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleeping_until_a_time_wakes_at_it_or_after() {
        let at = now() + Duration::from_millis(20);
        sleep_until(at).await;
        assert!(now() >= at);
        sleep_until(at).await;
    }

    #[test]
    fn the_clock_counts_from_the_boot_in_microseconds() {
        let uptime: f64 = std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
        let now = now().as_micros() as f64 / 1e6;
        assert!((now - uptime).abs() < 5.0, "{now} s against {uptime} s");
    }
}
