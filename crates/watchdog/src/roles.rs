//! Drives a node by its role: sets up what the configuration asks for, runs until told to end.

mod alarms;
mod cc;
mod mds;
mod mistakes;
mod reporter;
mod serving;
#[cfg(test)]
mod simulation;
pub(crate) mod specs;
mod start;
mod status;
pub(crate) mod times;
mod xivo;

pub use start::{RunError, run};
