//! What a person may do to a file that the Edge reads: whatever stands there, `check` and the start take it alike,
//! say what is wrong with it, and neither panics.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::client::{Client, Speaks};
use crate::site::{Site, bascule, wait_until};

/// What may stand in a file's place.
enum Odd {
    Bytes(Vec<u8>),
    Directory,
    Link(&'static str),
}

fn odd() -> Vec<(&'static str, Odd)> {
    let text = |text: &str| Odd::Bytes(text.as_bytes().to_vec());
    let seed = 42;
    let mut random = fastrand::Rng::with_seed(seed);
    let junk = std::iter::repeat_with(|| random.u8(..)).take(60_000).collect();
    let pem = |body: &str| text(&format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"));
    vec![
        ("nothing", text("")),
        ("zeros", Odd::Bytes(vec![0; 4096])),
        ("junk", Odd::Bytes(junk)),
        ("more than anybody writes", Odd::Bytes(vec![b' '; 3 << 20])),
        ("brackets", Odd::Bytes(vec![b'['; 900_000])),
        ("a begin without an end", text("-----BEGIN CERTIFICATE-----\nMIIB\n")),
        ("an end without a begin", text("-----END CERTIFICATE-----\n-----BEGIN -----\n")),
        ("an empty certificate", pem("")),
        ("a certificate that ends early", pem("MIIBgjCCASmgAwIBAgIUZg==")),
        ("a length beyond the end", pem("MIT/////AA==")),
        ("nested without end", pem(&"MIMw".repeat(100_000))),
        ("a number", text("1e999")),
        ("an object of another kind", text("{\"version\": 18446744073709551615, \"format\": []}\n{}\n")),
        ("a directory", Odd::Directory),
        ("a link to nowhere", Odd::Link("/nonexistent/file")),
        ("a link to a device without end", Odd::Link("/dev/zero")),
    ]
}

fn put(what: &Odd, at: &Path) {
    remove(at);
    match what {
        Odd::Bytes(bytes) => fs::write(at, bytes).unwrap(),
        Odd::Directory => fs::create_dir(at).unwrap(),
        Odd::Link(to) => symlink(to, at).unwrap(),
    }
}

fn remove(at: &Path) {
    match fs::symlink_metadata(at) {
        Err(_) => {}
        Ok(found) if found.is_dir() => fs::remove_dir_all(at).unwrap(),
        Ok(_) => fs::remove_file(at).unwrap(),
    }
}

/// Starts the Edge: whether it runs; otherwise it has ended by itself and said why.
fn starts(site: &mut Site, what: &str) -> bool {
    let before = site.log().len();
    site.spawn_edge();
    let mut running = false;
    wait_until(&format!("the Edge runs or ends, with {what}"), || {
        running = site.ask("GET", "/healthz", "").is_some();
        running || !site.edge().is_running()
    });
    let said = site.log().split_off(before);
    assert!(!said.contains("panicked"), "{what}: {said}");
    if !running {
        let code = site.edge().wait();
        assert!(matches!(code, Some(1 | 2)), "{what}: {code:?} {said}");
        assert!(!said.trim().is_empty(), "{what}: ended without a word");
    }
    site.stop_edge();
    running
}

/// Each oddity in place of each file, and then the file again.
fn assert_taken_alike(site: &mut Site, files: &[&str]) {
    assert!(starts(site, "all as it should be"), "{}", site.log());
    for file in files {
        let at = site.path(file);
        let well = fs::read(&at).unwrap();
        for (what, odd) in odd() {
            put(&odd, &at);
            let what = format!("{what} as {file}");
            let (code, told) = site.verb(&["check"]);
            assert!(matches!(code, Some(0..=2)) && !told.contains("panicked"), "{what}: {code:?} {told}");
            assert_eq!(starts(site, &what), code == Some(0), "{what}: {told}{}", site.log());
            assert!(code == Some(0) || told.contains(file), "{what}: {told}");
        }
        put(&Odd::Bytes(well), &at);
    }
}

#[test]
fn whatever_stands_in_a_certificates_files_check_and_the_start_take_it_alike() {
    let mut site = Site::plan("");
    fs::copy(site.path("chain.pem"), site.path("ca.pem")).unwrap();
    site.extra = format!("upstream_tls: {{ ca: {} }}", site.path("ca.pem").display());
    site.write_config(&site.config().replace("http://", "https://"));
    assert_taken_alike(&mut site, &["chain.pem", "key.pem", "ca.pem"]);
}

#[test]
fn whatever_stands_in_the_files_of_the_nodes_door_check_and_the_start_take_it_alike() {
    let mut site = Site::plan("");
    let certs = |words: &[&str], paths: &[(&str, &Path)]| {
        let mut command: Command = bascule();
        command.arg("certs").args(words);
        for (option, path) in paths {
            command.arg(option).arg(path);
        }
        assert!(command.output().unwrap().status.success(), "{words:?}");
    };
    let (authority, node) = (site.path("authority"), site.path("node"));
    certs(&["ca", "--site", "example"], &[("--dir", &authority)]);
    certs(&["edge", "--name", "edge"], &[("--ca", &authority), ("--out", &node)]);
    let [endpoint] = crate::site::free_ports();
    site.extra = format!("nodes: {{ listen: '{endpoint}', identity: {} }}", node.display());
    site.rewrite_config();
    assert_taken_alike(&mut site, &["node/ca.pem", "node/chain.pem", "node/key.pem"]);
}

#[test]
fn whatever_stands_in_the_state_the_edge_runs_or_says_why_not() {
    let mut site = Site::plan("");
    assert!(starts(&mut site, "all as it should be"), "{}", site.log());
    let files = ["state/live.json", "state/journal.jsonl", "state/journal.1.jsonl", "state/reports/1.json", "live"];
    for file in files {
        let at = site.path(file);
        for (what, odd) in odd() {
            put(&odd, &at);
            starts(&mut site, &format!("{what} as {file}"));
            // What was there is kept aside, or was replaced: each has its turn.
            remove(&at);
        }
    }
    fs::remove_dir_all(site.path("state")).unwrap();
    assert!(starts(&mut site, "nothing left"), "{}", site.log());
}

/// The greatest of each number that the file takes.
const GREATEST: &str = "\
probe: { interval: 6h, time_limit: 6h, suspicion: 6h, stale_after: 24h, fall: 255, rise: 255, reprobe_refused: 1ms, \
reprobe_silent: 1ms }
failback: { prefer-main: { hold_down: 24h } }
switch: { switches_per_hour: 4294967295, park_limit: 24h, park_requests: 18446744073709551615, \
reconnect_rate: 4294967295, drain_limit: 24h }
limits: { client_hello: 24h, handshake: 24h, request_head: 24h, keepalive: 24h, request_body: 24h, head_bytes: 1MiB, \
head_fields: 256, connections: 16777216, connections_per_client: 16777216, h2_streams: 4096, memory: 64GiB, \
connect: 24h, write_stall: 24h, drain: 24h }
";

#[tokio::test]
async fn the_greatest_numbers_that_a_file_may_have_are_served_with() {
    let mut site = Site::prepare(GREATEST);
    let told = site.verb(&["check"]);
    assert_eq!(told.0, Some(0), "{told:?}");
    site.start_edge();
    let client = Client::of(&site);
    for speaks in [Speaks::H1, Speaks::H2] {
        assert_eq!(client.connect(speaks).await.unwrap().get("/version").await.unwrap().status, 200);
    }
    site.order(&["switch", "--to", "standby", "--force"]);
    assert_eq!(client.get("/version").await.unwrap().status, 200);
    let log = site.log();
    assert!(!log.contains("panicked"), "{log}");
}
