//! Sides in what operators read and write.

use failover::Side;
use serde::{Deserialize, Deserializer, Serialize, de};

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

    /// Makes each side's value, Main's first.
    pub fn from_fn(mut make: impl FnMut(Side) -> T) -> Self {
        Self { main: make(Side::Main), standby: make(Side::Standby) }
    }
}

/// The side with this name.
///
/// # Errors
/// The text is no side's name; the message repeats it and shows both.
pub fn parse(text: &str) -> Result<Side, String> {
    text.parse().map_err(|_| format!("`{text}` is no side: use main or standby"))
}

/// Reads a side's name out of an operator's order.
///
/// # Errors
/// The order holds no side's name.
pub fn named<'de, D: Deserializer<'de>>(from: D) -> Result<Side, D::Error> {
    parse(&String::deserialize(from)?).map_err(de::Error::custom)
}
