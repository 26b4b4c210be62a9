//! The shape of the file: keys and short forms, nothing resolved, nothing defaulted.

use failover::duty::{Alone, Failback, Mode};
use failover::{Label, Side};
use protocol::wire::Role;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::Error;
use serde_json::json;
use settings::{Abbreviated, Named, OneOrMany, Short, Span};

use super::SipProbe;

/// Configuration of a watchdog. Every key is shown with its default and its meaning in conf/watchdog-main.yaml,
/// watchdog-standby.yaml, watchdog-cc.yaml and watchdog-mds.yaml.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "bascule watchdog.yaml")]
pub(super) struct File {
    /// Commands and checks to start from.
    pub(super) preset: Option<PresetName>,
    /// What it watches over.
    #[schemars(schema_with = "words::<Role>")]
    pub(super) role: Option<Role>,
    /// Which half of the site; media servers have none.
    #[schemars(schema_with = "words::<Side>")]
    pub(super) side: Option<Side>,
    /// What it is called; by default what its certificate says.
    pub(super) name: Option<String>,
    /// Where the peer, and those that follow, dial.
    pub(super) listen: Option<String>,
    /// Where the other XiVO's watchdog listens.
    pub(super) peer: Option<String>,
    /// Where the Edge listens for nodes; without it the node is unguarded.
    pub(super) witness: Option<String>,
    /// Where the Edge listens for nodes: a CC or a media server reports there.
    pub(super) edge: Option<String>,
    /// A CC's XiVO's watchdog; a media server's two XiVOs.
    pub(super) xivo: Option<Short<XivosFile>>,
    /// Directory of ca.pem, chain.pem and key.pem.
    pub(super) identity: Option<String>,
    /// Directory of what must survive a restart.
    pub(super) state: Option<String>,
    /// Control socket.
    pub(super) control: Option<String>,
    /// Address of the Prometheus endpoint, or `off`.
    pub(super) metrics: Option<String>,
    /// XiVO's own cron table, which must not act beside this; or `off`.
    #[serde(alias = "rival")]
    pub(super) legacy_failover: Option<String>,
    /// Who decides that the node serves.
    #[schemars(schema_with = "words::<Mode>")]
    pub(super) mode: Option<Mode>,
    /// When Standby stops for a Main that is back.
    #[schemars(schema_with = "words::<Failback>")]
    pub(super) failback: Option<Failback>,
    /// When a failback is welcome, in local time.
    pub(super) window: Option<WindowFile>,
    /// How long Main must have been fit and in touch before Standby stops for it.
    pub(super) hold_down: Option<Span>,
    /// The longest hold-down that failed activations lead to.
    pub(super) hold_down_limit: Option<Span>,
    /// What a node does that finds itself alone.
    #[schemars(schema_with = "words::<Alone>")]
    pub(super) alone: Option<Alone>,
    /// Hosts that answer ICMP while this node is not cut off.
    pub(super) anchors: Option<OneOrMany<String>>,
    /// Whether operators' wishes handed over by the Edge are followed.
    pub(super) accept_requests: Option<bool>,
    /// What keeps phones out.
    pub(super) fence: Option<Short<FenceFile>>,
    /// The protocol's times; the same on both XiVOs and on the Edge.
    pub(super) timing: Option<TimingFile>,
    /// The pause before a failed start or stop is tried again; doubled each time.
    pub(super) retry: Option<Span>,
    /// The longest such pause.
    pub(super) retry_limit: Option<Span>,
    /// The node's own SIP.
    pub(super) sip: Option<SipFile>,
    /// Media servers to register with while it serves.
    pub(super) mds: Option<Named<String>>,
    /// How Asterisk is told.
    pub(super) asterisk: Option<AsteriskFile>,
    /// What is started, stopped and checked.
    pub(super) services: Option<ServicesFile>,
    /// Holds Main's replication back while it does not serve.
    pub(super) replication: Option<ReplicationFile>,
    /// What a CC must answer to be active.
    pub(super) ready: Option<Short<ReadyFile>>,
}

/// A known preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PresetName {
    /// XiVO's own commands; those of xivo-nextlts.
    Xivo,
    /// XiVO nextlts: a CC starts and stops after its XiVO.
    XivoNextlts,
    /// XiVO up to 2025.10: a CC runs on both sides, and is restarted when its XiVO becomes active.
    #[serde(rename = "xivo-2025.10")]
    Xivo2025,
}

/// The schema of a key at which one of a closed set's words stands.
fn words<T: Label>(_: &mut SchemaGenerator) -> Schema {
    let words =
        T::ALL.iter().map(|one| json!({ "const": one.label(), "description": one.meaning(), "type": "string" }));
    json_schema!({ "oneOf": words.collect::<Vec<_>>() })
}

/// Days and hours.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WindowFile {
    /// Days on which it opens; all by default.
    pub(super) days: Option<OneOrMany<DayName>>,
    /// When it opens: `02:00`.
    pub(super) from: Option<String>,
    /// When it closes; before `from`: on the next day.
    pub(super) to: Option<String>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub(super) enum DayName {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A fence: a word, or commands.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FenceFile {
    #[serde(skip)]
    pub(super) word: Option<FenceWord>,
    /// Keeps phones out; exit 0: they are.
    pub(super) command: Option<Vec<String>>,
    /// Lets them in.
    pub(super) release: Option<Vec<String>>,
    /// When the command fails.
    pub(super) last_resort: Option<Vec<String>>,
}

/// A fence that needs no commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FenceWord {
    Nft,
    None,
}

impl Abbreviated for FenceFile {
    const EXPECTED: &'static str = "nft, none, or a mapping with command and release";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        let word = match text {
            "nft" => FenceWord::Nft,
            "none" => FenceWord::None,
            _ => return Err(E::invalid_value(serde::de::Unexpected::Str(text), &Self::EXPECTED)),
        };
        Ok(Self { word: Some(word), ..Self::default() })
    }
}

/// The protocol's times.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TimingFile {
    /// A node asks each voter this often (h).
    pub(super) heartbeat: Option<Span>,
    /// An answer takes so long at most; every bound counts on it. A later one still counts, from when it was asked.
    pub(super) request_limit: Option<Span>,
    /// A node serves for so long after it sent the last request that was granted (L).
    pub(super) lease: Option<Span>,
    /// The longest time that the scheduler keeps the watchdog waiting (P).
    pub(super) pause: Option<Span>,
    /// The longest time from the decision to fence until no phone can reach the node (F).
    pub(super) fence: Option<Span>,
    /// How far any clock's rate is from the true one, in parts per million (rho).
    pub(super) drift_ppm: Option<u32>,
    /// The coarseness of timers (g).
    pub(super) granularity: Option<Span>,
    /// A voter keeps its promise for so long (TTL).
    pub(super) promise: Option<Span>,
    /// A voter whose disk was lost grants nothing for so long (Q).
    pub(super) quiet: Option<Span>,
    /// The witness is out when it has been silent for so long.
    pub(super) witness_out: Option<Span>,
    /// The longest restart of the Edge that is no outage.
    pub(super) witness_restart: Option<Span>,
}

/// The node's own SIP.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SipFile {
    /// Where phones find it; by default the address of `listen`.
    pub(super) address: Option<String>,
    /// Ports that are fenced; the first is probed.
    pub(super) ports: Option<OneOrMany<u16>>,
    /// How it is probed.
    pub(super) check: Option<SipProbe>,
    /// An answer may take so long; a shorter stall is no death.
    pub(super) time_limit: Option<Span>,
}

/// How Asterisk is told and asked.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AsteriskFile {
    /// Program and first arguments; `-rx COMMAND` is added.
    pub(super) command: Option<Vec<String>>,
    /// Name of a registration object; `{mds}` stands for the media server.
    pub(super) name: Option<String>,
}

/// A XiVO, or two of them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct XivosFile {
    #[serde(skip)]
    pub(super) one: Option<String>,
    /// Main's address.
    pub(super) main: Option<String>,
    /// Standby's.
    pub(super) standby: Option<String>,
    /// A CC whose XiVO has no watchdog asks by a command: exit 0 active, 1 inactive, anything else says nothing.
    pub(super) status: Option<RepeatedFile>,
}

impl Abbreviated for XivosFile {
    const EXPECTED: &'static str = "an address, or a mapping with main and standby, or with status";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self { one: Some(text.to_owned()), ..Self::default() })
    }
}

/// What is started, stopped and checked.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ServicesFile {
    /// Starts them.
    pub(super) start: Option<CommandFile>,
    /// A CC up to 2025.10, whose services run on both sides: restarts them, instead of start and stop.
    pub(super) restart: Option<CommandFile>,
    /// With restart: says which instance runs, in words that each restart changes.
    pub(super) instance: Option<CommandFile>,
    /// Stops them, in order.
    pub(super) stop: Option<CommandFile>,
    /// Exit 0: they run.
    pub(super) check: Option<RepeatedFile>,
    /// Exit 0: surely stopped.
    pub(super) stopped: Option<CommandFile>,
    /// Exit 0: could serve.
    pub(super) fit: Option<CommandFile>,
    /// Exit 0: a person stopped them on purpose.
    pub(super) by_hand: Option<CommandFile>,
    /// Not fit for so long after telephony died.
    pub(super) recover: Option<Span>,
    /// Started but not verified for so long: failed.
    pub(super) verify_limit: Option<Span>,
}

/// A command.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CommandFile {
    /// Program and arguments.
    pub(super) command: Option<Vec<String>>,
    /// From start to end; then its process group is killed.
    pub(super) time_limit: Option<Span>,
}

/// A command that is run again and again.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RepeatedFile {
    /// Program and arguments.
    pub(super) command: Option<Vec<String>>,
    /// From start to end; then its process group is killed.
    pub(super) time_limit: Option<Span>,
    /// From the end of one run to the next.
    pub(super) interval: Option<Span>,
}

/// Holds a replication back.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ReplicationFile {
    /// While it does not serve.
    pub(super) hold: Option<CommandFile>,
    /// While it serves.
    pub(super) resume: Option<CommandFile>,
}

/// What a CC must answer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ReadyFile {
    /// URL that is asked; its host is an IP address.
    pub(super) check: Option<String>,
    /// Statuses that are well.
    pub(super) status: Option<OneOrMany<u16>>,
    /// CA certificates, PEM; by default the certificate is not checked: the question stays on this machine.
    pub(super) ca: Option<String>,
    /// For one question.
    pub(super) time_limit: Option<Span>,
    /// From the end of one to the next.
    pub(super) interval: Option<Span>,
}

impl Abbreviated for ReadyFile {
    const EXPECTED: &'static str = "a URL, or a mapping with check";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self { check: Some(text.to_owned()), ..Self::default() })
    }
}
