//! The shape of the file: keys and short forms, nothing resolved, nothing defaulted.

mod leaves;
mod nodes;
mod pass;
mod routes;
mod tuning;
mod upstreams;
mod zones;

use schemars::JsonSchema;
use serde::Deserialize;
use settings::Abbreviated;
pub(super) use settings::{Named, OneOrMany, Short, Size, Span};

use super::{LogFormat, TlsVersion, UnknownName};
pub(super) use leaves::StatusRange;
pub(super) use nodes::{NodesFile, TimingFile};
pub(super) use pass::PassFile;
pub(super) use routes::{CloseFile, RouteFile, WebSocketFile};
pub(super) use tuning::{FailbackFile, LimitsFile, ProbeFile, ProfileFile, SwitchFile};
pub(super) use upstreams::{
    BackendsFile, CheckFile, HttpCheckFile, Scheme, ServiceFile, SharedFile, SidesFile, SipCheckFile, UpstreamTlsFile,
    VerifyFile, WebSocketCheckFile,
};
pub(super) use zones::{RateLimitsFile, RelaxFile, ZoneFile, ZoneUseFile};

/// Configuration of the Edge. Every key is shown with its default and its meaning in conf/edge.yaml.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "bascule edge.yaml")]
pub(super) struct File {
    /// Routes, services and checks to start from.
    pub(super) preset: Option<PresetName>,
    /// The one name users browse.
    pub(super) fqdn: Option<String>,
    /// Further names served the same way.
    pub(super) aliases: Option<OneOrMany<String>>,
    /// Public listeners.
    pub(super) listen: Option<ListenFile>,
    /// What the Edge shows to clients; chosen by SNI, the first is the default.
    pub(super) certificate: Option<OneOrMany<CertificateFile>>,
    /// TLS towards clients.
    pub(super) tls: Option<TlsFile>,
    /// Services that exist once per side.
    pub(super) sides: Option<SidesFile>,
    /// Services both sides share; they never move.
    pub(super) shared: Option<SharedFile>,
    /// How services are spoken to and checked; `mds` stands for every media server.
    pub(super) services: Option<Named<ServiceFile>>,
    /// Services without which a side does not work.
    pub(super) required: Option<OneOrMany<String>>,
    /// How upstreams prove who they are.
    pub(super) upstream_tls: Option<UpstreamTlsFile>,
    /// Paths that are carried; with a preset, added to its routes or laid over those of the same path.
    pub(super) routes: Option<Vec<RouteFile>>,
    /// Headers added to answers that do not have them, laid over the preset's; `off` takes one away.
    pub(super) headers: Option<Named<String>>,
    /// TLS connections handed on undecrypted, by the name their clients ask for.
    pub(super) pass: Option<Vec<PassFile>>,
    /// How fast client addresses may ask; laid over the preset's zones key by key.
    pub(super) zones: Option<Named<Short<ZoneFile>>>,
    /// What holds for every zone.
    pub(super) rate_limits: Option<RateLimitsFile>,
    /// When a live side that works is left.
    pub(super) failback: Option<Short<FailbackFile>>,
    /// How verdicts are made.
    pub(super) probe: Option<ProbeFile>,
    /// Decide and journal, but move nothing.
    pub(super) observe: Option<bool>,
    /// How a switch is carried out.
    pub(super) switch: Option<SwitchFile>,
    /// What a client or an upstream may use up.
    pub(super) limits: Option<LimitsFile>,
    /// The admin endpoint.
    pub(super) admin: Option<Short<AdminFile>>,
    /// Address of the Prometheus endpoint, or `off`.
    pub(super) metrics: Option<String>,
    /// The endpoint for the nodes' watchdogs; without it the Edge judges by its probes alone.
    pub(super) nodes: Option<NodesFile>,
    /// Directory of the live side, the vote, the journal and the reports.
    pub(super) state: Option<String>,
    /// File that says which side is live, for the SIP proxy and TURN, or `off`.
    pub(super) live_file: Option<String>,
    /// The endpoint that tells the live side to helpers on other machines; without it there is none.
    pub(super) live: Option<LiveListenFile>,
    /// Logs.
    pub(super) log: Option<LogFile>,
}

/// A known preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PresetName {
    /// A XiVO site: Main and Standby, CC, media servers; that of xivo-nextlts.
    Xivo,
    /// XiVO nextlts: its CC starts and stops with its XiVO.
    XivoNextlts,
    /// XiVO up to 2025.10: its CC runs on both sides, and must be restarted after each switch.
    #[serde(rename = "xivo-2025.10")]
    Xivo2025,
}

/// Public listeners.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListenFile {
    /// TLS: h2 and http/1.1.
    pub(super) https: Option<OneOrMany<Short<ListenerFile>>>,
    /// Plain HTTP, answered with a redirect to the FQDN only.
    pub(super) http: Option<OneOrMany<Short<ListenerFile>>>,
}

/// One listener: `0.0.0.0:443`, or with more to say.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListenerFile {
    /// IP address and port.
    pub(super) address: Option<String>,
    /// Who says by the PROXY protocol, version 1 or 2, where connections come from.
    pub(super) proxy_protocol: Option<ProxyFile>,
}

/// Who is believed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ProxyFile {
    /// Networks whose connections begin with a header; no other one may.
    pub(super) from: Option<OneOrMany<String>>,
}

impl Abbreviated for ListenerFile {
    const EXPECTED: &'static str = "an address, a list of addresses, or a mapping with address and proxy_protocol";

    fn from_text<E: serde::de::Error>(text: &str) -> Result<Self, E> {
        Ok(Self { address: Some(text.to_owned()), proxy_protocol: None })
    }
}

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CertificateFile {
    /// Leaf first, then intermediates.
    pub(super) chain: Option<String>,
    /// PKCS#8, PKCS#1 or SEC1.
    pub(super) key: Option<String>,
}

/// TLS towards clients.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TlsFile {
    /// Oldest version clients may speak.
    pub(super) min: Option<TlsVersion>,
    /// Whether files of certificates and of upstreams' authorities are read anew when they change.
    pub(super) watch: Option<bool>,
    /// What becomes of clients that ask for no name, or for one that nobody here has.
    pub(super) unknown_name: Option<UnknownName>,
}

/// The admin endpoint.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AdminFile {
    /// Unix socket.
    pub(super) socket: Option<String>,
    /// Group that may use it besides root.
    pub(super) group: Option<String>,
}

/// The endpoint that tells the live side to helpers on other machines.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LiveListenFile {
    /// Where helpers ask: IP address and port.
    pub(super) listen: Option<String>,
    /// Addresses or networks of the helpers; nobody else gets an answer.
    pub(super) from: Option<OneOrMany<String>>,
}

impl Abbreviated for AdminFile {
    const EXPECTED: &'static str = "the path of a socket, or a mapping with socket and group";

    fn from_text<E: serde::de::Error>(text: &str) -> Result<Self, E> {
        Ok(Self { socket: Some(text.to_owned()), group: None })
    }
}

/// Logs.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogFile {
    /// Shape of a line.
    pub(super) format: Option<LogFormat>,
    /// Filter: `info`, or `bascule=debug`.
    pub(super) level: Option<String>,
    /// Whether each request and session yields a line.
    pub(super) access: Option<bool>,
}
