//! How a tunnel ended and what it carried, for the access log.

use std::fmt;
use std::time::Duration;

use super::Close;
use super::flow::Flow;

/// The two ends of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The browser or phone.
    Client,
    /// The server behind the Edge.
    Upstream,
}

/// How a tunnel ended. `clean`: the client was given a whole Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client sent the first Close.
    ClientClosed,
    /// The upstream sent the first Close.
    UpstreamClosed,
    /// The client went without a Close.
    ClientLost,
    /// The upstream went without a Close.
    UpstreamLost {
        /// The client was given a whole Close frame.
        clean: bool,
    },
    /// The client took nothing for too long.
    ClientStalled,
    /// The upstream took nothing for too long.
    UpstreamStalled {
        /// The client was given a whole Close frame.
        clean: bool,
    },
    /// The side was demoted.
    Demoted {
        /// The client was given a whole Close frame.
        clean: bool,
    },
    /// The Edge went away.
    Drained {
        /// The client was given a whole Close frame.
        clean: bool,
    },
    /// This party sent an impossible frame.
    ProtocolError(Party),
}

/// What one direction carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Bytes, without a Close of our own.
    pub bytes: u64,
    /// Whole frames.
    pub frames: u64,
    /// The direction ended between the fragments of a message, which the receiver therefore lacks.
    pub inside_message: bool,
}

/// A tunnel's line in the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// From the upstream to the client.
    pub to_client: Carried,
    /// From the client to the upstream; frames swallowed after our Close count.
    pub to_upstream: Carried,
    /// How long it lasted.
    pub lasted: Duration,
}

impl Outcome {
    /// The code of the Close frame we gave the client, `on_switch` being its route's; none when there was none, or when
    /// a peer spoke first.
    pub fn close_code(self, on_switch: u16) -> Option<u16> {
        match self {
            Self::Demoted { clean: true } => Some(on_switch),
            Self::Drained { clean: true } => Some(Close::going_away().code()),
            Self::UpstreamLost { clean: true } | Self::UpstreamStalled { clean: true } => {
                Some(Close::upstream_lost().code())
            }
            _ => None,
        }
    }
}

impl Carried {
    pub(super) fn of(flow: &Flow) -> Self {
        Self { bytes: flow.bytes(), frames: flow.tracker.frames(), inside_message: flow.tracker.inside_message() }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientClosed => "client-closed",
            Self::UpstreamClosed => "upstream-closed",
            Self::ClientLost => "client-lost",
            Self::UpstreamLost { clean: true } => "upstream-lost",
            Self::UpstreamLost { clean: false } => "upstream-lost-truncated",
            Self::ClientStalled => "client-stalled",
            Self::UpstreamStalled { clean: true } => "upstream-stalled",
            Self::UpstreamStalled { clean: false } => "upstream-stalled-truncated",
            Self::Demoted { clean: true } => "demoted",
            Self::Demoted { clean: false } => "demoted-truncated",
            Self::Drained { clean: true } => "drained",
            Self::Drained { clean: false } => "drained-truncated",
            Self::ProtocolError(Party::Client) => "client-protocol-error",
            Self::ProtocolError(Party::Upstream) => "upstream-protocol-error",
        })
    }
}
