//! The public door: listeners, TLS, and the first look at a request.

pub mod admission;
pub mod client;
pub mod connection;
pub mod head;
pub mod listener;
pub mod plain;
pub mod raw;
pub mod tls;
