//! Wall time on the wire: RFC 3339, UTC, milliseconds.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const MILLISECOND: i128 = 1_000_000;
/// The years 1 to 9999 in milliseconds since 1970, as RFC 3339 writes four digits; but for the last day, which `Timestamp`
/// leaves out so that it has a local time everywhere.
const WRITTEN: RangeInclusive<i64> = -62_135_596_800_000..=253_402_207_199_999;

/// A point of wall time, whole milliseconds in UTC: what is written is what is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Timestamp);

impl Time {
    /// Returns what the wall clock shows now.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// Returns milliseconds since 1970, before it as negative ones.
    pub fn unix_ms(self) -> i64 {
        self.0.as_millisecond()
    }

    /// That many milliseconds since 1970; 1970 itself for what is not in the years 1 to 9999.
    pub fn from_unix_ms(ms: i64) -> Self {
        let written = WRITTEN.contains(&ms).then(|| Timestamp::from_millisecond(ms).ok());
        Self(written.flatten().unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// Milliseconds from `earlier` to here; negative if the clock went back.
    pub fn ms_since(self, earlier: Self) -> i64 {
        self.unix_ms().saturating_sub(earlier.unix_ms())
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let ms = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        };
        Self::from_unix_ms(ms)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

/// Not a time as RFC 3339 writes it.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is no RFC 3339 time")]
pub struct TimeError {
    text: String,
    #[source]
    source: jiff::Error,
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let time: Timestamp = text.parse().map_err(|source| TimeError { text: text.to_owned(), source })?;
        let ms = time.as_nanosecond().div_euclid(MILLISECOND);
        Ok(Self::from_unix_ms(i64::try_from(ms).unwrap_or(i64::MAX)))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_milliseconds_and_read_back_the_same() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_718_810_565_120, "2024-06-19T15:22:45.120Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (*WRITTEN.start(), "0001-01-01T00:00:00.000Z"),
            (*WRITTEN.end(), "9999-12-30T21:59:59.999Z"),
        ] {
            assert_eq!(Time::from_unix_ms(ms).to_string(), text);
            assert_eq!(text.parse::<Time>().unwrap().unix_ms(), ms, "{text}");
        }
        assert_eq!(Time::from_unix_ms(WRITTEN.end() + 1).unix_ms(), 0);
    }

    #[test]
    fn what_others_write_is_read_down_to_the_millisecond() {
        for (text, ms) in [
            ("2024-06-19T17:22:45.1209+02:00", 1_718_810_565_120),
            ("1969-12-31T23:59:59.9981Z", -2),
            ("2024-06-19T15:22:45Z", 1_718_810_565_000),
        ] {
            assert_eq!(text.parse::<Time>().unwrap().unix_ms(), ms, "{text}");
        }
        for text in ["", "now", "2024-06-19", "2024-06-19T15:22:45", "2024-13-01T00:00:00Z"] {
            let error = text.parse::<Time>().unwrap_err();
            assert!(error.to_string().contains("RFC 3339"), "{error}");
        }
    }
}
