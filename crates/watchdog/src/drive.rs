//! Drives a node by its role: sets up what the configuration asks for, runs until told to end.

mod alarms;
mod cc;
mod disk;
mod door;
mod fitness;
mod mds;
mod mistakes;
mod outside;
mod registrations;
mod replication;
mod reporter;
mod serving;
mod show;
#[cfg(test)]
mod simulation;
pub(crate) mod specs;
mod start;
mod unfenced;
mod voters;
mod xivo;

pub use start::{RunError, run};
