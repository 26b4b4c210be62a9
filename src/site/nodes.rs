//! The nodes' watchdogs as the Edge sees them: who may ask what at their endpoint, what each reported last, and what
//! would become of telephony if a side died. What follows from it is left to the engine.

#[cfg(test)]
pub(crate) mod fake;
mod rate;
mod registry;
mod requests;
pub mod takeover;
mod versions;

pub use rate::Rate;
pub use registry::{Known, News, Node, NotTaken, Registry, STALE};
pub use requests::{NodeRequests, Reports};
pub use versions::Versions;
