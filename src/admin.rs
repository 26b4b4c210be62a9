//! The control side: what operators ask and order, and the doors they come through. What is decided is left to the
//! engine behind [`EngineApi`].

pub mod api;
mod engine_api;
pub mod socket;

pub use doors::SocketError;
pub use engine_api::{EngineApi, EngineError};

#[cfg(test)]
pub(crate) mod fake;
