//! `bascule`: the Edge front door of a XiVO site.
#![forbid(unsafe_code)]

pub mod budget;
pub mod certs;
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod edge;
pub mod engine;
pub mod front;
pub mod live;
pub mod live_file;
pub mod logging;
pub mod nodes;
pub mod proxy;
pub mod route;
pub mod run;
pub mod state;
pub mod tunnel;
pub mod upgrade;
pub mod upstream;
pub mod waiting;
pub mod walk;
pub mod witness;
