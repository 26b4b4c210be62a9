//! The nodes' watchdogs as the Edge sees them: who may ask what at their door, what each reported last, and what would
//! become of telephony if a side died. What follows from it is left to the engine.

mod desk;
#[cfg(test)]
pub(crate) mod fake;
mod rate;
mod registry;
pub mod takeover;
mod versions;

pub use desk::{Desk, Reports};
pub use rate::Rate;
pub use registry::{Known, News, Node, NotTaken, Registry, STALE};
pub use versions::Versions;
