//! Attacks, made by the tools of the trade where there are any: the Edge holds little, and users of other addresses are
//! served meanwhile. What was seen is printed, as what a machine bears is for its owner to judge.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::bad_connections::client_hello;
use crate::client::{Client, Speaks};
use crate::h2_heads::frame;
use crate::h2_limits::{HEADERS, PREFACE, SETTINGS};
use crate::load::Load;
use crate::shared::memory;
use crate::site::{Site, wait_until};

const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const PRIORITY: u8 = 2;
const WINDOW_UPDATE: u8 = 8;
const MIB: usize = 1 << 20;

/// A user whom no attacker's limits concern.
fn user(site: &Site) -> Client {
    Client::of(site).from(IpAddr::V4(Ipv4Addr::new(127, 0, 9, 9)))
}

/// Attacks while users ask: all of them are answered, and the Edge's memory grows by no more than `growth` MiB.
async fn bear(what: &str, site: &Site, growth: f64, attack: impl Future<Output = ()>) {
    let load = Load::start(user(site));
    let before = memory(site);
    let mut most = before;
    let began = Instant::now();
    let mut attack = std::pin::pin!(attack);
    while timeout(Duration::from_millis(20), &mut attack).await.is_err() {
        most = most.max(memory(site));
    }
    let took = began.elapsed();
    let tally = load.stop();
    println!(
        "{what}: {:.1} s, {} requests of users answered, {} ms without an answer at most, memory {before:.0} to {most:.0} MiB",
        took.as_secs_f64(),
        tally.0.len(),
        tally.longest_gap().as_millis(),
    );
    tally.assert_all_well();
    assert!(most - before < growth, "{what}: memory grew from {before:.1} to {most:.1} MiB");
}

/// The attackers are gone from the Edge's books, not only from the wire.
fn wait_forgotten(site: &Site) {
    wait_until("nobody is left", || site.metric("bascule_connections_open") < 4.0);
}

async fn slowhttptest(site: &Site, mode: &[&str]) {
    let url = format!("https://localhost:{}/ucassistant/", site.https.port());
    let mut command = Command::new("slowhttptest");
    command.args(mode).args(["-c", "400", "-r", "400", "-i", "1", "-l", "6", "-p", "30", "-v", "1", "-u", &url]);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    // Its own probe comes from the attackers' address.
    assert!(told.contains("YES") && !told.contains("service available:\u{1b}[0m                   NO"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slowhttptest_keeps_nobody_out() {
    if Command::new("slowhttptest").arg("-h").output().await.is_err() {
        return println!("skipped: slow heads, bodies and readers (no slowhttptest)");
    }
    let site =
        Site::start_with("aliases: [localhost]\nlimits: { request_head: 3s, request_body: 3s, write_stall: 3s }");
    for (what, mode) in [("slow heads", "-H"), ("slow bodies", "-B"), ("slow readers", "-X")] {
        bear(what, &site, 64.0, slowhttptest(&site, &[mode])).await;
        wait_forgotten(&site);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_handshakes_that_stop_half_way_hold_little() {
    const MANY: u16 = 10_000;
    const SPARE: u64 = 1_000;
    bascule::run::raise_descriptor_limit();
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if most.is_some_and(|most| most < u64::from(MANY) + SPARE) {
        return println!("skipped: handshakes that stop half-way (a process may have {most:?} descriptors here)");
    }
    let site = Site::start_with("limits: { client_hello: 20s }");
    let hello = client_hello();
    let attack = async {
        let mut held = Vec::new();
        for number in 0..MANY {
            let socket = TcpSocket::new_v4().unwrap();
            let [high, low] = (number / 100).to_be_bytes();
            socket.bind(SocketAddr::from(([127, 1, high, low + 1], 0))).unwrap();
            let mut stream = socket.connect(site.https).await.unwrap();
            stream.write_all(&hello[..hello.len() / 2]).await.unwrap();
            held.push(stream);
        }
        // They stand all at once for a while.
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    bear("half-open handshakes", &site, 256.0, attack).await;
    wait_forgotten(&site);
}

/// Sends parts of a flood over one h2 connection until the Edge has had enough, takes no more, or so much was sent. Whether
/// it read all of it is the Edge's to decide; that it does not pile it up is what is asked.
async fn flood(client: &Client, first: &[u8], part: &[u8]) {
    let Ok(mut stream) = client.tls(Speaks::H2).await else { return };
    let all = async {
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), first].concat()).await?;
        for _ in 0..8 * MIB / part.len() {
            stream.write_all(part).await?;
        }
        stream.flush().await
    };
    // Nothing is read back: answers to PING and SETTINGS must not pile up either.
    let _ = timeout(Duration::from_secs(2), all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_h2_frames_hold_little() {
    let site = Site::start();
    let attacker = Client::of(&site);
    let thousand = |one: Vec<u8>| one.repeat(1000);
    let floods = [
        ("SETTINGS", vec![], thousand(frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]))),
        ("PING", vec![], thousand(frame(PING, 0, 0, &[7; 8]))),
        ("PRIORITY", vec![], thousand(frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 9]))),
        ("WINDOW_UPDATE", vec![], thousand(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        ("empty CONTINUATION", frame(HEADERS, 0, 1, &[0x82]), thousand(frame(CONTINUATION, 0, 1, &[]))),
        ("CONTINUATION", frame(HEADERS, 0, 1, &[0x82]), frame(CONTINUATION, 0, 1, &[0x82; 16_384])),
    ];
    for (what, first, part) in floods {
        let attack = async {
            let each = (0..8).map(|_| flood(&attacker, &first, &part));
            futures_util::future::join_all(each).await;
        };
        bear(what, &site, 64.0, attack).await;
        wait_forgotten(&site);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_of_a_mebibyte_hold_little() {
    let site = Site::start();
    let attacker = Client::of(&site);
    let head = format!("GET /version HTTP/1.1\r\nHost: edge.example.org\r\nX: {}\r\n\r\n", "x".repeat(MIB));
    let attack = async {
        let one = async || {
            let mut stream = attacker.tls(Speaks::H1).await.unwrap();
            // Refused and closed before it is whole, as a rule.
            let _ = timeout(Duration::from_secs(5), stream.write_all(head.as_bytes())).await;
        };
        for _ in 0..5 {
            futures_util::future::join_all((0..20).map(|_| one())).await;
        }
    };
    bear("heads of 1 MiB", &site, 64.0, attack).await;
    wait_forgotten(&site);
}

/// What `testssl` holds against any site of this kind, and why it stays.
const KNOWN: [(&str, &str); 4] = [
    ("cipher_order", "each cipher suite is AEAD with forward secrecy: the client, who knows its hardware, chooses"),
    ("cert_validityPeriod", "the test's own certificate is good for centuries"),
    ("cert_revocation", "the test's own authority publishes no list"),
    ("DNS_CAArecord", "a record in the site's DNS"),
];

#[tokio::test(flavor = "multi_thread")]
async fn testssl_finds_no_weakness() {
    if Command::new("testssl").arg("--help").output().await.is_err() {
        return println!("skipped: weaknesses of TLS (no testssl)");
    }
    let site = Site::start_with("aliases: [localhost]");
    let authority = site.path("authority.pem");
    std::fs::write(&authority, pem(&site.certificate)).unwrap();
    let (report, url) = (site.path("testssl.json"), format!("https://{}:{}", crate::site::FQDN, site.https.port()));
    let mut command = Command::new("testssl");
    command.args([
        "--quiet",
        "--color",
        "0",
        "--warnings",
        "off",
        "--ip",
        "127.0.0.1",
        "-p",
        "-s",
        "-f",
        "-S",
        "-h",
        "-U",
    ]);
    command.arg("--add-ca").arg(&authority).arg("--jsonfile").arg(&report).arg(&url);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(&report).unwrap()).expect(&told);
    let word = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let (mut good, mut unknown) = (0, Vec::new());
    for finding in &findings {
        let (id, severity) = (word(finding, "id"), word(finding, "severity"));
        match severity.as_str() {
            "OK" => good += 1,
            // Newer versions grade; Debian's 3.0 does not.
            "INFO" if id.contains("grade") || id.contains("score") => println!("{id}: {}", word(finding, "finding")),
            "INFO" => {}
            _ if KNOWN.iter().any(|(known, _)| id.starts_with(known)) => {}
            _ => unknown.push(finding),
        }
    }
    println!("testssl: {good} checks passed, {} findings", findings.len());
    assert!(unknown.is_empty(), "{unknown:#?}");
    // An Edge that was not reached has no weakness either.
    assert!(
        good > 20 && findings.iter().any(|one| word(one, "id") == "TLS1_3" && word(one, "severity") == "OK"),
        "{told}"
    );
}

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
