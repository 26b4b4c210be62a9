//! End to end: a whole site of real processes and real sockets, seen from outside.

#![allow(unreachable_pub)]

mod client;
mod site;
mod start;
