//! Rate limits: who is over the rate of a zone is told so, and when to come again; who is ahead of it waits.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::Method;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;

use crate::client::{Answer, Client, Speaks};
use crate::raw::{say, status, until_closed};
use crate::site::{FQDN, Site, wait_until};

/// The login's zone is auth.
const LOGIN: &str = "/xuc/api/2.0/auth/login";
/// The version's is apis.
const VERSION: &str = "/version";

/// A site in which clients on loopback are limited, by these zones.
fn limited(zones: &str) -> Site {
    Site::start_with(&limits(zones))
}

// In block style: `limits: {` is what the site adds its own limits to.
fn limits(zones: &str) -> String {
    format!("zones: {{ {zones} }}\nrate_limits:\n  exempt: []\n  relax_after_switch: off\n")
}

fn from(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

fn requests(site: &Site, zone: &str, outcome: &str) -> f64 {
    site.metric(&format!(r#"bascule_zone_requests_total{{outcome="{outcome}",zone="{zone}"}}"#))
}

fn delayed(site: &Site, zone: &str) -> f64 {
    site.metric(&format!(r#"bascule_zone_delayed{{zone="{zone}"}}"#))
}

fn retry_after(answer: &Answer) -> u64 {
    answer.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap()
}

fn upgrade() -> String {
    format!(
        "GET /xuc/api/2.0/cti?token=eyJh.eyJs.c2ln HTTP/1.1\r\nHost: {FQDN}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

#[tokio::test]
async fn a_client_over_the_rate_gets_a_page_that_says_when_to_come_again_and_others_are_served() {
    let site = limited("auth: { rate: 1/min, burst: 2 }");
    for (speaks, address) in [(Speaks::H1, 2), (Speaks::H2, 3)] {
        let mut connection = Client::of(&site).from(from(address)).connect(speaks).await.unwrap();
        for _ in 0..3 {
            assert_ne!(connection.get(LOGIN).await.unwrap().status, 429, "{speaks:?}");
        }
        let before = site.main.requests();
        let refused = connection.get(LOGIN).await.unwrap();
        assert_eq!(refused.status, 429, "{speaks:?}");
        assert_eq!(refused.headers[CONTENT_TYPE], "text/html; charset=utf-8", "never JSON");
        assert!(refused.text().starts_with("<!DOCTYPE html>"), "{}", refused.text());
        assert!((1..=60).contains(&retry_after(&refused)), "{:?}", refused.headers);
        assert_eq!(refused.headers.get_all(RETRY_AFTER).iter().count(), 1);
        assert_eq!(site.main.requests(), before, "nothing was sent");
        // The connection goes on, and so do routes of other zones.
        assert_eq!(connection.get(VERSION).await.unwrap().status, 200, "{speaks:?}");
        // A body that nobody reads changes nothing about the answer.
        let posted = connection.send(Method::POST, LOGIN, r#"{"login":"alice"}"#).await.unwrap();
        assert_eq!(posted.status, 429, "{speaks:?}");
    }
    assert_eq!(requests(&site, "auth", "refused"), 4.0);
    assert_eq!(requests(&site, "auth", "passed"), 6.0);
    assert_eq!(site.metric(r#"bascule_refused_requests_total{reason="rate"}"#), 4.0);
    assert_eq!(site.metric(r#"bascule_zone_addresses{zone="auth"}"#), 2.0);
    wait_until("the refusals are logged", || {
        let log = site.access_log();
        log.lines().filter(|line| line.contains(r#""status":429"#) && line.contains(r#""zone":"auth""#)).count() == 4
    });
}

#[tokio::test]
async fn an_upgrade_counts_like_a_request() {
    let site = limited("auth: { rate: 1/min, burst: 2 }");
    let client = Client::of(&site);
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut socket = client.tls(Speaks::H1).await.unwrap();
        socket.write_all(upgrade().as_bytes()).await.unwrap();
        open.push(socket);
        wait_until("the upgrade is counted", || requests(&site, "auth", "passed") == open.len() as f64);
    }
    let answer = say(&client, upgrade().as_bytes()).await;
    assert_eq!(status(&answer), 429, "{answer}");
    let seconds = answer.lines().find_map(|line| line.strip_prefix("retry-after: ")?.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=60).contains(&seconds)), "{answer}");
    assert!(answer.contains("<!DOCTYPE html>"), "{answer}");
    assert_eq!(client.get(LOGIN).await.unwrap().status, 429, "requests are in the same account");
}

#[tokio::test]
async fn a_client_that_waits_as_long_as_it_was_told_is_served() {
    let site = limited("auth: { rate: 1/s, burst: 1 }");
    let client = Client::of(&site);
    let mut told = None;
    wait_until_refused(&client, &mut told).await;
    let seconds = told.unwrap();
    assert_eq!(seconds, 1, "a second's rate, rounded up");
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    assert_ne!(client.get(LOGIN).await.unwrap().status, 429);
}

/// Asks until the Edge refuses; what it then says of when to come again.
async fn wait_until_refused(client: &Client, told: &mut Option<u64>) {
    let mut connection = client.connect(Speaks::H1).await.unwrap();
    for _ in 0..5000 {
        let answer = connection.get(LOGIN).await.unwrap();
        if answer.status == 429 {
            *told = Some(retry_after(&answer));
            return;
        }
    }
    panic!("nobody is refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_ahead_of_the_rate_waits_for_its_time() {
    let site = limited("apis: { rate: 2/s, burst: 5, delay: true }");
    for (speaks, address) in [(Speaks::H1, 2), (Speaks::H2, 3)] {
        let client = Client::of(&site).from(from(address));
        let began = Instant::now();
        let asked: Vec<_> = (0..3)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.connect(speaks).await.unwrap().get(VERSION).await.unwrap().status })
            })
            .collect();
        for one in asked {
            assert_eq!(one.await.unwrap(), 200);
        }
        assert!(began.elapsed() >= Duration::from_millis(900), "the third comes a second after the first");
    }
    assert!(requests(&site, "apis", "delayed") >= 2.0);
    assert_eq!((requests(&site, "apis", "refused"), delayed(&site, "apis")), (0.0, 0.0));
    wait_until("the waits are logged", || site.access_log().contains(r#""zone":"apis","delayed_ms":"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_while_it_is_delayed_gives_its_place_back_and_is_not_served() {
    let site = limited("apis: { rate: 1/min, burst: 1, delay: true }, auth: { rate: 1/min, burst: 1, delay: true }");
    for (speaks, address) in [(Speaks::H1, 2), (Speaks::H2, 3)] {
        let client = Client::of(&site).from(from(address));
        assert_eq!(client.get(VERSION).await.unwrap().status, 200);
        let before = site.main.requests();
        let mut leaving = client.connect(speaks).await.unwrap();
        let asked = tokio::spawn(async move { leaving.get(VERSION).await });
        wait_until("the request is delayed", || delayed(&site, "apis") == 1.0);
        asked.abort();
        assert!(asked.await.is_err(), "the client left");
        wait_until("its place is free", || delayed(&site, "apis") == 0.0);
        assert_eq!(site.main.requests(), before);
    }
    // An upgrade, too.
    let client = Client::of(&site).from(from(4));
    assert_ne!(client.get(LOGIN).await.unwrap().status, 429);
    let mut leaving = client.tls(Speaks::H1).await.unwrap();
    leaving.write_all(upgrade().as_bytes()).await.unwrap();
    wait_until("the upgrade is delayed", || delayed(&site, "auth") == 1.0);
    drop(leaving);
    wait_until("its place is free", || delayed(&site, "auth") == 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_request_does_not_outlive_the_drain() {
    let mut site = Site::start_with(&format!(
        "{}limits: {{ drain: 1s }}\n",
        limits("apis: { rate: 1/min, burst: 1, delay: true }")
    ));
    let client = Client::of(&site);
    assert_eq!(client.get(VERSION).await.unwrap().status, 200);
    let mut waiting = client.tls(Speaks::H1).await.unwrap();
    let request = format!("GET {VERSION} HTTP/1.1\r\nHost: {FQDN}\r\n\r\n");
    waiting.write_all(request.as_bytes()).await.unwrap();
    wait_until("the request is delayed", || delayed(&site, "apis") == 1.0);
    site.edge().signal(Signal::TERM);
    let answer = until_closed(&mut waiting).await;
    assert_eq!(status(&answer), 503, "{answer}");
    assert_eq!(site.edge().wait(), Some(0));
}

#[tokio::test]
async fn clients_of_private_networks_are_not_limited_by_the_preset() {
    let site = Site::start();
    let mut connection = Client::of(&site).connect(Speaks::H1).await.unwrap();
    for _ in 0..50 {
        assert_ne!(connection.get(LOGIN).await.unwrap().status, 429);
    }
    assert_eq!((requests(&site, "auth", "exempt"), requests(&site, "auth", "refused")), (50.0, 0.0));
}

#[tokio::test]
async fn a_reload_gives_nobody_a_new_burst() {
    let mut site = limited("auth: { rate: 1/min, burst: 2 }");
    let client = Client::of(&site);
    wait_until_refused(&client, &mut None).await;
    site.reload_edge();
    assert_eq!(client.get(LOGIN).await.unwrap().status, 429);
}

#[tokio::test]
async fn a_company_behind_one_address_comes_back_after_a_switch() {
    // Zone auth as the preset has it. Long enough to be as wide as at first for the whole test.
    let site = Site::start_with("rate_limits:\n  exempt: []\n  relax_after_switch: { factor: 30, over: 10h }\n");
    let client = Client::of(&site);
    wait_until_refused(&client, &mut None).await;
    site.wait_ready_to_switch();
    site.order(&["switch", "--to", "standby", "--reason", "a test"]);
    let mut connection = client.connect(Speaks::H1).await.unwrap();
    for request in 0..300 {
        assert_ne!(connection.get(LOGIN).await.unwrap().status, 429, "request {request} of a hundred users");
    }
}
