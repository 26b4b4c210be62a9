//! The shape of connections that are handed on as they are.

use schemars::JsonSchema;
use serde::Deserialize;
use settings::{OneOrMany, Span};

use crate::config::ProxyHeader;

/// TLS connections handed on undecrypted, by the name their clients ask for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct PassFile {
    /// A name, `*.example.org` for those one label below it, or `*` for any other name and for none.
    pub(in crate::config) names: Option<OneOrMany<String>>,
    /// IP address and port; of several the first that takes the connection.
    pub(in crate::config) to: Option<OneOrMany<String>>,
    /// Whether a header of the PROXY protocol says there who the client is.
    pub(in crate::config) proxy_protocol: Option<ProxyHeader>,
    /// How long nothing may move on such a connection.
    pub(in crate::config) idle: Option<Span>,
}
