//! The Edge.

pub mod tunnel;
