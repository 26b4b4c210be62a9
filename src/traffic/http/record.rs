//! What is counted and logged when a request or a session ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use http::Method;
use tokio::time::Instant;

use super::context::{Context, Ending};
use crate::telemetry::logging::access::{AccessRecord, Protocol, SessionTally};
use crate::telemetry::logging::{Ended, RequestId, SafePath};
use crate::telemetry::metrics::{AnswerFailure, By, ConnectFailure, Parked, Refusal as Counted};
use crate::traffic::downstream::target::glimpse;
use crate::traffic::edge::Edge;
use crate::traffic::route::Refusal;
use crate::traffic::websocket::tunnel::{Outcome, Party, Report};

/// What the connection knows about a request that ended.
pub struct Seen<'a> {
    /// Where it came from.
    pub client: SocketAddr,
    /// What it spoke.
    pub protocol: Protocol,
    /// Its method.
    pub method: Method,
    /// Its target as sent.
    pub target: &'a str,
    /// Its `Host`; only logged when it is not ours.
    pub host: Option<&'a str>,
    /// The status it was answered with.
    pub status: Option<u16>,
    /// Body bytes sent to the client.
    pub bytes_out: u64,
}

/// Counts a request and hands its line to the access log.
pub fn request(edge: &Edge, ctx: &Context, seen: Seen<'_>) {
    count(edge, ctx, seen.status);
    let ended = ended(ctx.ending);
    edge.access.put(|| line(ctx, seen, ended));
}

/// Counts an upgrade that was answered with 101: its handshake is over, its session begins.
pub fn opened(edge: &Edge, ctx: &Context) {
    count(edge, ctx, Some(101));
}

/// Counts a session that ended and hands its line to the access log. `on_switch` is the code its route says on a switch.
pub fn session(edge: &Edge, ctx: &Context, seen: Seen<'_>, report: &Report, on_switch: u16) {
    let ended = ended_session(report.outcome);
    if let Some(route) = ctx.route_index {
        ctx.site.counted.routes[route].sessions_ended.of(ended).inc();
    }
    let relayed = &edge.metrics.relayed_bytes;
    relayed.of(crate::telemetry::metrics::Direction::In).inc_by(report.to_upstream.bytes);
    relayed.of(crate::telemetry::metrics::Direction::Out).inc_by(report.to_client.bytes);
    edge.access.put(|| AccessRecord {
        bytes_in: report.to_upstream.bytes,
        bytes_out: report.to_client.bytes,
        session: Some(SessionTally {
            frames_in: report.to_upstream.frames,
            frames_out: report.to_client.frames,
            close_code: report.outcome.close_code(on_switch),
        }),
        ..line(ctx, seen, ended)
    });
}

/// A request of which no more is known than what its client sent.
pub struct Unread<'a> {
    /// Where it came from.
    pub client: SocketAddr,
    /// What was spoken.
    pub protocol: Protocol,
    /// What came of it.
    pub head: &'a [u8],
    /// When its first byte came.
    pub began: Instant,
    /// The status it is answered with; none: nobody is there, or nothing can be said.
    pub status: Option<u16>,
}

/// Counts a request that was refused before it was one, and hands its line to the access log.
pub fn refused(edge: &Edge, why: Counted, unread: Unread<'_>) {
    edge.metrics.refused.of(why).inc();
    let ended = match why {
        Counted::HeadTimeout => Ended::ClientTimeout,
        Counted::HeadIncomplete => Ended::ClientGone,
        _ => Ended::Refused,
    };
    edge.access.put(|| unread.line(ended));
}

/// Hands the line of a request that we answered from its head alone to the access log.
pub fn answered(edge: &Edge, unread: Unread<'_>) {
    edge.metrics.request_duration.of(By::Edge).observe(unread.began.elapsed().as_secs_f64());
    edge.access.put(|| unread.line(Ended::Complete));
}

impl Unread<'_> {
    fn line(&self, ended: Ended) -> AccessRecord {
        let (method, path) = glimpse(self.head);
        let duration = self.began.elapsed();
        AccessRecord {
            // The line bears the time of the beginning, reckoned back from the end: durations are by the clock that
            // nobody sets.
            time: SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
            // An id of ours, as each line has one: a client's own `X-Request-Id` is never believed.
            request: RequestId::random(),
            client: self.client,
            protocol: self.protocol,
            method,
            host: None,
            path: SafePath::new(&path),
            status: self.status,
            bytes_in: 0,
            bytes_out: 0,
            duration,
            connect: None,
            upstream: None,
            side: None,
            backend: None,
            route: None,
            replays: 0,
            parked: Duration::ZERO,
            zone: None,
            delayed: Duration::ZERO,
            ended,
            session: None,
        }
    }
}

/// Counts a connection to an upstream that did not open.
pub fn connect_failed(ctx: &Context, how: ConnectFailure) {
    let (Some(route), Some(view)) = (&ctx.route, ctx.view) else { return };
    ctx.site.counted.services[route.service.0].connect_failed(view.side, how);
}

/// Counts a request that its upstream had got and failed, unless a switch of ours took it away.
pub fn answer_failed(edge: &Edge, ctx: &Context, how: AnswerFailure) {
    let (Some(route), Some(view), Some(upstream)) = (&ctx.route, ctx.view, &ctx.upstream) else { return };
    // What a switch cut is no failure of its upstream: it would show a sound side as ill, in each planned switch.
    if upstream.side.is_none_or(|side| side == edge.live.view().side) {
        ctx.site.counted.services[route.service.0].answer_failed(view.side, how);
    }
}

/// Who answered, or should have: whoever let a request fail is booked with it, though the page its client gets is ours.
pub fn by(ctx: &Context) -> By {
    let its = match ctx.ending {
        Ending::Served | Ending::Truncated | Ending::Lost | Ending::BadAnswer | Ending::TimedOut => true,
        // The client's own doing, as long as there was somebody to wait for.
        Ending::ClientGone => ctx.parked_since.is_none(),
        // Tried until its time was over; where nothing was tried, it waited for a decision of ours.
        Ending::ParkedTooLong => ctx.attempts_here > 0,
        Ending::Refused(_)
        | Ending::Malformed
        | Ending::HeadTooLarge
        | Ending::BodyTooLarge
        | Ending::ClientSlow
        | Ending::OverRate => false,
        Ending::Waiting | Ending::Draining | Ending::ParkingFull | Ending::NoMemory | Ending::Internal => false,
    };
    match &ctx.upstream {
        Some(upstream) if its => upstream.side.map_or(By::Shared, By::side),
        _ => By::Edge,
    }
}

fn count(edge: &Edge, ctx: &Context, status: Option<u16>) {
    let by = by(ctx);
    if let (Some(route), Some(status)) = (ctx.route_index, status) {
        ctx.site.counted.routes[route].answered(by, status);
    }
    let metrics = &edge.metrics;
    let parked = ctx.parked();
    // Without the time it was parked, which is the Edge's own (`bascule_parked_seconds`): else a switch would look like
    // a slow upstream. Nor with the time its zone made it wait.
    let waited = parked + ctx.delayed;
    metrics.request_duration.of(by).observe(ctx.began.elapsed().saturating_sub(waited).as_secs_f64());
    if ctx.replays > 0 {
        metrics.replayed.inc_by(u64::from(ctx.replays));
        edge.tally.replayed.fetch_add(u64::from(ctx.replays), Ordering::Relaxed);
    }
    if ctx.park_until.is_some() {
        edge.tally.parked.fetch_add(1, Ordering::Relaxed);
        metrics.parked_total.of(became(ctx.ending)).inc();
        metrics.parked_duration.observe(parked.as_secs_f64());
    }
    if let Some(refusal) = counted(ctx.ending) {
        metrics.refused.of(refusal).inc();
    }
    if matches!(
        ctx.ending,
        Ending::Lost
            | Ending::BadAnswer
            | Ending::Truncated
            | Ending::TimedOut
            | Ending::Waiting
            | Ending::ParkedTooLong
            | Ending::ParkingFull
    ) {
        // What the report of a switch is about: requests that an upstream, or the lack of one, let fail; not what
        // clients got wrong.
        edge.tally.failed.fetch_add(1, Ordering::Relaxed);
    }
}

fn became(ending: Ending) -> Parked {
    match ending {
        Ending::ParkedTooLong | Ending::Waiting => Parked::Expired,
        Ending::ParkingFull => Parked::Full,
        Ending::ClientGone => Parked::Gone,
        _ => Parked::Released,
    }
}

fn counted(ending: Ending) -> Option<Counted> {
    Some(match ending {
        Ending::Refused(refusal) => match refusal {
            Refusal::NoHost | Refusal::WrongHost => Counted::BadHost,
            Refusal::BadPath(_) => Counted::BadPath,
            Refusal::NoRoute => Counted::NoRoute,
            Refusal::UpgradeNotAllowed => Counted::UpgradeNotAllowed,
            Refusal::Subprotocol => Counted::Subprotocol,
            Refusal::Token => Counted::Token,
            Refusal::Maintenance { .. } => Counted::Maintenance,
            Refusal::Method | Refusal::MethodNotAllowed { .. } => Counted::Method,
        },
        Ending::Malformed => Counted::Framing,
        Ending::ClientSlow => Counted::BodyTimeout,
        Ending::HeadTooLarge => Counted::HeadTooLarge,
        Ending::BodyTooLarge => Counted::BodyTooLarge,
        Ending::NoMemory => Counted::Memory,
        Ending::OverRate => Counted::Rate,
        Ending::Waiting | Ending::ParkedTooLong | Ending::ParkingFull => Counted::NobodyWorks,
        _ => return None,
    })
}

fn ended(ending: Ending) -> Ended {
    match ending {
        Ending::Served => Ended::Complete,
        Ending::Refused(Refusal::Maintenance { .. }) => Ended::Maintenance,
        Ending::Refused(_)
        | Ending::Malformed
        | Ending::HeadTooLarge
        | Ending::BodyTooLarge
        | Ending::NoMemory
        | Ending::OverRate => Ended::Refused,
        Ending::ClientSlow => Ended::ClientTimeout,
        Ending::Draining => Ended::Drained,
        Ending::Waiting => Ended::NobodyWorks,
        Ending::ParkedTooLong | Ending::ParkingFull => Ended::ParkExpired,
        Ending::Lost | Ending::Truncated => Ended::UpstreamGone,
        Ending::BadAnswer => Ended::UpstreamProtocol,
        Ending::TimedOut => Ended::UpstreamTimeout,
        Ending::ClientGone => Ended::ClientGone,
        Ending::Internal => Ended::Internal,
    }
}

fn ended_session(outcome: Outcome) -> Ended {
    match outcome {
        Outcome::ClientClosed | Outcome::UpstreamClosed => Ended::Complete,
        Outcome::ClientLost => Ended::ClientGone,
        Outcome::UpstreamLost { .. } => Ended::UpstreamGone,
        Outcome::ClientStalled | Outcome::UpstreamStalled { .. } => Ended::WriteStall,
        Outcome::Demoted { clean: true } => Ended::Switched,
        Outcome::Demoted { clean: false } => Ended::Cut,
        Outcome::Drained { .. } => Ended::Drained,
        Outcome::ProtocolError(Party::Client) => Ended::ClientProtocol,
        Outcome::ProtocolError(Party::Upstream) => Ended::UpstreamProtocol,
    }
}

/// The zone of a request that it held up or refused.
fn zone(ctx: &Context) -> Option<Arc<str>> {
    let noted = ctx.ending == Ending::OverRate || !ctx.delayed.is_zero();
    ctx.route_index.filter(|_| noted).and_then(|route| ctx.site.zones.name(route))
}

fn line(ctx: &Context, seen: Seen<'_>, ended: Ended) -> AccessRecord {
    let duration = ctx.began.elapsed();
    let foreign = ctx.ending == Ending::Refused(Refusal::WrongHost);
    AccessRecord {
        time: SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
        request: ctx.id,
        client: seen.client,
        protocol: seen.protocol,
        method: seen.method,
        // One of the site's own names would stand in each line; a foreign one is what a 421 was for.
        host: seen.host.filter(|_| foreign).map(Into::into),
        path: SafePath::new(seen.target),
        status: seen.status,
        bytes_in: ctx.body,
        bytes_out: seen.bytes_out,
        duration,
        connect: ctx.connected_after,
        upstream: ctx.answered_after,
        side: ctx.upstream.as_ref().and_then(|upstream| upstream.side),
        backend: ctx.upstream.as_ref().map(|upstream| upstream.name.clone()),
        route: ctx.route_index.map(|route| ctx.site.manners[route].name.clone()),
        replays: u8::try_from(ctx.replays).unwrap_or(u8::MAX),
        parked: ctx.parked(),
        zone: zone(ctx),
        delayed: ctx.delayed,
        ended,
        session: None,
    }
}
