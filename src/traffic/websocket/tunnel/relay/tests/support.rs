//! Peers at both ends of a relay.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use failover::Side;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::traffic::websocket::tunnel::{Opening, Pin, Sessions, User};

pub(super) const BUFFER: usize = 4096;

/// A relay that runs, and the far side of each of its ends.
pub(super) struct Rig<S = DuplexStream> {
    pub(super) client: S,
    pub(super) upstream: S,
    pub(super) report: JoinHandle<Report>,
}

pub(super) fn opening(side: Side, user: u8) -> Opening {
    let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, user));
    Opening {
        pin: Pin::Side(side),
        epoch: 1,
        user: User::of(None, client),
        client,
        route: "cti".into(),
        backend: "cc".into(),
        close: Close::service_restart(),
    }
}

pub(super) fn session(sessions: &Arc<Sessions>) -> Session {
    sessions.open(opening(Side::Main, 1)).unwrap()
}

pub(super) fn rig(sessions: &Arc<Sessions>) -> Rig {
    rig_with(session(sessions), Early::default(), Limits::default())
}

pub(super) fn rig_with(session: Session, early: Early, limits: Limits) -> Rig {
    let (client, client_end) = tokio::io::duplex(BUFFER);
    let (upstream, upstream_end) = tokio::io::duplex(BUFFER);
    let report = tokio::spawn(Relay::new(session, client_end, upstream_end, early, limits));
    Rig { client, upstream, report }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Rig<S> {
    /// The outcome, once the relay is over.
    pub(super) async fn outcome(self) -> Outcome {
        self.report.await.unwrap().outcome
    }

    /// A browser and a server that speak WebSocket.
    pub(super) async fn peers(self) -> (WebSocketStream<S>, WebSocketStream<S>, JoinHandle<Report>) {
        let client = WebSocketStream::from_raw_socket(self.client, Role::Client, None).await;
        let upstream = WebSocketStream::from_raw_socket(self.upstream, Role::Server, None).await;
        (client, upstream, self.report)
    }
}

/// The head of an unmasked binary frame whose payload is `length` bytes.
pub(super) fn head(length: u64) -> Vec<u8> {
    let mut head = vec![0x82, 127];
    head.extend(length.to_be_bytes());
    head
}

/// Lets everything happen that needs no time.
pub(super) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// All that is left to read.
pub(super) async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// What both ends of a TLS connection need.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Tls {
    pub(super) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["edge.example.org".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let chain = vec![made.cert.der().clone()];
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { acceptor: TlsAcceptor::from(Arc::new(server)), connector: TlsConnector::from(Arc::new(client)) }
    }

    /// Client and server on the two ends of one connection.
    pub(super) async fn wrap<S>(&self, client: S, server: S) -> (client::TlsStream<S>, server::TlsStream<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from("edge.example.org").unwrap();
        tokio::try_join!(self.connector.connect(name, client), self.acceptor.accept(server)).unwrap()
    }
}
