//! What stands beside the two sides: the shared SIP proxy, the machine they share, and what it and they tell.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::site::{PATIENCE, Process, Site, demo, wait_until};

/// What a measurement found too late, in words.
pub type InTime = Result<(), String>;

/// As often as a measurement is taken until it holds. A machine shared with other work is late once in a while, and all
/// that is measured on it: an Edge that is too slow is late each time. What is not a matter of time is asserted in each.
const ATTEMPTS: usize = 3;

/// Takes a measurement of a site of its own until it is in time, a few times at most.
pub async fn measure(mut attempt: impl AsyncFnMut() -> InTime) {
    for number in 1..=ATTEMPTS {
        match attempt().await {
            Ok(()) => return,
            Err(late) if number < ATTEMPTS => println!("attempt {number}: {late}"),
            Err(late) => panic!("late each of {ATTEMPTS} times: {late}"),
        }
    }
}

/// The same, for what blocks.
pub fn measure_blocking(mut attempt: impl FnMut() -> InTime) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(measure(async || attempt()));
}

/// Says by how much something is late, if it is.
pub fn in_time(what: &str, took: Duration, limit: Duration) -> InTime {
    if took <= limit { Ok(()) } else { Err(format!("{what}: {took:?}, more than {limit:?}")) }
}

/// What blocks, such as an operator's verb, without holding up the clients.
pub fn blocking<T>(act: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(act)
}

/// A service both sides share.
pub struct Shared {
    pub address: SocketAddr,
    _process: Process,
}

impl Shared {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("said");
        let said = fs::File::create(&path).unwrap();
        let mut command = Command::new(demo());
        command.args(["side", "--side", "shared", "--listen", "127.0.0.1:0", "--sip", "127.0.0.1:0"]);
        let process = Process::spawn(command.stdout(said).stdin(Stdio::null()));
        let line = || {
            let mut line = String::new();
            BufReader::new(fs::File::open(&path).unwrap()).read_line(&mut line).unwrap();
            line
        };
        wait_until("the shared service listens", || line().ends_with('\n'));
        // listening on ADDR sip ADDR
        let address = line().split_whitespace().nth(2).unwrap().parse().unwrap();
        Self { address, _process: process }
    }

    /// The lines of the Edge's configuration about it: as SIP proxy, in front of one media server as well.
    pub fn config(&self) -> String {
        format!("shared: {{ sip: 'http://{}', mds: {{ mds1: 127.0.0.1 }} }}\n", self.address)
    }
}

/// WebSockets a side holds open, by its own count.
pub fn open_at(side: SocketAddr) -> u64 {
    let stats: Value = serde_json::from_str(&said_by(side, "GET /xuc/lab/stats")).unwrap();
    stats["websockets"].as_u64().unwrap()
}

/// Has a side behave otherwise from now on: `ok`, `mute` or `500`.
pub fn behave(side: SocketAddr, mode: &str) {
    assert_eq!(said_by(side, &format!("POST /xuc/lab/mode?mode={mode}")).trim(), mode);
}

/// Asks a side past the Edge.
fn said_by(side: SocketAddr, what: &str) -> String {
    let mut socket = TcpStream::connect(side).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("{what} HTTP/1.1\r\nHost: side\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Resident memory of the Edge in MiB.
pub fn memory(site: &Site) -> f64 {
    let pid = site.edge.as_ref().unwrap().pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let line = line.unwrap_or_else(|| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let code = stat.split_whitespace().last().unwrap();
        panic!("the Edge has ended, wait status {code}; its log:\n{}", site.log())
    });
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// Descriptors the Edge has open.
pub fn descriptors(site: &Site) -> usize {
    fs::read_dir(format!("/proc/{}/fd", site.edge.as_ref().unwrap().pid())).unwrap().count()
}

/// Bytes that wait unread in the sockets of whoever listens at `address`, the largest first.
pub fn unread_at(address: SocketAddr) -> Vec<usize> {
    let hex = |text: &str| usize::from_str_radix(text, 16).unwrap();
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let established = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let here = hex(words[1].split_once(':').unwrap().1) == usize::from(address.port());
        (here && words[3] == "01").then(|| hex(words[4].split_once(':').unwrap().1))
    });
    let mut unread: Vec<usize> = established.collect();
    unread.sort_unstable_by(|a, b| b.cmp(a));
    unread
}

/// When switch `number` was decided, by the Edge's own report.
pub fn decided(site: &Site, number: u64) -> SystemTime {
    let at = site.report(number)["phases"]["decision"]["at"].as_str().unwrap().parse::<bascule::admin::api::Time>();
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at.unwrap().unix_ms()).unwrap())
}

/// Lines of the access log about WebSockets.
pub fn session_lines(site: &Site) -> Vec<Value> {
    let text = site.access_log();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["protocol"] == "ws").collect()
}
