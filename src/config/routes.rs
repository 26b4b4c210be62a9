//! What is carried and how, resolved: one route for each path that is listed.

use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{ServiceIndex, ZoneUse};

/// One listed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// As in the file: names it in logs and metrics.
    pub name: String,
    /// Normalised path; without a slash at its end, unless `matching` is exact or it is `/`.
    pub path: String,
    /// How far `path` reaches.
    pub matching: Matching,
    /// Where it goes.
    pub service: ServiceIndex,
    /// The zone its requests count in, or none.
    pub zone: Option<ZoneUse>,
    /// Upgrades: refused, allowed or demanded.
    pub websocket: WebSocket,
    /// Token format check.
    pub token: Token,
    /// When a request that may have reached an upstream is sent again (E5).
    pub replay: Replay,
    /// Close code and reason WebSockets get on a switch.
    pub close: Close,
    /// Whether its WebSockets are closed on a switch although its service is shared.
    pub follow: Follow,
    /// How long an upstream may take between two parts of an answer.
    pub response_limit: Duration,
    /// Largest request body.
    pub body_limit: u64,
    /// Methods that are carried, HEAD beside GET; all but TRACE and CONNECT when the list is empty.
    pub methods: Vec<http::Method>,
    /// Added to answers that do not have them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// A route of the preset that is not carried.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LeftOut {
    /// Its path.
    pub path: String,
    /// The service that is not configured.
    pub service: String,
}

/// How far a route's path reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Matching {
    /// That path alone.
    Exact,
    /// That path, and whatever follows it behind a `/`.
    Prefix,
}

/// Upgrades on a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebSocket {
    /// Refused.
    No,
    /// Carried; when a list is given only with one of these subprotocols.
    Allowed {
        /// Accepted `Sec-WebSocket-Protocol` values; empty: any or none.
        subprotocols: Vec<String>,
    },
}

/// Token format check; never a signature check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Token {
    /// Not looked at.
    None,
    /// The query must carry `token=`, any value.
    Present,
    /// The query must carry `token=` with three dot-separated base64url segments.
    Jwt,
}

/// When a request that may have reached an upstream is sent again (E5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Replay {
    /// If its method is idempotent (RFC 9110 section 9.2.2).
    Idempotent,
    /// Whatever its method: the route's owner says so.
    Always,
    /// Never.
    Never,
}

/// A WebSocket Close (RFC 6455 section 5.5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Status code.
    pub code: u16,
    /// At most 123 bytes.
    pub reason: String,
}

/// Whether a shared service's WebSockets follow the live side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Follow {
    /// Closed with a switch, as those of the demoted side are.
    Live,
    /// Left alone.
    Nothing,
}
