//! A side on the wire: `main` or `standby`. For `#[serde(with = …)]`, because the pure crate knows no serde.

use failover::Side;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One value for each side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sides<T> {
    /// Main's.
    pub main: T,
    /// Standby's.
    pub standby: T,
}

impl<T> Sides<T> {
    /// That side's value.
    pub fn of(&self, side: Side) -> &T {
        match side {
            Side::Main => &self.main,
            Side::Standby => &self.standby,
        }
    }

    /// Makes each side's value.
    pub fn from_fn(mut make: impl FnMut(Side) -> T) -> Self {
        Self { main: make(Side::Main), standby: make(Side::Standby) }
    }
}

/// The word for a side at the head of a sentence.
pub const fn title(side: Side) -> &'static str {
    match side {
        Side::Main => "Main",
        Side::Standby => "Standby",
    }
}

/// The side with this name; the error repeats what was written.
pub fn parse(text: &str) -> Result<Side, String> {
    text.parse().map_err(|_| format!("`{text}` is no side: use main or standby"))
}

/// Writes a side's name.
pub fn serialize<S: Serializer>(side: &Side, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(side.name())
}

/// Reads a side's name.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Side, D::Error> {
    parse(&String::deserialize(from)?).map_err(de::Error::custom)
}

/// The same for a side that may be none (`null`): a shared service's.
pub mod option {
    use super::{Deserialize, Deserializer, Serializer, Side, de, parse};

    /// Writes a side's name or `null`.
    pub fn serialize<S: Serializer>(side: &Option<Side>, to: S) -> Result<S::Ok, S::Error> {
        match side {
            Some(side) => to.serialize_some(side.name()),
            None => to.serialize_none(),
        }
    }

    /// Reads a side's name or `null`.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Side>, D::Error> {
        Option::<String>::deserialize(from)?.map(|text| parse(&text).map_err(de::Error::custom)).transpose()
    }
}
