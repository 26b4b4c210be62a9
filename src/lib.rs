//! `bascule`: the Edge front door of a XiVO site.
//!
//! Imports go down this list of rooms, never up: [`run`], [`cli`], [`engine`], [`traffic`], [`site`], [`telemetry`],
//! [`live`], [`admin`], [`config`].
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests measure, and wait for real threads and processes"))]

pub mod admin;
pub mod cli;
pub mod config;
pub mod engine;
pub mod live;
pub mod run;
pub mod site;
pub mod telemetry;
pub mod traffic;
