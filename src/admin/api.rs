//! What the admin endpoint says and is told, as JSON. Tokens and credentials have no field here.
//!
//! Times are RFC 3339 in UTC with milliseconds. Fields may be added; a reader ignores what it does not know.

mod nodes;
mod order;
pub mod side;
mod status;

pub use daemon::{ErrorBody, Time, TimeError};

pub use crate::live::state::{Counts, Event, Explain, Frozen, JournalEntry, Moment, Phases, Report};
pub use crate::site::maintenance::Maintenance;
pub use nodes::{
    NodeStatus, SwitchoverCheck, SwitchoverState, SwitchoverStatus, SwitchoverStep, SwitchoverStepState, WitnessStatus,
};
pub use order::{
    Done, DrainRequest, FreezeRequest, MaintenanceRequest, REASON_LIMIT, ResumeRequest, SwitchAnswer, SwitchRequest,
};
pub use side::Sides;
pub use status::{
    BackendStatus, BrokenConfiguration, CertificateStatus, CheckStatus, ConfigurationStatus, Next, Outcome,
    ServiceStatus, SessionCounts, SessionRow, SideStatus, Status, SwitchSummary,
};

#[cfg(test)]
mod tests;
