//! The program itself, from outside: what it prints, and how it ends.

#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "real programs take real time")]

use std::path::Path;
use std::process::{Command, Output};

const FILE: &str = "\
preset: xivo
role: xivo
side: main
listen: 127.0.0.1:9602
peer: 127.0.0.2:9602
witness: 127.0.0.3:9601
";

fn program(config: &Path, verb: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bascule-watchdog"));
    let Output { status, stdout, stderr } = command.args(verb).arg("--config").arg(config).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_wrong_key_and_a_wrong_value_are_named_with_file_and_line_and_end_it_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("watchdog.yaml");
    std::fs::write(&config, format!("{FILE}hold_downn: 60s\ntiming: {{ lease: 5 }}\n")).unwrap();
    let name = config.display();
    for verb in [["run"], ["check"], ["status"], ["takeover"]] {
        let (code, out, error) = program(&config, &verb);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{verb:?} {error}");
        assert!(error.contains(&format!("{name}:7: hold_downn: unknown key; did you mean hold_down?")), "{error}");
        assert!(error.contains(&format!("{name}:8: timing.lease: the number 5 is of the wrong kind")), "{error}");
    }
    let (code, out, _) = program(&config, &["check", "--json"]);
    assert_eq!(code, Some(2));
    let problems: Vec<std::collections::BTreeMap<String, serde_json::Value>> = serde_json::from_str(&out).unwrap();
    assert_eq!(problems[0]["line"], 7);
    let (code, _, error) = program(&dir.path().join("none.yaml"), &["run"]);
    assert!(code == Some(2) && error.contains("does not exist"), "{error}");
    assert_eq!(program(&config, &["dance"]).0, Some(2));
}

#[test]
fn it_refuses_to_run_beside_xivos_own_failover_until_that_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (config, table) = (at("watchdog.yaml"), at("xivo-ha-slave"));
    std::fs::write(&table, "* * * * * root /usr/sbin/xivo-check-master-status\n").unwrap();
    let [state, control, rival] = [at("state"), at("w.sock"), table.clone()].map(|path| path.display().to_string());
    std::fs::write(&config, format!("{FILE}state: {state}\ncontrol: {control}\nlegacy_failover: {rival}\n")).unwrap();
    let (code, _, error) = program(&config, &["run"]);
    assert!(code == Some(1) && error.contains("xivo-ha-slave:1:"), "{error}");
    assert!(error.contains("bascule-watchdog takeover"), "{error}");
    for (verb, said, there) in [
        ("takeover", "XiVO's own failover is off.", false),
        ("takeover", "off already", false),
        ("release", "is on again", true),
        ("release", "nothing to do", true),
    ] {
        let (code, out, error) = program(&config, &[verb]);
        assert!(code == Some(0) && out.contains(said), "{verb}: {out}{error}");
        assert_eq!(table.exists(), there, "{verb}");
    }
    let journal = std::fs::read_to_string(at("state").join("watchdog.journal.jsonl")).unwrap();
    assert_eq!(journal.lines().count(), 2, "{journal}");
    let (code, _, error) = program(&config, &["status"]);
    assert!(code == Some(1) && error.contains("systemctl status bascule-watchdog"), "{error}");
}

#[test]
fn a_watchdog_that_cannot_begin_is_slowed_down_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let config = at("watchdog.yaml");
    let [state, control, none] = [at("state"), at("w.sock"), at("none")].map(|path| path.display().to_string());
    std::fs::write(
        &config,
        format!("{FILE}state: {state}\ncontrol: {control}\nlegacy_failover: {none}\nidentity: {none}\n"),
    )
    .unwrap();
    let run = || {
        let begin = std::time::Instant::now();
        let (code, _, error) = program(&config, &["run"]);
        assert_eq!(code, Some(1), "{error}");
        (begin.elapsed(), error)
    };
    let quick: Vec<_> = (0..5).map(|_| run()).collect();
    assert!(quick.iter().all(|(_, error)| !error.contains("in a row")), "{quick:?}");
    let slow: Vec<_> = (0..3).map(|_| run()).collect();
    let total: std::time::Duration = slow.iter().map(|(took, _)| *took).sum();
    assert!(total >= std::time::Duration::from_millis(1400), "200, 400 and 800 ms: {slow:?}");
    assert!(slow[2].1.contains("number 8 in a row, none of which lasted: waits 800 ms"), "{slow:?}");
}

#[test]
fn a_watchdog_that_is_refused_beside_xivos_own_failover_is_slowed_down_too() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (config, table) = (at("watchdog.yaml"), at("xivo-ha-slave"));
    std::fs::write(&table, "* * * * * root /usr/sbin/xivo-check-master-status\n").unwrap();
    let [state, control, rival] = [at("state"), at("w.sock"), table].map(|path| path.display().to_string());
    std::fs::write(&config, format!("{FILE}state: {state}\ncontrol: {control}\nlegacy_failover: {rival}\n")).unwrap();
    let slowed = (0..50).any(|_| {
        let (code, _, error) = program(&config, &["run"]);
        assert!(code == Some(1) && error.contains("bascule-watchdog takeover"), "{error}");
        error.contains("in a row, none of which lasted: waits")
    });
    assert!(slowed);
}
