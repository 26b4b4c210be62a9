//! What the control socket says and is told, as JSON; the drivers fill it. Fields may be added; a reader ignores what it
//! does not know. Field names are stable.

use std::collections::BTreeMap;

use failover::Side;
use failover::duty::{self, Choice, Failback, Mode};
use failover::health::Status;
use failover::lease::{Instance, VoteReply};
use protocol::wire::{FailedStarts, Guard, MediaServer, Presence, Role, ServiceState, Times};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::state::Time;

/// Everything an operator may want to know of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// What it watches over, as its file says.
    pub role: Role,
    /// Its side: `main` or `standby`; media servers have none.
    #[serde(default)]
    pub side: Option<Side>,
    /// The name in its certificate, or in its file.
    pub name: String,
    /// Which machine of that name it is: made up at random with each boot.
    #[serde(default)]
    pub instance: Instance,
    /// The version of the program that runs.
    pub version: String,
    /// What it does now, in XiVO's words.
    pub status: Status,
    /// When it began to do that, on this node's clock.
    pub since: Time,
    /// Why it does so, in one sentence.
    pub because: String,
    /// What needs a person, one sentence each.
    pub alarms: Vec<String>,
    /// Starts of its services that failed, if the newest did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_starts: Option<FailedStarts>,
    /// Each of its services by name.
    pub services: BTreeMap<String, ServiceState>,
    /// Days until its certificate expires; none if it cannot be read.
    pub certificate_days: Option<i64>,
    /// What somebody else did to its services, newest first; a few.
    pub outside: Vec<Outside>,
    /// A command that runs now.
    pub running: Option<Running>,
    /// Whether the Edge takes its reports; none: no Edge is configured.
    pub edge: Option<Link>,
    /// A XiVO node's place in the vote.
    #[serde(flatten)]
    pub duty: Option<DutyView>,
    /// The XiVO a CC follows.
    pub follows: Option<Followed>,
    /// Who is registered with a media server.
    pub presence: Option<Presence>,
}

/// A XiVO node's place in the vote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DutyView {
    /// The highest duty epoch it knows; while it serves, the one it serves in.
    pub epoch: u64,
    /// The number of its attempt to serve.
    pub campaign: u64,
    /// How it is guarded while it serves.
    pub guard: Option<Guard>,
    /// Whether it could serve, were it to have the votes.
    pub fit: bool,
    /// Why it does not want to serve, if so.
    pub waiting: Option<String>,
    /// Who decides that it serves.
    pub mode: Mode,
    /// When Standby stops for a Main that is back.
    pub failback: Failback,
    /// Whether automatic starts and failback are forbidden.
    pub frozen: bool,
    /// What an operator chose for it.
    pub choice: Choice,
    /// Whether it follows wishes handed over by the Edge.
    pub accept_requests: bool,
    /// What the other two voters said last.
    pub voters: Voters,
    /// Whether the witness has been silent for `witness_out`, or there is none.
    pub witness_out: bool,
    /// What it knows of its own vote, in words.
    pub vote: String,
    /// How long its lease lasts without a further grant, in milliseconds.
    pub lease_ms_left: Option<u64>,
    /// The bound from the death of the serving host to a verified start here, in milliseconds.
    pub takeover_ms: u64,
    /// For how long it needs the other votes, and promises its own; none from an older watchdog.
    #[serde(default)]
    pub times: Option<Times>,
    /// How the other voters' times differ from that, one sentence each.
    #[serde(default)]
    pub times_differ: Vec<String>,
    /// What keeps phones out, and whether it does.
    pub fence: FenceView,
    /// What ICMP echo says of the peer's host and the anchors.
    pub icmp: IcmpView,
    /// Its registrations, by media server.
    pub media_servers: BTreeMap<String, MediaServer>,
    /// Whether the last write of its vote reached the disk.
    pub persisted: bool,
    /// What became of its activations, and how long Main is held down.
    #[serde(default)]
    pub activations: Activations,
    /// How long a write of its vote took, if that was too long for a start; in milliseconds.
    #[serde(default)]
    pub slow_write_ms: Option<u64>,
    /// Whether Main's replication is held back; none if that is not configured.
    pub replication_held: Option<bool>,
    /// The state in one sentence of the machine's own.
    pub explanation: String,
}

/// What became of a node's activations since it last served for `hold_down_limit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activations {
    /// So many failed, one after the other.
    pub failed: u8,
    /// How the last one ended; none: it did not fail, or ended before this watchdog began.
    pub why: Option<String>,
    /// How long a Main must have been fit and in touch before Standby stops for it, in milliseconds; doubled by each that
    /// failed.
    pub hold_down_ms: u64,
    /// How long that is still to last, in milliseconds; none: it does not count at present.
    pub settles_in_ms: Option<u64>,
}

/// The other voters, as this node sees them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Voters {
    /// The other XiVO node, which votes and may serve.
    pub peer: VoterView,
    /// The Edge; none: no witness is configured.
    pub witness: Option<VoterView>,
}

/// Another voter, as this node sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VoterView {
    /// How it is reached, or why not.
    pub link: Link,
    /// How long ago the newest answer came, in milliseconds; none: never.
    pub answered_ms_ago: Option<u64>,
    /// How it ruled the last time.
    pub ruling: Option<VoteReply>,
    /// What the peer said it does; nothing from the witness.
    #[serde(default)]
    pub status: Option<Status>,
    /// Whether the peer said it can serve.
    pub fit: Option<bool>,
    /// For how long the peer needs this node's vote; nothing from the witness.
    #[serde(default)]
    pub needs_ms: Option<u64>,
    /// For how long it promises its vote at most, if it said so.
    #[serde(default)]
    pub promises_ms: Option<u64>,
}

/// A connection to another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// `ADDRESS:PORT`, from the configuration.
    pub address: String,
    /// Whether at least one connection is there.
    pub connected: bool,
    /// In words: since when, or why not.
    pub state: String,
}

/// The XiVO a CC follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// How it is reached, or why not.
    pub link: Link,
    /// What it said it does; none: not heard yet.
    #[serde(default)]
    pub status: Option<Status>,
    /// The duty epoch that it told last.
    pub epoch: u64,
    /// How long ago it was heard, in milliseconds; none: never.
    pub heard_ms_ago: Option<u64>,
}

/// What keeps phones out of a node that may not serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceView {
    /// `nft`, `command` or `none`, as configured.
    pub kind: String,
    /// What was last read back, or last done.
    pub state: FenceState,
    /// What the last look at it said, in words.
    pub detail: String,
}

failover::closed_set! {
    /// What is known of a fence.
    pub enum FenceState {
        /// Phones are kept out: verified.
        Closed => "closed",
        /// Phones may come in, until the kernel or the watchdog ends it.
        Open => "open",
        /// It could not be moved or looked at.
        Failed => "failed",
        /// There is none: the node is fenced once it is stopped.
        Absent => "absent",
    }
}
failover::spelled!(FenceState);

/// ICMP echo: a diagnosis, and without a witness part of the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IcmpView {
    /// Which socket the kernel let it open.
    pub socket: IcmpSocket,
    /// Whether the peer's host answers; none if it cannot be asked.
    pub peer: Option<bool>,
    /// Whether an anchor answers; none without anchors.
    pub anchors: Option<bool>,
}

/// A socket for ICMP echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IcmpSocket {
    /// A datagram socket: needs no right but `net.ipv4.ping_group_range`.
    Dgram,
    /// A raw socket: needs CAP_NET_RAW.
    Raw,
    /// Nothing of it is known to run.
    None,
}

/// What somebody else did to the services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// When it was seen, on this node's clock.
    pub at: Time,
    /// One sentence for people: who did what to the services.
    pub sentence: String,
}

/// A command that runs now, with its limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// What it is for: `start`, `stop`, `verify`.
    pub what: String,
    /// For how long, in milliseconds.
    pub ms: u64,
}

/// An operator's act, on its way to the driver.
#[derive(Debug)]
pub struct Order {
    /// The act that was asked for.
    pub act: duty::Act,
    /// Who asked: the kernel's word, not theirs.
    pub who: String,
    /// Why, in their words; may be empty.
    pub reason: String,
    /// What was done, or why it was refused: one sentence.
    pub reply: oneshot::Sender<Result<String, String>>,
}

/// The body of `POST /act`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActRequest {
    /// The act, with what it takes.
    #[serde(flatten)]
    pub act: ActWord,
    /// Why, for the journal; may be empty.
    #[serde(default)]
    pub reason: String,
    /// The user behind `sudo`, by their own word.
    #[serde(default)]
    pub by: String,
}

/// An act: `{"act": "mode", "to": "manual"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", content = "to", rename_all = "snake_case")]
pub enum ActWord {
    /// Serve, through the protocol's gates.
    Activate,
    /// Serve now, whatever the other voters say.
    ActivateForce,
    /// Stop, and leave the serving to the peer.
    Deactivate,
    /// Forbid automatic starts and failback.
    Freeze,
    /// Allow them, and let go of a choice.
    Resume,
    /// Choose who decides that the node serves.
    Mode(Mode),
    /// Choose when Standby stops for Main.
    Failback(Failback),
}

impl From<ActWord> for duty::Act {
    fn from(word: ActWord) -> Self {
        match word {
            ActWord::Activate => Self::Activate,
            ActWord::ActivateForce => Self::ForceActivate,
            ActWord::Deactivate => Self::Deactivate,
            ActWord::Freeze => Self::Freeze,
            ActWord::Resume => Self::Resume,
            ActWord::Mode(mode) => Self::Mode(mode),
            ActWord::Failback(failback) => Self::Failback(failback),
        }
    }
}

/// What came of an act, once it was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, in one sentence.
    pub sentence: String,
}
