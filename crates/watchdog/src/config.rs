//! The resolved configuration: addresses, sound times, absolute paths. Nothing downstream checks again. How a file becomes
//! one is left to the submodules.

pub mod defaults;
mod file;
mod load;
mod preset;
mod resolve;
#[cfg(test)]
mod tests;
mod window;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use failover::{PerSide, Side, duty, follow};
use protocol::who::Who;
use schemars::JsonSchema;
use serde::Deserialize;
pub use settings::{Errors, Problem, Warning};

pub use crate::node::command::CommandSpec;
pub use window::Window;

/// Everything the watchdog was told, checked whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What it is called; none: what its certificate says.
    pub name: Option<String>,
    /// What it watches over: telephony, contact centre or media server.
    pub role: Role,
    /// Directory of `ca.pem`, `chain.pem` and `key.pem`.
    pub identity: PathBuf,
    /// Directory of what must survive a restart.
    pub state: PathBuf,
    /// Control socket. The handover file, and what holds services back at boot, stand beside it.
    pub control: PathBuf,
    /// Where Prometheus is answered, or none.
    pub metrics: Option<SocketAddr>,
    /// XiVO's own cron table, which must not act beside this; none: nobody looks.
    pub legacy_failover: Option<PathBuf>,
}

/// What a watchdog watches over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Telephony: a node that votes and serves.
    Xivo(Box<XivoConfig>),
    /// Contact centre: it follows its XiVO.
    Cc(Box<CcConfig>),
    /// A media server: it says who is registered.
    Mds(MdsConfig),
}

/// What a XiVO node is configured to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XivoConfig {
    /// Where the peer, and those that follow, dial.
    pub listen: SocketAddr,
    /// Where the other XiVO listens.
    pub peer: SocketAddr,
    /// Where the Edge listens for nodes; none: unguarded.
    pub witness: Option<SocketAddr>,
    /// Side, times and wishes of the machine: sound.
    pub duty: duty::Settings,
    /// When a failback is welcome; for `failback: window`.
    pub window: Option<Window>,
    /// Hosts that answer ICMP while this node is not cut off.
    pub anchors: Vec<IpAddr>,
    /// What keeps phones out while the node may not serve.
    pub fence: Fence,
    /// The node's own SIP, which is probed and fenced.
    pub sip: Sip,
    /// Media servers to register with while it serves, in the order of the file.
    pub media_servers: Vec<MediaServer>,
    /// How Asterisk is told and asked, for registrations and ports.
    pub asterisk: Asterisk,
    /// What it starts, stops and checks.
    pub services: Services,
    /// Holds Main's replication back while it does not serve.
    pub replication: Option<Replication>,
}

/// What a CC node is configured to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CcConfig {
    /// The side whose XiVO it follows.
    pub side: Side,
    /// How it learns what its XiVO does.
    pub xivo: Source,
    /// Where the Edge listens for nodes; none: it reports to nobody.
    pub edge: Option<SocketAddr>,
    /// How it follows: pauses after commands that fail.
    pub follow: follow::Settings,
    /// Between two reports, and between a lost connection and the next attempt.
    pub heartbeat: Duration,
    /// What it starts, stops and checks.
    pub services: Services,
    /// What must answer before it is active.
    pub ready: Option<Ready>,
}

/// How a CC learns what its XiVO does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// From its XiVO's watchdog, which listens here.
    Watchdog(SocketAddr),
    /// From a command, where XiVO has no watchdog. Exit 0: active; 1: inactive; anything else says nothing.
    Command(Repeated),
}

/// What a media server is configured to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MdsConfig {
    /// Where the Edge listens for nodes; none: it reports to nobody.
    pub edge: Option<SocketAddr>,
    /// Whose contact is Main's, and whose Standby's.
    pub xivo: PerSide<IpAddr>,
    /// How Asterisk is asked who is registered.
    pub asterisk: Asterisk,
    /// Between two looks, and two reports.
    pub heartbeat: Duration,
}

/// A command that is run again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// What is run, and how long it may take.
    pub command: CommandSpec,
    /// From the end of one run to the next.
    pub interval: Duration,
}

/// What is started, stopped and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Services {
    /// Starts them; the node is active once a check agrees.
    pub start: CommandSpec,
    /// Stops them, in the order that the command knows.
    pub stop: CommandSpec,
    /// Exit 0: they run. None: what answers over the network (`sip`, `ready`) decides alone.
    pub check: Option<Repeated>,
    /// Exit 0: surely stopped. None: the check fails and nothing answers over the network.
    pub stopped: Option<CommandSpec>,
    /// Exit 0: it could serve. None: it could unless telephony just died.
    pub fit: Option<CommandSpec>,
    /// Exit 0: a person stopped them on purpose.
    pub by_hand: Option<CommandSpec>,
    /// Says which instance runs. Set: they run on both sides, `start` restarts them, and `stop` is never run.
    pub instance: Option<CommandSpec>,
    /// Not fit for so long after telephony died.
    pub recover: Duration,
    /// Started but not verified for so long: failed.
    pub verify_limit: Duration,
}

/// What keeps phones away from a node that must not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fence {
    /// An nft table whose elements time out in the kernel.
    Nft,
    /// Nothing but the stop command.
    None,
    /// The operator's own commands, which nobody reads back.
    Command(FenceCommands),
}

/// A fence of the operator's own. Each has the fence's time for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceCommands {
    /// Keeps phones out; exit 0: they are.
    pub close: CommandSpec,
    /// Lets phones in, when the node may serve.
    pub release: CommandSpec,
    /// What is left to do when closing fails.
    pub last_resort: Option<CommandSpec>,
}

/// A node's own SIP: where it is, and how it is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sip {
    /// The address at which phones find it.
    pub address: IpAddr,
    /// Ports that are fenced, UDP and TCP; never empty. The first is probed.
    pub ports: Vec<u16>,
    /// How it is probed with SIP OPTIONS.
    pub check: SipProbe,
    /// How long an answer may take while it serves.
    pub time_limit: Duration,
}

/// How SIP is probed while the node serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SipProbe {
    /// OPTIONS in datagrams, as phones send them.
    Udp,
    /// OPTIONS in a connection, for an Asterisk that takes no UDP.
    Tcp,
    /// It is not probed: the check command alone judges.
    Off,
}

/// A media server to register with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaServer {
    /// The name that operators and metrics know it by.
    pub name: String,
    /// The address of its SIP, with its port.
    pub address: SocketAddr,
}

/// How Asterisk is told and asked: by its own command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asterisk {
    /// Program and first arguments; `-rx COMMAND` is added.
    pub command: Vec<String>,
    /// Name of a registration object; `{mds}` stands for the media server.
    pub name: String,
}

impl Asterisk {
    /// The name of the object that registers with this media server.
    pub fn registration(&self, media_server: &str) -> String {
        self.name.replace("{mds}", media_server)
    }
}

/// Holds a replication back while the node does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// Before it does not serve any more, and while it does not.
    pub hold: CommandSpec,
    /// Run while it serves, so that copies go on.
    pub resume: CommandSpec,
}

/// An HTTP question that a CC must answer to be active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The address that is asked; names are not resolved.
    pub address: SocketAddr,
    /// The authority that the Host header names.
    pub authority: String,
    /// The path that is asked for, with its query.
    pub path: String,
    /// TLS with these rules of trust; none: in the clear.
    pub tls: Option<ReadyTrust>,
    /// Inclusive ranges of statuses that are well.
    pub status: Vec<(u16, u16)>,
    /// How long one question may take.
    pub time_limit: Duration,
    /// From the end of one to the next.
    pub interval: Duration,
}

/// How the answering certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadyTrust {
    /// Not at all: the question stays on this machine.
    Off,
    /// By the CA certificates in this PEM file.
    Ca(PathBuf),
}

impl Config {
    /// The role as certificates name it.
    pub const fn kind(&self) -> protocol::wire::Role {
        match self.role {
            Role::Xivo(_) => protocol::wire::Role::Xivo,
            Role::Cc(_) => protocol::wire::Role::Cc,
            Role::Mds(_) => protocol::wire::Role::Mds,
        }
    }

    /// Its side; media servers have none.
    pub const fn side(&self) -> Option<Side> {
        match &self.role {
            Role::Xivo(xivo) => Some(xivo.duty.side),
            Role::Cc(cc) => Some(cc.side),
            Role::Mds(_) => None,
        }
    }

    /// A file beside the control socket, gone after a boot.
    pub fn runtime(&self, name: &str) -> PathBuf {
        self.control.with_file_name(name)
    }
}

/// Tells how a certificate does not fit the configuration, if so: role, side, or name.
pub fn mismatch(config: &Config, who: &Who) -> Option<String> {
    if !who.is_node(config.kind(), config.side()) {
        let side = config.side().map(|side| format!(", {side}")).unwrap_or_default();
        return Some(format!("the certificate is of {}, but this node is {}{side}", who.uri(), config.kind()));
    }
    let name = config.name.as_deref().filter(|name| *name != who.name())?;
    Some(format!("the certificate names {:?}, but the configuration {name:?}", who.name()))
}

/// The JSON Schema of the file, as conf/watchdog.schema.json holds it.
pub fn schema() -> serde_json::Value {
    settings::schema::<file::File>()
}
