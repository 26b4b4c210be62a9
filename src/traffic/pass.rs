//! TLS connections that are handed on undecrypted, by the name in their ClientHello: TURN over TLS on the site's own port.
//! No side is asked for: what a switch moves is behind that service, and a switch never ends such a connection.

pub mod names;
mod relay;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use self::relay::{Count, End, Limits, Moved};
use super::downstream::admission::Admitted;
use super::downstream::listener;
use super::edge::{Edge, Site};
use super::proxy_protocol::{self, Told};
use crate::config::Pass;
use crate::telemetry::logging::Ended;
use crate::telemetry::logging::access::PassedRecord;
use crate::telemetry::metrics::{ConnectFailure, Direction, PassMetrics};

/// A connection whose ClientHello was read, and belongs to a service.
#[derive(Debug)]
pub struct Passing {
    /// Who is counted and logged: whom a PROXY header names, or the peer.
    pub client: SocketAddr,
    /// The client's end, of which the ClientHello has been read.
    pub tcp: TcpStream,
    /// What was read of it, which the service must get first.
    pub said: Vec<u8>,
    /// The name it asked for, by SNI; none if it named none.
    pub name: Option<Box<str>>,
    /// The entry that has this name: a position in `Config::pass`.
    pub index: usize,
}

/// What became of one connection.
struct Outcome {
    to: Option<SocketAddr>,
    connect: Option<Duration>,
    bytes_in: u64,
    bytes_out: u64,
    ended: Ended,
}

/// Carries one connection to its end; counts it and hands its line to the access log.
pub async fn serve(edge: &Edge, site: Arc<Site>, passing: Passing, admitted: Admitted) {
    let (pass, counted) = (&site.config.pass[passing.index], &site.counted.passes[passing.index]);
    let began = Instant::now();
    let outcome = carry(edge, &site, pass, counted, &passing, &admitted).await;
    counted.ended.of(outcome.ended).inc();
    edge.access.put_passed(|| {
        let duration = began.elapsed();
        PassedRecord {
            time: SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
            client: passing.client,
            name: passing.name,
            to: outcome.to,
            bytes_in: outcome.bytes_in,
            bytes_out: outcome.bytes_out,
            duration,
            connect: outcome.connect,
            ended: outcome.ended,
        }
    });
}

async fn carry(
    edge: &Edge,
    site: &Site,
    pass: &Pass,
    counted: &PassMetrics,
    passing: &Passing,
    admitted: &Admitted,
) -> Outcome {
    let mut outcome = Outcome { to: None, connect: None, bytes_in: 0, bytes_out: 0, ended: Ended::Drained };
    // Nobody waits for one that comes while the Edge goes away.
    if admitted.activity().is_late() {
        return outcome;
    }
    let began = Instant::now();
    let opened = tokio::select! {
        opened = open(pass, site.config.limits.connect, counted) => opened,
        () = admitted.activity().given_up() => return outcome,
    };
    let Some((to, service)) = opened else {
        return Outcome { ended: Ended::ConnectFailed, ..outcome };
    };
    (outcome.to, outcome.connect) = (Some(to), Some(began.elapsed()));
    counted.open.inc();
    let relayed = &edge.metrics.relayed_bytes;
    let (up, down) = (Count::new(relayed.of(Direction::In)), Count::new(relayed.of(Direction::Out)));
    let stall = site.config.limits.write_stall;
    let (client, upstream) = (End::client(&passing.tcp), End::service(&service));
    // One segment, as a rule: the header must not come alone to a service that reads it in one piece.
    let told = Told { client: passing.client, server: passing.tcp.local_addr().unwrap_or(to) };
    let mut first = proxy_protocol::header(pass.proxy_protocol, told);
    first.extend_from_slice(&passing.said);
    up.add(passing.said.len());
    let moved = Moved::new(admitted.activity());
    let begun = tokio::select! {
        put = upstream.put(&first, stall) => put,
        () = admitted.activity().given_up() => Err(Ended::Drained),
    };
    drop(first);
    outcome.ended = match begun {
        Err(why) => why,
        Ok(()) => {
            let limits = Limits { idle: pass.idle, write_stall: stall };
            relay::relay((client, upstream), (&up, &down), &moved, limits).await
        }
    };
    counted.open.dec();
    (outcome.bytes_in, outcome.bytes_out) = (up.bytes(), down.bytes());
    outcome
}

/// Connects to the first address that takes it; each has the whole limit.
async fn open(pass: &Pass, limit: Duration, counted: &PassMetrics) -> Option<(SocketAddr, TcpStream)> {
    for to in &pass.to {
        let failure = match timeout(limit, TcpStream::connect(to)).await {
            Ok(Ok(tcp)) => {
                listener::prepare(&tcp);
                return Some((*to, tcp));
            }
            Ok(Err(error)) => failure(error.kind()),
            Err(_) => ConnectFailure::Silent,
        };
        counted.connect_failures.of(failure).inc();
    }
    None
}

fn failure(kind: std::io::ErrorKind) -> ConnectFailure {
    use std::io::ErrorKind::*;
    match kind {
        ConnectionRefused => ConnectFailure::Refused,
        ConnectionReset | ConnectionAborted => ConnectFailure::Reset,
        TimedOut => ConnectFailure::Silent,
        HostUnreachable | NetworkUnreachable | NetworkDown => ConnectFailure::Unreachable,
        _ => ConnectFailure::Other,
    }
}
