//! End to end: a whole site of real processes and real sockets, seen from outside.

#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, reason = "everything here is a test")]

mod browser;
mod client;
mod shared;
mod site;
mod socket;
mod start;
mod websocket;
