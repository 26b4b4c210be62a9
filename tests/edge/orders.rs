//! Operators' orders, and policies that move traffic without a fault or keep it in spite of one.

use std::time::{SystemTime, UNIX_EPOCH};

use failover::Side;

use crate::client::Client;
use crate::failover::{BRISK, assert_all_wait};
use crate::load::Load;
use crate::site::{Site, wait_until};

#[test]
fn e1_a_planned_switch_under_load_fails_nobody_and_sends_nobody_astray() {
    let site = Site::start();
    site.wait_ready_to_switch();
    let load = Load::start(Client::of(&site));
    load.wait_served(Side::Main, 50);
    let dry = site.order(&["switch", "--to", "standby", "--dry-run"]);
    assert!(dry.contains("dry run") && site.live().0 == "main", "{dry}");
    let mut seen = Vec::new();
    for (epoch, to) in [(1, Side::Standby), (2, Side::Main), (3, Side::Standby)] {
        let told = site.order(&["switch", "--to", to.label(), "--reason", "kernel update"]);
        assert!(told.contains(&format!("bascule report {epoch}")), "{told}");
        assert_eq!(site.live(), (to.label().to_owned(), epoch));
        // Whoever asks from now on is served by the new side alone.
        let other = site.main.requests().min(site.standby.requests());
        load.wait_served(to, 50);
        seen.push(other);
        let report = site.report(epoch);
        assert_eq!((report["kind"].as_str(), report["counts"]["failed"].as_u64()), (Some("planned"), Some(0)));
    }
    let tally = load.stop();
    let replayed = site.metric("bascule_replayed_total");
    tally.assert_all_well();
    // Each request reached one side once, or was repeated and counted.
    let reached = site.main.requests() + site.standby.requests();
    assert!(reached as f64 <= tally.0.len() as f64 + replayed, "{reached} of {} + {replayed}", tally.0.len());
    assert!(reached >= tally.0.len() as u64);
    let switched: Vec<_> = site.history().into_iter().filter(|entry| entry["event"] == "switched").collect();
    assert_eq!(switched.len(), 3);
    assert!(switched.iter().all(|entry| entry["why"] == "kernel update" && entry["by"].is_string()), "{switched:?}");
}

#[test]
fn e1_after_a_planned_switch_the_side_that_was_left_gets_no_request() {
    let site = Site::start();
    site.wait_ready_to_switch();
    let load = Load::start(Client::of(&site));
    load.wait_served(Side::Main, 50);
    site.order(&["switch", "--to", "standby"]);
    // The order is answered when the switch is made. What was on its way to Main then was asked before.
    let moved = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    load.wait_served(Side::Standby, 100);
    let tally = load.stop();
    tally.assert_all_well();
    assert!(tally.by("main").all(|asked| u128::from(asked.at_ms) <= moved));
    let replayed = site.metric("bascule_replayed_total");
    assert!(site.main.requests() as f64 <= tally.by("main").count() as f64 + replayed);
}

#[tokio::test]
async fn an_order_to_a_side_that_does_not_work_is_refused_unless_forced() {
    let mut site = Site::start_with(BRISK);
    site.wait_ready_to_switch();
    site.standby.kill();
    site.wait_health(Side::Standby, "not_working");
    let (code, text) = site.verb(&["switch", "--to", "standby"]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("does not work"), "{text}");
    let (code, text) = site.verb(&["switch", "--to", "main"]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("live already"), "{text}");
    let (code, _) = site.verb(&["switch", "--to", "elsewhere"]);
    assert_eq!(code, Some(2));
    assert_eq!(site.live(), ("main".to_owned(), 0));
    assert!(site.noted("refused"));
    site.order(&["switch", "--to", "standby", "--force", "--reason", "drill"]);
    assert_eq!(site.live(), ("standby".to_owned(), 1));
    assert!(site.status()["frozen"].is_object(), "a forced switch is not undone at once");
}

#[tokio::test]
async fn a_frozen_edge_stays_on_a_dead_side_and_moves_when_it_may_again() {
    let mut site = Site::start_with(BRISK);
    let client = Client::of(&site);
    site.wait_ready_to_switch();
    site.order(&["freeze", "--reason", "switch board works"]);
    assert_eq!(site.metric("bascule_frozen"), 1.0);
    site.main.kill();
    site.wait_health(Side::Main, "not_working");
    wait_until("the Edge says why it stays", || {
        site.status()["sentence"].as_str().unwrap().contains("an operator froze it")
    });
    assert_all_wait(&client).await;
    assert_eq!(site.live(), ("main".to_owned(), 0));
    assert_eq!(site.standby.requests(), 0);
    // It is remembered (E4).
    site.edge().kill();
    site.spawn_edge();
    wait_until("the Edge is back", || site.ask("GET", "/healthz", "").is_some_and(|(status, _)| status == 200));
    site.wait_health(Side::Standby, "working");
    site.wait_health(Side::Main, "not_working");
    assert_eq!(site.status()["frozen"]["why"], "switch board works");
    assert_all_wait(&client).await;
    site.order(&["resume", "--reason", "done"]);
    site.wait_live(Side::Standby);
    assert_eq!(client.get("/version").await.unwrap().side(), "standby");
    assert_eq!(site.metric("bascule_frozen"), 0.0);
    assert!(site.noted("frozen") && site.noted("resumed"));
}

#[tokio::test]
async fn an_observing_edge_says_what_it_would_do_and_moves_nothing() {
    let mut site = Site::start_with(&format!("{BRISK}\nobserve: true\nswitch: {{ park_limit: 1500ms }}"));
    let client = Client::of(&site);
    site.wait_health(Side::Standby, "working");
    site.main.kill();
    wait_until("it is in the journal", || site.noted("would_have_switched"));
    assert_eq!(site.live(), ("main".to_owned(), 0));
    assert_all_wait(&client).await;
    assert_eq!(site.standby.requests(), 0);
    assert!(site.order(&["history"]).contains("would have switched"));
    assert_eq!(site.metric("bascule_observe"), 1.0);
    site.main.start();
    site.wait_health(Side::Main, "working");
    wait_until("Main serves", || site.ask("GET", "/readyz", "").unwrap().0 == 200);
    assert_eq!(client.get("/version").await.unwrap().side(), "main");
}

#[test]
fn e1_where_main_is_preferred_traffic_goes_back_once_it_has_held() {
    let mut site = Site::start_with(&format!("{BRISK}\nfailback: {{ prefer-main: {{ hold_down: 2s }} }}"));
    site.wait_ready_to_switch();
    let load = Load::start(Client::of(&site));
    site.main.kill();
    site.wait_live(Side::Standby);
    site.main.start();
    site.wait_health(Side::Main, "working");
    wait_until("Main is held down", || {
        let status = site.status();
        status["live"] == "main" || status["sentence"].as_str().unwrap().contains("moves back to main")
    });
    site.wait_live(Side::Main);
    load.wait_served(Side::Main, 20);
    load.stop().assert_all_well_or_broken_off();
    let report = site.report(2);
    assert_eq!(report["kind"], "failback");
    assert!(report["reason"].as_str().unwrap().contains("is preferred"), "{report}");
    // An operator's choice is not undone.
    site.order(&["switch", "--to", "standby"]);
    assert!(site.status()["sentence"].as_str().unwrap().contains("an operator chose"), "{}", site.status());
}
