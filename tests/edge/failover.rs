//! Sides die and come back; what users notice is nothing, or a page that waits with them.

use std::time::{Duration, Instant};

use failover::Side;
use rustix::process::Signal;
use serde_json::Value;

use crate::client::{Answer, Client, Speaks};
use crate::load::{Load, Tally};
use crate::shared::{InTime, in_time, measure_blocking};
use crate::site::{Site, wait_until};
use crate::turns::alone;

/// A killed side may cost nobody more than this.
const KILLED: Duration = Duration::from_millis(300);
/// Probes at a quicker pace, where a test waits for a side to be seen again; time limits stay generous.
pub const BRISK: &str = "probe: { interval: 500ms, time_limit: 500ms }";

/// When the last switch was decided and when it was on the disk, milliseconds since 1970.
fn decided(site: &Site, number: u64) -> (u64, u64) {
    let report = site.report(number);
    let at = |phase: &str| {
        let text = report["phases"][phase]["at"].as_str().unwrap_or_else(|| panic!("{phase}: {report}"));
        let time = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap();
        u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap()
    };
    (at("decision"), at("persisted"))
}

/// Nobody was sent to a side that was not live, as far as headers and time tell.
fn each_side_in_its_time(tally: &Tally, (decision, persisted): (u64, u64)) -> InTime {
    for asked in tally.by("main") {
        assert!(asked.at_ms <= persisted, "Main served a request of {} after the switch at {persisted}", asked.at_ms);
    }
    let after = tally.0.iter().filter(|asked| asked.at_ms > persisted);
    assert!(after.clone().count() > 0 && after.clone().all(|asked| asked.side() == "standby"));
    let earliest = tally.by("standby").map(|asked| asked.at_ms).min().unwrap();
    // Those that waited were asked before.
    in_time("a request waited", Duration::from_millis(decision.saturating_sub(earliest)), Duration::from_secs(1))
}

#[test]
fn e2_a_killed_main_costs_nobody_an_answer_and_nobody_waits_long() {
    let _alone = alone();
    measure_blocking(killed);
}

fn killed() -> InTime {
    let mut site = Site::start();
    site.wait_ready_to_switch();
    let load = Load::start(Client::of(&site));
    load.wait_answers(100);
    assert_eq!(site.standby.requests(), 0);
    site.main.kill();
    site.wait_live(Side::Standby);
    load.wait_served(Side::Standby, 150);
    let tally = load.stop();
    // Nobody can finish for Main what it has begun to answer; it rarely stops for as long in the middle of one.
    if tally.broken_off() > 0 {
        return Err(format!("{} answers had begun", tally.broken_off()));
    }
    tally.assert_all_well();
    assert!(tally.by("main").count() >= 100);
    let in_its_time = each_side_in_its_time(&tally, decided(&site, 1));
    // E1: Standby had those requests it answered, and none before.
    assert_eq!(site.standby.requests(), tally.by("standby").count() as u64);
    for speaks in [Speaks::H1, Speaks::H2] {
        assert!(tally.by("standby").filter(|asked| asked.speaks == speaks).count() > 20, "{speaks:?}");
    }
    assert_eq!(site.live(), ("standby".to_owned(), 1));
    // As measured where two cores are shared with other work, with much to spare.
    in_its_time?;
    in_time("nobody got an answer", tally.longest_gap(), KILLED)
}

/// The page users wait with.
fn assert_waiting(answer: &Answer, path: &str) {
    assert_eq!(answer.status, 503, "{path}");
    let field = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(field("bascule-waiting").as_deref(), Some("1"), "{path}");
    assert!(field("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok()), "{path}");
    assert!(field("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{path}");
    assert!(answer.text().trim_start().starts_with("<!") || answer.text().trim_start().starts_with("<html"), "{path}");
    assert!(serde_json::from_slice::<Value>(&answer.body).is_err(), "{path}: JSON");
    assert_eq!(answer.side(), "none", "{path}");
}

pub async fn assert_all_wait(client: &Client) {
    for speaks in [Speaks::H1, Speaks::H2] {
        for path in ["/ucassistant/", "/xuc/api/2.0/auth/check", "/version"] {
            let answer = client.connect(speaks).await.unwrap().get(path).await.unwrap();
            assert_waiting(&answer, path);
        }
    }
}

#[tokio::test]
async fn e1_e3_traffic_stays_until_its_side_dies_and_the_first_side_up_gets_it() {
    let mut site = Site::start_with(&format!("{BRISK}\nswitch: {{ switches_per_hour: 100 }}"));
    let client = Client::of(&site);
    site.wait_ready_to_switch();
    let load = Load::start(client.clone());
    site.main.kill();
    site.wait_live(Side::Standby);
    // Main is back, and gets nothing (E1).
    site.main.start();
    site.wait_health(Side::Main, "working");
    load.wait_served(Side::Standby, 100);
    assert_eq!(site.main.requests(), 0);
    assert_eq!(site.live(), ("standby".to_owned(), 1));
    // Only when Standby dies.
    let back = Instant::now();
    site.standby.kill();
    site.wait_live(Side::Main);
    load.wait_served(Side::Main, 50);
    let tally = load.stop();
    tally.assert_all_well_or_broken_off();
    assert_eq!(site.main.requests(), tally.by("main").filter(|asked| asked.done > back).count() as u64);
    // Neither: the live side stays, and users wait (E3).
    site.main.kill();
    site.wait_health(Side::Main, "not_working");
    wait_until("the Edge is not ready", || site.ask("GET", "/readyz", "").unwrap().0 == 503);
    assert_all_wait(&client).await;
    assert_eq!(site.live(), ("main".to_owned(), 2));
    assert!(site.status()["sentence"].as_str().unwrap().contains("neither side works"));
    // The first to work gets the traffic.
    site.standby.start();
    site.wait_live(Side::Standby);
    wait_until("the Edge is ready", || site.ask("GET", "/readyz", "").unwrap().0 == 200);
    let answer = client.get("/version").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.side()), (200, "standby"));
    // The side that was live gets it as well, if it is the first.
    site.standby.kill();
    site.wait_health(Side::Standby, "not_working");
    assert_all_wait(&client).await;
    site.standby.start();
    site.wait_health(Side::Standby, "working");
    assert_eq!(client.get("/version").await.unwrap().side(), "standby");
    assert_eq!(site.live(), ("standby".to_owned(), 3));
}

#[tokio::test]
async fn e4_an_edge_that_restarts_stays_on_standby_and_keeps_its_epoch() {
    let mut site = Site::start_on_standby(BRISK);
    for signal in [Signal::KILL, Signal::TERM] {
        wait_until("the switch is on the disk", || site.status()["persisted"] == true);
        site.edge().signal(signal);
        let code = site.edge().wait();
        assert_eq!(code, (signal == Signal::TERM).then_some(0));
        site.start_edge();
        assert_eq!(site.live(), ("standby".to_owned(), 1), "after {signal:?}");
        site.wait_health(Side::Main, "working");
        let answer = Client::of(&site).get("/version").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.side()), (200, "standby"));
        assert_eq!(site.main.requests(), 0);
    }
    let started: Vec<_> = site.history().into_iter().filter(|entry| entry["event"] == "started").collect();
    assert_eq!(started.len(), 3);
    assert!(site.noted("stopped"));
}

#[tokio::test]
async fn e9_a_flapping_site_is_damped_loudly_and_a_dead_side_is_left_all_the_same() {
    let mut site = Site::start_with(&format!("{BRISK}\nswitch: {{ switches_per_hour: 2 }}"));
    let client = Client::of(&site);
    for (dead, to) in [(Side::Main, Side::Standby), (Side::Standby, Side::Main)] {
        site.wait_health(to, "working");
        assert_eq!(site.status()["damped"], false);
        site.side(dead).kill();
        site.wait_live(to);
        site.side(dead).start();
        site.wait_health(dead, "working");
    }
    wait_until("the site is damped", || site.status()["damped"] == true);
    assert_eq!(site.metric("bascule_damped"), 1.0);
    assert!(site.noted("damped"));
    wait_until("the log says so", || site.log().contains("DAMPED"));
    assert!(site.order(&["status"]).contains("DAMPED"));
    // Ill, not dead: it is kept.
    site.main.behave("500");
    site.wait_health(Side::Main, "not_working");
    let kept = |site: &Site| site.status()["sentence"].as_str().unwrap().contains("the switch budget is used up");
    wait_until("the budget holds traffic where it is", || kept(&site));
    assert_eq!(site.live(), ("main".to_owned(), 2));
    assert_eq!(client.get("/version").await.unwrap().side(), "main");
    assert_eq!(site.standby.requests(), 0);
    // Dead: it is left.
    site.main.kill();
    site.wait_live(Side::Standby);
    let answer = client.get("/version").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.side()), (200, "standby"));
    assert!(site.report(3)["reason"].as_str().unwrap().contains("a dead side is left"));
    assert_eq!(site.metric("bascule_switches_total{from=\"main\",kind=\"failover\",to=\"standby\"}"), 2.0);
}
