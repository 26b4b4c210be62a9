//! The messages. One frame is one JSON object; its bytes and who may send it are left to the link and the endpoint.

mod report;
pub mod times;

use failover::lease::{Answer, Request};
use serde::{Deserialize, Serialize};

pub use report::{
    Chosen, FailedStarts, Guard, MediaServer, NodeReport, Presence, Role, ServiceState, Vote, Watched, Wish,
    WishOutcome, Wished,
};
pub use times::Times;

/// The protocol's version as the TLS handshake names it (ALPN). Who speaks another has no common one: in the first
/// version requests did not say how long a promise must last, and a voter that guesses it can make two nodes serve.
pub const VERSION: &str = "bascule/2";

/// The longest frame. The longest message is a node's report with a few dozen media servers: some 10 KiB.
pub const FRAME_BYTES: usize = 64 << 10;

/// A call, from who dialled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Chosen by the caller; the answer bears the same.
    pub id: u64,
    /// What is asked: of a voter, the Edge or a XiVO.
    pub ask: Ask,
}

/// What is asked; who may ask it is the endpoint's to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// A XiVO node asks a voter.
    Vote(Request),
    /// A node tells the Edge what it does.
    Report(Box<NodeReport>),
    /// A node that follows asks its XiVO for a status other than the one it has seen.
    Watch {
        /// The serial of the status it has seen; 0 for none.
        seen: u64,
    },
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The number of the call that this answers.
    pub id: u64,
    /// What is answered to that call.
    pub answer: Told,
}

/// What is answered, each to its kind of call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// A voter's ruling on a request.
    Vote(Answer),
    /// The Edge has taken the report in.
    Report {
        /// An operator's wish that the node may follow.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wish: Option<Wish>,
    },
    /// The XiVO's status: another than was seen, or the same after a second.
    Watch(Watched),
    /// The caller's certificate does not let it ask that, or this voter cannot answer now.
    Refused {
        /// Why it was refused, for people.
        reason: String,
    },
}

#[cfg(test)]
mod tests;
