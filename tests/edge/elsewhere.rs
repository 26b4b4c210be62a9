//! Helpers on another machine: the script that asks the Edge over HTTP and keeps a live file there, run by the shell with
//! curl, against an Edge and against whoever else may answer.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use failover::Side;
use rustix::process::Signal;

use crate::follow::Machine;
use crate::site::{Process, Site, free_ports, wait_until};

const KAMAILIO: &str = "kamailio/bascule-follow-kamailio";

fn script(machine: &Machine) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/live/bascule-follow-live");
    let mut command = Command::new("sh");
    command.arg(script).stdin(Stdio::null());
    command.env("BASCULE_EDGES", machine.path("edges")).env("BASCULE_LIVE", machine.path("live"));
    command
}

/// Seconds for somebody who answers, and is not hurried.
const UNHURRIED: &str = "30";

/// Asks once; whether somebody was believed within so many seconds, and what the script said.
fn once(machine: &Machine, limit: &str) -> (bool, String) {
    let output = script(machine).arg("--once").env("BASCULE_LIMIT", limit).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn asks(machine: &Machine, edges: &[SocketAddr]) {
    let lines: String = edges.iter().map(|edge| format!("http://{edge}   # an Edge\n")).collect();
    fs::write(machine.path("edges"), format!("# In order.\n{lines}")).unwrap();
}

/// Somebody who gives the same answer to each question, whatever it is.
fn answering(answer: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the process.
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            // The question, or as much of it as comes at once: what is left unread would reset the answer.
            let _ = socket.read(&mut [0; 4096]);
            answer(socket);
        }
    });
    address
}

fn saying(text: &'static str) -> SocketAddr {
    answering(move |mut socket| {
        let _ = socket.write_all(text.as_bytes());
        let _ = socket.shutdown(Shutdown::Write);
    })
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nBascule-Epoch: 4\r\nContent-Length: 8\r\nConnection: close\r\n\r\nstandby\n";

#[test]
fn kamailio_on_another_machine_follows_the_edge_over_http_and_keeps_the_last_word() {
    let [live] = free_ports();
    let mut site = Site::start_with(&format!("live: {{ listen: '{live}', from: [127.0.0.1] }}"));
    site.wait_ready_to_switch();
    let machine = Machine::new();
    fs::write(machine.path("sides"), "main sip:10.0.0.11:5060\nstandby sip:10.0.0.12:5060\n").unwrap();
    asks(&machine, &[live]);
    let said = fs::File::create(machine.path("said")).unwrap();
    // A shell hears a signal once the question it waits for has ended.
    let mut following =
        Process::spawn(script(&machine).env("BASCULE_WAIT", "2").env("BASCULE_LIMIT", UNHURRIED).stderr(said));
    let holds =
        |word: &str| wait_until(&format!("the file says {word}"), || machine.read("live") == format!("{word}\n"));
    holds("main");
    assert!(machine.run(KAMAILIO).0);
    assert_eq!(machine.read("dispatcher.list"), "1 sip:10.0.0.11:5060\n");
    site.main.kill();
    site.wait_live(Side::Standby);
    holds("standby");
    assert!(machine.run(KAMAILIO).0);
    assert_eq!(machine.read("dispatcher.list"), "1 sip:10.0.0.12:5060\n");
    // No answer: the last word stays, and is told once.
    site.stop_edge();
    wait_until("the missing Edge is told", || machine.read("said").contains("no Edge of"));
    assert_eq!(machine.read("live"), "standby\n");
    assert!(following.is_running());
    site.main.start();
    site.start_edge();
    wait_until("the Edge that is back is told", || machine.read("said").contains(&format!("http://{live} answers")));
    site.wait_ready_to_switch();
    site.standby.kill();
    holds("main");
    assert_eq!(machine.read("said").matches("no Edge of").count(), 1, "{}", machine.read("said"));
    // A helper that ends leaves the word, and nothing half written.
    following.signal(Signal::TERM);
    following.wait();
    let left = fs::read_dir(machine.path(""))
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("live."));
    assert_eq!((machine.read("live").as_str(), left.count()), ("main\n", 0));
}

#[test]
fn a_machine_that_the_edge_does_not_name_gets_no_word() {
    let [live] = free_ports();
    let site = Site::start_with(&format!("live: {{ listen: '{live}', from: 10.0.0.0/8 }}"));
    let machine = Machine::new();
    asks(&machine, &[live]);
    let (believed, said) = once(&machine, UNHURRIED);
    assert!(!believed && said.contains("no Edge of"), "{said}");
    assert!(!machine.path("live").exists());
    wait_until("it is counted", || site.metric("bascule_live_strangers_total") > 0.5);
}

#[test]
fn what_no_edge_says_changes_nothing_and_the_next_edge_is_asked() {
    let machine = Machine::new();
    fs::write(machine.path("live"), "main\n").unwrap();
    let good = saying(GOOD);
    let [nobody] = free_ports();
    let redirecting: &'static str = format!("HTTP/1.1 302 Found\r\nLocation: http://{good}/live\r\n\r\n").leak();
    let rubbish = [
        ("nobody listens", nobody),
        ("closes", saying("")),
        ("no HTTP", saying("standby\n")),
        ("a login page", saying("HTTP/1.1 200 OK\r\n\r\n<html>Please log in</html>\n")),
        ("no epoch", saying("HTTP/1.1 200 OK\r\n\r\nstandby\n")),
        ("an epoch that is none", saying("HTTP/1.1 200 OK\r\nBascule-Epoch: 4;id\r\n\r\nstandby\n")),
        ("the epoch in the body", saying("HTTP/1.1 200 OK\r\n\r\nBascule-Epoch: 4\nstandby\n")),
        ("two words", saying("HTTP/1.1 200 OK\r\nBascule-Epoch: 4\r\n\r\nmain\nstandby\n")),
        ("a command", saying("HTTP/1.1 200 OK\r\nBascule-Epoch: 4\r\n\r\n$(touch owned)\n")),
        ("not judged yet", saying("HTTP/1.1 503 Service Unavailable\r\nBascule-Epoch: 4\r\n\r\nstandby\n")),
        ("a redirection", saying(redirecting)),
        (
            "without end",
            answering(|mut socket| {
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nBascule-Epoch: 4\r\n\r\n");
                while socket.write_all(b"standby\n").is_ok() {}
            }),
        ),
        (
            "silence",
            answering(|mut socket| {
                let _ = socket.read(&mut [0; 64]);
            }),
        ),
    ];
    for (what, edge) in rubbish {
        asks(&machine, &[edge]);
        let asked = Instant::now();
        let (believed, said) = once(&machine, if what == "silence" { "2" } else { UNHURRIED });
        assert!(!believed && said.contains("left as it is") && !said.contains("touch"), "{what}: {said}");
        assert!(asked.elapsed() < Duration::from_secs(60), "{what}: its time is limited");
        assert_eq!(machine.read("live"), "main\n", "{what}");
    }
    asks(&machine, &[rubbish[3].1, nobody, good]);
    assert!(once(&machine, UNHURRIED).0);
    assert_eq!(machine.read("live"), "standby\n");
    // Written only when it changes: each write wakes the helpers.
    let written = || fs::metadata(machine.path("live")).unwrap().modified().unwrap();
    let before = written();
    assert!(once(&machine, UNHURRIED).0);
    assert_eq!(written(), before);
}
