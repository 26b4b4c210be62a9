//! One HTTP/1.1 server with limits: a connection carries one request, and everything about it is bounded. What is
//! answered is left to a [`Handler`].

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::UCred;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// An order or question was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One word a program can act upon.
    pub error: String,
    /// What a person should know.
    pub sentence: String,
}

/// What one server lets its callers use up.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Connections at once; further ones wait in the kernel's backlog.
    pub connections: usize,
    /// From accept to the end of the request's head.
    pub head: Duration,
    /// How long the handler may take for one answer.
    pub answer: Duration,
    /// For the whole connection, a slow reader's too.
    pub whole: Duration,
    /// Largest request body in bytes.
    pub body: usize,
}

impl ServerLimits {
    /// Orders are small and few; a planned switch may wait for the disk.
    pub const ADMIN: Self = Self {
        connections: 32,
        head: Duration::from_secs(5),
        answer: Duration::from_secs(15),
        whole: Duration::from_secs(30),
        body: 16 * 1024,
    };
    /// A scraper comes every few seconds, alone, and sends no body.
    pub const METRICS: Self = Self {
        connections: 16,
        head: Duration::from_secs(5),
        answer: Duration::from_secs(5),
        whole: Duration::from_secs(15),
        body: 0,
    };
}

/// hyper's least buffer; no head of ours comes near it.
const HEAD_BYTES: usize = 8 * 1024;
const HEAD_FIELDS: usize = 64;
/// Accepting fails for want of descriptors or memory: both need time to come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A whole answer: no server here streams.
pub type Answer = Response<Full<Bytes>>;

/// Answers requests, each in a task of its own.
pub trait Handler<P>: Send + Sync + 'static {
    /// Answers one request; it was read whole, within the limits.
    fn answer(&self, request: Request<Bytes>, peer: P) -> impl Future<Output = Answer> + Send;
}

/// Where connections come from: a unix socket, or an address.
pub trait Accept {
    /// What bytes come and go by: nothing more is asked of a connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Who is at its other end.
    type Peer: Clone + Send + 'static;
    /// Waits for the next connection, however long that takes.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Self::Peer)>> + Send;
}

impl Accept for UnixListener {
    type Stream = UnixStream;
    type Peer = UCred;

    async fn accept(&self) -> io::Result<(UnixStream, UCred)> {
        let (stream, _) = UnixListener::accept(self).await?;
        let peer = stream.peer_cred()?;
        Ok((stream, peer))
    }
}

impl Accept for TcpListener {
    type Stream = TcpStream;
    type Peer = SocketAddr;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        TcpListener::accept(self).await
    }
}

/// Serves until the future is dropped; then its connections are cut too.
pub async fn serve<A, H>(name: &'static str, listener: &A, handler: Arc<H>, limits: ServerLimits)
where
    A: Accept,
    H: Handler<A::Peer>,
{
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        // A place is taken before a connection is: who finds none stays in the kernel's backlog, and costs nothing
        // here.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let handler = Arc::clone(&handler);
                connections.spawn(async move {
                    let _place = place;
                    if timeout(limits.whole, connection(stream, peer, handler, limits)).await.is_err() {
                        tracing::debug!(server = name, "connection cut: over its time limit");
                    }
                });
            }
            Err(error) => {
                tracing::debug!(server = name, %error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        // Tasks that have ended are taken out with each turn: kept, they would grow without end.
        while connections.try_join_next().is_some() {}
    }
}

async fn connection<S, P, H>(stream: S, peer: P, handler: Arc<H>, limits: ServerLimits)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    P: Clone + Send + 'static,
    H: Handler<P>,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (handler, peer) = (Arc::clone(&handler), peer.clone());
        async move { Ok::<_, Infallible>(exchange(request, peer, &*handler, limits).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS)
        // A connection carries one request: nobody holds a place by saying nothing.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended badly");
    }
}

async fn exchange<P, H: Handler<P>>(request: Request<Incoming>, peer: P, handler: &H, limits: ServerLimits) -> Answer {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, limits.body).collect().await else {
        let sentence = format!("The request body is broken or larger than {} bytes.", limits.body);
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "body", sentence);
    };
    let request = Request::from_parts(head, body.to_bytes());
    match timeout(limits.answer, handler.answer(request, peer)).await {
        Ok(answer) => answer,
        Err(_) => {
            let sentence = format!("There was no answer within {} s; the log may say why.", limits.answer.as_secs());
            refuse(StatusCode::GATEWAY_TIMEOUT, "time_limit", sentence)
        }
    }
}

/// Makes an answer of `body`, as JSON on one line.
pub fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(bytes) => whole(status, "application/json", bytes),
        Err(error) => whole(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", error.to_string().into()),
    }
}

/// A refusal in JSON: a word for programs, a sentence for people.
pub fn refuse(status: StatusCode, word: &str, sentence: String) -> Answer {
    json(status, &ErrorBody { error: word.to_owned(), sentence })
}

/// Makes the answer for a path that nothing is behind.
pub fn not_found(path: &str) -> Answer {
    refuse(StatusCode::NOT_FOUND, "not_found", format!("There is nothing at `{path}`."))
}

/// That path does not take this method.
pub fn not_allowed(method: &Method, allowed: &'static str) -> Answer {
    let mut answer =
        refuse(StatusCode::METHOD_NOT_ALLOWED, "method", format!("{method} is not for this path: use {allowed}."));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// `200 ok`, or `503` and why not: for `/healthz` and `/readyz`.
pub fn well(state: Result<(), String>) -> Answer {
    match state {
        Ok(()) => whole(StatusCode::OK, "text/plain; charset=utf-8", b"ok\n".to_vec()),
        Err(why) => {
            whole(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", format!("{why}\n").into_bytes())
        }
    }
}

/// An answer of any type.
pub fn whole(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
