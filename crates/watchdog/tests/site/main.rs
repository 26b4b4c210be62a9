//! Real watchdogs, real connections, a real voter as witness: sites of processes that lose and find each other.

#![allow(unreachable_pub)]
#![allow(clippy::disallowed_methods, reason = "real programs take real time")]
#![allow(clippy::unwrap_used, reason = "everything here is a test")]

mod old_generation;
mod people;
mod site;
mod trouble;
mod voters;
mod witness;
