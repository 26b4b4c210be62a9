//! Probes against real sockets on the loopback interface: servers that work, that do not, and that mean harm.
#![allow(clippy::unwrap_used, reason = "everything here is a test")]
#![allow(clippy::disallowed_methods, reason = "real programs take real time")]

mod http;
mod server;
mod sip_stream;
mod sip_udp;
mod tcp;
mod time_limit;
mod tls;
mod websocket;
