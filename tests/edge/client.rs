//! A client of the public endpoint: real TLS, HTTP/1.1 or h2, trusting the site's certificate alone.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::site::{FQDN, Site};

/// A client of one site.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    /// Where its connections come from; none: wherever the system likes.
    from: Option<IpAddr>,
    tls: Arc<rustls::ClientConfig>,
}

/// What the Edge answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// Which side served it.
    pub fn side(&self) -> &str {
        self.headers.get("demo-side").map_or("none", |side| side.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    H1,
    H2,
}

/// An open connection.
#[derive(Debug)]
pub enum Connection {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    pub fn of(site: &Site) -> Self {
        Self::trusting(site, &[&site.certificate])
    }

    /// One that trusts these certificates, DER, alone.
    pub fn trusting(site: &Site, certificates: &[&[u8]]) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut roots = rustls::RootCertStore::empty();
        for certificate in certificates {
            roots.add(CertificateDer::from(certificate.to_vec())).unwrap();
        }
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self { address: site.https, from: None, tls: Arc::new(tls) }
    }

    /// The same, from another address.
    pub fn from(mut self, address: IpAddr) -> Self {
        self.from = Some(address);
        self
    }

    /// The same, by way of another listener.
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// A TLS connection, as raw as it gets.
    pub async fn tls(&self, speaks: Speaks) -> std::io::Result<TlsStream<TcpStream>> {
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = match speaks {
            Speaks::H1 => vec![b"http/1.1".to_vec()],
            Speaks::H2 => vec![b"h2".to_vec()],
        };
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = self.from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let tcp = socket.connect(self.address).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(FQDN).unwrap(), tcp).await
    }

    /// DER of the certificate the Edge shows in a whole handshake.
    pub async fn shown_certificate(&self) -> std::io::Result<Vec<u8>> {
        let mut tls = (*self.tls).clone();
        // A resumed session remembers the certificate of its first handshake.
        tls.resumption = rustls::client::Resumption::disabled();
        let fresh = Self { address: self.address, from: self.from, tls: Arc::new(tls) };
        let tls = fresh.tls(Speaks::H1).await?;
        Ok(tls.get_ref().1.peer_certificates().unwrap()[0].to_vec())
    }

    pub async fn connect(&self, speaks: Speaks) -> Result<Connection, Failed> {
        let stream = TokioIo::new(self.tls(speaks).await?);
        Ok(match speaks {
            Speaks::H1 => {
                let (sender, connection) = http1::handshake(stream).await?;
                tokio::spawn(connection);
                Connection::H1(sender)
            }
            Speaks::H2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
                tokio::spawn(connection);
                Connection::H2(sender)
            }
        })
    }

    /// One request on a connection of its own.
    pub async fn send(&self, method: Method, target: &str, body: impl Into<Bytes>) -> Result<Answer, Failed> {
        self.connect(Speaks::H1).await?.send(method, target, body).await
    }

    pub async fn get(&self, target: &str) -> Result<Answer, Failed> {
        self.send(Method::GET, target, "").await
    }
}

/// No answer.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

impl Connection {
    /// Nothing can be sent on it any more.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::H1(sender) => sender.is_closed(),
            Self::H2(sender) => sender.is_closed(),
        }
    }

    pub async fn send(&mut self, method: Method, target: &str, body: impl Into<Bytes>) -> Result<Answer, Failed> {
        self.request(Request::builder().method(method).uri(target), body).await
    }

    pub async fn get(&mut self, target: &str) -> Result<Answer, Failed> {
        self.send(Method::GET, target, "").await
    }

    /// A request of any shape; the target is a path, the name is the site's.
    pub async fn request(&mut self, builder: http::request::Builder, body: impl Into<Bytes>) -> Result<Answer, Failed> {
        let mut request = builder.body(Full::new(body.into()))?;
        let answer = match self {
            Self::H1(sender) => {
                request.headers_mut().entry("host").or_insert(FQDN.parse()?);
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::H2(sender) => {
                let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
                *request.uri_mut() = format!("https://{FQDN}{target}").parse()?;
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (head, body) = answer.into_parts();
        let body = tokio::time::timeout(Duration::from_secs(60), body.collect()).await??.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}
