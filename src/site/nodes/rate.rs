//! How much of one source is written down: a burst as a bad night brings, then a trickle. Who has one certificate of the
//! site, and says something else each time, must not push out of the journal what everybody else did.

use std::time::Duration;

use failover::Instant;

/// What one source may still have written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    burst: u32,
    refill: Duration,
    left: u32,
    /// Up to when what was refilled is counted in.
    at: Instant,
    hidden: u32,
}

impl Rate {
    /// Full: `burst` at once, and one more each `refill`.
    pub const fn new(burst: u32, refill: Duration) -> Self {
        Self { burst, refill, left: burst, at: Instant::ORIGIN, hidden: 0 }
    }

    /// Takes one, if one is left; then returns how many were refused since the last that was not.
    pub fn take(&mut self, now: Instant) -> Option<u32> {
        let more = u32::try_from(now.since(self.at).as_micros() / self.refill.as_micros().max(1)).unwrap_or(u32::MAX);
        if self.left.saturating_add(more) >= self.burst {
            (self.left, self.at) = (self.burst, now);
        } else {
            // In whole refills, so that no fraction of one is lost however often it is asked.
            (self.left, self.at) = (self.left + more, self.at + self.refill * more);
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.hidden = self.hidden.saturating_add(1);
            return None;
        };
        self.left = left;
        Some(std::mem::take(&mut self.hidden))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_one_comes_through_at_a_time_and_says_how_many_did_not() {
        let at = |ms: u64| Instant::ORIGIN + Duration::from_secs(1000) + Duration::from_millis(ms);
        let mut rate = Rate::new(3, Duration::from_secs(10));
        assert_eq!([0, 1, 2, 3, 9_999].map(|ms| rate.take(at(ms))), [Some(0), Some(0), Some(0), None, None]);
        assert_eq!([10_000, 10_001, 19_000].map(|ms| rate.take(at(ms))), [Some(2), None, None]);
        assert_eq!(rate.take(at(20_001)), Some(2));
        assert_eq!([90_000, 90_000, 90_000, 90_000].map(|ms| rate.take(at(ms))), [Some(0), Some(0), Some(0), None]);
    }
}
