//! `bascule check`: what is wrong with a file is said all at once, and what works right now is said on request.

use failover::Side;

use crate::site::{Site, bascule, free_ports, wait_until};

#[test]
fn five_mistakes_are_five_messages_with_line_key_and_remedy() {
    let site = Site::plan("");
    let good = site.config();
    let bad = format!(
        "{good}failbak: sticky\nprobe: {{ interval: 1, fall: 0 }}\nlimits:\n  head_bytes: 2GiB\nswitch: {{ park_limit: soon }}\n"
    );
    site.write_config(&bad);
    let line = |text: &str| 1 + bad.lines().position(|line| line.contains(text)).unwrap();
    let expected = [
        (line("failbak"), "failbak: ", "did you mean failback"),
        (line("interval"), "probe.interval: ", "with its unit"),
        (line("interval"), "probe.fall: ", "at least 1"),
        (line("head_bytes"), "limits.head_bytes: ", "such as 64KiB"),
        (line("park_limit"), "switch.park_limit: ", "with its unit"),
    ];
    for verb in ["check", "run"] {
        let (code, text) = site.verb(&[verb]);
        assert_eq!(code, Some(2), "{verb}: {text}");
        assert_eq!(text.lines().count(), 5, "{text}");
        for (line, key, remedy) in expected {
            let start = format!("{}:{line}: {key}", site.path("edge.yaml").display());
            let message = text.lines().find(|message| message.starts_with(&start));
            assert!(message.is_some_and(|message| message.contains(remedy)), "no `{start}… {remedy}` in\n{text}");
        }
    }
    let (code, text) = site.verb(&["check", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, told["errors"].as_array().unwrap().len()), (Some(2), 5), "{text}");
}

#[test]
fn a_sound_file_is_summed_up_with_its_bounds() {
    let site = Site::plan("");
    let told = site.order(&["check"]);
    for phrase in ["edge.example.org on 127.0.0.1:", "main", "standby", "a killed upstream is left at most", "sticky"] {
        assert!(told.contains(phrase), "no `{phrase}` in\n{told}");
    }
    let (code, _) = site.verb(&["nonsense"]);
    assert_eq!(code, Some(2));
    let missing = bascule().args(["check", "--config", "/nonexistent/edge.yaml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    // Nobody to ask is a failure, not a mistake.
    let (code, text) = site.verb(&["status"]);
    assert_eq!(code, Some(1), "{text}");
}

#[test]
fn check_live_asks_every_backend_and_fails_when_one_does_not_work() {
    let mut site = Site::plan("");
    site.main.start();
    site.standby.start();
    let told = site.order(&["check", "--live"]);
    assert!(told.contains("right now:") && !told.contains("DOES NOT WORK"), "{told}");
    site.side(Side::Standby).kill();
    let (code, text) = site.verb(&["check", "--live"]);
    assert_eq!(code, Some(1), "{text}");
    let dead: Vec<_> = text.lines().filter(|line| line.contains("DOES NOT WORK")).collect();
    assert_eq!(dead.len(), 2, "{text}");
    assert!(dead.iter().all(|line| line.trim_start().starts_with("standby") && line.contains("refused")), "{text}");
}

#[test]
fn a_reason_names_the_port_that_was_checked_and_not_the_services_alone() {
    let mut site = Site::prepare("");
    let [dead] = free_ports::<1>();
    let port = dead.port();
    let check = "{ http: { path: /version } }";
    site.write_config(&site.config().replace(check, &format!("{{ tcp: {{ name: sip, port: {port} }} }}")));
    let (code, told) = site.verb(&["check", "--live"]);
    let line = told.lines().find(|line| line.contains("main") && line.contains("DOES NOT WORK")).unwrap_or_default();
    assert!(code == Some(1) && line.contains(&format!("(sip on port {port})")), "{told}");
    site.spawn_edge();
    wait_until("the admin endpoint answers", || site.ask("GET", "/v1/status", "").is_some());
    site.wait_health(Side::Main, "not_working");
    let status = site.status();
    let reason = format!("xivo is down on {} (sip on port {port}: connection refused", site.main.address);
    assert!(status["sides"]["main"]["reason"].as_str().unwrap().contains(&reason), "{}", status["sides"]["main"]);
    let screen = site.order(&["status"]);
    assert!(screen.contains(&format!("sip on port {port}: connection refused")), "{screen}");
    wait_until("the log names it", || site.log().contains(&format!("\"port\":{port}")));
}

#[test]
fn check_as_root_sees_what_the_service_user_may_not_read() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root sees more than the service");
    }
    let site = Site::plan("");
    // Nobody may enter the directory of a test.
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    let directory = site.path("edge.yaml").parent().unwrap().to_owned();
    let check = || site.verb(&["check", "--user", "nobody"]);
    for (what, file, closed, opened) in [
        ("the directory", directory.clone(), 0o700, 0o777),
        ("the configuration", site.path("edge.yaml"), 0o600, 0o644),
        ("the key", site.path("key.pem"), 0o600, 0o644),
        ("the chain", site.path("chain.pem"), 0o600, 0o644),
    ] {
        open(&file, closed);
        let (code, told) = check();
        assert_eq!(code, Some(2), "{what}: {told}");
        assert!(told.contains("may not be read by this user") || told.contains("does not exist"), "{what}: {told}");
        assert!(told.contains("as the user nobody") && told.contains("chgrp nobody FILE"), "{what}: {told}");
        assert_eq!(site.verb(&["check"]).0, Some(0), "{what}: root may");
        open(&file, opened);
    }
    let (code, told) = check();
    assert!(code == Some(0) && told.contains("looked at as the user nobody"), "{told}");
    std::fs::create_dir(site.path("state")).unwrap();
    let (code, told) = check();
    assert!(code == Some(1) && told.contains("state: ") && told.contains("may not be written to"), "{told}");
    let (code, told) = site.verb(&["check", "--user", "no-such-user"]);
    assert!(code == Some(2) && told.contains("no user no-such-user"), "{told}");
}
