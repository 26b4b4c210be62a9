//! A site on loopback: two sides and the Edge in front, each a process of its own, all in one temporary directory.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use failover::Side;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The name all tests browse.
pub const FQDN: &str = "edge.example.org";
/// How long anything may take that has no bound of its own: generous, for busy machines.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `done` holds.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < limit, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process that is killed when dropped.
pub struct Process(Child);

impl Process {
    pub fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().expect("the program starts"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends at once, as a crash does.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits for its own end; the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let limit = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < limit, "the process does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One side: a process, and where it can be found again after a restart.
pub struct SideProcess {
    side: Side,
    process: Option<Process>,
    pub address: SocketAddr,
    pub sip: SocketAddr,
    pub ledger: PathBuf,
}

impl SideProcess {
    fn new(side: Side, directory: &Path) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let ledger = directory.join(format!("{side}.ledger"));
        let mut new = Self { side, process: None, address: any, sip: any, ledger };
        new.start();
        new
    }

    /// Starts it, where it was before if it was.
    pub fn start(&mut self) {
        let mut command = bascule();
        command.args(["demo-side", "--side", self.side.name()]);
        command.args(["--listen", &self.address.to_string(), "--sip", &self.sip.to_string()]);
        command.arg("--ledger").arg(&self.ledger).stdout(Stdio::piped()).stdin(Stdio::piped());
        let mut process = Process::spawn(&mut command);
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        // listening on ADDR sip ADDR
        let words: Vec<&str> = line.split_whitespace().collect();
        self.address = words[2].parse().unwrap();
        self.sip = words[4].parse().unwrap();
        self.process = Some(process);
    }

    pub fn kill(&mut self) {
        self.process = None;
    }

    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    /// Unique numbers this side has taken, in order.
    pub fn ledger(&self) -> Vec<String> {
        fs::read_to_string(&self.ledger).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

/// The whole site.
pub struct Site {
    pub main: SideProcess,
    pub standby: SideProcess,
    pub edge: Option<Process>,
    pub https: SocketAddr,
    pub http: SocketAddr,
    pub metrics: SocketAddr,
    /// DER of the certificate the Edge serves: trust nothing else.
    pub certificate: Vec<u8>,
    extra: String,
    directory: TempDir,
}

impl Site {
    /// A site that serves, with the default configuration.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// A site that serves, with more lines in its configuration.
    pub fn start_with(extra: &str) -> Self {
        let mut site = Self::prepare(extra);
        site.start_edge();
        site
    }

    /// Both sides run, the Edge does not yet.
    pub fn prepare(extra: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let main = SideProcess::new(Side::Main, directory.path());
        let standby = SideProcess::new(Side::Standby, directory.path());
        let [https, http, metrics] = free_ports();
        let mut site = Self {
            main,
            standby,
            edge: None,
            https,
            http,
            metrics,
            certificate: Vec::new(),
            extra: extra.to_owned(),
            directory,
        };
        site.renew_certificate();
        site.write_config(&site.config());
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a new certificate and key where the configuration points.
    pub fn renew_certificate(&mut self) {
        let made = rcgen::generate_simple_self_signed([FQDN.to_owned()]).unwrap();
        fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        fs::write(self.path("chain.pem"), made.cert.pem()).unwrap();
        self.certificate = made.cert.der().to_vec();
    }

    /// The configuration as it is written at the start.
    pub fn config(&self) -> String {
        let Self { https, http, metrics, main, standby, .. } = self;
        let at = |name: &str| self.path(name).display().to_string();
        let (chain, key, admin, state) = (at("chain.pem"), at("key.pem"), at("admin.sock"), at("state"));
        format!(
            "preset: xivo\nfqdn: {FQDN}\ncertificate: {{ chain: {chain}, key: {key} }}\n\
             listen: {{ https: ['{https}'], http: ['{http}'] }}\n\
             sides:\n  main: {{ cc: 'http://{}', xivo: 'http://{}' }}\n  standby: {{ cc: 'http://{}', xivo: 'http://{}' }}\n\
             services:\n  xivo: {{ checks: [ {{ http: {{ path: /version }} }} ] }}\n\
             admin: {admin}\nmetrics: '{metrics}'\nstate: {state}\n{}\n",
            main.address, main.address, standby.address, standby.address, self.extra
        )
    }

    pub fn write_config(&self, text: &str) {
        fs::write(self.path("edge.yaml"), text).unwrap();
    }

    /// Starts the Edge and waits until it is ready.
    pub fn start_edge(&mut self) {
        self.spawn_edge();
        wait_until("the Edge is ready", || self.ask("GET", "/readyz", "").is_some_and(|(status, _)| status == 200));
    }

    /// Starts the Edge.
    pub fn spawn_edge(&mut self) {
        let log = |name: &str| fs::OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        let mut command = bascule();
        command.arg("run").arg("--config").arg(self.path("edge.yaml"));
        command.stdout(log("access.log")).stderr(log("edge.log"));
        self.edge = Some(Process::spawn(&mut command));
    }

    pub fn stop_edge(&mut self) {
        self.edge = None;
    }

    pub fn side(&mut self, side: Side) -> &mut SideProcess {
        match side {
            Side::Main => &mut self.main,
            Side::Standby => &mut self.standby,
        }
    }

    /// Runs an operator's verb; its exit code and output.
    pub fn verb(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = bascule().args(words).arg("--config").arg(self.path("edge.yaml")).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    }

    /// Asks the admin door; none while there is none.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut socket = UnixStream::connect(self.path("admin.sock")).ok()?;
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).ok()?;
        socket.write_all(body.as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    pub fn status(&self) -> Value {
        let (status, body) = self.ask("GET", "/v1/status", "").expect("the admin door answers");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    pub fn explain(&self) -> Value {
        serde_json::from_str(&self.ask("GET", "/v1/explain", "").unwrap().1).unwrap()
    }

    pub fn report(&self, number: u64) -> Value {
        serde_json::from_str(&self.ask("GET", &format!("/v1/reports/{number}"), "").unwrap().1).unwrap()
    }

    pub fn live(&self) -> (String, u64) {
        let status = self.status();
        (status["live"].as_str().unwrap().to_owned(), status["epoch"].as_u64().unwrap())
    }

    /// Waits until `side` is live.
    #[track_caller]
    pub fn wait_live(&self, side: Side) {
        wait_until(&format!("{side} is live"), || self.live().0 == side.name());
    }

    /// Waits until a side's health is this word of the API.
    #[track_caller]
    pub fn wait_health(&self, side: Side, health: &str) {
        wait_until(&format!("{side} is {health}"), || self.status()["sides"][side.name()]["health"] == health);
    }

    /// The value of one metric line, labels included; 0 if it is not there.
    pub fn metric(&self, line: &str) -> f64 {
        let text = self.metrics_text();
        let found = text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok());
        found.unwrap_or(0.0)
    }

    pub fn metrics_text(&self) -> String {
        let mut socket = std::net::TcpStream::connect(self.metrics).unwrap();
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        text.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Everything the Edge has logged on standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("edge.log")).unwrap_or_default()
    }
}

/// The program under test.
pub fn bascule() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bascule"));
    command.stdin(Stdio::null());
    command
}

/// Three ports nobody listens on.
fn free_ports() -> [SocketAddr; 3] {
    let held: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    std::array::from_fn(|index| held[index].local_addr().unwrap())
}
