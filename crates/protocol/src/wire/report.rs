//! What a node tells the Edge of itself, and what a XiVO node tells those that follow it.

use std::collections::BTreeMap;

use failover::Side;
use failover::health::Status;
use failover::lease::Instance;
use serde::{Deserialize, Serialize};

use super::times::Times;

failover::closed_set! {
    /// What a node is, by its certificate and its file.
    pub enum Role {
        /// Telephony: it votes, and serves on a majority.
        Xivo => "xivo",
        /// Contact centre: it follows the XiVO of its side.
        Cc => "cc",
        /// A media server: XiVO nodes register with it.
        Mds => "mds",
    }
}
failover::display_label!(Role);
failover::spelled!(Role);

/// What a node tells the Edge, at each change and with each heartbeat. Role, side and name are those of its certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// What it does now, in XiVO's words.
    pub status: Status,
    /// Since when, in milliseconds of the Unix epoch on the node's clock.
    pub since: u64,
    /// Why it does so, in one sentence.
    pub because: String,
    /// The version of its program, for whoever upgrades.
    pub version: String,
    /// Each of its services by name.
    #[serde(default)]
    pub services: BTreeMap<String, ServiceState>,
    /// What needs a person, one sentence each; 16 at most.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// Starts of its services that failed, if the newest did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_starts: Option<FailedStarts>,
    /// Days until its certificate expires.
    #[serde(default)]
    pub certificate_days: Option<i64>,
    /// What a XiVO node tells beyond that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote: Option<Vote>,
    /// A XiVO node's registrations, by media server.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub media_servers: BTreeMap<String, MediaServer>,
    /// Who is registered with a media server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<Presence>,
    /// What became of the newest wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wished: Option<Wished>,
    /// What an operator lately chose for a XiVO node, while the node still goes by it: the Edge books a move of traffic
    /// that follows from it as theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
    /// Which machine of its name it is: made up at random with each boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// When the node last looked at itself for it, in microseconds of the machine's own clock, which goes on while it sleeps:
    /// one that a cut of the network held up, or a watchdog that stood still, is told from a newer one by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_us: Option<u64>,
}

/// An operator's choice at a XiVO node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The side that is to serve by it.
    pub serves: Side,
    /// Who chose, as the kernel or the Edge named them.
    pub who: String,
    /// Why, in their words; may be empty.
    pub reason: String,
}

/// How a service of a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceState {
    /// Whether its check passed when it was last run.
    pub works: bool,
    /// What the check said last, for people.
    pub detail: String,
}

/// Starts that failed in a row: until one comes well, or an operator says that the cause is mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedStarts {
    /// How many in a row, the newest included.
    pub count: u32,
    /// When the first of them failed, in milliseconds of the Unix epoch on the node's clock.
    pub since: u64,
    /// When the newest failed, likewise.
    pub newest: u64,
    /// Why that failed: the last words of the command, or of what verified it.
    pub words: String,
}

/// A XiVO node's place in the vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The highest duty epoch it knows; while it serves, the one it serves in.
    pub epoch: u64,
    /// How it is guarded while it serves.
    pub guard: Option<Guard>,
    /// Whether it could serve, were it to have the votes.
    pub fit: bool,
    /// Whether it decides by itself.
    pub automatic: bool,
    /// Whether an operator froze it.
    pub frozen: bool,
    /// Whether it follows wishes handed over by the Edge.
    pub accept_requests: bool,
    /// Why it does not want to serve, if so.
    pub waiting: Option<String>,
    /// Whether the peer was heard within the promise's time.
    pub hears_peer: bool,
    /// Whether the peer's host answers ICMP echo; none if it cannot be asked.
    pub peer_host: Option<bool>,
    /// The bound from the death of the serving host to a verified start here, in milliseconds.
    pub takeover_ms: u64,
    /// Its times, as far as the other voters must know them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
}

/// How a serving node is guarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// By its own vote and both others.
    Guarded,
    /// By its own vote and one other; lacks that of `peer` or `witness`.
    Exposed {
        /// The voter whose grant is missing: `peer` or `witness`.
        lacks: String,
    },
    /// By no majority: the other node may serve, too.
    Unguarded {
        /// Why it serves all the same.
        why: String,
    },
}

impl Guard {
    /// The word of each, in metrics.
    pub const LABELS: [&'static str; 3] = ["guarded", "exposed", "unguarded"];

    /// Returns its word in metrics: without what it lacks.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Guarded => Self::LABELS[0],
            Self::Exposed { .. } => Self::LABELS[1],
            Self::Unguarded { .. } => Self::LABELS[2],
        }
    }
}

/// A XiVO node's registration with a media server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaServer {
    /// Whether the media server is verified to have it.
    pub registered: bool,
    /// The state in words, for people.
    pub state: String,
}

/// Who is registered with a media server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// By the media server's own list, not by what Main believes.
    pub main: bool,
    /// By the same list: both may be there while one takes over from the other.
    pub standby: bool,
    /// Both have been for longer than a hand-over takes.
    pub conflict: bool,
}

/// An operator's wish, handed over by the Edge. Nodes follow it by their own rules, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Grows with each wish; a node follows each once.
    pub id: u64,
    /// The side that is to serve.
    pub to: Side,
    /// Who wishes, for the journal.
    pub who: String,
    /// Why they wish it, in their words.
    pub reason: String,
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wished {
    /// The number of the wish that this is about.
    pub id: u64,
    /// What the node did with it.
    pub outcome: WishOutcome,
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WishOutcome {
    /// It is followed: the node has begun to change.
    Followed,
    /// It is not followed; nothing changed.
    Refused {
        /// The node's rule that stands against it.
        reason: String,
    },
}

/// What a XiVO node tells those that follow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Grows with each change, within one run of the XiVO node's watchdog.
    pub serial: u64,
    /// What the XiVO node does now.
    pub status: Status,
    /// The duty epoch that it serves in, or knows.
    pub epoch: u64,
}
