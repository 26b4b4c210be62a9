//! What nodes ask of voters, and what voters answer.

use core::fmt;
use core::time::Duration;

use super::epoch::believed;
use crate::health::Status;
use crate::side::Side;

/// The number of a node's attempt to serve, from its first want to its release. A node's numbers only grow; a late message
/// of an older one is told by it.
pub type Campaign = u64;

/// The number of a running machine, made up at random with each boot: it tells a node from a copy of its disk that runs
/// elsewhere under the same name.
pub type Instance = u64;

crate::closed_set! {
    /// What a node asks of a voter.
    pub enum Ask {
        /// Nothing: it is there, and tells its state.
        Hello => "hello",
        /// The vote, in order to start.
        Want => "want",
        /// The vote again: it serves, or is starting to.
        Renew => "renew",
        /// To take the vote back: it serves no more.
        Release => "release",
    }

    /// How a voter rules on a request.
    pub enum VoteReply {
        /// The vote is the asker's for as long as it needs.
        Grant => "grant",
        /// Not now; also the answer to a hello and to a release.
        Deny => "deny",
        /// The vote is the other node's or another machine's of the same name, or the voter itself serves with a majority.
        Lost => "lost",
        /// The asker would serve longer on the vote than this voter may promise it.
        TooLong => "too_long",
    }
}
crate::display_label!(Ask);
crate::spelled!(Ask, VoteReply);

/// In a sentence, where words are not joined.
impl fmt::Display for VoteReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TooLong => "too long",
            _ => self.label(),
        })
    }
}

/// What a XiVO node tells of itself with every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Report {
    /// Its duty when it sent this: two that are active are an alarm.
    pub status: Status,
    /// Whether it could serve, were it to have the votes.
    pub fit: bool,
    /// Whether the witness has been silent to it for `witness_out`, or it has none.
    pub witness_out: bool,
    /// Whether it serves without a majority.
    pub unguarded: bool,
}

/// A request to a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Request {
    /// The side of the node that asks.
    pub from: Side,
    /// What it asks of the voter.
    pub ask: Ask,
    /// Its campaign; with a release the one that ended.
    pub campaign: Campaign,
    /// The highest duty epoch it knows; with a renewal the one it serves in.
    pub epoch: u64,
    /// What it tells of itself.
    pub report: Report,
    /// Whether it has been fit, and in touch with its peer, for its hold-down.
    pub settled: bool,
    /// Whether an answer of this voter to this campaign reached it lately: proof of a round trip. Without it a want is granted
    /// once in a campaign.
    pub hears: bool,
    /// Which machine of its name it is.
    pub instance: Instance,
    /// How long a promise must last from the voter's answer on, to outlive all that this node does on it. Each node has times
    /// of its own: a voter that went by its own alone would give the vote away while this node still serves.
    #[cfg_attr(feature = "serde", serde(rename = "needs_ms", with = "crate::millis::rounded_up"))]
    pub needs: Duration,
}

impl Request {
    /// Returns this request with an epoch that can be true: that of the one asked, if its own cannot.
    pub(crate) fn with_believed_epoch(self, own: u64) -> Self {
        Self { epoch: believed(self.epoch, own).unwrap_or(own), ..self }
    }
}

/// A voter's answer to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Answer {
    /// The kind of request that this answers.
    pub to: Ask,
    /// The campaign of the request.
    pub campaign: Campaign,
    /// How the voter rules, as of its own disk.
    pub ruling: VoteReply,
    /// With a grant the epoch to serve in, else the highest that the voter knows.
    pub epoch: u64,
    /// With a grant how long the vote is promised, else the longest that this voter promises it.
    #[cfg_attr(feature = "serde", serde(rename = "promises_ms", with = "crate::millis::rounded_down"))]
    pub promises: Duration,
    /// What the voter tells of itself; nothing from the witness.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub report: Option<Report>,
}
