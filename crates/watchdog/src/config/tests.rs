//! Whole files: the examples in conf/ tell the truth, and mistakes are answered in words.

use std::path::{Path, PathBuf};
use std::time::Duration;

use failover::duty::{self, Alone, Failback, Requests};
use failover::follow::Idle;
use failover::lease::Timing;
use failover::{PerSide, Side};
use serde_yaml::Value;

use super::{Config, Fence, Role, SipProbe, XivoConfig, schema};

const MINIMAL: &str = "\
preset: xivo
role: xivo
side: main
listen: 10.0.0.11:9602
peer: 10.0.0.12:9602
witness: 10.1.0.41:9601
";

fn conf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conf")
}

fn parse(text: &str) -> Config {
    Config::parse(text, "watchdog.yaml").unwrap_or_else(|errors| panic!("{errors}\n{text}")).0
}

fn xivo(text: &str) -> XivoConfig {
    match parse(text).role {
        Role::Xivo(xivo) => *xivo,
        other => panic!("{other:?}"),
    }
}

fn errors(text: &str) -> Vec<String> {
    let errors = Config::parse(text, "watchdog.yaml").map(|(config, _)| panic!("{config:?}")).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

fn examples() -> Vec<(String, String)> {
    let files = std::fs::read_dir(conf()).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let ours = files.filter(|path| name(path).starts_with("watchdog") && name(path).ends_with(".yaml"));
    ours.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect()
}

/// What the examples show that is no default.
const SHOWN: &[&str] =
    &["preset", "role", "side", "name", "listen", "peer", "witness", "edge", "xivo", "anchors", "mds", "ready.status"];

#[test]
fn every_watchdog_file_in_conf_loads_without_a_warning() {
    let examples = examples();
    assert_eq!(examples.len(), 5);
    for (name, text) in examples {
        let (config, warnings) = Config::parse(&text, &name).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(warnings, [], "{name}");
        assert!(name.contains(config.kind().label()) || config.side().is_some_and(|side| name.contains(side.label())));
    }
}

#[test]
fn every_default_shown_in_conf_is_the_default() {
    let mut proven = 0;
    for (name, text) in examples() {
        let with = parse(&text);
        let value: Value = serde_yaml::from_str(&text).unwrap();
        for leaf in leaves(&value) {
            if SHOWN.iter().any(|shown| leaf == *shown || leaf.starts_with(&format!("{shown}."))) {
                continue;
            }
            let without = parse(&serde_yaml::to_string(&removed(&value, &leaf)).unwrap());
            assert_eq!(with, without, "{name}: {leaf} shows another value than its default");
            proven += 1;
        }
    }
    assert!(proven > 70, "only {proven} defaults were looked at");
}

#[test]
fn every_commented_line_of_conf_is_understood() {
    for (name, text) in examples() {
        let lines: Vec<&str> = text.lines().collect();
        let is_code = |line: &str| {
            let code = line.trim_start().strip_prefix('#');
            code.is_some_and(|code| {
                !code.starts_with(' ') && !code.is_empty() || code.starts_with("  ") && line.starts_with('#')
            })
        };
        let blocks: Vec<&[&str]> =
            lines.chunk_by(|a, b| is_code(a) == is_code(b)).filter(|block| is_code(block[0])).collect();
        assert!(name.contains("mds") || blocks.len() > 1, "{name}");
        for block in blocks {
            let bare: Vec<String> = block.iter().map(|line| line.replacen('#', "", 1)).collect();
            let top: Vec<&str> =
                bare.iter().filter(|l| !l.starts_with(' ')).filter_map(|l| l.split(':').next()).collect();
            let kept = lines.iter().map(|line| match block.iter().position(|known| std::ptr::eq(*known, *line)) {
                Some(index) => bare[index].clone(),
                None if top.iter().any(|key| line.starts_with(&format!("{key}:"))) => String::new(),
                None => (*line).to_owned(),
            });
            parse(&kept.collect::<Vec<_>>().join("\n"));
        }
    }
}

#[test]
fn every_key_of_the_schema_is_shown_in_conf() {
    let texts: Vec<String> = examples().into_iter().map(|(_, text)| text).collect();
    for path in settings::key_paths::<super::file::File>() {
        let key = path.rsplit('.').next().unwrap().trim_end_matches("[]");
        let shown = texts.iter().any(|text| {
            text.lines().any(|line| {
                let line = line.replace(['#', '{', ','], " ");
                line.split_whitespace().any(|word| word == format!("{key}:"))
            })
        });
        assert!(key == "*" || shown, "{path} is not shown");
    }
}

#[test]
fn a_file_that_calls_the_legacy_failover_by_its_old_name_is_still_understood() {
    for (name, text) in examples() {
        let old = text.replace("\nlegacy_failover:", "\nrival:");
        assert_eq!(parse(&text), parse(&old), "{name}");
    }
    assert!(examples().iter().any(|(_, text)| text.contains("\nlegacy_failover: /")));
}

#[test]
fn the_schema_in_conf_is_the_one_the_types_make() {
    let path = conf().join("watchdog.schema.json");
    let made = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("BASCULE_WRITE_SCHEMA").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == made, "conf/watchdog.schema.json is out of date: run this test with BASCULE_WRITE_SCHEMA=1");
}

#[test]
fn a_short_file_means_the_machines_own_defaults() {
    let main = xivo(MINIMAL);
    assert_eq!(main.duty, duty::Settings::new(Side::Main));
    assert_eq!(main.duty.timing, Timing::DEFAULT);
    assert_eq!(
        (main.fence, main.sip.check, main.sip.address.to_string()),
        (Fence::Nft, SipProbe::Udp, "10.0.0.11".into())
    );
    assert_eq!(main.services.start.argv, ["xivo-service", "start", "all"]);
    let standby = xivo(&MINIMAL.replace("side: main", "side: standby"));
    assert_eq!(standby.services.stop.argv, ["xivo-manage-slave-services", "stop"]);
    assert_eq!(standby.services.check.unwrap().command.argv, ["xivo-service", "status", "all"]);
}

#[test]
fn what_is_written_is_what_is_meant() {
    let text = format!(
        "{MINIMAL}failback: window\nwindow: {{ days: [sun], from: '23:00', to: '01:00' }}\nalone: serve\n\
         anchors: 10.0.0.1\naccept_requests: true\nmds: {{ a_b: 10.0.0.31, c: '10.0.0.32:5070' }}\n\
         asterisk: {{ name: 'to-{{mds}}' }}\nfence: {{ command: [a, b], release: [c] }}\n"
    );
    let xivo = xivo(&text);
    assert_eq!((xivo.duty.wishes.failback, xivo.duty.alone), (Failback::Window, Alone::Serve));
    assert_eq!(xivo.duty.requests, Requests::Accept);
    assert_eq!(xivo.window.unwrap().days, [false, false, false, false, false, false, true]);
    let servers: Vec<_> = xivo.media_servers.iter().map(|server| server.address.to_string()).collect();
    assert_eq!(servers, ["10.0.0.31:5060", "10.0.0.32:5070"]);
    assert_eq!(xivo.asterisk.registration("a_b"), "to-a_b");
    let Fence::Command(fence) = xivo.fence else { panic!() };
    assert_eq!((fence.close.argv.len(), fence.close.time_limit), (2, Duration::from_millis(500)));
    let Role::Mds(mds) = parse("role: mds\nxivo: { main: 10.0.0.11, standby: 10.0.0.12 }\nedge: 10.0.0.1:9601\n").role
    else {
        panic!()
    };
    assert_eq!(mds.xivo, PerSide { main: "10.0.0.11".parse().unwrap(), standby: "10.0.0.12".parse().unwrap() });
}

#[test]
fn many_mistakes_are_told_at_once_with_line_key_and_remedy() {
    let text = "\
preset: xivo
role: xivo
sid: main
listen: 10.0.0.11
peer: 10.0.0.12:9602
witness: edge.example.org:9601
fence: nftt
timing: { lease: 1s, promise: 2 }
services: { start: { comand: [a] }, stop: { command: [] } }
";
    let found = errors(text);
    for (start, words) in [
        ("watchdog.yaml:3: sid:", "did you mean side?"),
        ("watchdog.yaml:4: listen:", "not an address with a port"),
        ("watchdog.yaml:6: witness:", "names are not resolved"),
        ("watchdog.yaml:7: fence:", "nft, none, or a mapping"),
        ("watchdog.yaml:8: timing.promise:", "with its unit"),
        ("watchdog.yaml:8: timing.lease:", "at least 2 heartbeat + request_limit, here 1s400ms"),
        ("watchdog.yaml:9: services.start.comand:", "did you mean command?"),
        ("watchdog.yaml:9: services.stop.command:", "the list is empty"),
    ] {
        assert!(found.iter().any(|e| e.starts_with(start) && e.contains(words)), "{start} {words}\n{found:#?}");
    }
}

/// What is added to the smallest file, and where the only error must be: key, and words of the message.
const ADDED: &[(&str, &str, &str)] = &[
    ("edge: 10.0.0.1:9601", "edge", "has no meaning for role: xivo"),
    ("name: 'a b'", "name", "no plain name"),
    ("state: var", "state", "not an absolute path"),
    ("metrics: 9603", "metrics", "wrong kind"),
    ("failback: window", "window", "needs it"),
    ("failback: sometimes", "failback", "auto or window or manual"),
    ("window: { from: '2:00', to: '04:00' }", "window.from", "no time of day"),
    ("window: { from: '02:00', to: '02:00' }", "window.to", "same as from"),
    ("window: { days: [monday], from: '02:00', to: '04:00' }", "window.days[0]", "write mon or tue"),
    ("alone: serve", "alone", "without anchors"),
    ("anchors: [gw.example.org]", "anchors[0]", "not an IP address"),
    ("retry: 40s", "retry_limit", "at least retry"),
    (
        "timing: { promise: 2400ms }",
        "timing.promise",
        "at least (lease + pause + fence)(1 + 2 drift) + granularity, here 2s405ms",
    ),
    ("timing: { quiet: 1s }", "timing.quiet", "at least promise"),
    ("timing: { witness_restart: 20s }", "timing.witness_out", "too short"),
    ("fence: { command: [a] }", "fence.release", "is missing"),
    ("sip: { ports: [] }", "sip.ports", "1 to 65535"),
    ("mds: { 'a b': 10.0.0.31 }", "mds.a b", "no plain name"),
    ("mds: { a: 10.0.0.31, b: 10.0.0.31 }", "mds.b", "is a, too"),
    ("asterisk: { name: 'a;b' }", "asterisk.name", "no name of a registration"),
    ("services: { start: { command: xivo } }", "services.start.command", "a list"),
    ("services: { start: { command: ['a b'] } }", "services.start.command", "write program and arguments apart"),
    ("services: { check: { interval: 0s } }", "services.check.interval", "no time"),
    ("replication: { hold: { command: [a] } }", "replication.resume.command", "is missing"),
    ("ready: https://127.0.0.1/", "ready", "has no meaning"),
    ("time_limit: 3s", "time_limit", "belongs at"),
];

#[test]
fn each_mistake_is_found_where_it_stands() {
    for (added, key, words) in ADDED {
        let found = errors(&format!("{MINIMAL}{added}\n"));
        let [only] = found.as_slice() else { panic!("{added}: {found:#?}") };
        assert!(only.contains(&format!(" {key}: ")) && only.contains(words), "{added}: {only}");
        assert!(only.starts_with("watchdog.yaml:"), "{only}");
    }
}

#[test]
fn without_a_fence_the_promise_must_outlive_the_stop_command() {
    let found = errors(&format!("{MINIMAL}fence: none\n"));
    assert!(found[0].contains("timing.promise") && found[0].contains("write 1m2s24ms here"), "{found:#?}");
    let sound = format!("{MINIMAL}fence: none\ntiming: {{ promise: 63s, quiet: 63s }}\n");
    assert_eq!(xivo(&sound).duty.timing.fence, Duration::from_secs(60));
    let short = format!("{MINIMAL}fence: none\ntiming: {{ promise: 63s, quiet: 63s, fence: 1s }}\n");
    assert!(errors(&short)[0].contains("shorter than services.stop.time_limit"));
}

#[test]
fn the_presets_of_both_generations_are_known_by_version() {
    let cc = |preset: &str| {
        let text = format!("preset: {preset}\nrole: cc\nside: main\nxivo: 10.0.0.11:9602\n");
        match parse(&text).role {
            Role::Cc(cc) => *cc,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(cc("xivo"), cc("xivo-nextlts"));
    assert_eq!((cc("xivo").follow.idle, cc("xivo").services.instance), (Idle::Stopped, None));
    let old = cc("xivo-2025.10");
    assert_eq!(old.follow.idle, Idle::Stale);
    assert_eq!(old.services.start.argv, ["xivocc-dcomp", "restart", "xuc"]);
    assert_eq!(old.services.stop.argv, ["true"]);
    assert!(old.services.instance.is_some() && old.ready.is_some());
    assert_eq!(parse(MINIMAL), parse(&MINIMAL.replace("preset: xivo", "preset: xivo-2025.10")));
}

#[test]
fn a_cc_that_is_restarted_says_what_does_not_fit() {
    let cc = |rest: &str| errors(&format!("role: cc\nside: main\nready: http://127.0.0.1/\n{rest}\n"));
    let restart = "restart: { command: [restart] }";
    for (rest, words) in [
        (format!("xivo: 10.0.0.11:9602\nservices: {{ {restart} }}"), "services.instance.command: is missing"),
        (
            format!(
                "xivo: 10.0.0.11:9602\nservices: {{ {restart}, instance: {{ command: [i] }}, stop: {{ command: [s] }} }}"
            ),
            "services.stop: has no meaning beside services.restart",
        ),
        (
            "preset: xivo\nxivo: 10.0.0.11:9602\nservices: { instance: { command: [i] } }".into(),
            "services.instance: has no meaning without services.restart",
        ),
        ("preset: xivo\nxivo: { status: { interval: 1s } }".into(), "xivo.status.command: is missing"),
        (
            "preset: xivo\nxivo: { status: { command: [s], time_limit: 1m } }".into(),
            "xivo.status: time_limit and interval",
        ),
    ] {
        let found = cc(&rest);
        assert!(found.iter().any(|error| error.contains(words)), "{words} {found:#?}");
    }
    let node = errors(&format!("{MINIMAL}services: {{ {restart} }}\n"));
    assert!(node.iter().any(|error| error.contains("services.restart: has no meaning for role: xivo")), "{node:#?}");
}

#[test]
fn a_follower_says_what_it_lacks() {
    let cc = errors("role: cc\nside: main\nxivo: { main: 10.0.0.11 }\nanchors: 10.0.0.1\n");
    for words in
        ["follows one XiVO", "anchors: has no meaning", "services.start.command: is missing", "ready: is missing"]
    {
        assert!(cc.iter().any(|error| error.contains(words)), "{words} {cc:#?}");
    }
    let mds = errors("role: mds\nside: main\nxivo: 10.0.0.11:9602\n");
    for words in ["side: has no meaning", "knows both XiVOs"] {
        assert!(mds.iter().any(|error| error.contains(words)), "{words} {mds:#?}");
    }
    assert!(errors("side: main\n")[0].contains("role"));
}

fn leaves(value: &Value) -> Vec<String> {
    let mapping = value.as_mapping().into_iter().flatten();
    mapping
        .flat_map(|(key, below)| {
            let key = key.as_str().unwrap().to_owned();
            match below {
                Value::Mapping(mapping) if !mapping.is_empty() => {
                    leaves(below).into_iter().map(|leaf| format!("{key}.{leaf}")).collect()
                }
                _ => vec![key],
            }
        })
        .collect()
}

fn removed(value: &Value, leaf: &str) -> Value {
    let mut value = value.clone();
    let (parents, last) = leaf.rsplit_once('.').unwrap_or(("", leaf));
    let parent = parents.split('.').filter(|key| !key.is_empty()).fold(&mut value, |here, key| &mut here[key]);
    parent.as_mapping_mut().unwrap().remove(last);
    value
}

#[test]
fn the_longest_hold_down_is_an_hour_or_the_hold_down_itself_and_never_shorter() {
    assert_eq!(xivo(MINIMAL).duty.hold_down_limit, Duration::from_secs(3_600));
    assert_eq!(xivo(&format!("{MINIMAL}hold_down: 2h\n")).duty.hold_down_limit, Duration::from_secs(7_200));
    let told = errors(&format!("{MINIMAL}hold_down: 2m\nhold_down_limit: 1m\n")).join("\n");
    assert!(told.contains("hold_down_limit") && told.contains("at least hold_down"), "{told}");
}
