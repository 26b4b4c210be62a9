//! Pure decision machines.
#![no_std]
#![forbid(unsafe_code)]

/// One half of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The half that serves when all is well.
    Main,
    /// The half that stands by.
    Standby,
}
