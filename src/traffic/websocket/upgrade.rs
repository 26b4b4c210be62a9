//! WebSocket upgrades: routed and connected like requests, then left to the tunnel.

mod exchange;
mod handshake;
mod refusal;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use failover::Side;
use failover::verdict::Sign;
use http::header::{HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION};
use http::{HeaderMap, Method, StatusCode};
use pingora::protocols::Stream;
use probe::answer::{Framing, NoAnswer as NoHead};
use probe::upgrade::Offer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Result as IoResult};
use tokio::time::timeout;

use crate::config::{Follow, Route};
use crate::live::View;
use crate::telemetry::logging::access::Protocol;
use crate::telemetry::metrics::{AnswerFailure, ConnectFailure};
use crate::traffic::downstream::head::FIELDS;
use crate::traffic::downstream::raw;
use crate::traffic::edge::{Edge, Site};
use crate::traffic::http::MOST_REPLAYS;
use crate::traffic::http::context::{Context, Ending};
use crate::traffic::http::forward::{ForwardedHeaders, X_REQUEST_ID};
use crate::traffic::http::record::{self, Seen};
use crate::traffic::http::respond::page_of_ending;
use crate::traffic::http::{rate, select};
use crate::traffic::pages::ErrorPage;
use crate::traffic::route::{Asked, Refusal};
use crate::traffic::upstream::Upstream;
use crate::traffic::upstream::connect::ConnectError;
use crate::traffic::upstream::stream::UpstreamStream;
use crate::traffic::websocket::tunnel::{Early, Limits, Opening, Pin, Refused, Relay, Report, Session, User};
use exchange::NoAnswer;
use handshake::{Handshake, NoHandshake};

/// For an upstream to answer an upgrade.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What a client may send behind its upgrade while that waits for its time.
const MOST_EARLY: usize = 16 << 10;

/// Carries one upgrade to its end. `buf` begins with its head of `length` bytes.
pub async fn serve(edge: Arc<Edge>, mut client: Stream, mut buf: BytesMut, length: usize, peer: SocketAddr) {
    let mut ctx = Context::new(edge.site());
    let mut early = buf.split_off(length);
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    // It parsed a moment ago.
    let Ok(httparse::Status::Complete(_)) = request.parse(&buf) else { return };
    let asked = match Handshake::of(&request) {
        Ok(asked) => asked,
        Err(why) => {
            ctx.ending = Ending::Refused(Refusal::UpgradeNotAllowed);
            let (status, message) = no_handshake(&edge, why);
            let target = request.path.unwrap_or("/");
            record::request(&edge, &ctx, seen(peer, target, None, status.as_u16()));
            finish(&edge, &mut client, &message).await;
            return;
        }
    };
    let opened = match open(&edge, &mut ctx, &request, &asked, (peer.ip(), &mut client, &mut early)).await {
        Ok(opened) => opened,
        Err(ending) => {
            ctx.ending = ending;
            let more = ctx.retry_after().map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds)));
            let answer = match page_of_ending(ending) {
                Some(page) => edge.pages.errors.answer(page, asked.language),
                // The short form of the page: no browser shows the answer to an upgrade.
                None => edge.pages.waiting.for_request(&Method::POST, &HeaderMap::new()),
            };
            let seen = asked.seen(peer, answer.status.as_u16());
            record::request(&edge, &ctx, seen);
            finish(&edge, &mut client, &raw::page_with(&answer, more.as_slice())).await;
            return;
        }
    };
    let target: Box<str> = asked.target.into();
    let (session, mut upstream, answer) = match opened {
        Opened::Refused { mut upstream, answer } => {
            let status = answer.status.as_u16();
            let passed = refusal::pass_on(&mut client, &mut upstream, answer, ctx.site.config.limits.write_stall).await;
            ctx.ending = passed.ending;
            record::request(&edge, &ctx, Seen { bytes_out: passed.bytes, ..asked.seen(peer, status) });
            finish(&edge, &mut client, b"").await;
            return;
        }
        Opened::Accepted { session, upstream, answer } => (session, upstream, answer),
    };
    let (write_stall, orphan_limit) = (ctx.site.config.limits.write_stall, ctx.site.orphan_limit);
    let limits = Limits { write_stall, orphan_limit, ..Limits::default() };
    // A client that does not take its 101 would hold a session that never opens.
    let told = timeout(limits.write_stall, write(&mut client, &exchange::reply(&answer))).await;
    if !matches!(told, Ok(Ok(()))) {
        ctx.ending = Ending::ClientGone;
        record::request(&edge, &ctx, seen(peer, &target, None, 101));
        return;
    }
    record::opened(&edge, &ctx);
    // From here on the session's own orders end it, at a frame boundary.
    upstream.release();
    // The session may last for days, and needs its head no more.
    drop(buf);
    let early = Early { from_client: early.to_vec(), from_upstream: answer.rest.to_vec() };
    let relay = Relay::new(session, client, *upstream, early, limits)
        .on_upstream_lost(note_loss(edge.clone(), ctx.upstream.clone()));
    // A task of its own: it is small, and lasts.
    tokio::spawn(keep_account(edge, ctx, peer, target, relay));
}

/// Counts a session while it is open, and books it when it has ended.
async fn keep_account(
    edge: Arc<Edge>,
    ctx: Context,
    peer: SocketAddr,
    target: Box<str>,
    relay: impl Future<Output = Report>,
) {
    let open = ctx.route_index.map(|route| ctx.site.counted.routes[route].sessions_open.of(record::by(&ctx)).clone());
    if let Some(open) = &open {
        open.inc();
    }
    let report = relay.await;
    if let Some(open) = &open {
        open.dec();
    }
    let code = ctx.route.as_ref().map_or(0, |route| route.close.code);
    record::session(&edge, &ctx, seen(peer, &target, None, 101), &report, code);
}

/// The status and the whole answer to what asks for an upgrade and is none.
fn no_handshake(edge: &Edge, why: NoHandshake) -> (StatusCode, Vec<u8>) {
    match why {
        NoHandshake::Version => {
            // RFC 6455 section 4.4, and RFC 9110 section 15.5.22.
            let status = StatusCode::UPGRADE_REQUIRED;
            let version = HeaderMap::from_iter([(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))]);
            let framing = Framing::Length(0);
            let answer = exchange::Answer { status, headers: version, framing, rest: BytesMut::new() };
            (status, exchange::reply(&answer))
        }
        NoHandshake::Malformed => {
            let page = edge.pages.errors.answer(ErrorPage::BadRequest, None);
            (page.status, raw::page(&page))
        }
    }
}

fn seen<'a>(client: SocketAddr, target: &'a str, host: Option<&'a str>, status: u16) -> Seen<'a> {
    let status = Some(status);
    Seen { client, protocol: Protocol::WebSocket, method: Method::GET, target, host, status, bytes_out: 0 }
}

enum Opened {
    /// The upstream said no, and perhaps why.
    Refused { upstream: Box<UpstreamStream>, answer: exchange::Answer },
    /// The upstream said 101.
    Accepted { session: Session, upstream: Box<UpstreamStream>, answer: exchange::Answer },
}

/// What the routes are asked about an upgrade.
fn what<'a>(asked: &'a Handshake<'_>) -> Asked<'a> {
    Asked {
        method: "GET",
        host: asked.host,
        path: asked.path,
        query: asked.query,
        upgrade: Some(asked.subprotocols.as_deref()),
    }
}

async fn open(
    edge: &Arc<Edge>,
    ctx: &mut Context,
    request: &httparse::Request<'_, '_>,
    asked: &Handshake<'_>,
    (address, client, early): (IpAddr, &mut Stream, &mut BytesMut),
) -> Result<Opened, Ending> {
    let site = ctx.site.clone();
    let carried = site.router.decide(&what(asked)).map_err(|refusal| ctx.refuse(refusal))?;
    let route = site.router.routes()[carried.route].clone();
    ctx.route = Some(route.clone());
    ctx.route_index = Some(carried.route);
    rate::pass(edge, ctx, address, left(client, early)).await?;
    let target = match asked.query {
        Some(query) => format!("{}?{query}", carried.path),
        None => carried.path.into_owned(),
    };
    let host = asked.host.and_then(|host| site.router.canonical(host)).unwrap_or_default();
    let forwarded = ForwardedHeaders::new(address, &host, ctx.id);
    let service = &site.config.services[route.service.0];
    let head = exchange::request(request, &asked.options, &target, &forwarded, &service.host);
    // Before the loop: however often it is tried, the user's sockets must be found under one key.
    let user = User::of(asked.query, address);
    loop {
        let (view, upstream) = select::next(edge, ctx, &route).await?;
        ctx.upstream = Some(upstream.clone());
        let manner = &site.manners[carried.route];
        let opening = Opening {
            pin: pin(service.is_shared(), route.follow, view.side),
            epoch: view.epoch,
            user: user.clone(),
            client: address,
            route: manner.name.clone(),
            backend: upstream.name.clone(),
            close: manner.close.clone(),
        };
        // Entered before anything is sent, under the epoch its side was chosen with: a switch from here on either finds
        // it or refuses it, so that none is left behind (E6).
        let session = match edge.sessions.open(opening) {
            Ok(session) => session,
            // Chosen a moment too early: choose again.
            Err(Refused::Demoted(_)) => {
                // Others first: the new view is to be seen by then, and if it is not, this must not spin.
                tokio::task::yield_now().await;
                continue;
            }
            Err(Refused::Draining) => return Err(Ending::Draining),
        };
        let tried = tokio::select! {
            biased;
            // Nothing was said to the client yet: it is sent to the new side without noticing.
            _ = session.told() => continue,
            tried = shake_hands(ctx, &upstream, &head, &asked.offer) => tried,
        };
        let (stream, mut answer) = match tried {
            Ok(shaken) => shaken,
            Err(failure) => {
                after(failure, edge, ctx, &upstream, view)?;
                continue;
            }
        };
        ctx.answered_after = Some(ctx.attempt_began.elapsed());
        if upstream.side.is_some() {
            edge.tally.served(view.epoch);
        }
        rewrite(&mut answer, &site, &route, &host, &forwarded);
        return Ok(match answer.status {
            StatusCode::SWITCHING_PROTOCOLS => Opened::Accepted { session, upstream: stream, answer },
            _ => Opened::Refused { upstream: stream, answer },
        });
    }
}

/// Ends when the client leaves. Keeps what it sends ahead; of a client that sends more than frames of a beginning the end is not
/// looked for any more.
async fn left(client: &mut Stream, early: &mut BytesMut) {
    while early.len() < MOST_EARLY {
        match client.read_buf(early).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
    }
    std::future::pending().await
}

/// Which switches a session ends with.
fn pin(shared: bool, follow: Follow, live: Side) -> Pin {
    match (shared, follow) {
        // The live side: where a service is of the sides, its pool was that side's.
        (false, _) => Pin::Side(live),
        (true, Follow::Live) => Pin::Follows(live),
        (true, Follow::Nothing) => Pin::Stays,
    }
}

/// Makes what names an upstream name us, as the answers of requests are.
fn rewrite(answer: &mut exchange::Answer, site: &Site, route: &Route, host: &str, forwarded: &ForwardedHeaders) {
    let headers = &mut answer.headers;
    for (name, values) in site.insiders.rewrite(headers, host) {
        headers.remove(&name);
        for value in values {
            headers.append(name.clone(), value);
        }
    }
    headers.insert(X_REQUEST_ID, forwarded.id.clone());
    // A refusal is a page; a 101 begins no page that a browser could frame or mistake.
    if answer.status != StatusCode::SWITCHING_PROTOCOLS {
        for (name, value) in &route.headers {
            if !headers.contains_key(name) {
                headers.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Books an attempt that failed. Ok: another upstream is to be tried; else how the upgrade ends.
fn after(failure: Failure, edge: &Arc<Edge>, ctx: &mut Context, upstream: &Upstream, view: View) -> Result<(), Ending> {
    match failure {
        Failure::Connect(error) => {
            if let Some(how) = failure_of(&error) {
                record::connect_failed(ctx, how);
            }
            note_failure(edge, ctx, sign_of(&error));
            Ok(())
        }
        // No sign against the side: its checks read answers in the same way, and judge.
        Failure::Answer(NoAnswer::NotOpened(_) | NoAnswer::Head(NoHead::Faulty(_))) => {
            record::answer_failed(edge, ctx, AnswerFailure::Wrong);
            Err(Ending::BadAnswer)
        }
        Failure::Answer(NoAnswer::Head(NoHead::Broken(_))) => {
            // A handshake is a GET: nothing is done twice. But one that breaks its upstream shall not do so for ever.
            record::answer_failed(edge, ctx, AnswerFailure::Lost);
            ctx.replays += 1;
            if ctx.replays > MOST_REPLAYS && edge.live.view() == view {
                return Err(Ending::Lost);
            }
            // What a switch cuts is no sign.
            let cut = upstream.side.is_some_and(|side| side != edge.live.view().side);
            note_failure(edge, ctx, (!cut).then_some(Sign::Reset));
            Ok(())
        }
        Failure::Silent => {
            record::answer_failed(edge, ctx, AnswerFailure::Silent);
            // Told, and not tried elsewhere: what a time limit ended is not sent again, as with requests.
            note_failure(edge, ctx, Some(Sign::TimedOut));
            Err(Ending::TimedOut)
        }
    }
}

/// Why an upstream did not answer an upgrade.
enum Failure {
    Connect(ConnectError),
    Answer(NoAnswer),
    /// No answer in time.
    Silent,
}

/// Connects to `upstream`, sends it `head` and reads what it answers.
async fn shake_hands(
    ctx: &mut Context,
    upstream: &Upstream,
    head: &[u8],
    offer: &Offer<'_>,
) -> Result<(Box<UpstreamStream>, exchange::Answer), Failure> {
    let mut stream = Box::new(upstream.connector.open().await.map_err(Failure::Connect)?);
    ctx.connected_after = Some(ctx.attempt_began.elapsed());
    let exchanged = timeout(HANDSHAKE, async {
        write(&mut stream, head).await.map_err(NoHead::from)?;
        exchange::answer(&mut stream, offer).await
    });
    // For as long as the handshake lasts: a session that is open owes no answer, however quiet it is.
    let awaiting = upstream.traffic.sent();
    let exchanged = exchanged.await;
    drop(awaiting);
    match exchanged {
        Ok(Ok(answer)) => Ok((stream, answer)),
        Ok(Err(no_answer)) => Err(Failure::Answer(no_answer)),
        Err(_) => Err(Failure::Silent),
    }
}

/// How a connection did not open; none: it was our own doing.
fn failure_of(error: &ConnectError) -> Option<ConnectFailure> {
    Some(match error {
        ConnectError::Refused(_) => ConnectFailure::Refused,
        ConnectError::Reset(_) => ConnectFailure::Reset,
        ConnectError::TimedOut(..) => ConnectFailure::Silent,
        ConnectError::Unreachable(..) => ConnectFailure::Unreachable,
        ConnectError::Tls(..) => ConnectFailure::Tls,
        ConnectError::Local(..) => ConnectFailure::Other,
        ConnectError::Demoted(_) => return None,
    })
}

fn sign_of(error: &ConnectError) -> Option<Sign> {
    match error {
        ConnectError::Refused(_) => Some(Sign::Refused),
        ConnectError::Reset(_) => Some(Sign::Reset),
        ConnectError::TimedOut(..) | ConnectError::Unreachable(..) => Some(Sign::TimedOut),
        ConnectError::Tls(..) => Some(Sign::Tls),
        // Our own want of descriptors or ports says nothing of the backend.
        ConnectError::Local(..) | ConnectError::Demoted(_) => None,
    }
}

fn note_failure(edge: &Edge, ctx: &mut Context, sign: Option<Sign>) {
    let Some(upstream) = &ctx.upstream else { return };
    ctx.tried.push(upstream.index);
    if let Some(sign) = sign {
        edge.site().upstreams.raise(upstream, sign);
    }
}

/// Tells the engine. The site as it is then: a session outlives configurations.
fn note_loss(edge: Arc<Edge>, upstream: Option<Arc<Upstream>>) -> impl FnOnce() + Send + 'static {
    move || {
        if let Some(upstream) = upstream {
            edge.site().upstreams.raise(&upstream, Sign::Reset);
        }
    }
}

async fn write<W: tokio::io::AsyncWrite + Unpin>(stream: &mut W, bytes: &[u8]) -> IoResult<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn finish(edge: &Edge, client: &mut Stream, bytes: &[u8]) {
    raw::finish(client, bytes, edge.site().config.limits.write_stall).await;
}

#[cfg(test)]
mod tests;
