//! The two halves of a site.

use core::fmt;
use core::ops::{Index, IndexMut};
use core::str::FromStr;

use crate::label::Label as _;

crate::closed_set! {
    /// One half of the site.
    pub enum Side {
        /// The half that serves when all is well.
        Main => "main",
        /// The half that takes over.
        Standby => "standby",
    }
}
crate::display_label!(Side);
crate::spelled!(Side);

impl Side {
    /// Both sides; Main first, as people name them.
    pub const BOTH: [Self; 2] = [Self::Main, Self::Standby];

    /// Returns the side's name at the head of a sentence.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Main => "Main",
            Self::Standby => "Standby",
        }
    }

    /// Returns the side that this one is not.
    pub const fn other(self) -> Self {
        match self {
            Self::Main => Self::Standby,
            Self::Standby => Self::Main,
        }
    }
}

impl FromStr for Side {
    type Err = UnknownSide;

    fn from_str(text: &str) -> Result<Self, UnknownSide> {
        Self::from_label(text).ok_or(UnknownSide)
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
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_side_reads_back_what_it_writes() {
        for side in Side::BOTH {
            assert_eq!(side.to_string().parse(), Ok(side));
            assert_eq!(side.other().other(), side);
        }
        assert_eq!("Main".parse::<Side>(), Err(UnknownSide));
    }
}
