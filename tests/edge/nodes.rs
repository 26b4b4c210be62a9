//! The nodes' endpoint: votes, reports, and a switch of the whole site, with watchdogs that are played.

mod watchdogs;

use std::fs;
use std::time::{Duration, Instant};

use failover::Side;
use failover::health::Status;
use failover::lease::{Ask as Wants, Request, Timing, VoteReply};
use protocol::issue::{Authority, Validity};
use protocol::who::Who;
use protocol::wire::{Ask, Role, Times, Told};

use crate::metrics::assert_no_fault;
use crate::site::wait_until;
use watchdogs::{Stage, Watched, report, request, vote};

/// The vote as soon as the Edge answers again, and the one it rules as awaited.
fn wait_ruling(watched: &Watched, side: Side, wants: Wants, campaign: u64, ruling: VoteReply) -> Instant {
    let link = watched.dial_as(&Watched::xivo(side));
    wait_until(&format!("{side} is told {ruling}"), || {
        watched.vote(&link, side, wants, campaign).is_some_and(|answer| answer.ruling == ruling)
    });
    Instant::now()
}

#[test]
fn w1_a_witness_killed_and_started_again_keeps_its_promise_for_its_whole_time() {
    let mut watched = Watched::start();
    // Its disk held no vote: it was quiet first.
    wait_ruling(&watched, Side::Main, Wants::Want, 1, VoteReply::Grant);
    wait_ruling(&watched, Side::Standby, Wants::Want, 1, VoteReply::Lost);
    watched.site.edge().kill();
    let killed = Instant::now();
    watched.site.start_edge();
    let link = watched.dial_as(&Watched::xivo(Side::Standby));
    wait_until("it answers", || watched.vote(&link, Side::Standby, Wants::Hello, 1).is_some());
    let first = watched.vote(&link, Side::Standby, Wants::Want, 1).unwrap().ruling;
    assert!(first == VoteReply::Lost || killed.elapsed() >= Timing::DEFAULT.promise, "{first:?}");
    let granted = wait_ruling(&watched, Side::Standby, Wants::Want, 1, VoteReply::Grant);
    assert!(granted - killed >= Timing::DEFAULT.promise);
    wait_until("the journal tells whose it is", || {
        watched.site.history().iter().any(|entry| {
            entry["event"] == "vote" && entry["sentence"].as_str().unwrap().contains("promised to standby")
        })
    });
    // Asked for again and again, as a promise ends by itself.
    let renewed = || watched.vote(&link, Side::Standby, Wants::Want, 1).is_some();
    wait_until("the status tells it", || renewed() && watched.site.status()["witness"]["holder"] == "standby");
    wait_until("it is counted", || {
        renewed() && watched.site.metric("bascule_witness_promised{side=\"standby\"}") > 0.5
    });
}

#[test]
fn w1_a_witness_whose_vote_is_lost_denies_even_renewals_for_its_quiet_time() {
    let mut watched = Watched::start();
    wait_ruling(&watched, Side::Main, Wants::Want, 1, VoteReply::Grant);
    for spoil in ["gone", "newer"] {
        watched.site.edge().kill();
        let file = watched.site.path("state").join("witness.json");
        match spoil {
            "gone" => fs::remove_file(&file).unwrap(),
            _ => fs::write(&file, r#"{"format":"bascule witness","version":99}"#).unwrap(),
        }
        let before = Instant::now();
        watched.site.start_edge();
        let link = watched.dial_as(&Watched::xivo(Side::Main));
        wait_until("it answers", || watched.vote(&link, Side::Main, Wants::Hello, 1).is_some());
        let first = watched.vote(&link, Side::Main, Wants::Renew, 1).unwrap().ruling;
        assert!(first == VoteReply::Deny || before.elapsed() >= Timing::DEFAULT.quiet, "{spoil}: {first:?}");
        let granted = wait_ruling(&watched, Side::Main, Wants::Renew, 1, VoteReply::Grant);
        assert!(granted - before >= Timing::DEFAULT.quiet, "{spoil}");
    }
    wait_until("the log says why", || watched.site.log().contains("another version of bascule (format 99"));
}

#[test]
fn w1_longer_times_than_the_edge_may_promise_get_no_vote_and_the_screen_and_check_say_so() {
    let watched = Watched::start();
    wait_ruling(&watched, Side::Main, Wants::Want, 1, VoteReply::Grant);
    let link = watched.dial_as(&Watched::xivo(Side::Main));
    let longer = Request { needs: Duration::from_millis(3_900), ..request(Side::Main, Wants::Renew, 1) };
    let ruled = watched.ask(&link, Ask::Vote(longer)).unwrap();
    assert!(matches!(&ruled, Told::Vote(answer) if answer.ruling == VoteReply::TooLong), "{ruled:?}");
    let words = "needs a vote for 3.9 s, and the Edge promises its own for 2.5 s at most";
    wait_until("the screen says so", || watched.site.status()["alarms"].to_string().contains(words));
    let times = Times { needs_ms: 3_900, promises_ms: 4_000 };
    let told = protocol::wire::NodeReport {
        vote: Some(protocol::wire::Vote { times: Some(times), ..vote() }),
        ..report(Status::Inactive)
    };
    let mut checked = (None, String::new());
    wait_until("check says so", || {
        watched.ask(&link, Ask::Report(Box::new(told.clone()))).unwrap();
        checked = watched.site.verb(&["check"]);
        checked.1.contains("the xivo node main-xivo needs a vote for 3.9 s, and this Edge promises its own for 2.5 s")
    });
    assert_eq!(checked.0, Some(1), "{}", checked.1);
    let words = "needs a vote for 3.9 s and promises its own for 4 s at most; this Edge needs";
    wait_until("the operator's screen says so", || {
        watched.ask(&link, Ask::Report(Box::new(told.clone()))).unwrap();
        watched.site.order(&["status"]).contains(words)
    });
}

#[test]
fn w1_a_second_machine_of_mains_name_gets_no_vote_and_the_edge_names_it() {
    let watched = Watched::start();
    wait_ruling(&watched, Side::Main, Wants::Want, 1, VoteReply::Grant);
    let link = watched.dial_as(&Watched::xivo(Side::Main));
    let began = Instant::now();
    let alarm = |words: &str| watched.site.status()["alarms"].to_string().contains(words);
    wait_until("the edge names it", || {
        let ask = |asked| watched.ask(&link, Ask::Vote(asked)).unwrap();
        ask(request(Side::Main, Wants::Renew, 1));
        let copy = ask(Request { instance: 2, ..request(Side::Main, Wants::Want, 9) });
        assert!(matches!(&copy, Told::Vote(answer) if answer.ruling == VoteReply::Lost), "{copy:?}");
        alarm("TWO MACHINES ask as the XiVO node of main")
    });
    assert!(began.elapsed() > Timing::DEFAULT.promise, "a boot looks the same for a while");
}

#[test]
fn a_certificate_lets_its_node_ask_for_its_own_side_and_nothing_else() {
    let watched = Watched::start();
    let log = |words: &str| wait_until(&format!("the log says {words:?}"), || watched.site.log().contains(words));
    let refused = |who: &Who, ask: Ask, words: &str| {
        let told = watched.ask(&watched.dial_as(who), ask).unwrap();
        assert!(matches!(&told, Told::Refused { reason } if reason.contains(words)), "{told:?}");
    };
    let vote = || Ask::Vote(request(Side::Main, Wants::Want, 1));
    refused(&Watched::xivo(Side::Standby), vote(), "does not let it ask for the vote of main");
    refused(&Who::of_side(Role::Cc, Side::Main, "cc"), vote(), "does not let it ask for the vote of main");
    refused(
        &Who::Operator { name: "alice".into() },
        Ask::Report(Box::new(report(Status::Active))),
        "only nodes report",
    );
    log("was refused: its certificate does not let it ask for the vote of main");

    let elsewhere = tempfile::tempdir().unwrap();
    let foreign = elsewhere.path().join("node");
    let authority = Authority::create(&elsewhere.path().join("ca"), "elsewhere").unwrap();
    authority.issue(&Watched::xivo(Side::Main), &foreign, Validity::days(1)).unwrap();
    assert!(watched.ask(&watched.dial(foreign), vote()).is_err());
    log("it refuses our certificate");
    let old =
        watched.identity(&Who::of_side(Role::Xivo, Side::Main, "old"), Validity::ended(protocol::identity::GRACE_DAYS));
    assert!(watched.ask(&watched.dial(old), vote()).is_err());
    log("its certificate has expired");
    wait_until("all are counted", || {
        watched.site.metric("bascule_nodes_turned_away_total{reason=\"role\"}") > 2.5
            && watched.site.metric("bascule_nodes_turned_away_total{reason=\"handshake\"}") > 1.5
    });
}

#[test]
fn e2_a_node_that_says_it_is_inactive_moves_traffic_although_its_probes_answer() {
    let stage = Stage::new(Status::Active, Status::Inactive);
    let watched = Watched::full(&stage);
    assert_eq!(watched.site.live().0, "main");
    let live_file = || fs::read_to_string(watched.site.path("live")).unwrap_or_default();
    wait_until("the file says main", || live_file() == "main\n");
    stage.set(Side::Main, Status::Inactive);
    stage.set(Side::Standby, Status::Active);
    watched.site.wait_live(Side::Standby);
    let reason = watched.site.status()["sides"]["main"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("of main says it is inactive"), "{reason}");
    wait_until("the file says standby", || live_file() == "standby\n");
    // A node that falls silent says nothing: the probes decide alone, and Main answers them.
    stage.mute(Side::Main);
    watched.site.wait_health(Side::Main, "working");
    assert_eq!(watched.site.live().0, "standby");
}

#[test]
fn two_actives_are_an_alarm_in_status_journal_and_metrics_until_one_ends() {
    let stage = Stage::new(Status::Active, Status::Inactive);
    let watched = Watched::full(&stage);
    let alarm = || {
        let status = watched.site.status();
        status["alarms"].as_array().unwrap().iter().any(|alarm| alarm.as_str().unwrap().starts_with("TWO ACTIVES"))
    };
    assert!(!alarm());
    stage.set(Side::Standby, Status::Active);
    wait_until("the alarm is there", alarm);
    wait_until("it is counted", || watched.site.metric("bascule_two_actives") > 0.5);
    let told = |entry: &serde_json::Value| entry["sentence"].as_str().unwrap().starts_with("TWO ACTIVES");
    let noted = || watched.site.history().iter().filter(|entry| entry["event"] == "alarm" && told(entry)).count();
    wait_until("it is noted", || noted() > 0);
    assert_eq!(noted(), 1);
    stage.set(Side::Standby, Status::Inactive);
    wait_until("the alarm is over", || !alarm());
}

#[test]
fn a_planned_switch_moves_a_site_whose_nodes_follow_and_ends_verified() {
    let stage = Stage::new(Status::Active, Status::Inactive);
    let watched = Watched::full(&stage);
    let shown = watched.site.order(&["switch", "--to", "standby", "--dry-run"]);
    assert!(shown.contains("nothing was done") && shown.contains("start telephony"), "{shown}");
    assert_eq!((stage.status(Side::Main), watched.site.live().0.as_str()), (Status::Active, "main"));

    let shown = watched.site.order(&["switch", "--to", "standby", "--reason", "kernel update"]);
    for words in
        ["both XiVO nodes report", "ok  stop telephony", "ok  verify", "Standby serves, and all of it was verified"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!((stage.status(Side::Main), stage.status(Side::Standby)), (Status::Inactive, Status::Active));
    assert_eq!(watched.site.live().0, "standby");
    wait_until("it is counted", || watched.site.metric("bascule_site_switches_total{result=\"done\"}") > 0.5);
    assert_no_fault(&watched.site.metrics_text());
    let steps = watched.site.history().into_iter().filter(|entry| entry["event"] == "walk");
    assert!(steps.filter(|entry| entry["why"] == "kernel update").count() >= 8);

    for words in ["standby-xivo", "mds1", "if Standby died now: Main would take over within 5.2 s"] {
        wait_until(&format!("the screen says {words}"), || watched.site.order(&["status"]).contains(words));
    }
    let back = watched.site.order(&["switch", "--to", "main", "--json"]);
    let back: serde_json::Value = serde_json::from_str(&back).unwrap();
    assert_eq!((&back["walk"]["state"], &back["live"]), (&"done".into(), &"main".into()), "{back}");
}

#[test]
fn a_planned_switch_of_the_whole_site_is_booked_as_planned_by_whom_it_was_asked_and_uses_up_no_budget() {
    let stage = Stage::new(Status::Active, Status::Inactive);
    let watched = Watched::full(&stage);
    for to in ["standby", "main", "standby", "main", "standby", "main"] {
        watched.site.order(&["switch", "--to", to, "--reason", "kernel update"]);
    }
    let planned = |from: &str, to: &str| {
        watched.site.metric(&format!("bascule_switches_total{{from=\"{from}\",kind=\"planned\",to=\"{to}\"}}"))
    };
    assert_eq!((planned("main", "standby"), planned("standby", "main")), (3.0, 3.0));
    let history = watched.site.history();
    let switched: Vec<_> = history.iter().filter(|entry| entry["event"] == "switched").collect();
    assert_eq!(switched.len(), 6);
    assert!(switched.iter().all(|entry| entry["why"] == "kernel update"), "{switched:?}");
    assert!(!history.iter().any(|entry| entry["event"] == "damped"), "{history:?}");

    // What would be refused is, in a dry run too.
    let (code, shown) = watched.site.verb(&["switch", "--to", "main", "--dry-run", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, shown["refused"].is_string()), (Some(3), true), "{shown}");
}

#[test]
fn what_an_operator_does_at_a_node_is_booked_as_planned_and_theirs_and_uses_up_no_budget() {
    let stage = Stage::new(Status::Active, Status::Inactive);
    let mut watched = Watched::full(&stage);
    // On the disk: what is only in memory yet, a killed Edge does not know when it is back.
    let switched = |site: &crate::site::Site| site.journal().matches(r#""event":"switched""#).count();
    for turn in 0..3 {
        for (from, before) in [(Side::Main, 2 * turn), (Side::Standby, 2 * turn + 1)] {
            wait_until("the last move is in the journal", || {
                let moves = switched(&watched.site);
                assert!(moves <= before, "somebody else moved: {:#?}", watched.site.history());
                moves == before
            });
            // An Edge that comes back in the middle of it knows no less.
            if turn == 1 {
                watched.site.edge().kill();
            }
            stage.deactivate(from, "alice", "new kernel");
            if turn == 1 {
                watched.site.start_edge();
            }
            wait_until("traffic follows", || watched.site.live().0 == from.other().label());
        }
    }
    // What the node does by itself afterwards is nobody's wish.
    stage.fail_over(Side::Main);
    wait_until("traffic follows", || switched(&watched.site) == 7);
    let history = watched.site.history();
    let mut switched: Vec<_> = history.iter().filter(|entry| entry["event"] == "switched").collect();
    switched.sort_by_key(|entry| entry["at"].as_str().map(str::to_owned));
    let by: Vec<_> = switched.iter().map(|entry| (entry["by"].as_str(), entry["why"].as_str())).collect();
    let (alices, own) = by.split_at(6);
    assert!(alices.iter().all(|by| *by == (Some("alice"), Some("new kernel"))), "{switched:?}");
    assert!(own.len() == 1 && own[0].0 != Some("alice"), "{switched:?}");
    assert!(!history.iter().any(|entry| entry["event"] == "damped"), "{history:?}");
}

#[test]
fn a_planned_switch_that_a_node_refuses_is_undone_and_says_why() {
    let stage = Stage::new(Status::Active, Status::Inactive);
    let watched = Watched::full(&stage);
    stage.refuse(Side::Main, "a conference is on");
    let (code, shown) = watched.site.verb(&["switch", "--to", "standby"]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("a conference is on; nothing was changed"), "{shown}");

    let stage = Stage::new(Status::Active, Status::Inactive);
    let watched = Watched::full(&stage);
    stage.refuse(Side::Standby, "the database is old");
    let (code, shown) = watched.site.verb(&["switch", "--to", "standby"]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("start telephony: standby does not follow: the database is old; all was undone"), "{shown}");
    assert_eq!((stage.status(Side::Main), stage.status(Side::Standby)), (Status::Active, Status::Inactive));
    assert_eq!(watched.site.live().0, "main");
    wait_until("it is counted", || watched.site.metric("bascule_site_switches_total{result=\"undone\"}") > 0.5);
}

#[test]
fn a_planned_switch_that_cannot_work_does_not_begin_and_names_all_that_is_in_the_way() {
    let stage = Stage::new(Status::Active, Status::Inactive);
    let watched = Watched::full(&stage);
    stage.ignore_requests(Side::Main);
    stage.mute(Side::Standby);
    wait_until("Standby is silent", || {
        let sentences = watched.site.status()["takeovers"].clone();
        sentences[0].as_str().is_some_and(|said| said.contains("nobody would take over: Standby was not heard of"))
    });
    // Its contact centre fell silent with it, and was heard last by itself.
    wait_until("so is its contact centre", || {
        let (code, shown) = watched.site.verb(&["switch", "--to", "standby"]);
        assert_eq!(code, Some(3), "{shown}");
        shown.contains("NO  the target's CC reports")
    });
    let (_, shown) = watched.site.verb(&["switch", "--to", "standby"]);
    for words in ["NO  both XiVO nodes report", "accept_requests is off", "NO  the target's CC reports"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(stage.status(Side::Main), Status::Active);
}
