//! TLS towards a target: whom to trust ([`TlsTrust`]), one end of a handshake ([`Tls`]), and its failures in clear
//! words.
//!
//! Everything that connects to upstreams shares this module, so that a probe and the traffic it speaks for trust the
//! same.

mod certificate;
mod failure;
mod pin;
mod signature;
mod term;
mod trust;
mod verifier;

use std::fmt::{self, Debug};
use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use self::certificate::CertificateInfo;
pub use self::failure::explain;
pub(crate) use self::failure::failure;
pub use self::pin::{InvalidPin, Pin};
pub use self::term::{End, SOON_DAYS, Term};
pub use self::trust::{TlsTrust, TrustError, Verify};
use crate::failure::Failure;

/// ALPN of HTTP/1.1, which is also what a WebSocket starts with.
pub const ALPN_HTTP1: &[&[u8]] = &[b"http/1.1"];

/// TLS as a check speaks it: a full handshake every time, so that each run verifies the certificate anew.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

impl Tls {
    /// Prepares handshakes that offer `alpn` (see [`ALPN_HTTP1`]; none for other protocols).
    ///
    /// `server_name` is what the certificate must be valid for. It need not be the address connected to. A DNS name is
    /// also sent as SNI, an IP address is not (RFC 6066).
    #[must_use]
    pub fn new(trust: &TlsTrust, server_name: ServerName<'static>, alpn: &[&[u8]]) -> Self {
        Self { config: trust.full_handshake_config(alpn), server_name }
    }
}

/// What a failed handshake means, as a probe would say it.
#[must_use]
pub fn in_words(error: &io::Error) -> String {
    Failure::of_io(error).detail
}

impl Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

pub(crate) async fn shake_hands(tls: &Tls, stream: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    connector.connect(tls.server_name.clone(), stream).await.map_err(|error| Failure::of_io(&error))
}

pub(crate) fn certificate_of(session: &ClientConnection) -> Option<CertificateInfo> {
    CertificateInfo::of(session.peer_certificates()?.first()?)
}

pub(crate) fn protocol_of(session: &ClientConnection) -> &'static str {
    match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "TLS",
    }
}
