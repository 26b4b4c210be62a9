//! The scripts by which Kamailio and coturn follow the live side, run by the shell with programs that are played.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A directory with played programs, each of which notes how it was called.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for program in ["kamcmd", "systemctl"] {
            let path = machine.path(program);
            fs::write(&path, format!("#!/bin/sh\necho {program} \"$@\" >> {}\n", machine.path("called").display()))
                .unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn live(&self, word: &str) {
        fs::write(self.path("live"), word).unwrap();
    }

    fn run(&self, script: &str) -> (bool, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(script);
        let path = format!("{}:{}", self.0.path().display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .arg(script)
            .env("PATH", path)
            .env("BASCULE_LIVE", self.path("live"))
            .env("BASCULE_SIDES", self.path("sides"))
            .env("BASCULE_LIST", self.path("dispatcher.list"))
            .env("BASCULE_LINK", self.path("turnserver.conf"))
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn read(&self, name: &str) -> String {
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
fn coturn_gets_the_live_sides_configuration_and_is_started_again_when_it_changed() {
    let machine = Machine::new();
    let script = "coturn/bascule-follow-coturn";
    machine.live("standby\n");
    assert!(machine.run(script).1.contains("does not exist"));
    for side in ["main", "standby"] {
        fs::write(machine.path(&format!("turnserver-{side}.conf")), side).unwrap();
    }
    for (word, calls) in [("standby\n", 1), ("standby\n", 1), ("main\n", 2)] {
        machine.live(word);
        assert!(machine.run(script).0);
        assert_eq!((machine.read("turnserver.conf").as_str(), machine.called()), (word.trim(), calls));
    }
    machine.live("else\n");
    assert!(!machine.run(script).0);
    fs::remove_file(machine.path("turnserver.conf")).unwrap();
    fs::write(machine.path("turnserver.conf"), "mine").unwrap();
    machine.live("standby\n");
    assert!(machine.run(script).1.contains("is no link"));
    assert_eq!((machine.read("turnserver.conf").as_str(), machine.called()), ("mine", 2));
}
