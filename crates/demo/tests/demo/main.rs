//! The demo and its sides, as processes.
#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to clippy")]

mod lab;
mod process;
mod side;
mod sip;
mod site;
mod sockets;
