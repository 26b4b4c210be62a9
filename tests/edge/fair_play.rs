//! What one request may do to its upstream, to its neighbours on a connection, and to others that wait.

use std::time::{Duration, Instant};

use http::Method;
use http::Request;

use crate::client::{Client, Speaks};
use crate::raw::{say, status};
use crate::site::{FQDN, Site, wait_until};

#[tokio::test]
async fn e5_a_request_that_breaks_its_upstream_is_sent_again_twice_at_most() {
    let site = Site::start();
    let client = Client::of(&site);
    for speaks in [Speaks::H1, Speaks::H2] {
        let before = site.main.requests();
        let answer = client.connect(speaks).await.unwrap().get("/xuc/lab/early-close").await.unwrap();
        assert_eq!(answer.status, 502);
        assert!(answer.text().starts_with("<!DOCTYPE html>"), "never JSON");
        assert_eq!(site.main.requests() - before, 3, "once, and twice again");
    }
    assert_eq!(site.live(), ("main".to_owned(), 0), "one user's request condemns nobody");
}

#[tokio::test]
async fn a_request_that_cannot_be_carried_is_refused_at_once_and_waits_nowhere() {
    let site = Site::start();
    let client = Client::of(&site);
    let before = site.main.requests();
    for named in ["host", "x-forwarded-for", "a, b, c, d, e, f, g, h, i, j, k, l"] {
        let field = format!("Connection: {named}, close");
        let began = Instant::now();
        let answer = say(&client, format!("GET /version HTTP/1.1\r\nHost: {FQDN}\r\n{field}\r\n\r\n").as_bytes()).await;
        assert!([200, 400].contains(&status(&answer)), "{field}: {answer}");
        assert!(began.elapsed() < Duration::from_secs(4), "{field}: it was parked");
    }
    let trace = client.send(Method::TRACE, "/version", "").await.unwrap();
    assert_eq!(trace.status, 403);
    assert_eq!(site.status()["parked"], 0);
    assert!(site.main.requests() - before <= 3);
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order_on_one_connection() {
    let site = Site::start();
    let client = Client::of(&site);
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {FQDN}\r\n\r\n");
    let last = format!("GET /version HTTP/1.1\r\nHost: {FQDN}\r\nConnection: close\r\n\r\n");
    let ahead = one("/xuc/lab/slow?ms=300") + &one("/xuc/lab/status?code=404") + &one("/xuc/lab/headers") + &last;
    let answers = say(&client, ahead.as_bytes()).await;
    let codes: Vec<&str> = answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect();
    assert_eq!(codes, ["200", "404", "200", "200"], "{answers}");
    assert_eq!(site.metric(r#"bascule_refused_requests_total{reason="framing"}"#), 0.0);
}

#[tokio::test]
async fn a_cookie_split_by_h2_reaches_the_upstream_whole() {
    let site = Site::start();
    let mut connection = Client::of(&site).connect(Speaks::H2).await.unwrap();
    let request = Request::builder().uri("/xuc/lab/headers").header("cookie", "a=1").header("cookie", "b=2");
    let seen = connection.request(request, "").await.unwrap().text();
    let cookies: Vec<&str> = seen.lines().filter(|line| line.to_ascii_lowercase().starts_with("cookie:")).collect();
    assert_eq!(cookies.len(), 1, "{seen}");
    assert!(cookies[0].contains("a=1; b=2"), "{seen}");
}

#[tokio::test]
async fn a_head_request_is_answered_by_the_waiting_page_without_its_body() {
    let mut site = Site::start();
    site.main.kill();
    site.standby.kill();
    site.wait_health(failover::Side::Main, "not_working");
    site.wait_health(failover::Side::Standby, "not_working");
    let client = Client::of(&site);
    for speaks in [Speaks::H1, Speaks::H2] {
        let mut connection = client.connect(speaks).await.unwrap();
        let answer = connection.send(Method::HEAD, "/version", "").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.len()), (503, 0), "{speaks:?}");
        assert!(answer.headers.contains_key("bascule-waiting"), "{speaks:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_while_it_waits_is_not_served_afterwards() {
    // An observer moves nothing, so that requests wait for Main itself.
    let mut site = Site::start_with("observe: true\nswitch: { park_limit: 15s }\n");
    let client = Client::of(&site);
    site.main.kill();
    for speaks in [Speaks::H1, Speaks::H2] {
        let mut leaving = client.connect(speaks).await.unwrap();
        let asked = tokio::spawn(async move { leaving.get("/xuc/lab/headers").await });
        wait_until("the request waits", || site.status()["parked"] == 1);
        asked.abort();
        assert!(asked.await.is_err(), "the client left");
        wait_until("nobody waits", || site.status()["parked"] == 0);
    }
    site.main.start();
    let answer = client.get("/version").await.unwrap();
    assert_eq!((answer.side(), site.main.requests()), ("main", 1), "the one that stayed");
}

#[tokio::test]
async fn a_reload_keeps_what_is_known_of_each_check() {
    let mut site = Site::start();
    let verdicts = |site: &Site| {
        let up = |line: &&str| line.starts_with("bascule_check_verdict") && line.contains(r#"state="up""#);
        site.metrics_text().lines().filter(up).map(str::to_owned).collect::<Vec<_>>()
    };
    wait_until("all checks are up", || {
        let verdicts = verdicts(&site);
        !verdicts.is_empty() && verdicts.iter().all(|line| line.ends_with(" 1"))
    });
    let before = verdicts(&site);
    site.reload_edge();
    assert_eq!(verdicts(&site), before);
    assert_eq!(site.status()["live"], "main");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_switch_lets_a_post_under_way_finish_on_the_side_that_is_left() {
    let site = Site::start();
    let client = Client::of(&site);
    site.wait_ready_to_switch();
    let posting = tokio::spawn(async move { client.send(Method::POST, "/xuc/lab/count?ms=1500", "77").await });
    wait_until("Main has the number", || site.main.ledger().contains(&"77".to_owned()));
    assert_eq!(site.verb(&["switch", "--to", "standby"]).0, Some(0));
    assert_eq!(site.live().0, "standby");
    let answer = posting.await.unwrap().unwrap();
    assert_eq!((answer.status.as_u16(), answer.side()), (200, "main"));
    assert!(site.standby.ledger().is_empty(), "done once");
}
