//! One line for each request, each session and each connection that is passed on, written off their path.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use daemon::{visible, word};
use failover::Side;
use failover::{closed_set, display_label};
use http::Method;
use lines::Lines;
use prometheus::IntCounter;
use serde::Serialize;

use super::{Ended, LAST_LINES, RequestId, SafePath, is_human};
use crate::admin::api::Time;
use crate::config::Log;

/// Records that wait for the writer: a second of a busy Edge, some megabytes.
const ROOM: usize = 16 * 1024;

closed_set! {
    /// What a client spoke.
    pub enum Protocol {
        /// HTTP/1.0 or 1.1.
        H1 => "h1",
        /// HTTP/2.
        H2 => "h2",
        /// WebSocket.
        WebSocket => "ws",
        /// Whatever it is: nobody here decrypts it.
        Passed => "tls",
    }
}
display_label!(Protocol);

/// What is told of one request or session. It has no field for a header, a body or a query's value.
#[derive(Debug, Clone)]
pub struct AccessRecord {
    /// When the request's head was read.
    pub time: SystemTime,
    /// The request's number, as in the headers towards upstreams.
    pub request: RequestId,
    /// The address that asked.
    pub client: SocketAddr,
    /// What was spoken.
    pub protocol: Protocol,
    /// How.
    pub method: Method,
    /// The host asked for, where it is none of the site's.
    pub host: Option<Box<str>>,
    /// The path asked for, without secrets.
    pub path: SafePath,
    /// The status answered; none: the client left first.
    pub status: Option<u16>,
    /// From the client, bodies or frames.
    pub bytes_in: u64,
    /// To the client, bodies or frames.
    pub bytes_out: u64,
    /// From the head, as it was read, to the end.
    pub duration: Duration,
    /// To connect to the upstream; none: a connection was there, or none was needed.
    pub connect: Option<Duration>,
    /// From request to the head of the upstream's answer.
    pub upstream: Option<Duration>,
    /// The side that answered; none: a shared service, or the Edge.
    pub side: Option<Side>,
    /// The backend that answered.
    pub backend: Option<Arc<str>>,
    /// The route it took.
    pub route: Option<Arc<str>>,
    /// How often the request was sent again.
    pub replays: u8,
    /// How long the request waited for a switch.
    pub parked: Duration,
    /// The zone that refused it or made it wait.
    pub zone: Option<Arc<str>>,
    /// How long it waited for its time in the zone.
    pub delayed: Duration,
    /// Why it ended.
    pub ended: Ended,
    /// What a WebSocket carried; none for a request.
    pub session: Option<SessionTally>,
}

/// What a WebSocket carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SessionTally {
    /// Frames from the client.
    pub frames_in: u64,
    /// Frames to the client.
    pub frames_out: u64,
    /// Of the Close frame the Edge gave the client (RFC 6455 section 7.4); none: it gave none.
    pub close_code: Option<u16>,
}

/// What is told of one connection that was passed on.
#[derive(Debug, Clone)]
pub struct PassedRecord {
    /// When its ClientHello was read.
    pub time: SystemTime,
    /// Where it came from.
    pub client: SocketAddr,
    /// The name it asked for, by SNI; none if it named none.
    pub name: Option<Box<str>>,
    /// The address that took it; none if none did.
    pub to: Option<SocketAddr>,
    /// Bytes from the client, its ClientHello among them.
    pub bytes_in: u64,
    /// To the client.
    pub bytes_out: u64,
    /// From its ClientHello to its end.
    pub duration: Duration,
    /// How long the connect took that succeeded.
    pub connect: Option<Duration>,
    /// Why it ended.
    pub ended: Ended,
}

/// What a line tells of.
#[derive(Debug, Clone)]
enum Record {
    Request(AccessRecord),
    Passed(PassedRecord),
}

/// Takes records; cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessLog {
    lines: Option<Lines<Record>>,
}

impl AccessLog {
    /// Starts the writer to standard output, or none if `log.access` is false. Lines without room are counted.
    ///
    /// # Errors
    /// The system starts no thread for the writer.
    pub fn start(log: &Log, dropped: IntCounter) -> io::Result<Self> {
        let human = is_human(log.format, io::stdout().is_terminal());
        if !log.access {
            return Ok(Self { lines: None });
        }
        Self::to(io::stdout(), human, dropped)
    }

    fn to(out: impl Write + Send + 'static, human: bool, dropped: IntCounter) -> io::Result<Self> {
        let format = if human { Record::human } else { Record::json };
        Ok(Self { lines: Some(Lines::spawn("access-log", ROOM, dropped, out, format)?) })
    }

    /// Hands over what `record` makes, or drops it and counts. Never waits.
    pub fn put(&self, record: impl FnOnce() -> AccessRecord) {
        if let Some(lines) = &self.lines {
            // Made here only: where nobody reads the log no record is built.
            lines.put(Record::Request(record()));
        }
    }

    /// The same, of a connection that was passed on.
    pub fn put_passed(&self, record: impl FnOnce() -> PassedRecord) {
        if let Some(lines) = &self.lines {
            lines.put(Record::Passed(record()));
        }
    }

    /// Waits for what was put before, at most two seconds: for the end of the program.
    pub fn flush(&self) {
        if let Some(lines) = &self.lines {
            lines.flush(LAST_LINES);
        }
    }
}

/// A record as JSON; what is none is left out.
#[derive(Serialize)]
struct Row<'a> {
    time: Time,
    request: RequestId,
    client: SocketAddr,
    protocol: &'a str,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    bytes_in: u64,
    bytes_out: u64,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    replays: u8,
    parked_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delayed_ms: Option<f64>,
    ended: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionTally>,
}

impl AccessRecord {
    fn json(&self, to: &mut Vec<u8>) {
        // What a client sent is shown so that it cannot end a line, nor speak to a terminal.
        let host = self.host.as_deref().map(visible);
        let row = Row {
            time: self.time.into(),
            request: self.request,
            client: self.client,
            protocol: self.protocol.label(),
            method: self.method.as_str(),
            host: host.as_deref(),
            path: self.path.as_str(),
            status: self.status,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            duration_ms: ms(self.duration),
            connect_ms: self.connect.map(ms),
            upstream_ms: self.upstream.map(ms),
            side: self.side.map(Side::label),
            backend: self.backend.as_deref(),
            route: self.route.as_deref(),
            replays: self.replays,
            parked_ms: ms(self.parked),
            zone: self.zone.as_deref(),
            delayed_ms: (!self.delayed.is_zero()).then(|| ms(self.delayed)),
            ended: self.ended.label(),
            session: self.session,
        };
        if serde_json::to_writer(&mut *to, &row).is_ok() {
            to.push(b'\n');
        }
    }

    fn human(&self, to: &mut Vec<u8>) {
        let text = self.sentence();
        to.extend_from_slice(text.as_bytes());
        to.push(b'\n');
    }

    /// Who asked what, what came of it, who answered, and what was out of the ordinary.
    fn sentence(&self) -> String {
        use std::fmt::Write as _;
        let mut line = String::with_capacity(200);
        let host = self.host.as_deref().map(word).unwrap_or_default();
        let status = self.status.map_or("-".into(), |status| status.to_string());
        let _ = write!(
            line,
            "{} {} {} {} {host}{} {status} {} {:.1}ms in={} out={}",
            Time::from(self.time),
            self.client.ip(),
            self.protocol,
            word(self.method.as_str()),
            self.path,
            self.ended,
            ms(self.duration),
            self.bytes_in,
            self.bytes_out,
        );
        let by = self.side.map_or("shared", Side::label);
        let _ = match &self.backend {
            Some(backend) => write!(line, " {by}/{}", word(backend)),
            None => write!(line, " edge"),
        };
        let mut also = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = write!(line, " {name}={value}");
            }
        };
        also("upstream", self.upstream.map(|time| format!("{:.1}ms", ms(time))));
        also("connect", self.connect.map(|time| format!("{:.1}ms", ms(time))));
        also("replays", (self.replays > 0).then(|| self.replays.to_string()));
        also("parked", (!self.parked.is_zero()).then(|| format!("{:.0}ms", ms(self.parked))));
        also("zone", self.zone.as_deref().map(|zone| word(zone).into_owned()));
        also("delayed", (!self.delayed.is_zero()).then(|| format!("{:.0}ms", ms(self.delayed))));
        also("frames", self.session.map(|session| format!("{}/{}", session.frames_in, session.frames_out)));
        also("close", self.session.and_then(|session| session.close_code).map(|code| code.to_string()));
        also("route", self.route.as_deref().map(|route| word(route).into_owned()));
        also("request", Some(self.request.to_string()));
        line
    }
}

/// The same of a connection that was passed on: fields have the names they have there.
#[derive(Serialize)]
struct PassedRow<'a> {
    time: Time,
    client: SocketAddr,
    protocol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    bytes_in: u64,
    bytes_out: u64,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<SocketAddr>,
    ended: &'a str,
}

impl PassedRecord {
    fn json(&self, to: &mut Vec<u8>) {
        let host = self.name.as_deref().map(visible);
        let row = PassedRow {
            time: self.time.into(),
            client: self.client,
            protocol: Protocol::Passed.label(),
            host: host.as_deref(),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            duration_ms: ms(self.duration),
            connect_ms: self.connect.map(ms),
            backend: self.to,
            ended: self.ended.label(),
        };
        if serde_json::to_writer(&mut *to, &row).is_ok() {
            to.push(b'\n');
        }
    }

    fn human(&self, to: &mut Vec<u8>) {
        use std::fmt::Write as _;
        let mut line = String::with_capacity(160);
        let name = self.name.as_deref().map_or("-".into(), word);
        let (client, protocol, ended) = (self.client.ip(), Protocol::Passed, self.ended);
        let (time, duration) = (Time::from(self.time), ms(self.duration));
        let (bytes_in, bytes_out) = (self.bytes_in, self.bytes_out);
        // Writing to a text never fails.
        let _ = write!(line, "{time} {client} {protocol} {name} {ended} {duration:.1}ms in={bytes_in} out={bytes_out}");
        let _ = match self.to {
            Some(service) => write!(line, " to {service}"),
            None => write!(line, " to nobody"),
        };
        if let Some(connect) = self.connect {
            let _ = write!(line, " connect={:.1}ms", ms(connect));
        }
        to.extend_from_slice(line.as_bytes());
        to.push(b'\n');
    }
}

impl Record {
    fn json(&self, to: &mut Vec<u8>) {
        match self {
            Self::Request(record) => record.json(to),
            Self::Passed(record) => record.json(to),
        }
    }

    fn human(&self, to: &mut Vec<u8>) {
        match self {
            Self::Request(record) => record.human(to),
            Self::Passed(record) => record.human(to),
        }
    }
}

/// Milliseconds, to the microsecond.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

#[cfg(test)]
mod tests;
