//! What requests are carried to, resolved: services, their backends, and how each is checked.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use failover::Side;
use http::header::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;

/// Position of a service in [`Config::services`](super::Config::services).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceIndex(pub usize);

/// A named upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// As in the file: names it in logs and metrics.
    pub name: String,
    /// Where it lives.
    pub place: Place,
    /// Without it a side does not work. Never true for a shared service.
    pub required: bool,
    /// TLS towards its backends, or plain.
    pub tls: Option<UpstreamTls>,
    /// What a backend is asked for in `Host`.
    pub host: HostHeader,
    /// Each applies to each backend. Empty: tcp connect.
    pub checks: Vec<Check>,
}

/// Where a service lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// One set of backends on each side; either may be empty (the side lacks the service).
    Sides {
        /// Backends of Main.
        main: Vec<Backend>,
        /// Backends of Standby.
        standby: Vec<Backend>,
    },
    /// Shared by both sides; never moves.
    Shared(Vec<Backend>),
}

impl Service {
    /// Backends that serve it while `side` is live.
    pub fn backends(&self, side: Side) -> &[Backend] {
        match (&self.place, side) {
            (Place::Sides { main, .. }, Side::Main) => main,
            (Place::Sides { standby, .. }, Side::Standby) => standby,
            (Place::Shared(backends), _) => backends,
        }
    }

    /// Whether it is shared by both sides.
    pub fn is_shared(&self) -> bool {
        matches!(self.place, Place::Shared(_))
    }
}

/// One address that serves a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    /// What the file called it: the authority redirects may name (`10.0.0.21`, `cc.example.org:8443`).
    pub name: String,
    /// Share of requests among its siblings.
    pub weight: NonZeroUsize,
}

/// How an upstream proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// How its certificate is checked.
    pub verify: Verify,
    /// Name checked and sent as SNI; none: the backend's address is checked and no SNI is sent.
    pub name: Option<String>,
}

/// How a certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    /// By the system's roots.
    System,
    /// By the CA certificates in this PEM file.
    Ca(PathBuf),
    /// SHA-256 of the SubjectPublicKeyInfo is one of these.
    Pin(Vec<[u8; 32]>),
    /// Not at all. Said loudly.
    Off,
}

/// The `Host` header sent to a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostHeader {
    /// What the client asked for: the FQDN.
    Fqdn,
    /// This.
    Fixed(HeaderValue),
}

/// One check of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Names it in reasons and metrics: `http`, `sip`, or what the file says.
    pub name: String,
    /// Another port than the backend's.
    pub port: Option<u16>,
    /// What is asked.
    pub kind: CheckKind,
}

/// What a check asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// A connection opens.
    Tcp,
    /// A TLS handshake completes.
    Tls(UpstreamTls),
    /// A request is answered as expected.
    Http(HttpCheck),
    /// An upgrade is accepted.
    WebSocket(WebSocketCheck),
    /// SIP OPTIONS (RFC 3261 section 11) is answered.
    Sip(SipCheck),
}

impl CheckKind {
    /// How its upstream proves who it is; none for a check that speaks no TLS.
    pub fn tls(&self) -> Option<&UpstreamTls> {
        match self {
            Self::Tls(tls) => Some(tls),
            Self::Http(http) => http.tls.as_ref(),
            Self::WebSocket(socket) => socket.tls.as_ref(),
            Self::Tcp | Self::Sip(_) => None,
        }
    }
}

/// An HTTP check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// TLS or plain.
    pub tls: Option<UpstreamTls>,
    /// `GET` by default.
    pub method: http::Method,
    /// Path and query.
    pub path: String,
    /// `Host` header; the backend's name by default.
    pub host: Option<String>,
    /// Further headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Inclusive ranges of statuses that are well.
    pub status: Vec<(u16, u16)>,
    /// Text the body must hold.
    pub body: Option<String>,
    /// The body must be JSON.
    pub json: bool,
}

/// A WebSocket check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketCheck {
    /// TLS or plain.
    pub tls: Option<UpstreamTls>,
    /// Path and query.
    pub path: String,
    /// `Host` header; the backend's name by default.
    pub host: Option<String>,
    /// `Sec-WebSocket-Protocol` to ask for.
    pub subprotocol: Option<String>,
    /// Text that must come back.
    pub echo: Option<String>,
}

/// A SIP check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipCheck {
    /// UDP or TCP.
    pub transport: SipTransport,
    /// Inclusive ranges of final statuses that are well.
    pub status: Vec<(u16, u16)>,
}

/// SIP transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SipTransport {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
}
