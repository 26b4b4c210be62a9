//! The control side: what operators ask and order, and the doors they come through. What is decided is left to the
//! engine behind [`Brain`].

pub mod admin;
pub mod api;
mod brain;
pub mod metrics;
pub mod metrics_door;

pub use brain::{Brain, BrainError};
pub use doors::SocketError;

#[cfg(test)]
pub(crate) mod fake;
