//! Ordinary requests, carried by Pingora: routed, sent to the live side, parked and replayed across a switch.

pub mod answer;
pub mod context;
pub mod forward;
pub mod hop;
pub mod park;
pub mod rate;
pub mod record;
pub mod respond;
pub mod rewrite;
pub mod select;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use failover::verdict::Sign;
use http::Version;
use http::header::{ACCEPT_LANGUAGE, CONTENT_LENGTH, COOKIE, HOST, HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, OrErr, Result};
use probe::answer::{Faulty, MOST_HEAD, MOST_INTERIM};

use crate::config::Replay;
use crate::telemetry::metrics::{AnswerFailure, ConnectFailure};
use crate::traffic::downstream::body::BrokenChunks;
use crate::traffic::downstream::h2_head::Malformed;
use crate::traffic::downstream::streams::FIRST_WINDOW;
use crate::traffic::edge::Edge;
use crate::traffic::route::{Asked, Refusal, path};
use crate::traffic::upstream::connect::DEMOTED;
use context::{Context, Ending};
use forward::ForwardedHeaders;

/// Error type of a request the Edge ends itself; [`Context::ending`] says how.
const ENDED: &str = "ended by the edge";

/// Error type of an answer that is not HTTP as everybody reads it.
const BAD_ANSWER: &str = "bad answer";

/// How often a request that may have reached an upstream is sent again while no switch is the cause.
pub const MOST_REPLAYS: u32 = 2;

/// The Edge as Pingora's proxy logic sees it.
pub struct Proxy {
    /// What all share.
    pub edge: Arc<Edge>,
}

impl Proxy {
    fn decide(&self, session: &Session, ctx: &mut Context) -> std::result::Result<(), Refusal> {
        let header = session.req_header();
        let host = match header.version {
            // HTTP/1.0 knows no `Host`: whoever speaks it means the site.
            http::Version::HTTP_10 if !header.headers.contains_key(HOST) => Some(ctx.site.router.default_name()),
            _ => host(header),
        };
        let asked = Asked {
            method: header.method.as_str(),
            host,
            path: header.uri.path(),
            query: header.uri.query(),
            // Upgrades have a path of their own and never come here (`downstream::head`).
            upgrade: None,
        };
        let carried = ctx.site.router.decide(&asked)?;
        let query = header.uri.query().map(path::query);
        let same = carried.path == header.uri.path() && query.as_deref() == header.uri.query();
        let target = (!same).then(|| match query {
            Some(query) => format!("{}?{query}", carried.path),
            None => carried.path.into_owned(),
        });
        // As configured, not as the client wrote it: upstreams compare it and build links of it.
        let host = host.and_then(|host| ctx.site.router.canonical(host)).unwrap_or_default();
        ctx.route = Some(ctx.site.router.routes()[carried.route].clone());
        ctx.route_index = Some(carried.route);
        let client = respond::client(session);
        ctx.forwarded = Some(ForwardedHeaders::new(client.ip(), &host, ctx.id));
        ctx.target = target;
        Ok(())
    }
}

/// Whether there is memory for the request.
fn may_hold(session: &mut Session, ctx: &Context) -> bool {
    let bodiless = session.downstream_session.is_body_empty();
    let header = session.req_header();
    let field = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    let head = header.raw_path().len() + header.headers.iter().map(field).sum::<usize>();
    let ahead = header.version == Version::HTTP_2 && !bodiless;
    // Over h2 a client may send a window's worth before anybody reads any of it; over HTTP/1 what is not read stays in
    // the kernels.
    let ahead = if ahead { FIRST_WINDOW as usize } else { 0 };
    ctx.holding.as_ref().is_none_or(|holding| holding.admit(head, ahead))
}

/// `Host` of HTTP/1, `:authority` of h2.
fn host(header: &RequestHeader) -> Option<&str> {
    match header.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => header.headers.get(HOST).and_then(|host| host.to_str().ok()),
    }
}

/// Header fields of a request. The crumbs that h2 splits a cookie into are one (RFC 9113 section 8.2.3): a browser makes as
/// many as there are cookies, and for HTTP/1 they are one again. Their size counts as it came.
///
/// Over HTTP/1 `downstream` has counted them already.
fn fields(header: &RequestHeader) -> usize {
    let crumbs = header.headers.get_all(COOKIE).iter().count();
    header.headers.len() - crumbs.saturating_sub(1)
}

#[async_trait]
impl ProxyHttp for Proxy {
    /// Boxed: Pingora moves it from future to future, each of which keeps room for it to its end.
    type CTX = Box<Context>;

    fn new_ctx(&self) -> Box<Context> {
        Box::new(Context::new(self.edge.site()))
    }

    /// No compression, no cache: an upstream's answer is carried as it is.
    fn init_downstream_modules(&self, _: &mut pingora::modules::http::HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Box<Context>) -> Result<bool> {
        session.set_read_timeout(Some(ctx.site.config.limits.request_body));
        session.set_write_timeout(Some(ctx.site.config.limits.write_stall));
        // First of all: what can be read in two ways is not judged by one of them.
        if session.req_header().extensions.get::<Malformed>().is_some() {
            ctx.ending = Ending::Malformed;
            respond::error(&self.edge, session, ctx, crate::traffic::pages::ErrorPage::BadRequest).await?;
            return Ok(true);
        }
        if fields(session.req_header()) > ctx.site.config.limits.head_fields.get() {
            ctx.ending = Ending::HeadTooLarge;
            respond::error(&self.edge, session, ctx, crate::traffic::pages::ErrorPage::HeadTooLarge).await?;
            return Ok(true);
        }
        // Before the drain and the memory are looked at: what would never be carried is told so, and not to come again.
        if let Err(refusal) = self.decide(session, ctx) {
            ctx.ending = ctx.refuse(refusal);
            respond::error(&self.edge, session, ctx, respond::page_of(refusal)).await?;
            return Ok(true);
        }
        if ctx.client.as_ref().is_some_and(|client| client.is_late()) {
            ctx.ending = Ending::Draining;
            ctx.take_no_more();
            respond::ending(&self.edge, session, ctx).await;
            return Ok(true);
        }
        if !may_hold(session, ctx) {
            ctx.ending = Ending::NoMemory;
            // A body will not be read: nothing can follow it on this connection.
            ctx.take_no_more();
            respond::ending(&self.edge, session, ctx).await;
            return Ok(true);
        }
        // A body that says that it is too large ends here, unread; others are counted as they come
        // (`request_body_filter`).
        let announced = session.get_header(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        let limit = ctx.route.as_ref().map_or(0, |route| route.body_limit);
        if announced.is_some_and(|length| length > limit) {
            ctx.ending = Ending::BodyTooLarge;
            // The body will not be read: nothing can follow it on this connection.
            ctx.take_no_more();
            respond::error(&self.edge, session, ctx, crate::traffic::pages::ErrorPage::ContentTooLarge).await?;
            return Ok(true);
        }
        if session.downstream_session.is_body_empty() {
            ctx.note_whole();
        }
        if let (Some(holding), false) = (&ctx.holding, is_repeatable(session, ctx)) {
            // What may not be sent again is not kept: an upload would hold 64 KiB in vain.
            holding.keep_no_body();
        }
        self.pass_zone(session, ctx).await
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Box<Context>) -> Result<Box<HttpPeer>> {
        let Some(route) = ctx.route.clone() else {
            ctx.ending = Ending::Internal;
            return Error::e_explain(ErrorType::Custom(ENDED), "no route");
        };
        // A client that has still to send a body is not watched: its body is read when there is somebody to take it.
        let watched = session.downstream_session.is_body_empty();
        let chosen = tokio::select! {
            biased;
            chosen = select::next(&self.edge, ctx, &route) => chosen,
            // Whoever left while waiting shall not be served twice when he tries again.
            _ = session.downstream_session.read_body_or_idle(true), if watched => {
                Err(if ctx.is_given_up() { Ending::Draining } else { Ending::ClientGone })
            }
        };
        match chosen {
            Ok((_, upstream)) => {
                let peer = upstream.peer(route.response_limit);
                ctx.upstream = Some(upstream);
                Ok(Box::new(peer))
            }
            Err(ending) => {
                ctx.ending = ending;
                Error::e_explain(ErrorType::Custom(ENDED), "no side to send it to")
            }
        }
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        reused: bool,
        _: &HttpPeer,
        _: std::os::unix::io::RawFd,
        _: Option<&Digest>,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        ctx.connected_after = Some(ctx.attempt_began.elapsed());
        // A pooled connection may be closed for its age alone, so that what happens on it accuses nobody by itself.
        ctx.pooled = reused;
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        let (Some(route), Some(forwarded), Some(upstream)) = (&ctx.route, &ctx.forwarded, &ctx.upstream) else {
            return Error::e_explain(ErrorType::InternalError, "a request without a route");
        };
        let target = ctx.target.as_deref().or_else(|| request.uri.path_and_query().map(|pq| pq.as_str()));
        if request.uri.authority().is_some() || ctx.target.is_some() {
            // Origin form (RFC 9112 section 3.2.1): over h2 the URI has an authority, by which it would be written as a
            // whole URL.
            let target = target.unwrap_or("/").parse().or_err(ErrorType::InternalError, "a normalised path")?;
            request.set_uri(target);
        }
        forward::apply(request, forwarded, &ctx.site.config.services[route.service.0].host)?;
        // The last look before anything is sent (E1): a request chosen for a side that was just demoted goes elsewhere.
        if upstream.side.is_some_and(|side| side != self.edge.live.view().side) {
            return Error::e_explain(ErrorType::Custom(DEMOTED), "before the request was sent");
        }
        ctx.sent = true;
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        // An empty last DATA frame would write the chunked terminator twice and desynchronise the pooled connection.
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        if end {
            ctx.body_ended = true;
            // Until now the upstream had nothing to answer.
            ctx.awaiting = ctx.upstream.as_ref().map(|upstream| upstream.traffic.sent());
            ctx.note_whole();
        }
        // Counted here, as a chunked body or one over h2 need not say how long it is.
        ctx.body += body.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if ctx.route.as_ref().is_some_and(|route| ctx.body > route.body_limit) {
            ctx.ending = Ending::BodyTooLarge;
            return Error::e_explain(ErrorType::Custom(ENDED), "request body too large");
        }
        if let Some(holding) = &ctx.holding {
            holding.hold_body(body);
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        ctx: &mut Box<Context>,
    ) -> Result<Option<Duration>> {
        if let Some(holding) = &ctx.holding {
            holding.hold_answer(body);
        }
        Ok(None)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        // Interim answers, too: a 101 that nobody asked for would end HTTP on this connection.
        answer::normalise(response, session.req_header()).map_err(bad_answer)?;
        if response.status.is_informational() {
            ctx.interim += 1;
            ctx.interim_size += answer::size(&response.headers);
            // A client that does not read has all of them waiting for it.
            let many = ctx.interim > MOST_INTERIM || ctx.interim_size > MOST_HEAD;
            // An interim answer ends no wait: a backend that says 103 and then hangs is suspected all the same.
            return if many { Err(bad_answer(Faulty::Interim)) } else { Ok(()) };
        }
        ctx.awaiting = None;
        ctx.whole = None;
        if self.edge.drain.has_begun() {
            // No request will be read behind this one: the client must not send any.
            ctx.take_no_more();
        }
        ctx.answered_after = Some(ctx.attempt_began.elapsed());
        if let (Some(view), true) = (ctx.view, ctx.upstream.as_ref().is_some_and(|upstream| upstream.side.is_some())) {
            // Only those of a side: a shared service answers before, during and after a switch, and would hide when the
            // new side did.
            self.edge.tally.served(view.epoch);
        }
        if let Some(forwarded) = &ctx.forwarded {
            // What a user reports can be found in the log by it.
            response.insert_header(forward::X_REQUEST_ID, forwarded.id.clone())?;
        }
        if let Some(route) = &ctx.route {
            answer::add_missing(response, &route.headers)?;
        }
        let host = ctx.forwarded.as_ref().and_then(|forwarded| forwarded.host.to_str().ok()).unwrap_or_default();
        for (name, values) in ctx.site.insiders.rewrite(&response.headers, host) {
            response.remove_header(&name);
            for value in values {
                response.append_header(name.clone(), value)?;
            }
        }
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        ctx: &mut Box<Context>,
        mut error: Box<Error>,
    ) -> Box<Error> {
        // Nothing was sent: always safe to move (E5). `select::next` bounds the attempts in time.
        error.set_retry(true);
        self.note_failure(ctx, &error);
        if let Some(how) = connect_failure(error.etype()) {
            record::connect_failed(ctx, how);
        }
        error
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Box<Context>,
        _: bool,
    ) -> Box<Error> {
        // Pingora's default would send again what failed on a pooled connection, whatever its method. Here nothing is
        // sent again but by the rules below (E5).
        error.set_retry(false);
        if matches!(error.etype(), ErrorType::Custom(ENDED)) {
            return error;
        }
        if is_broken_framing(&error) {
            ctx.ending = Ending::Malformed;
            // Where the next request begins, nobody can tell.
            ctx.take_no_more();
            return error;
        }
        if *error.esource() == ErrorSource::Downstream && *error.etype() == ErrorType::ReadTimedout {
            ctx.ending = Ending::ClientSlow;
            // What it still sends of this request is not to be taken for the next one.
            ctx.take_no_more();
            return error;
        }
        if self.edge.drain.is_over() || ctx.is_given_up() {
            // Our own doing: no sign of anything, and nothing is sent again.
            ctx.awaiting = None;
            let begun = respond::final_response(session).is_some();
            ctx.ending = if begun { Ending::Truncated } else { Ending::Draining };
            return error;
        }
        let by_upstream = *error.esource() == ErrorSource::Upstream;
        if !std::mem::take(&mut ctx.sent) {
            // Nothing was sent. What the client got wrong stays wrong; anything else may come out otherwise next time.
            if by_upstream || matches!(error.etype(), ErrorType::Custom(DEMOTED)) {
                self.note_failure(ctx, &error);
                error.set_retry(true);
            } else if *error.esource() == ErrorSource::Downstream {
                ctx.ending = Ending::Malformed;
            }
            return error;
        }
        if !by_upstream {
            return error;
        }
        self.lose_answer(session, ctx, &mut error);
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Box<Context>) -> FailToProxy {
        if ctx.ending == Ending::Served {
            ctx.ending = match error.esource() {
                // No rule has said yet how it ends: whoever Pingora blames is taken.
                ErrorSource::Downstream => Ending::ClientGone,
                ErrorSource::Upstream => Ending::Lost,
                ErrorSource::Internal | ErrorSource::Unset => Ending::Internal,
            };
        }
        let error_code = respond::ending(&self.edge, session, ctx).await;
        // Pingora lets go of the session in any case. Whether its connection goes on is for the session to say, by what
        // the answer's head said.
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        // The access log says how each request ended.
        true
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, ctx: &mut Box<Context>) {
        respond::record(&self.edge, session, ctx);
    }
}

impl Proxy {
    /// Lets a request pass its zone. True: it was answered instead.
    async fn pass_zone(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        let client = respond::client(session).ip();
        let watched = session.downstream_session.is_body_empty();
        let gone = async {
            match watched {
                // As while it is parked: whoever left shall not be served twice when he tries again.
                true => drop(session.downstream_session.read_body_or_idle(true).await),
                false => std::future::pending().await,
            }
        };
        let Err(ending) = rate::pass(&self.edge, ctx, client, gone).await else { return Ok(false) };
        ctx.ending = ending;
        if ending != Ending::OverRate {
            return Error::e_explain(ErrorType::Custom(ENDED), "it waited for its time");
        }
        respond::ending(&self.edge, session, ctx).await;
        Ok(true)
    }

    /// An upstream took a request and did not answer it whole: what that says of its side, and whether the request is
    /// sent again (E5) or how it ends.
    fn lose_answer(&self, session: &Session, ctx: &mut Context, error: &mut Error) {
        self.note_failure(ctx, error);
        let slow = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
        // The same question gets the same answer again, unless a pooled connection was out of step.
        let bad = matches!(error.etype(), ErrorType::Custom(BAD_ANSWER) | ErrorType::InvalidHTTPHeader);
        let begun = respond::final_response(session).is_some();
        let aged = ctx.pooled && ctx.answered_after.is_none() && !bad && !slow;
        // A slow client is not its upstream's failure, nor is a pooled connection that was closed for its age alone.
        if !(slow && !ctx.body_ended || aged) {
            let how = match begun {
                true => AnswerFailure::Cut,
                false if bad => AnswerFailure::Wrong,
                false if slow => AnswerFailure::Silent,
                false => AnswerFailure::Lost,
            };
            record::answer_failed(&self.edge, ctx, how);
        }
        // A part of the answer is with the client: a second one cannot take its place.
        if begun {
            ctx.ending = Ending::Truncated;
        } else if (!bad || ctx.pooled) && self.may_replay(session, ctx, slow) {
            ctx.replays += 1;
            // The next attempt reads the body again, from what was kept of it.
            (ctx.interim, ctx.interim_size) = (0, 0);
            ctx.body = 0;
            ctx.body_ended = false;
            error.set_retry(true);
        } else {
            ctx.ending = match slow {
                true if !ctx.body_ended => Ending::ClientSlow,
                true => Ending::TimedOut,
                false if bad => Ending::BadAnswer,
                false => Ending::Lost,
            };
        }
    }

    /// Whether a request that may have reached an upstream is sent again (E5).
    fn may_replay(&self, session: &Session, ctx: &Context, slow: bool) -> bool {
        let allowed = is_repeatable(session, ctx);
        let demoted = ctx.view.is_some_and(|seen| seen.epoch != self.edge.live.view().epoch);
        // A request that breaks its upstream must not break it for ever; one that a switch cut is not to blame.
        let blameless = demoted || (!slow && ctx.replays < MOST_REPLAYS);
        allowed && blameless && !session.as_ref().retry_buffer_truncated()
    }

    /// Tells the engine what live traffic saw, unless it is our own doing.
    fn note_failure(&self, ctx: &mut Context, error: &Error) {
        ctx.awaiting = None;
        let Some(upstream) = &ctx.upstream else { return };
        // Whatever it was: the next attempt goes to another backend, if there is one.
        ctx.tried.push(upstream.index);
        let sign = match error.etype() {
            ErrorType::ConnectRefused => Sign::Refused,
            ErrorType::ConnectTimedout | ErrorType::ConnectNoRoute => Sign::TimedOut,
            ErrorType::TLSHandshakeFailure => Sign::Tls,
            ErrorType::ReadTimedout if ctx.body_ended => Sign::TimedOut,
            // A pooled connection may have been closed for its age alone, before it answered.
            ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
                if !ctx.pooled || ctx.answered_after.is_some() =>
            {
                Sign::Reset
            }
            // No sign: a faulty answer, as checks read answers alike and judge; a demotion, our own doing; an upstream
            // that waits for its client's body.
            _ => return,
        };
        // A configuration loaded since listens to its own signs.
        self.edge.site().upstreams.raise(upstream, sign);
    }
}

/// Whether a request may be sent again at all.
fn is_repeatable(session: &Session, ctx: &Context) -> bool {
    match ctx.route.as_ref().map(|route| route.replay) {
        Some(Replay::Always) => true,
        Some(Replay::Idempotent) => session.req_header().method.is_idempotent(),
        Some(Replay::Never) | None => false,
    }
}

/// An upstream's answer that is not passed on.
fn bad_answer(faulty: Faulty) -> Box<Error> {
    Error::because(ErrorType::Custom(BAD_ANSWER), "the upstream's answer", faulty).into_up()
}

/// Whether a client's body broke off because its framing is broken, not because the client left.
fn is_broken_framing(error: &Error) -> bool {
    error.root_cause().is::<BrokenChunks>()
}

/// How a connection did not open; none: it was our own doing.
fn connect_failure(kind: &ErrorType) -> Option<ConnectFailure> {
    Some(match kind {
        ErrorType::ConnectionClosed => ConnectFailure::Reset,
        ErrorType::ConnectRefused => ConnectFailure::Refused,
        ErrorType::ConnectTimedout => ConnectFailure::Silent,
        ErrorType::ConnectNoRoute => ConnectFailure::Unreachable,
        ErrorType::TLSHandshakeFailure => ConnectFailure::Tls,
        ErrorType::ConnectError | ErrorType::SocketError => ConnectFailure::Other,
        _ => return None,
    })
}

/// What a client prefers to read.
fn accept_language(session: &Session) -> Option<&[u8]> {
    session.get_header(ACCEPT_LANGUAGE).map(HeaderValue::as_bytes)
}
