//! A site of real watchdogs on one machine: their services are files, their fence is the stop.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use failover::Side;
use failover::lease::Timing;
use protocol::identity::Keyring;
use protocol::issue::{Authority, Validity};
use protocol::who::Who;
use protocol::wire::{NodeReport, Role};
use serde_json::Value;
use tempfile::TempDir;

use crate::witness::Witness;

/// A lease of the usual length, a fence as slow as the slowest stop.
pub const TIMING: Timing =
    Timing { witness_out: Duration::from_secs(4), witness_restart: Duration::from_secs(3), ..Timing::DEFAULT };

/// Everything must come about within this; it is no measurement.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Site {
    pub dir: TempDir,
    authority: Authority,
    pub witness: Witness,
    pub nodes: Vec<Node>,
}

/// A watchdog and what it watches over.
pub struct Node {
    pub name: String,
    dir: PathBuf,
    process: Option<Child>,
}

fn free_address() -> SocketAddr {
    // Below the range of outgoing connections, or one of those may take it meanwhile.
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let begin = 20_000 + u16::try_from(std::process::id() % 400).unwrap() * 30;
    loop {
        let port = begin + NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 3000;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().unwrap();
        }
    }
}

impl Site {
    /// Main, Standby, a CC of each, and the witness; nothing runs but the witness.
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(&dir.path().join("ca"), "test").unwrap();
        let edge = dir.path().join("edge");
        authority.issue(&Who::edge("edge"), &edge, Validity::days(90)).unwrap();
        let witness = Witness::start(Arc::new(Keyring::open(&edge).unwrap()), TIMING).await;
        let mut site = Self { dir, authority, witness, nodes: Vec::new() };
        let [main, standby] = [free_address(), free_address()];
        site.xivo(Side::Main, main, standby);
        site.xivo(Side::Standby, standby, main);
        site.cc(Side::Main, main);
        site.cc(Side::Standby, standby);
        site
    }

    fn node(&mut self, who: &Who, keys: &str) {
        let dir = self.dir.path().join(who.name());
        fs::create_dir_all(dir.join("state")).unwrap();
        self.authority.issue(who, &dir.join("identity"), Validity::days(90)).unwrap();
        let d = dir.display();
        // A service is a file; `hang`, `broken` and `lie` are the ways it can fail to start. With `talks` it leaves a daemon
        // behind that says something for as long as its directory is there.
        let start = format!(
            "cd {d}; echo start >> log; test ! -e hang || sleep 600; test ! -e broken || {{ cat broken; exit 3; }}; \
             test ! -e talks || {{ while sleep 0.05 && test -d {d}; do echo word && echo >> said; done & }}; \
             test -e lie || touch runs"
        );
        let text = format!(
            "{keys}\nname: {name}\nidentity: {d}/identity\nstate: {d}/state\ncontrol: {d}/watchdog.sock\nmetrics: off\n\
             services:\n  start: {{ command: [sh, -c, '{start}'], time_limit: 2s }}\n  \
             stop: {{ command: [sh, -c, 'cd {d}; echo stop >> log; rm -f runs'], time_limit: 500ms }}\n  \
             check: {{ command: [test, -e, {d}/runs], time_limit: 300ms, interval: 300ms }}\n  \
             by_hand: {{ command: [test, -e, {d}/by-hand], time_limit: 300ms }}\n  recover: 1s\n  verify_limit: 1s\n",
            name = who.name(),
        );
        fs::write(dir.join("watchdog.yaml"), text).unwrap();
        self.nodes.push(Node { name: who.name().to_owned(), dir, process: None });
    }

    fn xivo(&mut self, side: Side, listen: SocketAddr, peer: SocketAddr) {
        let witness = self.witness.address;
        let keys = format!(
            "role: xivo\nside: {side}\nlisten: {listen}\npeer: {peer}\nwitness: {witness}\nhold_down: 1s\nhold_down_limit: 1s\n\
             accept_requests: true\nfence: none\nanchors: [127.0.0.1]\nlegacy_failover: /nonexistent\nsip: {{ address: 127.0.0.1, ports: [5060], check: off }}\n\
             timing: {{ witness_out: 4s, witness_restart: 3s }}"
        );
        self.node(&Who::of_side(Role::Xivo, side, &format!("{side}-xivo")), &keys);
    }

    fn cc(&mut self, side: Side, xivo: SocketAddr) {
        let keys = format!("role: cc\nside: {side}\nxivo: {xivo}\nedge: {}", self.witness.address);
        self.node(&Who::of_side(Role::Cc, side, &format!("{side}-cc")), &keys);
    }

    /// Makes a node's certificate anew, and tells nobody.
    pub fn renew(&self, name: &str) {
        self.authority.renew(&self.dir.path().join(name).join("identity"), |_| Validity::days(80)).unwrap();
    }

    /// Adds a CC of a XiVO up to 2025.10 without a watchdog. Its XiVO's status is the exit code in the file `xivo`; `instance` counts the
    /// restarts of its xuc, and `knows` says of which activation of its XiVO that xuc knows.
    pub fn old_cc(&mut self, side: Side) -> &mut Node {
        let name = format!("{side}-old-cc");
        let who = Who::of_side(Role::Cc, side, &name);
        let dir = self.dir.path().join(&name);
        let d = dir.display().to_string();
        let status = format!("{{ command: [sh, -c, 'exit $(cat {d}/xivo)'], time_limit: 10s, interval: 50ms }}");
        let keys = format!("role: cc\nside: {side}\nxivo: {{ status: {status} }}\nedge: {}", self.witness.address);
        self.node(&who, &keys);
        let node = self.get(&name);
        let text = fs::read_to_string(node.path("watchdog.yaml")).unwrap();
        let (head, _) = text.split_once("services:").unwrap();
        let restart = "n=$(cat instance); cp activation knows; echo $((n + 1)) > instance; echo restart >> log";
        let services = format!(
            "services:\n  restart: {{ command: [sh, -c, 'cd {d}; {restart}'], time_limit: 20s }}\n  \
             instance: {{ command: [cat, {d}/instance], time_limit: 10s }}\n  \
             check: {{ command: [test, '!', -e, {d}/not-ready], time_limit: 10s, interval: 300ms }}\n  verify_limit: 1m\n"
        );
        fs::write(node.path("watchdog.yaml"), format!("{head}{services}")).unwrap();
        for (file, word) in [("xivo", "1"), ("activation", "0"), ("knows", "0"), ("instance", "0")] {
            node.write(file, word);
        }
        node
    }

    pub fn get(&mut self, name: &str) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.name == name).unwrap()
    }

    pub fn start_all(&mut self) {
        for node in &mut self.nodes {
            node.start();
        }
    }

    /// Which nodes' services run.
    pub fn running(&self) -> Vec<&str> {
        self.nodes.iter().filter(|node| node.runs()).map(|node| node.name.as_str()).collect()
    }

    /// Waits until exactly these nodes' services run and their watchdogs call them active, and the others are inactive.
    /// At no moment on the way do both XiVO nodes' services run.
    pub async fn settles_on(&self, names: &[&str]) {
        let settled = || {
            self.nodes.iter().all(|node| {
                let expected = if names.contains(&node.name.as_str()) { "active" } else { "inactive" };
                node.process.is_none() || node.status()["status"] == expected
            }) && self.running() == names
        };
        self.until(&format!("{names:?} are active"), settled).await;
    }

    /// Waits for something, and sees to it that never both XiVO nodes' services run.
    pub async fn until(&self, what: &str, mut wanted: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted() {
            self.one_at_most();
            assert!(Instant::now() < deadline, "{what}: never, but {:?}: {}", self.running(), self.story());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.one_at_most();
    }

    /// Waits until the witness has heard this from a node. What its command line and its services show may be ahead of it: a
    /// report leaves the node after the act, by another connection.
    pub async fn until_told(&self, node: &str, what: &str, wanted: impl Fn(&NodeReport) -> bool) {
        let told = || self.witness.report(node).is_some_and(|report| wanted(&report));
        self.until(&format!("the witness is told by {node}: {what}"), told).await;
    }

    fn one_at_most(&self) {
        let running = self.running().into_iter().filter(|name| name.ends_with("xivo")).count();
        assert!(running < 2, "two nodes serve: {}", self.story());
    }

    fn story(&self) -> String {
        let tell = |node: &Node| {
            let log = fs::read_to_string(node.dir.join("daemon.log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(40).collect();
            let lines: Vec<_> = lines.into_iter().rev().collect();
            format!("\n== {}\n{}\n{}", node.name, node.status(), lines.join("\n"))
        };
        self.nodes.iter().map(tell).collect()
    }
}

impl Node {
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Starts its watchdog with much to say, into a pipe that is full and that nobody reads.
    pub fn start_unread(&mut self) -> std::io::PipeReader {
        let (unread, mut writer) = std::io::pipe().unwrap();
        rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
        while writer.write(b"\n").is_ok() {}
        rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::empty()).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_bascule-watchdog"))
            .args(["run", "--config"])
            .arg(self.path("watchdog.yaml"))
            .env("BASCULE_LOG", "trace")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(writer)
            .spawn()
            .unwrap();
        self.process = Some(process);
        unread
    }

    /// Changes its configuration, for its next start.
    pub fn configure(&self, from: &str, to: &str) {
        let path = self.path("watchdog.yaml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    pub fn start(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("daemon.log")).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_bascule-watchdog"))
            .args(["run", "--config"])
            .arg(self.path("watchdog.yaml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// Whether the services run: seen from outside.
    pub fn runs(&self) -> bool {
        self.path("runs").exists()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = self.process.as_ref().unwrap().id();
        let pid = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends the watchdog by a signal, and waits for its end.
    pub fn end(&mut self, signal: rustix::process::Signal) {
        self.signal(signal);
        self.process.take().unwrap().wait().unwrap();
    }

    /// The host dies: watchdog and services.
    pub fn die(&mut self) {
        self.end(rustix::process::Signal::KILL);
        let _ = fs::remove_file(self.path("runs"));
        for lost in ["handover.json", "instance.json"] {
            let _ = fs::remove_file(self.path(lost));
        }
    }

    pub fn verb(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_bascule-watchdog"))
            .args(arguments)
            .arg("--config")
            .arg(self.path("watchdog.yaml"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.code().unwrap_or(-1), text)
    }

    /// Its status; null if it does not tell.
    pub fn status(&self) -> Value {
        let ask = || {
            let mut socket = std::os::unix::net::UnixStream::connect(self.path("watchdog.sock"))?;
            socket.write_all(b"GET /status HTTP/1.1\r\nHost: watchdog\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = ask().unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or(Value::Null)
    }

    pub fn touch(&self, name: &str) {
        fs::write(self.path(name), "").unwrap();
    }

    /// Writes a file whole: a command that reads it sees the old word or the new one.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// How often the start command was run.
    pub fn starts(&self) -> usize {
        read(&self.path("log")).lines().filter(|line| *line == "start").count()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
