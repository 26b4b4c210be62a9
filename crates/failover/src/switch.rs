//! The Edge's decision: which side is live.
//!
//! The machine knows the health of both sides, what operators asked for and what it did lately. Where its memory is
//! kept, and how traffic is moved, it leaves to the driver.

mod budget;
mod decide;
mod doubt;
mod explain;
mod machine;
mod output;
mod policy;
mod requests;

pub use decide::{HoldReason, WhatIf};
pub use doubt::{Doubt, DoubtReason};
pub use explain::{Budget, Explanation};
pub use machine::{Act, Event, Guard, Switch};
pub use output::{Cause, FreezeReason, Kind, Memory, Move, Output, Refusal, ReprobeReason};
pub use policy::{Failback, Policy, Violation};
pub use requests::{Known, Mode};

#[cfg(test)]
mod promises;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
