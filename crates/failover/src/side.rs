//! The two halves of a site.

use core::fmt;
use core::ops::{Index, IndexMut};
use core::str::FromStr;

/// One half of the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The half that serves when all is well.
    Main,
    /// The half that takes over.
    Standby,
}

impl Side {
    /// Both sides; Main first, as people name them.
    pub const BOTH: [Self; 2] = [Self::Main, Self::Standby];

    /// Returns the side that this one is not.
    pub const fn other(self) -> Self {
        match self {
            Self::Main => Self::Standby,
            Self::Standby => Self::Main,
        }
    }

    /// Returns the side's name, as configuration and logs spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Standby => "standby",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Side {
    type Err = UnknownSide;

    fn from_str(text: &str) -> Result<Self, UnknownSide> {
        Self::BOTH.into_iter().find(|side| side.name() == text).ok_or(UnknownSide)
    }
}

/// A text that names no side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownSide;

impl fmt::Display for UnknownSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a side is main or standby")
    }
}

impl core::error::Error for UnknownSide {}

/// One value for each side, found by the side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PerSide<T> {
    /// The value that belongs to Main.
    pub main: T,
    /// The value that belongs to Standby.
    pub standby: T,
}

impl<T> Index<Side> for PerSide<T> {
    type Output = T;

    fn index(&self, side: Side) -> &T {
        match side {
            Side::Main => &self.main,
            Side::Standby => &self.standby,
        }
    }
}

impl<T> IndexMut<Side> for PerSide<T> {
    fn index_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Main => &mut self.main,
            Side::Standby => &mut self.standby,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_side_reads_back_what_it_writes() {
        for side in Side::BOTH {
            assert_eq!(side.to_string().parse(), Ok(side));
            assert_eq!(side.other().other(), side);
        }
        assert_eq!("Main".parse::<Side>(), Err(UnknownSide));
    }
}
