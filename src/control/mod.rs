//! The control side: what operators ask and order, and the doors they come through. What is decided is left to the
//! engine behind [`Brain`].

pub mod admin;
pub mod api;
mod brain;
mod door;
pub mod metrics;
pub mod metrics_door;
mod people;
pub(crate) mod socket;

pub use brain::{Brain, BrainError};
pub use socket::SocketError;

#[cfg(test)]
pub(crate) mod fake;
