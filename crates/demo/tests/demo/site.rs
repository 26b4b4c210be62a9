use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use super::process::{PROGRAM, refused, wait};

/// A demo that runs, in a place of its own.
struct Demo {
    child: Child,
    stdin: ChildStdin,
    out: BufReader<ChildStdout>,
    welcome: Value,
    runtime: TempDir,
}

impl Demo {
    fn start() -> Self {
        let runtime = tempfile::tempdir().unwrap();
        let port = free_port().to_string();
        let mut child = command(&runtime, &["--json", "--port", &port])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, out) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut demo = Self { child, stdin, out, welcome: Value::Null, runtime };
        demo.welcome = demo.line();
        assert_eq!(demo.welcome["url"], format!("https://localhost:{port}/ucassistant"));
        demo
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"))
    }

    fn path(&self, key: &str) -> PathBuf {
        self.welcome[key].as_str().unwrap().into()
    }

    /// What the Edge answers to a verb.
    fn ask(&self, verb: &[&str]) -> Value {
        let socket = self.path("socket");
        let output = Command::new(edge())
            .args(verb)
            .args(["--json", "--socket"])
            .arg(socket)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    fn tell(&self, order: &str) -> Output {
        run(&self.runtime, &["--do", order])
    }

    fn wait_for(&self, what: &str, until: impl Fn(&Value) -> bool) {
        wait(what, || until(&self.ask(&["status"])));
    }

    /// Where its processes listen, as its configuration has it.
    fn addresses(&self) -> Vec<SocketAddr> {
        let config: Value = serde_yaml::from_str(&std::fs::read_to_string(self.path("config")).unwrap()).unwrap();
        let side = config["services"]["cc"]["port"].as_u64().unwrap();
        let sip = config["shared"]["sip"].as_str().unwrap().strip_prefix("http://").unwrap();
        let main = config["sides"]["main"]["cc"].as_str().unwrap();
        let standby = config["sides"]["standby"]["cc"].as_str().unwrap();
        let edge = config["listen"]["https"].as_str().unwrap();
        [edge.to_owned(), sip.to_owned(), format!("{main}:{side}"), format!("{standby}:{side}")]
            .map(|address| address.parse().unwrap())
            .into()
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Not killed: its directory goes with it.
        if let Ok(None) = self.child.try_wait() {
            self.signal("-TERM");
        }
        let _ = self.child.wait();
    }
}

fn command(runtime: &TempDir, line: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(line).env("XDG_RUNTIME_DIR", runtime.path());
    command
}

fn run(runtime: &TempDir, line: &[&str]) -> Output {
    command(runtime, line).stdin(Stdio::null()).output().unwrap()
}

/// The Edge, where the demo looks for it.
fn edge() -> PathBuf {
    let path = Path::new(PROGRAM).with_file_name("bascule");
    assert!(path.is_file(), "{}: build it with `cargo test --locked --workspace --no-run`", path.display());
    path
}

/// A port nobody listens on, below those the kernel hands out by itself, which may be an outgoing connection's before the demo
/// has it, and below those the demo chooses.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 50).unwrap() * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 200;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn listens(address: &SocketAddr) -> bool {
    std::net::TcpStream::connect(address).is_ok()
}

#[test]
fn the_whole_story_ends_well_e1_e2_e3_e6() {
    let runtime = tempfile::tempdir().unwrap();
    let output = run(&runtime, &["--smoke", "--json"]);
    let told = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{said}");
    let steps: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    let story =
        ["start", "page", "sockets", "kill", "close", "reconnect", "return", "freeze", "resume", "end"].as_slice();
    assert_eq!(names, story);
    assert!(steps.iter().all(|step| step["ok"] == true && step["ms"].is_u64()), "{told}");
}

#[test]
fn each_thing_to_try_works_from_another_terminal_and_typed() {
    let mut demo = Demo::start();
    let main_works = |status: &Value| status["sides"]["main"]["health"] == "working";

    let output = demo.tell("kill-main");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(demo.line()["order"], "kill-main");
    demo.wait_for("Standby is not live", |status| status["live"] == "standby");

    writeln!(demo.stdin, "start-main").unwrap();
    assert_eq!(demo.line()["ok"], true);
    demo.wait_for("Main does not work again", main_works);
    assert_eq!(demo.ask(&["status"])["live"], "standby");

    demo.ask(&["freeze", "--reason", "demo"]);
    assert!(demo.tell("kill-standby").status.success());
    demo.wait_for("Standby is not dead", |status| status["sides"]["standby"]["health"] == "not_working");
    assert_eq!(demo.ask(&["status"])["live"], "standby");
    demo.ask(&["resume"]);
    demo.wait_for("Main is not live", |status| status["live"] == "main");

    let output = demo.tell("hang-standby");
    assert_eq!(output.status.code(), Some(1), "a dead side cannot hang: {output:?}");
    assert!(demo.tell("hang-main").status.success());
    demo.wait_for("a hanging Main works", |status| !main_works(status));
    assert!(demo.tell("start-main").status.success());
    demo.wait_for("Main does not go on", main_works);
}

#[test]
fn told_to_end_a_demo_leaves_nothing_behind() {
    for end in ["quit", "-TERM", "-INT"] {
        let mut demo = Demo::start();
        let addresses = demo.addresses();
        assert!(addresses.iter().all(listens), "{addresses:?}");
        match end {
            "quit" => assert!(demo.tell("quit").status.success()),
            signal => demo.signal(signal),
        }
        assert!(demo.child.wait().unwrap().success(), "{end}");
        assert!(!demo.path("config").parent().unwrap().exists(), "{end}");
        wait("a process outlived the demo", || !addresses.iter().any(listens));
        assert_eq!(std::fs::read_dir(demo.runtime.path()).unwrap().count(), 0, "{end}");
    }
}

#[test]
fn a_demo_that_is_killed_leaves_no_process_not_even_one_that_hangs_and_no_file() {
    let mut demo = Demo::start();
    let addresses = demo.addresses();
    assert!(demo.tell("hang-standby").status.success());
    demo.signal("-KILL");
    demo.child.wait().unwrap();
    wait("a process outlived the demo", || !addresses.iter().any(listens));
    let directory = demo.path("config").parent().unwrap().to_owned();
    wait("its directory is still there", || !directory.exists());
    wait("its socket is still there", || std::fs::read_dir(demo.runtime.path()).unwrap().count() == 0);
}

#[test]
fn there_is_one_demo_for_a_user_and_orders_without_it_say_so() {
    let demo = Demo::start();
    let second = run(&demo.runtime, &["--port", &free_port().to_string()]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("bascule-demo --do quit"), "{second:?}");
    let runtime = tempfile::tempdir().unwrap();
    let nobody = run(&runtime, &["--do", "kill-main"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no demo of yours runs"), "{nobody:?}");
}

#[test]
fn another_site_s_configuration_is_refused_and_so_is_what_makes_no_sense() {
    for line in [
        ["--config", "/etc/bascule/edge.yaml"].as_slice(),
        &["--do", "kill-main", "--socket", "/run/bascule/admin.sock"],
        &["--do", "dance"],
        &["--smoke", "--do", "quit"],
        &["demo"],
    ] {
        assert_eq!(refused(line).0, Some(2), "{line:?}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let runtime = tempfile::tempdir().unwrap();
    let output = run(&runtime, &["--port", &port]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains(&port) && said.contains("--port"), "{said}");
    assert!(Path::new(runtime.path()).read_dir().unwrap().next().is_none());
}
