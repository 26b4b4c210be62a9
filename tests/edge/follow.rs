//! The script by which Kamailio follows the live side, run by the shell with programs that are played; and that coturn
//! needs none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A directory with played programs, each of which notes how it was called.
pub struct Machine(TempDir);

impl Machine {
    pub fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        let program = machine.path("kamcmd");
        let called = machine.path("called").display().to_string();
        fs::write(&program, format!("#!/bin/sh\necho kamcmd \"$@\" >> {called}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        machine
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn live(&self, word: &str) {
        fs::write(self.path("live"), word).unwrap();
    }

    pub fn run(&self, script: &str) -> (bool, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(script);
        let path = format!("{}:{}", self.0.path().display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .arg(script)
            .env("PATH", path)
            .env("BASCULE_LIVE", self.path("live"))
            .env("BASCULE_SIDES", self.path("sides"))
            .env("BASCULE_LIST", self.path("dispatcher.list"))
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn called(&self) -> usize {
        self.read("called").lines().count()
    }
}

#[test]
fn kamailio_is_told_of_each_change_once_and_believes_two_words_only() {
    let machine = Machine::new();
    let script = "kamailio/bascule-follow-kamailio";
    assert!(machine.run(script).0, "no Edge yet");
    fs::write(machine.path("sides"), "main sip:10.0.0.11:5060\nstandby sip:10.0.0.12:5060\n").unwrap();
    for (word, list, calls) in [
        ("main\n", "1 sip:10.0.0.11:5060\n", 1),
        ("main\n", "1 sip:10.0.0.11:5060\n", 1),
        ("standby\n", "1 sip:10.0.0.12:5060\n", 2),
    ] {
        machine.live(word);
        assert!(machine.run(script).0);
        assert_eq!((machine.read("dispatcher.list").as_str(), machine.called()), (list, calls));
    }
    assert_eq!(machine.read("called").lines().last(), Some("kamcmd dispatcher.reload"));
    for word in ["", "main standby", "$(touch owned)", "mainmainmainmainmain"] {
        machine.live(word);
        let (well, said) = machine.run(script);
        assert!(!well && said.contains("names no side") && !said.contains("touch"), "{word}: {said}");
    }
    assert_eq!((machine.read("dispatcher.list").as_str(), machine.called()), ("1 sip:10.0.0.12:5060\n", 2));
}

#[test]
fn coturn_may_relay_to_every_side_and_no_switch_restarts_it() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/coturn");
    let mut names: Vec<_> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    // No unit and no script: nothing there could be run by a switch.
    assert_eq!(names, ["README.md", "turnserver-peers.conf"]);
    let peers = fs::read_to_string(directory.join("turnserver-peers.conf")).unwrap();
    let allowed = peers.lines().filter_map(|line| line.strip_prefix("allowed-peer-ip=")).count();
    assert!(allowed >= 3 && peers.contains("denied-peer-ip=0.0.0.0-255.255.255.255"), "{peers}");
    assert!(!peers.contains("/run/bascule"), "{peers}");
}
