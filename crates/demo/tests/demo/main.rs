//! The demo and its sides, as processes.
#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to clippy")]
#![allow(clippy::disallowed_methods, reason = "real programs take real time")]

mod lab;
mod process;
mod side;
mod sip;
mod site;
mod sockets;
