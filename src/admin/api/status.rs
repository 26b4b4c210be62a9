//! What is: the whole of the Edge on one screen.

use std::net::{IpAddr, SocketAddr};

use failover::Side;
use failover::health::State;
use failover::switch::Kind;
use failover::verdict::Verdict;
use serde::{Deserialize, Serialize};

use super::{Frozen, Maintenance, NodeStatus, Sides, SwitchoverStatus, Time, WitnessStatus};

/// Everything an operator asks first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The whole of it in one sentence.
    pub sentence: String,
    /// Of the running program.
    pub version: String,
    /// Of the running program.
    pub pid: u32,
    /// When it started.
    pub started: Time,
    /// When this was said: other times are shown from here.
    pub now: Time,
    /// The side that receives traffic.
    pub live: Side,
    /// Grows by one with each switch.
    pub epoch: u64,
    /// Whether that live side and epoch are on the disk.
    pub persisted: bool,
    /// Who forbids automatic switches, or none.
    pub frozen: Option<Frozen>,
    /// The switch budget is used up.
    pub damped: bool,
    /// Decides and journals, moves nothing.
    pub observe: bool,
    /// The Edge doubts its own evidence (E7): why.
    pub doubt: Option<String>,
    /// It takes no new connections and waits for the old ones to end.
    pub draining: bool,
    /// What operators have out of service, oldest first.
    #[serde(default)]
    pub maintenance: Vec<Maintenance>,
    /// Health of each side.
    pub sides: Sides<SideStatus>,
    /// One row for each service of a side, then the shared ones.
    pub services: Vec<ServiceStatus>,
    /// Sessions that are open now.
    pub sessions: SessionCounts,
    /// Requests that wait for a switch now.
    pub parked: u64,
    /// What would happen if the live side died now.
    pub next: Next,
    /// The last switch, or none yet.
    pub last_switch: Option<SwitchSummary>,
    /// Certificates shown to clients.
    pub certificates: Vec<CertificateStatus>,
    /// What is in force, and whether the file on the disk is another story.
    #[serde(default)]
    pub configuration: ConfigurationStatus,
    /// What somebody should look at, most urgent first.
    pub alarms: Vec<String>,
    /// Nodes with a watchdog that have reported since the Edge started.
    #[serde(default)]
    pub nodes: Vec<NodeStatus>,
    /// The Edge's vote; none: an Edge alone.
    #[serde(default)]
    pub witness: Option<WitnessStatus>,
    /// What would become of telephony if a side died now: one sentence for each.
    #[serde(default)]
    pub takeovers: Vec<String>,
    /// The last planned switch of the whole site since the Edge started.
    #[serde(rename = "walk", default)]
    pub switchover: Option<SwitchoverStatus>,
}

/// The configuration in force, and the file it came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationStatus {
    /// When what is in force was loaded.
    pub loaded: Option<Time>,
    /// The file on the disk was to be loaded since and could not be; none: it was, or nobody asked.
    pub broken: Option<BrokenConfiguration>,
}

/// A file that does not load: a restart with it fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenConfiguration {
    /// Since the first of the attempts in a row that failed.
    pub since: Time,
    /// The first of its errors.
    pub error: String,
    /// How many there are besides.
    pub more: usize,
}

/// A side's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideStatus {
    /// Its health.
    pub health: State,
    /// Why, in one sentence.
    pub reason: String,
    /// Since when.
    pub since: Option<Time>,
}

/// A service as one side has it, or a shared one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// Its side; none: shared.
    #[serde(default)]
    pub side: Option<Side>,
    /// Without it its side does not work.
    pub required: bool,
    /// Its health.
    pub health: State,
    /// Why, in one sentence.
    pub reason: String,
    /// Who serves it.
    pub backends: Vec<BackendStatus>,
}

/// One backend of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// What the file calls it.
    pub name: String,
    /// The address and port that requests go to.
    pub address: SocketAddr,
    /// The worst of its checks.
    pub verdict: Verdict,
    /// Each check of it, in the order of the file.
    pub checks: Vec<CheckStatus>,
}

/// One check of a backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// Its name.
    pub name: String,
    /// Its port; none: the backend's.
    #[serde(default)]
    pub port: Option<u16>,
    /// Its verdict.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// The last probe, or none yet.
    pub last: Option<Outcome>,
    /// Days until the certificate it was shown expires; negative: expired; none: no TLS.
    pub certificate_days: Option<i64>,
}

/// What one probe came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// When it ended.
    pub at: Time,
    /// `ok`, or how it failed (`refused`, `silent`, …).
    pub outcome: String,
    /// How long it took, in milliseconds.
    pub latency_ms: f64,
}

/// Sessions by where they end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCounts {
    /// On Main.
    pub main: u64,
    /// On Standby.
    pub standby: u64,
    /// On shared services.
    pub shared: u64,
}

/// What would happen if the live side died now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// In one sentence.
    pub sentence: String,
    /// Where traffic would go; none: nowhere.
    #[serde(default)]
    pub to: Option<Side>,
}

/// A switch in one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchSummary {
    /// The epoch it began.
    pub epoch: u64,
    /// When it was decided.
    pub at: Time,
    /// What sort.
    pub kind: Kind,
    /// The side that was left.
    pub from: Side,
    /// The side that is live since.
    pub to: Side,
    /// Why, in one sentence.
    pub reason: String,
}

/// A certificate the Edge shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// The name it is for.
    pub name: String,
    /// When it expires.
    pub not_after: Time,
    /// Days until then; negative: expired.
    pub days: i64,
}

/// One open session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Its number, unique while the program runs.
    pub id: u64,
    /// The side it ends on; none: a shared service.
    #[serde(default)]
    pub side: Option<Side>,
    /// The route that carried it.
    pub route: String,
    /// The service it ends on.
    pub service: String,
    /// The backend it ends on.
    pub backend: String,
    /// The address that opened it.
    pub client: IpAddr,
    /// The login in its token, unverified; none: no token.
    pub login: Option<String>,
    /// Since when.
    pub since: Time,
    /// Bytes carried from the client.
    pub bytes_in: u64,
    /// Bytes carried to the client.
    pub bytes_out: u64,
    /// It has been told to go.
    pub closing: bool,
}
