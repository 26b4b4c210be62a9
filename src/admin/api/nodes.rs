//! The nodes, the witness and a switch of the whole site, as the Edge sees them.

use failover::Side;
use protocol::wire::{NodeReport, Role};
use serde::{Deserialize, Serialize};

use super::Time;

/// A node with a watchdog, by its newest report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its role, by its certificate.
    pub role: Role,
    /// Its side; none: a media server.
    #[serde(default)]
    pub side: Option<Side>,
    /// Its name.
    pub name: String,
    /// Whether it reported lately; else its report is of the past.
    pub fresh: bool,
    /// When its newest report came, by the Edge's clock.
    pub heard: Time,
    /// Its newest report.
    pub report: NodeReport,
}

/// The Edge's vote in who of the XiVO nodes may serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessStatus {
    /// All of it in one sentence.
    pub sentence: String,
    /// Whose the vote is; none: nobody's, or not known.
    #[serde(default)]
    pub holder: Option<Side>,
    /// The highest duty epoch it knows.
    pub epoch: u64,
    /// The disk was lost, and nothing is granted yet.
    pub quiet: bool,
    /// For how much longer the promise, or the quiet time, lasts if nothing comes.
    pub left_ms: u64,
    /// Why it grants nothing; none: it could.
    pub trouble: Option<String>,
    /// How the times of the XiVO nodes differ from the Edge's, one sentence each.
    #[serde(default)]
    pub times_differ: Vec<String>,
}

/// A planned switch of the whole site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchoverStatus {
    /// The side that is to serve.
    pub to: Side,
    /// Who ordered it.
    pub by: String,
    /// When it was ordered.
    pub began: Time,
    /// When it was over, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// How far it is.
    pub state: SwitchoverState,
    /// All of it in one sentence.
    pub sentence: String,
    /// What must hold before it begins.
    pub checks: Vec<SwitchoverCheck>,
    /// Its steps, in order.
    pub steps: Vec<SwitchoverStep>,
}

/// How far a planned switch of the whole site is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwitchoverState {
    /// Only asked for: a dry run.
    Planned,
    /// It did not begin.
    Refused,
    /// Under way.
    Running,
    /// A step failed, and what was done is being undone.
    Undoing,
    /// Everything was moved and verified.
    Done,
    /// A step failed; the sentence says what became of it.
    Failed,
}

impl SwitchoverState {
    /// Whether nothing more will come of it.
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Running | Self::Undoing)
    }
}

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchoverCheck {
    /// What.
    pub check: String,
    /// Whether it does.
    pub passed: bool,
    /// What was found, to be read whether it passed or not.
    pub said: String,
}

/// One step of it, with the times that a screen needs to say how it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchoverStep {
    /// What.
    pub step: String,
    /// How far.
    pub state: SwitchoverStepState,
    /// What there is to say of it.
    pub said: String,
    /// How long it took, or has taken.
    pub took_ms: u64,
    /// How long it usually takes; at most, for what has a bound.
    pub expected_ms: u64,
    /// When it is given up.
    pub limit_ms: u64,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwitchoverStepState {
    /// It has not begun.
    Waiting,
    /// It has begun.
    Running,
    /// It is done.
    Done,
    /// It failed.
    Failed,
}
