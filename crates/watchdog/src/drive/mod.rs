//! Drives a node by its role: sets up what the configuration asks for, runs until told to end.

mod alarms;
mod cc;
mod disk;
mod door;
mod fitness;
mod mds;
mod outside;
mod registrations;
mod replication;
mod reporter;
mod serving;
mod show;
mod specs;
mod start;
mod voters;
mod xivo;

pub use start::{RunError, run};
