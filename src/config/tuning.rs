//! How verdicts are made, switches carried out and clients bounded, resolved.

use std::num::{NonZeroU8, NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// How verdicts are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probing {
    /// Between two probes of a healthy backend.
    pub interval: Duration,
    /// For the whole of one probe.
    pub time_limit: Duration,
    /// Successes in a row to be up.
    pub rise: NonZeroU8,
    /// Failures in a row to be down.
    pub fall: NonZeroU8,
    /// Delay of a re-probe after a refusal or reset.
    pub reprobe_refused: Duration,
    /// Delay of a re-probe after silence.
    pub reprobe_silent: Duration,
    /// How long a backend may answer none of its open requests before that is a bad sign.
    pub suspicion: Duration,
    /// Silence of the prober after which a verdict is unknown.
    pub stale_after: Duration,
}

/// How a switch is decided and carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switching {
    /// Decide and journal, move nothing.
    pub observe: bool,
    /// Automatic switches before damping.
    pub per_hour: NonZeroU32,
    /// How long a request waits for a decision.
    pub park_limit: Duration,
    /// How many requests wait at once.
    pub park_requests: NonZeroUsize,
    /// Users told per second; none: all at once.
    pub reconnect_rate: Option<NonZeroU32>,
    /// After that all remaining sessions of the demoted side are cut.
    pub drain_limit: Duration,
}

/// Most fields a request's head may have, whatever `limits.head_fields` says: the reader of heads keeps room for as
/// many.
pub const MOST_HEAD_FIELDS: usize = 256;

/// What a client, or an upstream, may use up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From accept to a whole ClientHello.
    pub client_hello: Duration,
    /// From ClientHello to a finished handshake.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its head.
    pub request_head: Duration,
    /// Between two requests on a connection.
    pub keepalive: Duration,
    /// Between two parts of a request body.
    pub request_body: Duration,
    /// Size of a request head in bytes.
    pub head_bytes: NonZeroUsize,
    /// Header fields in a request head.
    pub head_fields: NonZeroUsize,
    /// Connections of all clients.
    pub connections: NonZeroUsize,
    /// Connections of one client address.
    pub connections_per_client: NonZeroUsize,
    /// Concurrent h2 streams of a connection.
    pub h2_streams: NonZeroU32,
    /// What requests under way may hold in memory, all together, in bytes.
    pub memory: NonZeroUsize,
    /// To connect to an upstream, TLS included.
    pub connect: Duration,
    /// How long a peer of a WebSocket may not take what is there for it.
    pub write_stall: Duration,
    /// For requests and sessions to end after SIGTERM.
    pub drain: Duration,
}
