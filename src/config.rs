//! The resolved configuration: addresses, non-zero counts, absolute paths. Nothing downstream checks again.
//! How a file becomes one is left to the submodules.

mod address;
pub mod chain;
mod defaults;
#[cfg(test)]
pub(crate) mod fake;
mod file;
mod listeners;
mod load;
mod network;
mod policy;
mod preset;
mod rates;
mod resolve;
mod routes;
mod services;
mod summary;
#[cfg(test)]
mod tests;
mod tuning;
mod typed;

use std::net::SocketAddr;
use std::path::PathBuf;

use failover::lease::Timing;
use failover::switch::Failback;
use http::header::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
pub use settings::{Errors, Problem, Warning};

pub use self::listeners::{CertificateFiles, Listen, Pass, Proxied, ProxyHeader, TlsVersion, UnknownName};
pub use self::network::{Network, masked};
pub use self::preset::preset_text;
pub use self::rates::{Rate, RateLimits, RateUnit, Relax, Zone, ZoneIndex, ZoneUse};
pub use self::routes::{Close, Follow, LeftOut, Matching, Replay, Route, Token, WebSocket};
pub use self::services::{
    Backend, Check, CheckKind, HostHeader, HttpCheck, Place, Service, ServiceIndex, SipCheck, SipTransport,
    UpstreamTls, Verify, WebSocketCheck,
};
pub use self::summary::Summary;
pub use self::tuning::{Limits, MOST_HEAD_FIELDS, Probing, Switching};

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
    /// Where helpers ask; a port of nobody else's.
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
