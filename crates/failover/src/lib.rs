//! Pure decision machines.
#![no_std]
#![forbid(unsafe_code)]

use core::fmt;

/// Everything of one half of the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The half that serves in ordinary times.
    Main,
    /// The half that takes over.
    Standby,
}

impl Side {
    /// The opposite side.
    pub const fn other(self) -> Self {
        match self {
            Self::Main => Self::Standby,
            Self::Standby => Self::Main,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "main",
            Self::Standby => "standby",
        })
    }
}
