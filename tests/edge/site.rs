//! A site on loopback: two sides and the Edge in front, each a process of its own, all in one temporary directory.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use failover::Side;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::turns::Beside;

/// The name all tests browse.
pub const FQDN: &str = "edge.example.org";
/// How long anything may take that has no bound of its own: generous, for busy machines.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `done` holds.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < limit, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The time limits that a client which does not stand still meets on a busy machine, made long where a test does not
/// set them.
fn unhurried(extra: &str) -> String {
    let names = ["client_hello", "handshake", "request_head"].into_iter();
    let long: String = names.filter(|name| !extra.contains(name)).map(|name| format!("{name}: 60s, ")).collect();
    match extra.split_once("limits: {") {
        Some((before, after)) => format!("{before}limits: {{ {long}{after}"),
        None => format!("{extra}\nlimits: {{ {long}}}"),
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
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends at once, as a crash does.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
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
    /// Where it runs.
    pub place: Place,
    /// Chain and key: it serves HTTPS.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Where a process runs.
#[derive(Debug, Clone, Default)]
pub enum Place {
    /// With the tests.
    #[default]
    Here,
    /// In a network namespace of its own.
    Namespace(String),
}

impl Place {
    /// A program that runs in this place: here, or in a network namespace of its own.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Here => command(program),
            Self::Namespace(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name]).arg(program).stdin(Stdio::null());
                command
            }
        }
    }
}

impl SideProcess {
    fn new(side: Side, directory: &Path) -> Self {
        let [address, sip] = free_ports();
        let ledger = directory.join(format!("{side}.ledger"));
        Self { side, process: None, address, sip, ledger, place: Place::Here, tls: None }
    }

    /// Starts it, where it was before if it was.
    pub fn start(&mut self) {
        let mut command = self.place.command(demo());
        command.args(["side", "--side", self.side.label()]);
        command.args(["--listen", &self.address.to_string(), "--sip", &self.sip.to_string()]);
        command.arg("--ledger").arg(&self.ledger).stdout(Stdio::piped()).stdin(Stdio::piped());
        if let Some((chain, key)) = &self.tls {
            command.arg("--cert").arg(chain).arg("--key").arg(key);
        }
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

    /// Asks it directly, past the Edge; the body.
    pub fn ask(&self, method: &str, target: &str) -> String {
        let mut socket = TcpStream::connect(self.address).unwrap();
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: side\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// How many requests it has had since it started; the Edge's probes do not count.
    pub fn requests(&self) -> u64 {
        serde_json::from_str::<Value>(&self.ask("GET", "/xuc/lab/stats")).unwrap()["requests"].as_u64().unwrap()
    }

    /// Makes it behave: `ok`, `mute` or `500`.
    pub fn behave(&self, mode: &str) {
        self.ask("POST", &format!("/xuc/lab/mode?mode={mode}"));
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
    /// Where the Edge runs.
    pub place: Place,
    /// More lines of its configuration.
    pub extra: String,
    directory: TempDir,
    // Last: what the site ran has ended.
    _turn: Beside,
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

    /// A site that serves from Standby, with Main back and well.
    pub fn start_on_standby(extra: &str) -> Self {
        let mut site = Self::start_with(extra);
        site.wait_ready_to_switch();
        site.main.kill();
        site.wait_live(Side::Standby);
        site.main.start();
        site.wait_health(Side::Main, "working");
        site
    }

    /// Both sides run, the Edge does not yet.
    pub fn prepare(extra: &str) -> Self {
        let mut site = Self::plan(&unhurried(extra));
        site.main.start();
        site.standby.start();
        site
    }

    /// Nothing runs yet.
    pub fn plan(extra: &str) -> Self {
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
            place: Place::Here,
            extra: extra.to_owned(),
            directory,
            _turn: Beside::others(),
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
        // Most tests renew certificates by a signal, and count what it did.
        let watch = if self.extra.contains("tls: {") { "" } else { "tls: { watch: false }\n" };
        let scheme = if main.tls.is_some() { "https" } else { "http" };
        format!(
            "preset: xivo\nfqdn: {FQDN}\ncertificate: {{ chain: {chain}, key: {key} }}\n{watch}\
             listen: {{ https: ['{https}'], http: ['{http}'] }}\n\
             sides:\n  main: {{ cc: '{scheme}://{}', xivo: '{scheme}://{}' }}\n  \
             standby: {{ cc: '{scheme}://{}', xivo: '{scheme}://{}' }}\n\
             services:\n  xivo: {{ checks: [ {{ http: {{ path: /version }} }} ] }}\n\
             admin: {admin}\nmetrics: '{metrics}'\nstate: {state}\n{}\n",
            main.address, main.address, standby.address, standby.address, self.extra
        )
    }

    /// Writes the configuration anew after something of it has changed.
    pub fn rewrite_config(&self) {
        self.write_config(&self.config());
    }

    /// The Edge, which runs.
    pub fn edge(&mut self) -> &mut Process {
        self.edge.as_mut().expect("the Edge was started")
    }

    /// The journal, newest first.
    pub fn history(&self) -> Vec<Value> {
        let (status, body) = self.ask("GET", "/v1/history?limit=1000", "").expect("the admin endpoint answers");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The journal as it is on the disk.
    pub fn journal(&self) -> String {
        fs::read_to_string(self.path("state").join("journal.jsonl")).unwrap_or_default()
    }

    /// Whether the journal has such an event.
    pub fn noted(&self, event: &str) -> bool {
        self.history().iter().any(|entry| entry["event"] == event)
    }

    /// Carries out an operator's verb that must succeed; what it printed.
    #[track_caller]
    pub fn order(&self, words: &[&str]) -> String {
        let (code, text) = self.verb(words);
        assert_eq!(code, Some(0), "bascule {words:?}: {text}");
        text
    }

    /// Everything the Edge has written: logs, journal, reports, state.
    pub fn written(&self) -> String {
        fn collect(directory: &Path, text: &mut String) {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => collect(&entry.path(), text),
                    false => text.push_str(&String::from_utf8_lossy(&fs::read(entry.path()).unwrap_or_default())),
                }
            }
        }
        let mut text = self.log() + &self.access_log();
        collect(&self.path("state"), &mut text);
        text
    }

    /// One line for each request so far. A line is written a little later than what it tells of happens, and the last
    /// one is left out while it is on its way.
    pub fn access_log(&self) -> String {
        let mut text = fs::read_to_string(self.path("access.log")).unwrap_or_default();
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        text
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
        let mut command = self.place.command(BASCULE);
        command.arg("run").arg("--config").arg(self.path("edge.yaml"));
        // Whoever plays systemd binds it.
        command.env("NOTIFY_SOCKET", self.path("notify.sock"));
        command.stdout(log("access.log")).stderr(log("edge.log"));
        self.edge = Some(Process::spawn(&mut command));
    }

    /// Has the Edge load its configuration and certificates anew, and waits until both are at work: they are counted
    /// before.
    #[track_caller]
    pub fn reload_edge(&mut self) {
        let loaded = |site: &Self| site.log().matches("the configuration was loaded anew").count();
        let before = loaded(self);
        self.edge().signal(Signal::HUP);
        wait_until("the configuration is loaded anew", || loaded(self) > before);
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
        let mut command = bascule();
        command.args(words).arg("--config").arg(self.path("edge.yaml"));
        let output = command.env("NOTIFY_SOCKET", self.path("notify.sock")).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    }

    /// Asks the admin endpoint; none while there is none.
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
        let (status, body) = self.ask("GET", "/v1/status", "").expect("the admin endpoint answers");
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
        wait_until(&format!("{side} is live"), || self.live().0 == side.label());
    }

    /// Waits until a side's health is this word of the API.
    #[track_caller]
    pub fn wait_health(&self, side: Side, health: &str) {
        wait_until(&format!("{side} is {health}"), || self.status()["sides"][side.label()]["health"] == health);
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

    /// Waits until both sides are judged and the first look is over: a switch may be made at once.
    #[track_caller]
    pub fn wait_ready_to_switch(&self) {
        let ready = |status: &Value| {
            let works = |side: &str| status["sides"][side]["health"] == "working";
            works("main") && works("standby") && status["next"]["to"].is_string()
        };
        wait_until("both sides work and a switch may be made", || ready(&self.status()));
    }

    /// Everything the Edge has logged on standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("edge.log")).unwrap_or_default()
    }
}

/// The program under test.
const BASCULE: &str = env!("CARGO_BIN_EXE_bascule");

/// Runs the program under test.
pub fn bascule() -> Command {
    command(BASCULE)
}

fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// The program that plays sides: another package's, built beside the one under test. Cargo builds it whenever that
/// package's tests are chosen as well.
pub fn demo() -> PathBuf {
    let path = Path::new(BASCULE).with_file_name("bascule-demo");
    let build = "cargo test --locked --workspace --test edge --test demo --no-run";
    assert!(path.is_file(), "{} plays the sides, and is not there; build it with `{build}`", path.display());
    path
}

/// Ports nobody listens on, below those the kernel hands out by itself: a port may rest unused between two lives of a
/// process without being lost to somebody's outgoing connection.
pub fn free_ports<const COUNT: usize>() -> [SocketAddr; COUNT] {
    const LOWEST: u16 = 20_000;
    const COUNTED: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 97).unwrap() * 120;
    std::array::from_fn(|_| {
        loop {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let address = SocketAddr::from(([127, 0, 0, 1], LOWEST + start.wrapping_add(step) % COUNTED));
            if TcpListener::bind(address).is_ok() {
                return address;
            }
        }
    })
}
