//! What the admin door says and is told, as JSON. Tokens and credentials have no field here.
//!
//! Times are RFC 3339 in UTC with milliseconds. Fields may be added; a reader ignores what it does not know.

mod history;
mod nodes;
mod order;
pub mod side;
mod status;

pub use doors::{ErrorBody, Time, TimeError};
pub use history::{Counts, Event, Explain, JournalEntry, Moment, Phases, Report, SwitchKind};
pub use nodes::{NodeStatus, WalkCheck, WalkState, WalkStatus, WalkStep, WalkStepState, WitnessStatus};
pub use order::{Done, DrainRequest, FreezeRequest, REASON_LIMIT, ResumeRequest, SwitchAnswer, SwitchRequest};
pub use side::Sides;
pub use status::{
    BackendStatus, BrokenConfiguration, CertificateStatus, CheckStatus, ConfigurationStatus, Frozen, Health, Next,
    Outcome, ServiceStatus, SessionCounts, SessionRow, SideStatus, Status, SwitchSummary, Verdict,
};

#[cfg(test)]
mod tests;
