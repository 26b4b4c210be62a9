//! Probe outcomes to a verdict: up, down or unknown, for one check against one backend.
//!
//! The machine owns the schedule of probes and the count of their outcomes. What a probe sends, and what answer is
//! right, it leaves to the prober.

mod judge;
mod outcome;
mod policy;

pub use judge::{Event, Judge, Output, Pace, ProbeId, ProbeReason};
pub use outcome::{Failure, Outcome, Reason, Report, Sign, Verdict};
pub use policy::{Policy, Violation};

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
