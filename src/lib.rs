//! `bascule`: the Edge front door of a XiVO site.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod control;
pub mod logging;
pub mod state;
