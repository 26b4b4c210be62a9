//! The watchdog's hands: whatever it does to its node, and whatever it sees of it. Nothing here decides.

pub mod asterisk;
pub mod clock;
pub mod command;
pub mod echo;
pub mod fence;
mod line;
#[cfg(test)]
mod namespace;
pub mod outside;
pub mod pulse;
pub mod services;
#[cfg(test)]
mod telephone;
