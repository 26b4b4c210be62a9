//! The shape of what tunes the Edge: failback, probes, switches, limits.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::Error;
use settings::{Abbreviated, Short, Size, Span};

/// When a live side that works is left: `sticky`, `prefer-main`, or with a hold-down.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(in crate::config) struct FailbackFile {
    /// Back to Main, once Main has worked for the hold-down.
    pub(in crate::config) prefer_main: Option<PreferMainFile>,
}

/// Back to Main.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct PreferMainFile {
    /// How long Main must have worked without interruption.
    pub(in crate::config) hold_down: Option<Span>,
}

impl Abbreviated for FailbackFile {
    const EXPECTED: &'static str = "sticky, prefer-main, or { prefer-main: { hold_down: 60s } }";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        match text {
            "sticky" => Ok(Self { prefer_main: None }),
            "prefer-main" => Ok(Self { prefer_main: Some(PreferMainFile::default()) }),
            _ => Err(E::unknown_variant(text, &["sticky", "prefer-main"])),
        }
    }
}

/// How verdicts are made. The profile gives the defaults of the other keys.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ProbeFile {
    /// Set of defaults.
    pub(in crate::config) profile: Option<ProfileFile>,
    /// Between two probes of a healthy backend.
    pub(in crate::config) interval: Option<Span>,
    /// For the whole of one probe.
    pub(in crate::config) time_limit: Option<Span>,
    /// Successes in a row to be up.
    pub(in crate::config) rise: Option<u8>,
    /// Failures in a row to be down.
    pub(in crate::config) fall: Option<u8>,
    /// Delay of a re-probe after a refusal or reset.
    pub(in crate::config) reprobe_refused: Option<Span>,
    /// Delay of a re-probe after silence.
    pub(in crate::config) reprobe_silent: Option<Span>,
    /// How long no request may be answered by a backend before it is probed at once.
    pub(in crate::config) suspicion: Option<Span>,
    /// Silence of the prober after which a verdict is unknown.
    pub(in crate::config) stale_after: Option<Span>,
}

/// A set of defaults for probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum ProfileFile {
    /// For any network.
    Normal,
    /// For a LAN without loss and an application that answers at once.
    Fast,
}

/// How a switch is carried out.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct SwitchFile {
    /// Automatic switches before damping.
    pub(in crate::config) switches_per_hour: Option<u32>,
    /// How long a request waits for a decision.
    pub(in crate::config) park_limit: Option<Span>,
    /// How many requests wait at once.
    pub(in crate::config) park_requests: Option<usize>,
    /// Users told per second, or `all` at once.
    pub(in crate::config) reconnect_rate: Option<Short<RateFile>>,
    /// After that all remaining sessions of the demoted side are cut.
    pub(in crate::config) drain_limit: Option<Span>,
}

/// Users per second; none: all at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(in crate::config) struct RateFile(pub(in crate::config) Option<u32>);

impl JsonSchema for RateFile {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "all" }] })
    }
}

impl Abbreviated for RateFile {
    const EXPECTED: &'static str = "a number of users per second, or all";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        match (text, text.parse()) {
            ("all", _) => Ok(Self(None)),
            (_, Ok(rate)) => Ok(Self(Some(rate))),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &Self::EXPECTED)),
        }
    }
}

/// What a client or an upstream may use up.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct LimitsFile {
    /// From accept to a whole ClientHello.
    pub(in crate::config) client_hello: Option<Span>,
    /// From ClientHello to a finished handshake.
    pub(in crate::config) handshake: Option<Span>,
    /// From the first byte of a request to the end of its head.
    pub(in crate::config) request_head: Option<Span>,
    /// Between two requests on a connection.
    pub(in crate::config) keepalive: Option<Span>,
    /// Between two parts of a request body.
    pub(in crate::config) request_body: Option<Span>,
    /// Size of a request head.
    pub(in crate::config) head_bytes: Option<Size>,
    /// Header fields in a request head.
    pub(in crate::config) head_fields: Option<usize>,
    /// Connections of all clients.
    pub(in crate::config) connections: Option<usize>,
    /// Connections of one client address.
    pub(in crate::config) connections_per_client: Option<usize>,
    /// Concurrent h2 streams of a connection.
    pub(in crate::config) h2_streams: Option<u32>,
    /// What requests under way may hold in memory, all together.
    pub(in crate::config) memory: Option<Size>,
    /// To connect to an upstream, TLS included.
    pub(in crate::config) connect: Option<Span>,
    /// How long a peer of a WebSocket may not take what is there for it.
    pub(in crate::config) write_stall: Option<Span>,
    /// For requests and sessions to end after SIGTERM.
    pub(in crate::config) drain: Option<Span>,
}
