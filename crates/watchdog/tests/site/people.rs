//! What people do: by the command line, by hand, at the Edge.

use failover::Side;
use protocol::wire::{NodeReport, Wish, WishOutcome, Wished};

use crate::site::Site;

const ON_MAIN: [&str; 2] = ["main-xivo", "main-cc"];
const ON_STANDBY: [&str; 2] = ["standby-xivo", "standby-cc"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w7_an_operator_moves_telephony_and_every_act_is_in_the_journal() {
    let mut site = Site::new().await;
    site.start_all();
    site.settles_on(&ON_MAIN).await;
    let (code, text) = site.get("main-xivo").verb(&["deactivate", "--reason", "new kernel"]);
    assert_eq!(code, 0, "{text}");
    site.settles_on(&ON_STANDBY).await;
    let chose = |serves, reason| {
        move |report: &NodeReport| {
            report.chosen.as_ref().is_some_and(|told| told.serves == serves && told.reason == reason)
        }
    };
    site.until_told("main-xivo", "whose choice it is", chose(Side::Standby, "new kernel")).await;
    let heard = |site: &Site| site.nodes[0].status()["voters"]["peer"]["status"] == "active";
    site.until("main hears that standby serves", || heard(&site)).await;
    let (code, text) = site.get("main-xivo").verb(&["activate"]);
    assert_eq!(code, 1, "standby serves: {text}");
    let (code, text) = site.get("standby-xivo").verb(&["deactivate"]);
    assert_eq!(code, 0, "{text}");
    site.until("main hears that standby stops", || !heard(&site)).await;
    let (code, text) = site.get("main-xivo").verb(&["activate"]);
    assert_eq!(code, 0, "{text}");
    site.settles_on(&ON_MAIN).await;
    site.until_told("main-xivo", "the newer choice", chose(Side::Main, "")).await;
    let (_, history) = site.get("main-xivo").verb(&["history"]);
    assert!(history.contains("deactivate") && history.contains("new kernel"), "{history}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w7_manual_and_frozen_nodes_do_not_start_by_themselves() {
    for verb in [&["freeze"][..], &["mode", "manual"]] {
        let mut site = Site::new().await;
        site.start_all();
        site.settles_on(&ON_MAIN).await;
        let (code, text) = site.get("standby-xivo").verb(verb);
        assert_eq!(code, 0, "{text}");
        let starts = site.nodes[1].starts();
        site.get("main-xivo").die();
        let waits = |site: &Site| !site.nodes[1].status()["waiting"].is_null();
        site.until("standby says why it waits", || waits(&site)).await;
        let back = if verb[0] == "freeze" { &["resume"][..] } else { &["mode", "automatic"] };
        // A whole lease later it still waits.
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
        assert_eq!(site.nodes[1].starts(), starts);
        let (code, text) = site.get("standby-xivo").verb(back);
        assert_eq!(code, 0, "{text}");
        site.until("standby serves", || site.nodes[1].runs()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_the_services_by_hand_is_not_fought() {
    let mut site = Site::new().await;
    site.start_all();
    site.settles_on(&ON_MAIN).await;
    site.get("main-xivo").touch("by-hand");
    let starts = site.get("main-xivo").starts();
    site.get("main-xivo").remove("runs");
    site.settles_on(&ON_STANDBY).await;
    // Its recovery and hold-down are long over: it does not come back.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    site.settles_on(&ON_STANDBY).await;
    assert_eq!(site.get("main-xivo").starts(), starts);
    let (_, history) = site.get("main-xivo").verb(&["history"]);
    assert!(history.contains("on purpose") || history.contains("by hand"), "{history}");
    assert_eq!(site.get("main-xivo").verb(&["resume"]).0, 0);
    site.settles_on(&ON_MAIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_handed_over_by_the_edge_is_followed_once() {
    let mut site = Site::new().await;
    site.start_all();
    site.settles_on(&ON_MAIN).await;
    site.witness.wish(Wish { id: 7, to: Side::Standby, who: "ann".into(), reason: "test".into() });
    site.settles_on(&ON_STANDBY).await;
    let followed = Some(Wished { id: 7, outcome: WishOutcome::Followed });
    site.until_told("main-xivo", "what became of the wish", |report| report.wished == followed).await;
}
