//! The public handler: listeners, TLS, and the first look at a request.

pub mod activity;
pub mod admission;
pub mod body;
pub mod client;
pub mod connection;
pub mod drain;
pub mod h2;
pub mod h2_head;
pub mod h2_session;
pub mod head;
pub mod hello;
pub mod key_exchange;
pub mod listener;
pub mod plain;
pub mod raw;
pub mod refusals;
pub mod session;
pub mod stall;
pub mod streams;
pub mod target;
pub mod tickets;
pub mod tls;
