//! What the Edge tells of itself to people and programs that only listen: metrics and logs.

pub mod logging;
pub mod metrics;
