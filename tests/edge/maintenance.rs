//! Maintenance: an operator takes a route or the site out of service, users get a page, and it comes back by itself.

use std::time::{Duration, SystemTime};

use http::Method;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::Value;

use crate::client::{Answer, Client, Speaks};
use crate::raw::{say, status};
use crate::shared::{Shared, blocking};
use crate::site::{FQDN, Site, wait_until};
use crate::socket::{Socket, token};

const LOGIN: &str = "/xuc/api/2.0/auth/login";
const VERSION: &str = "/version";
/// The route whose path the login's is below.
const XUC: &str = "/xuc";

fn assert_page(answer: &Answer, seconds: std::ops::RangeInclusive<u64>) {
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers[CONTENT_TYPE], "text/html; charset=utf-8", "never JSON");
    assert!(answer.text().starts_with("<!DOCTYPE html>"), "{}", answer.text());
    assert!(answer.text().contains("Under maintenance") && !answer.text().contains("xuc upgrade"), "{}", answer.text());
    // The waiting page asks until a 503 without it comes, and then shows that one.
    assert!(!answer.headers.contains_key("bascule-waiting"), "{:?}", answer.headers);
    let told: Vec<u64> =
        answer.headers.get_all(RETRY_AFTER).iter().map(|told| told.to_str().unwrap().parse().unwrap()).collect();
    assert!(told.len() == 1 && seconds.contains(&told[0]), "{told:?}");
}

fn in_maintenance(site: &Site) -> Vec<Value> {
    site.status()["maintenance"].as_array().unwrap().clone()
}

/// Ends the Edge as a power cut would, once the order is on the disk: an order waits for a slow disk a tenth of a second.
fn kill(site: &mut Site) {
    wait_until("it is on the disk", || site.status()["persisted"] == true);
    site.edge().kill();
}

fn refused(site: &Site) -> f64 {
    site.metric(r#"bascule_refused_requests_total{reason="maintenance"}"#)
}

#[tokio::test]
async fn a_route_in_maintenance_answers_with_the_page_over_both_protocols_and_no_other_does() {
    let site = Site::start();
    let client = Client::of(&site);
    let told = site.order(&["maintenance", "on", "--route", XUC, "--for", "2h", "--reason", "xuc upgrade"]);
    assert!(told.starts_with("Route /xuc is in maintenance until: "), "{told}");
    let before = site.main.requests();
    for speaks in [Speaks::H1, Speaks::H2] {
        let mut connection = client.connect(speaks).await.unwrap();
        assert_page(&connection.get(LOGIN).await.unwrap(), 7000..=7200);
        assert_eq!(connection.get(VERSION).await.unwrap().status, 200, "{speaks:?}");
        assert_eq!(connection.get("/nowhere").await.unwrap().status, 404, "{speaks:?}");
        // A body that nobody reads changes nothing about the answer.
        assert_page(&connection.send(Method::POST, LOGIN, r#"{"login":"a"}"#).await.unwrap(), 7000..=7200);
    }
    assert_eq!(site.main.requests(), before + 2, "the version alone");
    assert_eq!((refused(&site), site.metric("bascule_maintenance")), (4.0, 1.0));
    wait_until("the log names it", || {
        let log = site.access_log();
        let named =
            |line: &&str| line.contains(r#""ended":"maintenance""#) && line.contains(&format!(r#""route":"{LOGIN}""#));
        log.lines().filter(named).count() == 4
    });
    // A load balancer's health check must not take the Edge, which serves all other routes, out of service.
    assert_eq!(site.ask("GET", "/readyz", "").unwrap().0, 200);
    let stands = &in_maintenance(&site)[0];
    assert_eq!((&stands["route"], &stands["why"]), (&XUC.into(), &"xuc upgrade".into()), "{stands}");
    assert!(stands["by"].is_string() && stands["until"].is_string(), "{stands}");
    let (_, screen) = site.verb(&["status"]);
    assert!(screen.contains("MAINTENANCE of route /xuc by "), "{screen}");
    assert!(site.order(&["maintenance", "list"]).contains("xuc upgrade"));
    let told = site.order(&["maintenance", "off", "--route", XUC]);
    assert_eq!(told.trim_end(), "In service again: route /xuc.");
    assert_ne!(client.get(LOGIN).await.unwrap().status, 503);
    let noted: Vec<_> = site.history().into_iter().filter(|entry| entry["event"] == "maintenance").collect();
    assert_eq!(noted.len(), 2, "{noted:?}");
    assert!(noted[1]["why"] == "xuc upgrade" && noted.iter().all(|entry| entry["by"].is_string()), "{noted:?}");
}

#[tokio::test]
async fn an_order_that_makes_no_sense_says_what_would() {
    let site = Site::start();
    let (code, text) = site.verb(&["maintenance", "on", "--route", "/xcu"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("There is no route /xcu. The routes are: ") && text.contains(VERSION), "{text}");
    let (code, text) = site.verb(&["maintenance", "on", "--until", "2001-01-01T00:00:00Z"]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("is past already"), "{text}");
    let (code, text) = site.verb(&["maintenance", "off", "--route", VERSION]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("/version is not in maintenance"), "{text}");
    assert_eq!(site.order(&["maintenance", "off"]).trim_end(), "Nothing was in maintenance.");
    assert!(in_maintenance(&site).is_empty() && !site.noted("maintenance"));
}

#[tokio::test]
async fn the_whole_site_stays_in_maintenance_over_a_kill_and_a_reload_and_is_still_ready() {
    let mut site = Site::start();
    let client = Client::of(&site);
    site.order(&["maintenance", "on", "--reason", "new switch"]);
    assert_page(&client.get(VERSION).await.unwrap(), 60..=60);
    kill(&mut site);
    // Ready, though no user is served: the page is better than a load balancer's own error.
    site.start_edge();
    for target in [VERSION, LOGIN, "/"] {
        let answer = client.get(target).await.unwrap();
        assert!(answer.status == 503 || target == "/" && answer.status == 404, "{target} {}", answer.status);
    }
    site.reload_edge();
    assert_page(&client.get(VERSION).await.unwrap(), 60..=60);
    assert_eq!(site.metric("bascule_maintenance"), 1.0);
    assert_eq!(in_maintenance(&site)[0]["why"], "new switch");
    site.order(&["maintenance", "off"]);
    assert_eq!(client.get(VERSION).await.unwrap().status, 200);
    kill(&mut site);
    site.start_edge();
    assert_eq!(client.get(VERSION).await.unwrap().status, 200);
}

#[tokio::test]
async fn it_ends_by_itself_and_an_end_that_came_while_the_edge_was_off_is_an_end() {
    let mut site = Site::start();
    let client = Client::of(&site);
    let began = SystemTime::now();
    site.order(&["maintenance", "on", "--for", "3s", "--route", VERSION]);
    site.order(&["maintenance", "on", "--for", "1h", "--route", XUC]);
    let mut connection = client.connect(Speaks::H1).await.unwrap();
    while connection.get(VERSION).await.unwrap().status == 503 {
        assert!(began.elapsed().unwrap() < Duration::from_secs(60), "it does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed().unwrap() >= Duration::from_secs(3), "it ended early");
    wait_until("it is told of", || {
        site.history()
            .iter()
            .any(|entry| entry["sentence"].as_str().unwrap().contains("route /version is in service again"))
    });
    assert_eq!(client.get(LOGIN).await.unwrap().status, 503, "the other goes on");
    site.order(&["maintenance", "on", "--for", "2s", "--route", XUC]);
    kill(&mut site);
    tokio::time::sleep(Duration::from_secs(2)).await;
    site.start_edge();
    wait_until("it is over", || in_maintenance(&site).is_empty());
    assert_ne!(client.get(LOGIN).await.unwrap().status, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_websockets_are_refused_and_open_ones_stay() {
    let shared = Shared::start();
    let site = crate::websocket::site(&shared, "");
    let client = Client::of(&site);
    let target = format!("/xuc/api/2.0/cti?token={}", token("jdoe"));
    let mut open = Socket::open(&client, &target).await.unwrap();
    blocking(|| site.order(&["maintenance", "on", "--for", "1h"]));
    let upgrade = format!(
        "GET {target} HTTP/1.1\r\nHost: {FQDN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let answer = say(&client, upgrade.as_bytes()).await;
    assert_eq!(status(&answer), 503, "{answer}");
    assert!(answer.contains("\r\nretry-after: 3") && answer.contains("Under maintenance"), "{answer}");
    assert!(open.echoes("a session that was open").await);
    assert_eq!(refused(&site), 1.0);
    blocking(|| site.order(&["maintenance", "off"]));
    assert!(Socket::open(&client, &target).await.unwrap().echoes("a new one").await);
}
