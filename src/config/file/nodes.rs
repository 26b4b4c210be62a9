//! The shape of the endpoint for the nodes' watchdogs.

use schemars::JsonSchema;
use serde::Deserialize;
use settings::Span;

/// The endpoint for the nodes' watchdogs.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct NodesFile {
    /// Where nodes dial to.
    pub(in crate::config) listen: Option<String>,
    /// Directory with ca.pem, chain.pem and key.pem of this Edge.
    pub(in crate::config) identity: Option<String>,
    /// The times of the vote: the same at both XiVO nodes and here.
    pub(in crate::config) timing: Option<TimingFile>,
}

/// The times of the vote. The witness keeps `promise` and `quiet`; the others are the nodes', and checked with them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct TimingFile {
    /// A node asks each voter this often.
    pub(in crate::config) heartbeat: Option<Span>,
    /// An answer takes so long at most; every bound counts on it. A later one still counts, from when it was asked.
    pub(in crate::config) request_limit: Option<Span>,
    /// A node serves for so long after it sent the last request that was granted.
    pub(in crate::config) lease: Option<Span>,
    /// The longest time that a node's watchdog is kept waiting.
    pub(in crate::config) pause: Option<Span>,
    /// The longest time from the decision to fence until no phone reaches the node.
    pub(in crate::config) fence: Option<Span>,
    /// How far any clock's rate is from the true one, in parts per million.
    pub(in crate::config) drift_ppm: Option<u32>,
    /// The coarseness of timers.
    pub(in crate::config) granularity: Option<Span>,
    /// A voter keeps its promise for so long after its answer.
    pub(in crate::config) promise: Option<Span>,
    /// A voter whose disk was lost grants nothing for so long.
    pub(in crate::config) quiet: Option<Span>,
    /// The witness is out when it has been silent for so long.
    pub(in crate::config) witness_out: Option<Span>,
    /// The longest restart of the witness that is no outage.
    pub(in crate::config) witness_restart: Option<Span>,
}
