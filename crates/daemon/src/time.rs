//! Wall time on the wire: RFC 3339, UTC, milliseconds.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::format_description::FormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

const WIRE: &[FormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const MILLISECOND: i128 = 1_000_000;

/// A point of wall time, whole milliseconds in UTC: what is written is what is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(OffsetDateTime);

impl Time {
    /// Returns what the wall clock shows now.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// Returns milliseconds since 1970, before it as negative ones.
    pub fn unix_ms(self) -> i64 {
        i64::try_from(self.0.unix_timestamp_nanos() / MILLISECOND).unwrap_or(i64::MAX)
    }

    /// That many milliseconds since 1970; clamped to the years 1 to 9999.
    pub fn from_unix_ms(ms: i64) -> Self {
        Self(
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * MILLISECOND)
                .unwrap_or(OffsetDateTime::UNIX_EPOCH),
        )
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
        f.write_str(&self.0.format(WIRE).map_err(|_| fmt::Error)?)
    }
}

/// Not a time as RFC 3339 writes it.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is no RFC 3339 time")]
pub struct TimeError {
    text: String,
    #[source]
    source: time::error::Parse,
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let time =
            OffsetDateTime::parse(text, &Rfc3339).map_err(|source| TimeError { text: text.to_owned(), source })?;
        let ms = time.to_offset(UtcOffset::UTC).unix_timestamp_nanos().div_euclid(MILLISECOND);
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
