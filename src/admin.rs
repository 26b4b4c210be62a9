//! The control side: what operators ask and order, and the doors they come through. What is decided is left to the
//! engine behind [`Brain`].

pub mod api;
mod brain;
pub mod socket;

pub use brain::{Brain, BrainError};
pub use doors::SocketError;

#[cfg(test)]
pub(crate) mod fake;
