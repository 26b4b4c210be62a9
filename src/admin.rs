//! The control side: what operators ask and order, and the endpoints they come through. What is decided is left to the
//! engine behind [`EngineApi`].

pub mod api;
mod engine_api;
pub mod socket;

pub use daemon::SocketError;

pub use engine_api::{EngineApi, EngineError};

#[cfg(test)]
pub(crate) mod fake;
