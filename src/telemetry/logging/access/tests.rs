use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use failover::Side;
use http::Method;
use prometheus::IntCounter;
use serde_json::Value;

use super::{AccessLog, AccessRecord, PassedRecord, Protocol, SessionTally};
use crate::telemetry::logging::{Ended, RequestId, SafePath};

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn record() -> AccessRecord {
    AccessRecord {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_045),
        request: RequestId::new(255),
        client: "203.0.113.9:50000".parse().unwrap(),
        protocol: Protocol::WebSocket,
        method: Method::GET,
        host: Some("edge.example.org".into()),
        path: SafePath::new("/xuc/api/2.0/cti?token=eyJhbGci.eyJs.c2ln"),
        status: Some(101),
        bytes_in: 12,
        bytes_out: 34,
        duration: Duration::from_micros(65_432_100),
        connect: Some(Duration::from_micros(800)),
        upstream: Some(Duration::from_millis(3)),
        side: Some(Side::Main),
        backend: Some("10.0.0.21".into()),
        route: Some("/xuc/api/2.0/cti".into()),
        replays: 1,
        parked: Duration::from_millis(250),
        zone: Some("auth".into()),
        delayed: Duration::from_millis(66),
        ended: Ended::Switched,
        session: Some(SessionTally { frames_in: 5, frames_out: 6, close_code: Some(1012) }),
    }
}

fn written(record: AccessRecord, human: bool) -> String {
    put(human, |log| log.put(|| record))
}

fn put(human: bool, put: impl FnOnce(&AccessLog)) -> String {
    let out = Memory::default();
    let log = AccessLog::to(out.clone(), human, IntCounter::new("d", "d").unwrap()).unwrap();
    put(&log);
    log.flush();
    let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    text.trim_end().to_owned()
}

#[test]
fn a_person_reads_who_asked_what_and_what_came_of_it() {
    assert_eq!(
        written(record(), true),
        "2023-11-14T22:13:20.045Z 203.0.113.9 ws GET edge.example.org/xuc/api/2.0/cti?token=… 101 switched 65432.1ms \
         in=12 out=34 main/10.0.0.21 upstream=3.0ms connect=0.8ms replays=1 parked=250ms zone=auth \
         delayed=66ms frames=5/6 close=1012 route=/xuc/api/2.0/cti request=000000000000000000000000000000ff"
    );
}

#[test]
fn a_program_reads_the_same_as_one_object() {
    let row: Value = serde_json::from_str(&written(record(), false)).unwrap();
    assert_eq!((&row["time"], &row["ended"]), (&"2023-11-14T22:13:20.045Z".into(), &"switched".into()));
    assert_eq!((&row["side"], &row["session"]["close_code"]), (&"main".into(), &1012.into()));
    assert_eq!((&row["duration_ms"], &row["parked_ms"]), (&65_432.1.into(), &250.0.into()));
    assert_eq!((&row["zone"], &row["delayed_ms"]), (&"auth".into(), &66.0.into()));
    let bare = AccessRecord { host: None, session: None, connect: None, status: None, zone: None, ..record() };
    let row: Value = serde_json::from_str(&written(bare, false)).unwrap();
    assert!(row.get("host").is_none() && row.get("session").is_none() && row.get("status").is_none());
    assert!(row.get("zone").is_none());
}

#[test]
fn a_hostile_client_writes_no_line_of_its_own() {
    for human in [true, false] {
        let hostile = AccessRecord {
            host: Some("x\r\n2026-01-01T00:00:00.000Z 10.0.0.1 h1 GET y/z 200".into()),
            path: SafePath::new("/\u{1b}[2J\n?\u{202e}=1"),
            method: Method::from_bytes(b"SN'|EAKY").unwrap(),
            ..record()
        };
        let line = written(hostile, human);
        assert!(!line.contains(['\r', '\u{1b}', '\u{202e}']), "{line}");
    }
}

#[test]
fn no_access_log_takes_no_line() {
    let log = crate::config::Log { format: crate::config::LogFormat::Json, level: "info".into(), access: false };
    let log = AccessLog::start(&log, IntCounter::new("d", "d").unwrap()).unwrap();
    log.put(|| unreachable!("nobody reads it"));
    log.flush();
}

#[test]
fn a_connection_that_was_passed_on_has_its_line_too() {
    let record = |to: Option<&str>| PassedRecord {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_045),
        client: "203.0.113.9:50000".parse().unwrap(),
        name: to.map(|_| "turn.example.org".into()),
        to: to.map(|to| to.parse().unwrap()),
        bytes_in: 12,
        bytes_out: 34,
        duration: Duration::from_micros(65_432_100),
        connect: to.map(|_| Duration::from_micros(800)),
        ended: if to.is_some() { Ended::Complete } else { Ended::ConnectFailed },
    };
    let line = |human, to| put(human, |log| log.put_passed(|| record(to)));
    assert_eq!(
        line(true, Some("10.0.0.9:5349")),
        "2023-11-14T22:13:20.045Z 203.0.113.9 tls turn.example.org complete 65432.1ms in=12 out=34 to 10.0.0.9:5349 \
         connect=0.8ms"
    );
    assert_eq!(
        line(true, None),
        "2023-11-14T22:13:20.045Z 203.0.113.9 tls - connect_failed 65432.1ms in=12 out=34 to nobody"
    );
    let row: Value = serde_json::from_str(&line(false, Some("10.0.0.9:5349"))).unwrap();
    assert_eq!((&row["host"], &row["protocol"]), (&"turn.example.org".into(), &"tls".into()));
    assert_eq!((&row["backend"], &row["ended"]), (&"10.0.0.9:5349".into(), &"complete".into()));
    assert_eq!((&row["bytes_in"], &row["connect_ms"]), (&12.into(), &0.8.into()));
    let row: Value = serde_json::from_str(&line(false, None)).unwrap();
    assert!(row.get("host").is_none() && row.get("backend").is_none());
}
