//! The resolved configuration: addresses, non-zero counts, absolute paths. Nothing downstream checks again.
//! How a file becomes one is left to the submodules.

mod address;
pub mod chain;
mod defaults;
mod file;
mod load;
mod network;
mod policy;
mod preset;
mod resolve;
mod summary;
#[cfg(test)]
mod tests;
mod typed;

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use failover::Side;
use failover::lease::Timing;
use failover::switch::Failback;
use http::header::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
pub use settings::{Errors, Problem, Warning};

pub use network::{Network, masked};
pub use preset::preset_text;
pub use summary::Summary;

/// The JSON Schema of the file, as conf/edge.schema.json holds it.
pub fn schema() -> serde_json::Value {
    settings::schema::<file::File>()
}

/// Everything the Edge was told, checked whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The one name users browse, lower case, without port.
    pub fqdn: String,
    /// Further names served the same way (lower case).
    pub aliases: Vec<String>,
    /// Public listeners.
    pub listen: Listen,
    /// At least one; chosen by SNI, the first is the default.
    pub certificates: Vec<CertificateFiles>,
    /// Oldest TLS version clients may speak.
    pub tls_min: TlsVersion,
    /// What becomes of clients that ask for no name, or for one that nobody here has.
    pub unknown_name: UnknownName,
    /// Connections handed on undecrypted, by the name their clients ask for.
    pub pass: Vec<Pass>,
    /// Whether files of certificates are read anew when they change, without a signal.
    pub watch_certificates: bool,
    /// Whether a CC that answers may be stale, so that only its watchdog's word shows that it was restarted (XiVO up to 2025.10).
    pub stale_cc: bool,
    /// Services in the order of the file; a [`ServiceIndex`] points here.
    pub services: Vec<Service>,
    /// Only listed routes are carried. Sorted: longest path first, exact before prefix.
    pub routes: Vec<Route>,
    /// Added to pages of our own that do not have them; a route has its own list.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Routes of the preset that lead to a service this site does not have.
    pub left_out: Vec<LeftOut>,
    /// How fast client addresses may ask; a [`ZoneIndex`] points here.
    pub zones: Vec<Zone>,
    /// What holds for every zone.
    pub rate_limits: RateLimits,
    /// When a live side is left for reasons other than its death.
    pub failback: Failback,
    /// How verdicts are made.
    pub probe: Probing,
    /// How a switch is carried out.
    pub switch: Switching,
    /// What a client may use up.
    pub limits: Limits,
    /// The admin endpoint.
    pub admin: Admin,
    /// Prometheus endpoint, or none.
    pub metrics: Option<SocketAddr>,
    /// The endpoint for the nodes' watchdogs, or none: an Edge alone.
    pub nodes: Option<Nodes>,
    /// The endpoint that tells the live side to helpers on other machines, or none.
    pub live: Option<LiveListen>,
    /// Directory of live side, epoch, vote, journal and reports.
    pub state: PathBuf,
    /// Where the live side is written for other programs, or nowhere.
    pub live_file: Option<PathBuf>,
    /// Logs.
    pub log: Log,
}

impl Config {
    /// Every file that certificates and keys of the site are read from: those that browsers see, and authorities that
    /// upstreams are trusted by.
    pub fn certificate_files(&self) -> Vec<PathBuf> {
        let own = self.certificates.iter().flat_map(|pair| [&pair.chain, &pair.key]);
        let checks = self.services.iter().flat_map(|service| &service.checks).filter_map(|check| check.kind.tls());
        let upstreams = self.services.iter().filter_map(|service| service.tls.as_ref()).chain(checks);
        let authorities = upstreams.filter_map(|tls| match &tls.verify {
            Verify::Ca(path) => Some(path),
            Verify::System | Verify::Pin(_) | Verify::Off => None,
        });
        let mut files: Vec<_> = own.chain(authorities).cloned().collect();
        files.sort_unstable();
        files.dedup();
        files
    }
}

/// Position of a service in [`Config::services`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceIndex(pub usize);

/// Public listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// TLS (h2 and http/1.1).
    pub https: Vec<SocketAddr>,
    /// Plain HTTP, answered with a redirect to the FQDN only.
    pub http: Vec<SocketAddr>,
    /// Those of both that are told by others who their clients are.
    pub proxied: Vec<Proxied>,
}

/// A listener that is told by the PROXY protocol who its clients are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxied {
    /// One of `https` or `http`.
    pub listener: SocketAddr,
    /// Who tells it: every connection from there begins with a header, and no other one may. At least one.
    pub from: Vec<Network>,
}

impl Listen {
    /// Who is believed at `listener`.
    pub fn believed(&self, listener: SocketAddr) -> &[Network] {
        self.proxied.iter().find(|proxied| proxied.listener == listener).map_or(&[], |proxied| &proxied.from)
    }
}

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Leaf first, then intermediates.
    pub chain: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

failover::closed_set! {
    /// TLS protocol version.
    pub enum TlsVersion {
        /// TLS 1.2 (RFC 5246).
        V1_2 => "1.2",
        /// TLS 1.3 (RFC 8446).
        V1_3 => "1.3",
    }
}

/// What becomes of a client that asks for no name, or for one that is neither the site's nor passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownName {
    /// It is shown the first certificate, and its requests are refused unless they name the site.
    Serve,
    /// Its handshake ends with the alert unrecognized_name (RFC 6066 section 3).
    Refuse,
}

/// TLS connections that are handed on undecrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Lower case: names, `*.` before one for those a label below it, `*` for any other and for none. At least one.
    pub names: Vec<String>,
    /// Where to: the first that takes the connection. At least one.
    pub to: Vec<SocketAddr>,
    /// Whether that service is told who the client is.
    pub proxy_protocol: ProxyHeader,
    /// Ended when nothing has moved either way for so long.
    pub idle: Duration,
}

/// Which header of the PROXY protocol goes before what a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// The service takes the Edge for the client.
    None,
    /// The line of version 1.
    V1,
    /// The binary one of version 2.
    V2,
}

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

/// Requests of one client address that count together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name in the file.
    pub name: String,
    /// How many requests pass in the long run.
    pub rate: Rate,
    /// How many may come before their time, where the route says nothing else.
    pub burst: NonZeroU32,
    /// Whether those wait for their time, where the route says nothing else.
    pub delay: bool,
    /// How many client addresses are remembered.
    pub addresses: NonZeroUsize,
}

/// Position of a zone in [`Config::zones`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ZoneIndex(pub usize);

/// How a route's requests count in a zone: the same account as other routes', with a burst of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneUse {
    /// Whose account a request counts in.
    pub zone: ZoneIndex,
    /// How many requests may come before their time.
    pub burst: NonZeroU32,
    /// Whether requests within the burst wait for their time, or go on at once.
    pub delay: bool,
}

/// So many requests in a unit of time. Displays as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Never 0 in a resolved configuration.
    pub requests: u32,
    /// The time that so many requests are for.
    pub per: RateUnit,
}

failover::closed_set! {
    /// What rates are counted in.
    pub enum RateUnit {
        /// A second.
        Second => "s",
        /// A minute.
        Minute => "min",
    }
}

impl Rate {
    /// Between two requests that come at this rate.
    pub fn interval(self) -> Duration {
        let unit = match self.per {
            RateUnit::Second => Duration::from_secs(1),
            RateUnit::Minute => Duration::from_secs(60),
        };
        unit / self.requests.max(1)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.per.label())
    }
}

/// What holds for every zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimits {
    /// Networks whose clients are not limited.
    pub exempt: Vec<Network>,
    /// Leading bits by which IPv6 clients are told apart.
    pub ipv6_prefix: u8,
    /// How many requests wait for their time at once.
    pub delayed: NonZeroUsize,
    /// How zones widen when a side begins to serve, or not at all.
    pub relax: Option<Relax>,
}

/// How zones widen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relax {
    /// How many times as many requests pass at first.
    pub factor: u32,
    /// How long it takes until they are as before.
    pub over: Duration,
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

/// The admin endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Unix socket.
    pub socket: PathBuf,
    /// Group that may use it besides root.
    pub group: Option<String>,
}

/// The endpoint for the nodes' watchdogs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nodes {
    /// Where nodes dial to.
    pub listen: SocketAddr,
    /// Directory with certificate, key and authority of this Edge.
    pub identity: PathBuf,
    /// The times of the vote.
    pub timing: Timing,
}

/// The endpoint that tells the live side to helpers on other machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveListen {
    /// Where helpers ask.
    pub listen: SocketAddr,
    /// Who may ask; anybody else is closed on. Not empty.
    pub from: Vec<Network>,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Shape of a line.
    pub format: LogFormat,
    /// `tracing` filter, for example `info` or `bascule=debug`.
    pub level: String,
    /// Whether each request and session yields a line.
    pub access: bool,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// One object a line.
    Json,
}
