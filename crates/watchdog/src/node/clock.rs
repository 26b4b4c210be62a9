//! The node's clock: it goes on while the machine is suspended, as the promises of others do.

use std::time::Duration;

use daemon::Time;
use failover::Instant;
pub use host::now;

/// Longest sleep at a time: a suspended machine's timers stand still, its clock does not.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Returns what the node's wall clock shows.
pub fn wall() -> Time {
    Time::from_unix_ms(i64::try_from(host::unix_ms()).unwrap_or(i64::MAX))
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
