//! A running Edge takes new certificates and configurations without anybody noticing, and ends without cutting anybody off.

use std::fs;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use http::Method;
use rustix::process::Signal;

use crate::client::{Client, Speaks};
use crate::failover::BRISK;
use crate::load::Load;
use crate::site::{PATIENCE, Site, wait_until};

const RELOADED: &str = "bascule_config_reloads_total{result=\"ok\"}";
const REFUSED: &str = "bascule_config_reloads_total{result=\"failed\"}";

fn reload(site: &mut Site) {
    let before = site.metric(RELOADED);
    site.reload_edge();
    assert_eq!(site.metric(RELOADED), before + 1.0);
}

/// A new certificate is written; a client that trusts both, the old one and the new one.
fn trusting_both(site: &mut Site) -> (Client, Vec<u8>, Vec<u8>) {
    let old = site.certificate.clone();
    site.renew_certificate();
    let new = site.certificate.clone();
    (Client::trusting(site, &[&old, &new]), old, new)
}

#[tokio::test]
async fn a_certificate_is_replaced_under_load_and_nobody_notices() {
    let mut site = Site::start();
    let (client, old, new) = trusting_both(&mut site);
    assert!(client.shown_certificate().await.unwrap() == old);
    let mut kept = [client.connect(Speaks::H1).await.unwrap(), client.connect(Speaks::H2).await.unwrap()];
    for connection in &mut kept {
        assert_eq!(connection.get("/version").await.unwrap().status, 200);
    }
    let load = Load::start(client.clone());
    reload(&mut site);
    load.wait_answers(50);
    assert!(client.shown_certificate().await.unwrap() == new);
    // Those that trust the new one alone get in, and old connections live on.
    assert_eq!(Client::of(&site).get("/version").await.unwrap().status, 200);
    for connection in &mut kept {
        assert_eq!(connection.get("/version").await.unwrap().status, 200);
    }
    load.stop().assert_all_well();
}

#[tokio::test]
async fn a_configuration_is_replaced_under_load_and_nobody_notices() {
    let mut site = Site::start();
    site.wait_ready_to_switch();
    let client = Client::of(&site);
    let load = Load::start(client.clone());
    assert_eq!(client.get("/help/me").await.unwrap().status, 404);
    site.extra = "routes: [ { path: /help, service: cc } ]".to_owned();
    site.rewrite_config();
    reload(&mut site);
    load.wait_answers(50);
    let answer = client.get("/help/me").await.unwrap();
    // Carried: it is the side that knows nothing of it.
    assert_eq!((answer.status.as_u16(), answer.side()), (404, "main"));
    for _ in 0..5 {
        reload(&mut site);
    }
    load.wait_answers(50);
    load.stop().assert_all_well();
    assert!(site.noted("reloaded"));
    // E1, E4: the live side is what it was, and the other still takes over.
    assert_eq!(site.live(), ("main".to_owned(), 0));
    site.wait_ready_to_switch();
    site.main.kill();
    assert_eq!(client.get("/version").await.unwrap().side(), "standby");
}

#[tokio::test]
async fn a_reload_does_not_move_traffic_back_from_standby() {
    let mut site = Site::start_on_standby(BRISK);
    let load = Load::start(Client::of(&site));
    site.extra = format!("{BRISK}\nroutes: [ {{ path: /help, service: cc }} ]");
    site.rewrite_config();
    reload(&mut site);
    load.wait_answers(100);
    let tally = load.stop();
    tally.assert_all_well();
    assert!(tally.0.iter().all(|asked| asked.side() == "standby"));
    assert_eq!((site.live(), site.main.requests()), (("standby".to_owned(), 1), 0));
}

#[test]
fn a_reload_that_comes_while_the_edge_starts_does_not_end_it() {
    let mut site = Site::start();
    site.stop_edge();
    for _ in 0..5 {
        site.spawn_edge();
        wait_until("the admin socket is there", || UnixStream::connect(site.path("admin.sock")).is_ok());
        site.edge().signal(Signal::HUP);
        wait_until("it is loaded anew", || site.ask("GET", "/readyz", "").is_some() && site.metric(RELOADED) == 2.0);
        site.stop_edge();
    }
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_why() {
    let mut site = Site::start();
    let client = Client::of(&site);
    let good = site.config();
    let bad_key = good.replace("preset: xivo", "preset: xivo\nfailbak: sticky");
    let mut expected = 0.0;
    let mut since = None;
    for (text, phrase) in [(bad_key.as_str(), "did you mean failback"), ("sides: [", "line"), ("", "fqdn")] {
        site.write_config(text);
        site.edge().signal(Signal::HUP);
        expected += 1.0;
        wait_until("it is refused", || site.metric(REFUSED) == expected);
        let newest =
            || site.history().into_iter().find(|entry| entry["event"] == "alarm").unwrap()["sentence"].to_string();
        wait_until("the journal says why", || newest().contains("nothing has changed") && newest().contains(phrase));
        wait_until("the log says why", || site.log().contains(phrase));
        // On every screen for as long as it lasts: a restart would be the end.
        let broken = site.status()["configuration"]["broken"].clone();
        assert!(broken["error"].as_str().unwrap().contains(phrase), "{broken}");
        assert_eq!(*since.get_or_insert(broken["since"].clone()), broken["since"], "since the first of them");
        let screen = site.order(&["status", "--socket", &site.path("admin.sock").display().to_string()]);
        assert!(
            screen.contains("the configuration on the disk does not load, since") && screen.contains(phrase),
            "{screen}"
        );
        assert_eq!(site.metric("bascule_config_broken"), 1.0);
        assert_eq!(client.get("/version").await.unwrap().status, 200);
    }
    // A key that is not the certificate's.
    site.write_config(&good);
    let kept = fs::read(site.path("key.pem")).unwrap();
    fs::write(site.path("key.pem"), "no key").unwrap();
    site.edge().signal(Signal::HUP);
    wait_until("it is refused", || site.metric(REFUSED) == expected + 1.0);
    assert_eq!(client.get("/version").await.unwrap().status, 200);
    fs::write(site.path("key.pem"), kept).unwrap();
    reload(&mut site);
    assert_eq!(client.get("/version").await.unwrap().status, 200);
    let status = site.status();
    assert!(status["configuration"]["broken"].is_null() && status["alarms"].as_array().unwrap().is_empty(), "{status}");
    assert_eq!(site.metric("bascule_config_broken"), 0.0);
}

#[tokio::test]
async fn a_drained_edge_finishes_what_it_began_and_takes_nothing_new() {
    let mut site = Site::start_with("limits: { drain: 60s }");
    let client = Client::of(&site);
    let mut idle = client.connect(Speaks::H1).await.unwrap();
    assert_eq!(idle.get("/version").await.unwrap().status, 200);
    let mut slow = Vec::new();
    for speaks in [Speaks::H1, Speaks::H2] {
        for method in [Method::GET, Method::POST] {
            let client = client.clone();
            slow.push(tokio::spawn(async move {
                client.connect(speaks).await?.send(method, "/xuc/lab/slow?ms=4000", "").await
            }));
        }
    }
    let limit = tokio::time::Instant::now() + PATIENCE;
    while site.main.requests() < 5 {
        assert!(tokio::time::Instant::now() < limit);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = std::time::Instant::now();
    site.edge().signal(Signal::TERM);
    wait_until("it takes no more", || site.log().contains("draining"));
    // It says so just before it does.
    while client.get("/version").await.unwrap().status == 200 {}
    assert_eq!(client.get("/version").await.unwrap().status, 503);
    for answer in slow {
        let answer = answer.await.unwrap().unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "4000 ms later\n"));
    }
    // Whoever was idle is told by the end of the connection.
    assert!(idle.get("/version").await.is_err());
    assert_eq!(site.edge().wait(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(50), "{:?}", began.elapsed());
    assert!(site.log().contains("all connections have ended"), "{}", site.log());
}

#[tokio::test]
async fn a_drain_that_does_not_end_is_ended() {
    let mut site = Site::start_with("limits: { drain: 1s }");
    let client = Client::of(&site);
    let hanging = tokio::spawn(async move { client.get("/xuc/lab/hang").await });
    let limit = tokio::time::Instant::now() + PATIENCE;
    while site.main.requests() < 1 {
        assert!(tokio::time::Instant::now() < limit);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = std::time::Instant::now();
    site.edge().signal(Signal::TERM);
    assert_eq!(site.edge().wait(), Some(0));
    assert!((1..30).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(site.log().contains("the drain limit is over"), "{}", site.log());
    assert_eq!(hanging.await.unwrap().unwrap().status, 503);
}
