//! conf/edge.yaml and the schema beside it: they load, they are complete, and they tell the truth.

use std::path::{Path, PathBuf};

use serde_yaml::Value;
use settings::Span;

use super::super::file::File;
use super::super::{Config, schema};
use super::{MINIMAL, parse};

/// What conf/edge.yaml shows that is no default: examples, and what has none. A path stands for what is below it.
const EXAMPLES: &[&str] = &[
    "preset",
    "fqdn",
    "certificate",
    "sides.main.cc.address",
    "sides.main.cc",
    "sides.main.xivo",
    "sides.standby",
    "shared",
    "upstream_tls.ca",
    "upstream_tls.pin",
    "upstream_tls.name",
    "admin.group",
    "listen.https.address",
    "listen.https.proxy_protocol",
    "listen.http.address",
    "listen.http.proxy_protocol",
    "pass.names",
    "pass.to",
    "live.from",
    "live.listen",
    "nodes.listen",
    "nodes.identity",
    "services.cc.tls.name",
    "services.cc.checks.http.path",
    "services.cc.checks.http.status",
    "services.cc.checks.http.json",
    "services.cc.checks.http.port",
    "services.cc.checks.http.headers",
    "services.cc.checks.http.body",
    "services.cc.checks.tcp.port",
    "services.cc.checks.tls.port",
    "services.cc.checks.websocket.port",
    "services.cc.checks.websocket.subprotocol",
    "services.cc.checks.websocket.echo",
    "routes.path",
    "routes.headers",
    "routes.methods",
    "routes.service",
    "routes.zone",
    "routes.remove",
    "routes.websocket.subprotocols",
];

/// Of the examples, those that are defaults all the same.
const DEFAULTS_BELOW_EXAMPLES: &[&str] = &["sides.main.cc.name", "sides.main.cc.weight"];

/// The same type at another place: shown once.
const SHOWN_AS: &[(&str, &str)] = &[
    ("sides.standby.", "sides.main."),
    ("shared.mds.*", "sides.main.*"),
    ("shared.*", "sides.main.*"),
    ("services.*.tls.", "upstream_tls."),
];

fn conf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf")
}

fn edge_yaml() -> String {
    std::fs::read_to_string(conf().join("edge.yaml")).unwrap()
}

/// The file itself, and once more with each commented block in the place of the key it is about.
fn variants() -> Vec<String> {
    let text = edge_yaml();
    let is_code = |line: &str| {
        line.strip_prefix('#')
            .is_some_and(|code| !code.is_empty() && (code.starts_with("  ") || !code.starts_with(' ')))
    };
    let lines: Vec<&str> = text.lines().collect();
    let blocks = lines.chunk_by(|a, b| is_code(a) == is_code(b)).filter(|chunk| is_code(chunk[0]));
    let whole: Value = serde_yaml::from_str(&text).unwrap();
    let mut variants = vec![text.clone()];
    for block in blocks {
        let block: String = block.iter().map(|line| format!("{}\n", &line[1..])).collect();
        let Ok(Value::Mapping(block)) = serde_yaml::from_str::<Value>(&block) else { continue };
        let mut variant = whole.clone();
        for (key, value) in block {
            variant.as_mapping_mut().unwrap().insert(key, value);
        }
        variants.push(serde_yaml::to_string(&variant).unwrap());
    }
    assert!(variants.len() > 6, "the commented blocks were found");
    variants
}

fn config(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{errors}\n{text}")).0
}

#[test]
fn every_file_for_the_edge_in_conf_loads() {
    let files = std::fs::read_dir(conf()).unwrap().map(|entry| entry.unwrap().path());
    let ours = files.filter(|path| {
        path.file_name().unwrap().to_string_lossy().starts_with("edge")
            && path.extension().is_some_and(|ending| ending == "yaml")
    });
    let mut loaded = 0;
    for path in ours {
        let (_, warnings) = parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(warnings, [], "{}", path.display());
        loaded += 1;
    }
    assert!(loaded > 0);
}

#[test]
fn every_commented_block_of_conf_edge_yaml_loads_too() {
    for variant in variants() {
        config(&variant);
    }
}

#[test]
fn every_default_shown_in_conf_edge_yaml_is_the_default() {
    let mut proven = 0;
    for variant in variants() {
        let with = config(&variant);
        let value: Value = serde_yaml::from_str(&variant).unwrap();
        for leaf in leaves(&value) {
            let key = in_general(&leaf);
            let is_example = EXAMPLES.iter().any(|path| key == *path || key.starts_with(&format!("{path}.")));
            if is_example && !DEFAULTS_BELOW_EXAMPLES.contains(&key.as_str()) {
                continue;
            }
            let without = config(&serde_yaml::to_string(&removed(&value, &leaf)).unwrap());
            assert_eq!(with, without, "{key} shows another value than its default");
            proven += 1;
        }
    }
    assert!(proven > 60, "only {proven} defaults were looked at");
}

#[test]
fn every_key_of_the_schema_is_shown_in_conf_edge_yaml() {
    let shown: Vec<String> = variants()
        .iter()
        .flat_map(|variant| {
            let value: Value = serde_yaml::from_str(variant).unwrap();
            leaves(&value)
                .iter()
                .flat_map(|leaf| (1..=leaf.len()).map(|end| starred(&leaf[..end])).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        })
        .collect();
    for path in settings::key_paths::<File>() {
        let plain = path.replace("[]", "");
        let shared_with =
            SHOWN_AS.iter().find_map(|(from, to)| plain.strip_prefix(from).map(|rest| format!("{to}{rest}")));
        let wanted = shared_with.unwrap_or(plain);
        assert!(shown.contains(&wanted), "{path} is not shown ({wanted})");
    }
}

#[test]
fn the_fast_profile_is_as_conf_edge_yaml_says() {
    let text = &format!("{MINIMAL}probe: {{ profile: fast }}\n");
    let probe = config(text).probe;
    let figures = [
        probe.interval,
        probe.time_limit,
        probe.reprobe_refused,
        probe.reprobe_silent,
        probe.suspicion,
        probe.stale_after,
    ];
    let [interval, time_limit, refused, silent, suspicion, stale] = figures.map(|figure| Span(figure).to_string());
    let said = format!(
        "fast ({interval}, {time_limit}, {}, {}, {refused}, {silent}, {suspicion}, {stale})",
        probe.rise, probe.fall
    );
    assert!(edge_yaml().contains(&said), "{said}");
}

#[test]
fn the_schema_in_conf_is_the_one_the_types_make() {
    let path = conf().join("edge.schema.json");
    let made = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("BASCULE_WRITE_SCHEMA").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == made, "conf/edge.schema.json is out of date: run this test with BASCULE_WRITE_SCHEMA=1");
}

#[test]
fn a_file_printed_by_serde_yaml_means_the_same() {
    let text = edge_yaml();
    let value: Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(config(&text), config(&serde_yaml::to_string(&value).unwrap()));
}

#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Item(usize),
}

fn leaves(value: &Value) -> Vec<Vec<Step>> {
    fn visit(value: &Value, at: &[Step], found: &mut Vec<Vec<Step>>) {
        let below = |step| at.iter().cloned().chain([step]).collect::<Vec<_>>();
        match value {
            Value::Mapping(mapping) if !mapping.is_empty() => {
                mapping
                    .iter()
                    .for_each(|(key, value)| visit(value, &below(Step::Key(key.as_str().unwrap().to_owned())), found));
            }
            Value::Sequence(items) if items.iter().any(|item| item.is_mapping()) => {
                items.iter().enumerate().for_each(|(index, item)| visit(item, &below(Step::Item(index)), found));
            }
            _ => found.push(at.to_vec()),
        }
    }
    let mut found = Vec::new();
    visit(value, &[], &mut found);
    found
}

fn removed(value: &Value, leaf: &[Step]) -> Value {
    let mut value = value.clone();
    let (last, parents) = leaf.split_last().unwrap();
    let parent = parents.iter().fold(&mut value, |here, step| match step {
        Step::Key(key) => &mut here[key.as_str()],
        Step::Item(index) => &mut here[*index],
    });
    match last {
        Step::Key(key) => drop(parent.as_mapping_mut().unwrap().remove(key.as_str())),
        Step::Item(index) => drop(parent.as_sequence_mut().unwrap().remove(*index)),
    }
    value
}

/// The key without the places in lists.
fn in_general(leaf: &[Step]) -> String {
    let keys = leaf.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Item(_) => None,
    });
    keys.collect::<Vec<_>>().join(".")
}

/// The key as the schema writes it: `*` for a name of the user's.
fn starred(leaf: &[Step]) -> String {
    let key = in_general(leaf);
    let mut parts: Vec<&str> = key.split('.').collect();
    let named = match parts.as_slice() {
        ["sides", _, _, ..] => Some(2),
        ["shared", "mds", _, ..] => Some(2),
        ["shared", name, ..] if *name != "mds" => Some(1),
        ["services" | "headers" | "zones", _, ..] => Some(1),
        ["routes", "headers", _] => Some(2),
        _ => None,
    };
    if let Some(index) = named {
        parts[index] = "*";
    }
    parts.join(".")
}
