//! The shape of a route.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::Error;
use settings::{Abbreviated, Named, OneOrMany, Short, Size, Span};

use super::zones::ZoneUseFile;
use crate::config::{Follow, Matching, Replay, Token};

/// One path that is carried.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RouteFile {
    /// Where it begins. `{mds}` in it makes one route per media server.
    pub(in crate::config) path: Option<String>,
    /// Names it in logs and metrics; the path by default.
    pub(in crate::config) name: Option<String>,
    /// Takes a route of the preset away.
    pub(in crate::config) remove: Option<bool>,
    /// How far the path reaches.
    #[serde(rename = "match")]
    pub(in crate::config) matching: Option<Matching>,
    /// The service it goes to; `mds.{mds}` for the media server itself.
    pub(in crate::config) service: Option<String>,
    /// The zone its requests count in.
    pub(in crate::config) zone: Option<Short<ZoneUseFile>>,
    /// Whether WebSockets are carried, and with which subprotocols.
    pub(in crate::config) websocket: Option<Short<WebSocketFile>>,
    /// Format of the token the query must carry.
    pub(in crate::config) token: Option<Token>,
    /// When a request that may have reached an upstream is sent again.
    pub(in crate::config) replay: Option<Replay>,
    /// Close code and reason WebSockets get on a switch.
    pub(in crate::config) close: Option<Short<CloseFile>>,
    /// Whether WebSockets to a shared service are closed on a switch.
    pub(in crate::config) follow: Option<Follow>,
    /// How long an upstream may take between two parts of an answer.
    pub(in crate::config) response_limit: Option<Span>,
    /// Largest request body.
    pub(in crate::config) body_limit: Option<Size>,
    /// Methods that are carried; GET stands for HEAD, too.
    pub(in crate::config) methods: Option<OneOrMany<String>>,
    /// Headers added to answers that do not have them, laid over those of the site; `off` takes one away.
    pub(in crate::config) headers: Option<Named<String>>,
}

impl RouteFile {
    /// This route, with what it leaves open taken from `beneath`.
    pub(in crate::config) fn over(self, beneath: Self) -> Self {
        Self {
            path: self.path.or(beneath.path),
            name: self.name.or(beneath.name),
            remove: self.remove.or(beneath.remove),
            matching: self.matching.or(beneath.matching),
            service: self.service.or(beneath.service),
            zone: match (self.zone, beneath.zone) {
                (Some(above), Some(below)) => Some(Short(above.0.over(below.0))),
                (above, below) => above.or(below),
            },
            websocket: self.websocket.or(beneath.websocket),
            token: self.token.or(beneath.token),
            replay: self.replay.or(beneath.replay),
            close: self.close.or(beneath.close),
            follow: self.follow.or(beneath.follow),
            response_limit: self.response_limit.or(beneath.response_limit),
            body_limit: self.body_limit.or(beneath.body_limit),
            methods: self.methods.or(beneath.methods),
            headers: self.headers.or(beneath.headers),
        }
    }
}

/// WebSockets on a route: `true`, `false`, or the subprotocols accepted.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct WebSocketFile {
    /// Carried or refused; carried when `subprotocols` is given.
    // Turned round, so that the long form, which has no word for it, means that they are carried.
    #[serde(skip)]
    pub(in crate::config) refused: bool,
    /// Accepted `Sec-WebSocket-Protocol` values; any or none when the list is empty.
    pub(in crate::config) subprotocols: Option<OneOrMany<String>>,
}

impl Abbreviated for WebSocketFile {
    const EXPECTED: &'static str = "true, false, or a mapping with subprotocols";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        match text {
            "true" => Ok(Self { refused: false, subprotocols: None }),
            "false" => Ok(Self { refused: true, subprotocols: None }),
            _ => Err(E::unknown_variant(text, &["true", "false", "{ subprotocols: … }"])),
        }
    }
}

/// A WebSocket Close: a code, or code and reason.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct CloseFile {
    /// Status code.
    pub(in crate::config) code: Option<u16>,
    /// At most 123 bytes.
    pub(in crate::config) reason: Option<String>,
}

impl Abbreviated for CloseFile {
    const EXPECTED: &'static str = "a close code such as 1012, or a mapping with code and reason";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        match text.parse() {
            Ok(code) => Ok(Self { code: Some(code), reason: None }),
            Err(_) => Err(E::invalid_value(serde::de::Unexpected::Str(text), &Self::EXPECTED)),
        }
    }
}
