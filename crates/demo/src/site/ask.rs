//! Asks the demo's Edge: its users' endpoint over TLS, its admin endpoint over the unix socket.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::plan::{FQDN, Plan};

/// Longer than the Edge lets a request wait for a switch.
const LIMIT: Duration = Duration::from_secs(15);
const MOST_BYTES: usize = 1 << 20;

/// Why there is no answer, in whatever words the library has for it.
pub(super) type NoAnswer = Box<dyn std::error::Error + Send + Sync>;

/// Asks the Edge over its admin socket, as an operator would.
pub(super) async fn admin(socket: &Path, method: Method, path: &str) -> Result<Response<Bytes>, NoAnswer> {
    let request = Request::builder().method(method).uri(path).header("host", "edge").body(Full::default())?;
    let asked = async { exchange(UnixStream::connect(socket).await?, request).await };
    timeout(LIMIT, asked).await?
}

/// A user of the demo's site, who trusts its authority.
pub(super) struct User {
    address: SocketAddr,
    connector: TlsConnector,
}

/// A WebSocket as a browser would have it: over TLS, to the Edge.
pub(super) type Socket = WebSocketStream<TlsStream<TcpStream>>;

impl User {
    pub(super) fn new(plan: &Plan) -> Result<Self, NoAnswer> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&plan.authority)?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { address: plan.https, connector: TlsConnector::from(Arc::new(config)) })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Response<Bytes>, NoAnswer> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    pub(super) async fn post(&self, path: &str, body: &'static str) -> Result<Response<Bytes>, NoAnswer> {
        self.send(Method::POST, path, Bytes::from_static(body.as_bytes())).await
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Bytes>, NoAnswer> {
        let request = Request::builder().method(method).uri(path).header("host", self.host()).body(Full::new(body))?;
        let asked = async { exchange(self.connect().await?, request).await };
        timeout(LIMIT, asked).await?
    }

    pub(super) async fn websocket(&self, path: &str, subprotocol: Option<&'static str>) -> Result<Socket, NoAnswer> {
        let mut request = format!("wss://{}{path}", self.host()).into_client_request()?;
        if let Some(subprotocol) = subprotocol {
            request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse()?);
        }
        let opened = async { Ok::<_, NoAnswer>(client_async(request, self.connect().await?).await?.0) };
        timeout(LIMIT, opened).await?
    }

    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(FQDN).map_err(io::Error::other)?;
        self.connector.connect(name, TcpStream::connect(self.address).await?).await
    }

    fn host(&self) -> String {
        format!("{FQDN}:{}", self.address.port())
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, NoAnswer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender.
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, MOST_BYTES).collect().await?.to_bytes();
    Ok(Response::from_parts(head, body))
}
