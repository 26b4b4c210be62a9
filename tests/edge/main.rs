//! End to end: a whole site of real processes and real sockets, seen from outside.

#![allow(unreachable_pub)]
#![allow(clippy::disallowed_methods, reason = "real programs take real time")]
#![allow(clippy::unwrap_used, reason = "everything here is a test")]

mod accounts;
mod answers;
mod attacks;
mod bad_connections;
mod bad_input;
mod bodies;
mod booking;
mod browser;
mod certificates;
mod check;
mod chunks;
mod client;
mod cut_answers;
mod doubt;
mod elsewhere;
mod exactly_once;
mod failover;
mod fair_play;
mod follow;
mod framing;
mod going_away;
mod h2_answers;
mod h2_heads;
mod h2_limits;
mod headers;
mod importing;
mod kept_connections;
mod key_exchange;
mod load;
mod maintenance;
mod metrics;
mod nodes;
mod odd;
mod odd_files;
mod old_certificates;
mod orders;
mod passing;
mod proxied;
mod raw;
mod reload;
mod rewriting;
mod shared;
mod silence;
mod site;
mod slow_clients;
mod socket;
mod stalled;
mod start;
mod targets;
mod telling;
mod tickets;
mod turns;
mod upgrades;
mod warnings;
mod websocket;
mod zones;
