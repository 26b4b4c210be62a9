//! Logs: what the Edge says of itself, and one line for each request and session. Neither waits for who reads them.

pub(crate) mod closed_set;
mod ended;

pub use ended::Ended;
