//! One client connection from its first byte: TLS under deadlines, then HTTP/1 request by request, or h2.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderMap, Method};
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use rustls::NamedGroup;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::activity::{Activity, CURRENT};
use super::admission::Admitted;
use super::client::ClientStream;
use super::drain;
use super::h2::{self, Broken};
use super::head::{self, Head, HeadLimits, Kind, NoHead};
use super::hello::{Peeked, UNRECOGNIZED_NAME};
use super::raw;
use super::session::H1Session;
use super::streams::Streams;
use super::tls::ServerTls;
use crate::config::TlsVersion;
use crate::telemetry::logging::access::Protocol;
use crate::telemetry::metrics::{Alpn, ConnectionRefusal, Handshake, HandshakeFailure, KeyExchange, Refusal};
use crate::traffic::budget::{HOLDING, Holding};
use crate::traffic::edge::{Edge, Site};
use crate::traffic::http::Proxy;
use crate::traffic::http::record::{self, Unread};
use crate::traffic::pages::ErrorPage;
use crate::traffic::pass::names::Whose;
use crate::traffic::pass::{self, Passing};
use crate::traffic::proxy_protocol;
use crate::traffic::upstream::dial::Dialing;
use crate::traffic::websocket::upgrade;

/// The HTTP/2 connection preface (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An h2 connection without a stream is kept so much longer than an idle HTTP/1 one: it costs less and is worth more.
const H2_IDLE: u32 = 4;

/// What serves the connections of the public listeners.
pub struct ConnectionHandler {
    /// The site in force, metrics, limits: what all connections share.
    pub edge: Arc<Edge>,
    /// Certificates, versions and tickets of the public listeners.
    pub tls: ServerTls,
    /// What an h2 connection may use up.
    pub h2: ::h2::server::Builder,
    /// Pingora's proxy around our logic.
    pub proxy: Arc<HttpProxy<Proxy, Dialing>>,
    /// Turns true when the Edge goes away.
    pub shutdown: ShutdownWatch,
}

/// Why a connection did not get as far as HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTls {
    /// No whole ClientHello in time.
    HelloTooLate,
    /// Not TLS, or TLS nobody here speaks.
    BadHello,
    /// A header of the PROXY protocol, from somebody who is not believed.
    ProxyStranger,
    /// It asks for a name that nobody here has, or for none, and such are refused.
    UnknownName,
    /// The handshake was not finished in time.
    HandshakeTooLate,
    /// The handshake failed.
    HandshakeFailed(HandshakeFailure),
}

/// Whose doing it was that a handshake failed: an administrator mends other things for each.
fn failure_of(error: &io::Error) -> HandshakeFailure {
    use rustls::AlertDescription as Alert;
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                HandshakeFailure::Gone
            }
            _ => HandshakeFailure::Other,
        };
    };
    match tls {
        // What a client says of a certificate that has expired, is for another name, or of an authority that it does
        // not know (RFC 8446 section 6.2).
        rustls::Error::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::BadCertificateStatusResponse
            // A signature that does not fit: the authority it trusts has the name of ours, and another key.
            | Alert::DecryptError,
        ) => HandshakeFailure::Certificate,
        rustls::Error::AlertReceived(Alert::CloseNotify | Alert::UserCanceled) => HandshakeFailure::Gone,
        rustls::Error::AlertReceived(_)
        | rustls::Error::PeerIncompatible(_)
        | rustls::Error::PeerMisbehaved(_)
        | rustls::Error::InvalidMessage(_)
        | rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. }
        | rustls::Error::NoApplicationProtocol
        | rustls::Error::DecryptError => HandshakeFailure::Protocol,
        _ => HandshakeFailure::Other,
    }
}

/// A connection whose ClientHello was read.
struct Greeted {
    accepted: rustls::server::Accepted,
    tcp: TcpStream,
    /// What was read, where it may have to be said again.
    said: Vec<u8>,
}

/// Reads the connection preface; the error says how much came.
async fn read_preface(stream: &mut ClientStream, limit: Duration) -> Result<(), (NoHead, usize)> {
    let deadline = Instant::now() + limit;
    let mut preface = [0; PREFACE.len()];
    let mut came = 0;
    while came < preface.len() {
        match timeout_at(deadline, stream.read(&mut preface[came..])).await {
            // Who says nothing at all asked for nothing.
            Err(_) if came > 0 => return Err((NoHead::TooLate, came)),
            Err(_) | Ok(Ok(0) | Err(_)) => return Err((NoHead::Gone, came)),
            Ok(Ok(count)) => came += count,
        }
        if preface[..came] != PREFACE[..came] {
            // None of it is shown in a log: what comes in another protocol may hold anything.
            return Err((NoHead::Malformed("not HTTP/2"), 0));
        }
    }
    Ok(())
}

/// Counts and logs what never became a request; the message it is answered with, if anybody is there to read it.
pub(super) fn refusal(
    edge: &Edge,
    why: NoHead,
    protocol: Protocol,
    client: SocketAddr,
    head: &[u8],
    began: Instant,
) -> Option<Vec<u8>> {
    let (page, why) = match why {
        // An idle connection that ends is no request.
        NoHead::Gone if head.iter().all(u8::is_ascii_whitespace) => return None,
        // Nobody is there to read a page; a head that broke off is counted all the same, as it may be a fault of the
        // network.
        NoHead::Gone => (None, Refusal::HeadIncomplete),
        NoHead::TooLate => (Some(ErrorPage::RequestTimeout), Refusal::HeadTimeout),
        NoHead::TooLarge => (Some(ErrorPage::HeadTooLarge), Refusal::HeadTooLarge),
        NoHead::Malformed(_) | NoHead::UnknownCoding => (Some(ErrorPage::BadRequest), Refusal::Framing),
        NoHead::Target => (Some(ErrorPage::BadRequest), Refusal::BadPath),
        NoHead::Method => (Some(ErrorPage::Forbidden), Refusal::Method),
    };
    let answer = page.map(|page| edge.pages.errors.answer(page, None));
    let status = answer.as_ref().map(|answer| answer.status.as_u16());
    record::refused(edge, why, Unread { client, protocol, head, began, status });
    answer.map(|answer| raw::page(&answer))
}

impl ConnectionHandler {
    /// Serves one connection to its end, and counts how far it got.
    pub async fn admit(&self, tcp: TcpStream, peer: SocketAddr, admitted: Admitted) {
        let metrics = &self.edge.metrics;
        metrics.connections_accepted.inc();
        let activity = admitted.activity().clone();
        // Pinned here and not awaited at once: a connection that is given up is polled on, so that its requests can be
        // answered.
        let mut serving = pin!(self.serve(tcp, peer, admitted));
        let served = tokio::select! {
            biased;
            // First: a connection that has just ended needs no last words.
            served = &mut serving => served,
            () = activity.given_up() => {
                // As if in answer to a POST, which gets the page without a script: whoever gets this may be any kind of
                // program.
                let page = self.edge.pages.waiting.for_request(&Method::POST, &HeaderMap::new());
                activity.set_last_words(raw::page(&page));
                // Whoever carries its requests ends them and answers.
                timeout(drain::LAST_WORDS, serving).await.unwrap_or(Ok(()))
            }
        };
        if let Err(no_tls) = served {
            // Anybody can cause as many as they like: counted, and told only to who asks for such detail.
            tracing::debug!(client = %peer.ip(), "a connection ended before TLS: {no_tls:?}");
        }
        match served {
            Ok(()) => {}
            Err(NoTls::HelloTooLate) => metrics.connections_refused.of(ConnectionRefusal::ClientHelloTimeout).inc(),
            Err(NoTls::BadHello) => metrics.connections_refused.of(ConnectionRefusal::NotTls).inc(),
            Err(NoTls::ProxyStranger) => metrics.connections_refused.of(ConnectionRefusal::ProxyStranger).inc(),
            Err(NoTls::UnknownName) => metrics.connections_refused.of(ConnectionRefusal::UnknownName).inc(),
            Err(NoTls::HandshakeTooLate) => metrics.handshake_failures.of(HandshakeFailure::Timeout).inc(),
            Err(NoTls::HandshakeFailed(why)) => metrics.handshake_failures.of(why).inc(),
        }
    }

    /// Serves one connection to its end.
    ///
    /// # Errors
    /// The TLS handshake did not come to be; what happens behind it is told elsewhere.
    pub async fn serve(&self, tcp: TcpStream, peer: SocketAddr, admitted: Admitted) -> Result<(), NoTls> {
        // Boxed, so that a connection, which may live for hours, keeps no room for what it does no more or never
        // does: a handshake, or the other protocol.
        let site = self.edge.site();
        let mut greeted = Box::pin(greet(&site, tcp)).await?;
        let name = greeted.accepted.client_hello();
        match site.names.whose(name.server_name()) {
            Whose::Site => {}
            Whose::Passed(index) => {
                let name = name.server_name().map(Box::from);
                let passing = Passing { client: peer, tcp: greeted.tcp, said: greeted.said, name, index };
                Box::pin(pass::serve(&self.edge, site, passing, admitted)).await;
                return Ok(());
            }
            Whose::Nobody => {
                raw::finish(&mut greeted.tcp, UNRECOGNIZED_NAME, site.config.limits.handshake).await;
                return Err(NoTls::UnknownName);
            }
        }
        let stream = Box::pin(self.handshake(&site, greeted, peer, admitted)).await?;
        // A connection may outlive its configuration.
        drop(site);
        if stream.speaks_h2() {
            Box::pin(self.serve_h2(stream, peer)).await;
        } else {
            Box::pin(self.serve_h1(stream, peer)).await;
        }
        Ok(())
    }

    async fn handshake(
        &self,
        site: &Site,
        greeted: Greeted,
        peer: SocketAddr,
        admitted: Admitted,
    ) -> Result<Box<ClientStream>, NoTls> {
        let tls = self.tls.serving(&greeted.accepted.client_hello());
        let hello = StartHandshake::from_parts(greeted.accepted, greeted.tcp);
        match timeout(site.config.limits.handshake, hello.into_stream(tls)).await {
            Err(_) => Err(NoTls::HandshakeTooLate),
            Ok(Err(error)) => Err(NoTls::HandshakeFailed(failure_of(&error))),
            Ok(Ok(tls)) => {
                self.count_handshake(tls.get_ref().1);
                // Boxed, too: it goes on from future to future, each of which would keep room for it to its end.
                Ok(Box::new(ClientStream::new(tls, peer, admitted)))
            }
        }
    }

    fn count_handshake(&self, session: &rustls::ServerConnection) {
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => TlsVersion::V1_2,
            _ => TlsVersion::V1_3,
        };
        let alpn = match session.alpn_protocol() {
            Some(b"h2") => Alpn::H2,
            Some(_) => Alpn::H1,
            None => Alpn::None,
        };
        let handshake = match session.handshake_kind() {
            Some(rustls::HandshakeKind::Resumed) => Handshake::Resumed,
            _ => Handshake::Full,
        };
        self.edge.metrics.handshake(version, alpn, handshake);
        let group = session.negotiated_key_exchange_group().map(|group| group.name());
        self.edge.metrics.key_exchanges.of(key_exchange(group)).inc();
    }

    async fn serve_h2(&self, mut stream: Box<ClientStream>, client: SocketAddr) {
        let site = self.edge.site();
        let limits = &site.config.limits;
        let limit = limits.request_head;
        let idle = limits.keepalive * H2_IDLE;
        let limits = h2::Limits { idle: limits.keepalive, head: limit, streams: limits.h2_streams.get() };
        // The connection may last for hours: it must not keep a configuration alive that a reload has replaced.
        drop(site);
        let began = Instant::now();
        // Pingora waits for it without end.
        if let Err((why, came)) = read_preface(&mut stream, limit).await {
            refusal(&self.edge, why, Protocol::H2, client, &PREFACE[..came], began);
            return;
        }
        let edge = self.edge.clone();
        stream.watch_refusals(Box::new(move || {
            let unread = Unread { client, protocol: Protocol::H2, head: &[], began: Instant::now(), status: None };
            record::refused(&edge, Refusal::Framing, unread);
        }));
        // The library wants to read it, too. The watch over the frames begins behind it.
        stream.unread(bytes::Bytes::from_static(PREFACE));
        let frames = h2::Frames::new(limits);
        let ended = frames.ended();
        stream.watch(frames);
        let activity = stream.activity().clone();
        // Told at once that it may ask no more, a client that has asked nothing yet would open another connection, and
        // again: it is told so behind its first answer.
        if *self.shutdown.borrow() {
            activity.set_late();
        }
        // A late connection gets its GOAWAY from `Streams`, behind its first answer; all others get it with the
        // shutdown.
        let (answered, late_end) = watch::channel(false);
        let shutdown = if activity.is_late() { late_end } else { self.shutdown.clone() };
        let (options, proxy) = (self.h2.clone(), self.proxy.clone());
        let streams = Streams { options, proxy, activity, answered, idle };
        Arc::new(streams).serve(stream, shutdown).await;
        let why = match ended.get() {
            Some(Broken::HeadTooLate) => Refusal::HeadTimeout,
            Some(Broken::Flood) => Refusal::ResetFlood,
            Some(Broken::Idle) | None => return,
        };
        record::refused(&self.edge, why, Unread { client, protocol: Protocol::H2, head: &[], began, status: None });
    }

    async fn serve_h1(&self, mut stream: Box<ClientStream>, peer: SocketAddr) {
        let mut shutdown = self.shutdown.clone();
        let mut buf = BytesMut::new();
        let activity = stream.activity().clone();
        loop {
            let site = self.edge.site();
            let limits = &site.config.limits;
            // Taken anew for each request: a kept connection goes by the limits of the last reload.
            let head_limits = HeadLimits {
                idle: limits.keepalive,
                whole: limits.request_head,
                bytes: limits.head_bytes.get(),
                fields: limits.head_fields.get(),
            };
            drop(site);
            let mut began = Instant::now();
            // A late client came to be told that the Edge goes away, so its request is waited for.
            let going = async {
                match activity.is_late() {
                    true => std::future::pending().await,
                    false => drop(shutdown.wait_for(|going| *going).await),
                }
            };
            let head = match next_head(&mut stream, &mut buf, head_limits, &mut began, going).await {
                Some(Ok(head)) => head,
                Some(Err(no_head)) => return self.refuse(stream, peer, no_head, &buf, began).await,
                None => {
                    let limit = self.edge.site().config.limits.write_stall;
                    return raw::finish(&mut stream, b"", limit).await;
                }
            };
            let (length, body) = match head.kind {
                Kind::Request { length, body } => (length, body),
                Kind::Upgrade(length) => {
                    // Nothing comes back of an upgrade: whether it opens or is refused, it is the last thing on its
                    // connection.
                    let serving = upgrade::serve(self.edge.clone(), stream, buf, length, peer);
                    return Box::pin(serving).await;
                }
            };
            // As a rule nothing is behind a head; splitting it off would make the buffer a shared one.
            let behind = if length == buf.len() { BytesMut::new() } else { buf.split_off(length) };
            let bytes = std::mem::take(&mut buf).freeze();
            let keeps_alive = head.keeps_alive;
            let request = match head.request(&bytes) {
                Ok(request) => request,
                Err(no_head) => return self.refuse(stream, peer, no_head, &bytes, began).await,
            };
            let session = H1Session::new(stream, peer, request, keeps_alive, body, behind);
            if *self.shutdown.borrow() {
                // Behind `H1Session::new`, which forgets what was said of the request before. The answer then says
                // `close`: told to go on, the client would send its next request into a connection that ends.
                activity.set_last();
            }
            let session = ServerSession::new_custom(Box::new(session));
            carried(&activity, self.proxy.process_new_http(session, &self.shutdown)).await;
            // Pingora owns the session and drops it, so its stream comes back by this way, and only behind a whole
            // answer that said that the connection goes on.
            let Some((same, came)) = activity.take_back() else { return };
            (stream, buf) = (same, came);
        }
    }

    /// Answers what never became a request; it is counted and has its line all the same.
    async fn refuse(
        &self,
        mut stream: Box<ClientStream>,
        client: SocketAddr,
        why: NoHead,
        head: &[u8],
        began: Instant,
    ) {
        let Some(message) = refusal(&self.edge, why, Protocol::H1, client, head, began) else { return };
        raw::finish(&mut stream, &message, self.edge.site().config.limits.write_stall).await;
    }
}

/// Waits for the head of the next request; none: the Edge goes away, and nobody waits for an answer. `began` becomes the
/// moment of its first byte.
async fn next_head(
    stream: &mut ClientStream,
    buf: &mut BytesMut,
    limits: HeadLimits,
    began: &mut Instant,
    going: impl Future<Output = ()>,
) -> Option<Result<Head, NoHead>> {
    let read = async {
        // The time that a kept connection was idle is not the request's: its log line and its limit begin with the first
        // byte.
        head::begin(stream, buf, limits.idle).await?;
        *began = Instant::now();
        head::read(stream, buf, limits).await
    };
    tokio::select! {
        biased;
        // First: a request that is here already is served, though the Edge goes away.
        head = read => return Some(head),
        () = going => {}
    }
    match buf.is_empty() {
        true => None,
        // Its client has begun to ask: cut off here, it could not tell whether the request was done.
        false => Some(head::read(stream, buf, limits).await),
    }
}

/// Reads the ClientHello, however it is cut into segments and records.
async fn greet(site: &Site, tcp: TcpStream) -> Result<Greeted, NoTls> {
    let peeked = Peeked::new(tcp, site.names.pass_any());
    // Apart from the handshake, with a limit of its own: whoever says nothing, or no TLS, is told apart from a
    // handshake that fails.
    let mut hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), peeked);
    match timeout(site.config.limits.client_hello, &mut hello).await {
        Err(_) => Err(NoTls::HelloTooLate),
        Ok(Err(_)) => match hello.take_io() {
            Some(peeked) if proxy_protocol::begins(peeked.first()) => Err(NoTls::ProxyStranger),
            _ => Err(NoTls::BadHello),
        },
        Ok(Ok(StartHandshake { accepted, io, .. })) => {
            let (tcp, said) = io.into_parts();
            Ok(Greeted { accepted, tcp, said })
        }
    }
}

fn key_exchange(group: Option<NamedGroup>) -> KeyExchange {
    match group {
        Some(NamedGroup::X25519MLKEM768) => KeyExchange::Hybrid,
        Some(NamedGroup::X25519) => KeyExchange::X25519,
        Some(NamedGroup::secp256r1) => KeyExchange::P256,
        Some(NamedGroup::secp384r1) => KeyExchange::P384,
        Some(_) => KeyExchange::Other,
        None => KeyExchange::Resumed,
    }
}

/// Carries a request, which knows its connection and what it holds meanwhile.
pub(super) async fn carried<T>(activity: &Arc<Activity>, carrying: impl Future<Output = T>) -> T {
    let holding = Arc::new(Holding::new(activity.account().clone()));
    CURRENT.scope(activity.clone(), HOLDING.scope(holding, carrying)).await
}
