//! Points in time, as a driver's monotonic clock counts them, and durations as operators read them.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

/// A point in monotonic time: microseconds since an origin of the driver's choice.
///
/// Arithmetic saturates: adding never wraps, and the time since a later instant is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The driver's origin of time.
    pub const ORIGIN: Self = Self(0);

    /// Makes an instant from microseconds since the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the time that passed since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Returns this instant moved back by `duration`, at most to the origin.
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Shows a duration as operators write it: `800 ms`, `1.5 s`, `10 min`, `2 h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = micros(self.0);
        let (unit, name) = match micros {
            0 => return f.write_str("0 s"),
            1..1_000 => (1, "us"),
            1_000..1_000_000 => (1_000, "ms"),
            1_000_000..120_000_000 => (1_000_000, "s"),
            120_000_000..7_200_000_000 => (60_000_000, "min"),
            _ => (3_600_000_000, "h"),
        };
        // One decimal is all a reader needs; integers stay integers.
        let tenths = micros / (unit / 10).max(1) % 10;
        if unit > 1 && tenths > 0 {
            write!(f, "{}.{tenths} {name}", micros / unit)
        } else {
            write!(f, "{} {name}", micros / unit)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let end = Instant::from_micros(u64::MAX);
        assert_eq!(end + Duration::from_secs(1), end);
        assert_eq!(Instant::ORIGIN + Duration::MAX, end);
        assert_eq!(Instant::ORIGIN.since(end), Duration::ZERO);
        assert_eq!(Instant::ORIGIN.saturating_sub(Duration::from_secs(1)), Instant::ORIGIN);
    }

    #[test]
    fn spans_read_as_operators_write_them() {
        for (micros, text) in [
            (0, "0 s"),
            (7, "7 us"),
            (800_000, "800 ms"),
            (1_000_000, "1 s"),
            (1_550_000, "1.5 s"),
            (90_000_000, "90 s"),
            (600_000_000, "10 min"),
            (5_400_000_000, "90 min"),
            (7_200_000_000, "2 h"),
        ] {
            assert_eq!(Span(Duration::from_micros(micros)).to_string(), text);
        }
        assert_eq!(Instant::from_micros(1_000_042).to_string(), "1.000042 s");
    }
}
