//! End to end: a whole site of real processes and real sockets, seen from outside.

#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, reason = "everything here is a test")]

mod client;
mod site;
mod start;
