//! Spans of time as whole milliseconds, for those who are told of them, and for the disk.

/// Of what is needed or was promised: never less than that. A promise that lasts shorter than what is done on it, or than
/// what was told, would let two nodes serve.
pub(crate) mod rounded_up {
    use core::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

/// Of what a voter promises to the asker: never more than that, for the same reason.
pub(crate) mod rounded_down {
    use core::time::Duration;

    use serde::Serializer;

    pub(crate) use super::rounded_up::deserialize;

    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }
}
