//! What is listened on, resolved: public addresses, certificates, and names whose connections are handed on undecrypted.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Network;

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
