//! The shape of services: where they live, how they are spoken to, how they are checked.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};
use settings::{Abbreviated, Named, OneOrMany, Short};

use super::leaves::StatusRange;
use crate::config::SipTransport;

/// An address or a list of them.
pub(in crate::config) type BackendsFile = OneOrMany<Short<BackendFile>>;

/// Services that exist once per side.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct SidesFile {
    /// Service name: its backends on Main.
    pub(in crate::config) main: Option<Named<BackendsFile>>,
    /// Service name: its backends on Standby.
    pub(in crate::config) standby: Option<Named<BackendsFile>>,
}

/// Services both sides share.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema)]
pub(in crate::config) struct SharedFile {
    /// Media servers by name; each becomes the service `mds.NAME`.
    pub(in crate::config) mds: Option<Named<BackendsFile>>,
    /// Any other name: its backends.
    #[schemars(flatten)]
    pub(in crate::config) services: Named<BackendsFile>,
}

impl<'de> Deserialize<'de> for SharedFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = SharedFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SharedFile, A::Error> {
                let mut shared = SharedFile::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "mds" {
                        shared.mds = Some(map.next_value()?);
                    } else {
                        shared.services.0.push((name, map.next_value()?));
                    }
                }
                Ok(shared)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// One backend: `10.0.0.21`, `10.0.0.21:8443`, `http://[2001:db8::1]:8080`, or with more to say.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct BackendFile {
    /// IP address, with port or as URL.
    pub(in crate::config) address: Option<String>,
    /// Authority its redirects and cookies may name; the address as written by default.
    pub(in crate::config) name: Option<String>,
    /// Share of requests among its siblings.
    pub(in crate::config) weight: Option<u16>,
}

impl Abbreviated for BackendFile {
    const EXPECTED: &'static str = "an address, a list of addresses, or a mapping with address, name and weight";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self { address: Some(text.to_owned()), ..Self::default() })
    }
}

/// How a service is spoken to and checked.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ServiceFile {
    /// TLS or plain; an address written as URL says it, too.
    pub(in crate::config) scheme: Option<Scheme>,
    /// Port of addresses without one.
    pub(in crate::config) port: Option<u16>,
    /// `Host` its backends are asked for: `fqdn`, or a name.
    pub(in crate::config) host: Option<String>,
    /// How its backends prove who they are; else upstream_tls.
    pub(in crate::config) tls: Option<UpstreamTlsFile>,
    /// What each backend must pass to be up.
    pub(in crate::config) checks: Option<OneOrMany<Short<CheckFile>>>,
}

impl ServiceFile {
    /// This service, with what it leaves open taken from `beneath`.
    pub(in crate::config) fn over(self, beneath: Self) -> Self {
        Self {
            scheme: self.scheme.or(beneath.scheme),
            port: self.port.or(beneath.port),
            host: self.host.or(beneath.host),
            tls: self.tls.or(beneath.tls),
            checks: self.checks.or(beneath.checks),
        }
    }
}

/// TLS or plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Scheme {
    /// TLS.
    Https,
    /// Plain.
    Http,
}

/// How an upstream proves who it is: one of ca, pin and verify.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct UpstreamTlsFile {
    /// PEM file with the CA certificates that are trusted.
    pub(in crate::config) ca: Option<String>,
    /// SHA-256 of the public key (SubjectPublicKeyInfo), 64 hex digits; one or a list.
    pub(in crate::config) pin: Option<OneOrMany<String>>,
    /// Trust the system's roots, or anyone.
    pub(in crate::config) verify: Option<VerifyFile>,
    /// Name that is checked and sent as SNI; else the address is checked and no SNI is sent.
    pub(in crate::config) name: Option<String>,
}

/// Whom to trust when there is neither CA nor pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum VerifyFile {
    /// The system's roots.
    System,
    /// Anyone: the upstream is not authenticated.
    Off,
}

/// One check: exactly one of the kinds. In short: `tcp`, `tls`, `sip`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct CheckFile {
    /// A connection opens; in short its port.
    pub(in crate::config) tcp: Option<Short<TcpCheckFile>>,
    /// A TLS handshake completes; in short its port.
    pub(in crate::config) tls: Option<Short<TlsCheckFile>>,
    /// A request is answered as expected; in short its path.
    pub(in crate::config) http: Option<Short<HttpCheckFile>>,
    /// An upgrade is accepted; in short its path.
    pub(in crate::config) websocket: Option<Short<WebSocketCheckFile>>,
    /// SIP OPTIONS (RFC 3261) is answered; in short its transport.
    pub(in crate::config) sip: Option<Short<SipCheckFile>>,
}

impl Abbreviated for CheckFile {
    const EXPECTED: &'static str = "tcp, tls, sip, or a mapping such as { http: /path }";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        match text {
            "tcp" => Ok(Self { tcp: Some(Short::default()), ..Self::default() }),
            "tls" => Ok(Self { tls: Some(Short::default()), ..Self::default() }),
            "sip" => Ok(Self { sip: Some(Short::default()), ..Self::default() }),
            _ => Err(E::unknown_variant(text, &["tcp", "tls", "sip", "{ http: /path }", "{ websocket: /path }"])),
        }
    }
}

/// A connection opens.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct TcpCheckFile {
    /// Names it in reasons and metrics.
    pub(in crate::config) name: Option<String>,
    /// Another port than the backend's.
    pub(in crate::config) port: Option<u16>,
}

impl Abbreviated for TcpCheckFile {
    const EXPECTED: &'static str = "a port, or a mapping with name and port";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        port(text, Self::EXPECTED).map(|port| Self { name: None, port })
    }
}

/// A TLS handshake completes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct TlsCheckFile {
    /// Names it in reasons and metrics.
    pub(in crate::config) name: Option<String>,
    /// Another port than the backend's.
    pub(in crate::config) port: Option<u16>,
}

impl Abbreviated for TlsCheckFile {
    const EXPECTED: &'static str = TcpCheckFile::EXPECTED;

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        port(text, Self::EXPECTED).map(|port| Self { name: None, port })
    }
}

fn port<E: Error>(text: &str, expected: &'static str) -> Result<Option<u16>, E> {
    text.parse().map(Some).map_err(|_| E::invalid_value(Unexpected::Str(text), &expected))
}

/// A request is answered as expected.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct HttpCheckFile {
    /// Names it in reasons and metrics.
    pub(in crate::config) name: Option<String>,
    /// Another port than the backend's.
    pub(in crate::config) port: Option<u16>,
    /// TLS or plain; as the service by default.
    pub(in crate::config) scheme: Option<Scheme>,
    /// Request method.
    pub(in crate::config) method: Option<String>,
    /// Path and query.
    pub(in crate::config) path: Option<String>,
    /// `Host` it asks for: `fqdn`, or a name; as the service by default.
    pub(in crate::config) host: Option<String>,
    /// Further header fields.
    pub(in crate::config) headers: Option<Named<String>>,
    /// Statuses that are well.
    pub(in crate::config) status: Option<OneOrMany<StatusRange>>,
    /// Text the body must hold.
    pub(in crate::config) body: Option<String>,
    /// Whether the body must be JSON.
    pub(in crate::config) json: Option<bool>,
}

impl Abbreviated for HttpCheckFile {
    const EXPECTED: &'static str = "a path, or a mapping with path and what is expected";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self { path: Some(text.to_owned()), ..Self::default() })
    }
}

/// An upgrade is accepted.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct WebSocketCheckFile {
    /// Names it in reasons and metrics.
    pub(in crate::config) name: Option<String>,
    /// Another port than the backend's.
    pub(in crate::config) port: Option<u16>,
    /// TLS or plain; as the service by default.
    pub(in crate::config) scheme: Option<Scheme>,
    /// Path and query.
    pub(in crate::config) path: Option<String>,
    /// `Host` it asks for: `fqdn`, or a name; as the service by default.
    pub(in crate::config) host: Option<String>,
    /// `Sec-WebSocket-Protocol` to ask for.
    pub(in crate::config) subprotocol: Option<String>,
    /// Text that is sent and must come back.
    pub(in crate::config) echo: Option<String>,
}

impl Abbreviated for WebSocketCheckFile {
    const EXPECTED: &'static str = "a path, or a mapping with path and what is expected";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self { path: Some(text.to_owned()), ..Self::default() })
    }
}

/// SIP OPTIONS is answered.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct SipCheckFile {
    /// Names it in reasons and metrics.
    pub(in crate::config) name: Option<String>,
    /// Port of SIP; 5060 by default.
    pub(in crate::config) port: Option<u16>,
    /// Datagrams or a connection.
    pub(in crate::config) transport: Option<SipTransport>,
    /// Final statuses that are well.
    pub(in crate::config) status: Option<OneOrMany<StatusRange>>,
}

impl Abbreviated for SipCheckFile {
    const EXPECTED: &'static str = "udp, tcp, or a mapping with port, transport and status";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        match text {
            "udp" => Ok(Self { transport: Some(SipTransport::Udp), ..Self::default() }),
            "tcp" => Ok(Self { transport: Some(SipTransport::Tcp), ..Self::default() }),
            _ => Err(E::unknown_variant(text, &["udp", "tcp"])),
        }
    }
}
