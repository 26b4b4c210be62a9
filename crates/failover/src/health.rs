//! Verdicts and node reports to the health of services and of both sides, with a reason and a named diagnosis.
//!
//! A backend works when all its checks are up, a service when one of its backends works, a side when all its required
//! services work. Shared services have a health and decide nothing. What to do about it is left to `switch`.

mod compute;
mod machine;
mod reason;
mod topology;

pub use machine::{Event, Health, Output, ServiceHealth};
pub use reason::{Diagnosis, Fault, Reason, SideHealth, State, Status};
pub use topology::{BackendId, CheckId, Flaw, Need, NodeId, Scope, ServiceId, Topology};

#[cfg(test)]
mod tests;
