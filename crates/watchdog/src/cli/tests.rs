use std::sync::Arc;

use clap::{CommandFactory, Parser};
use daemon::{Client, Inquiry, Trouble};
use tokio::sync::{mpsc, watch};

use super::ask::answer;
use super::*;
use crate::config::Config;
use crate::control::tests::view;
use crate::control::{Control, ORDERS, Operators};
use crate::state::{Entry, Journal, Kind};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("bascule-watchdog").chain(line.split_whitespace()))
}

#[test]
fn every_verb_is_understood_and_nonsense_is_not() {
    Cli::command().debug_assert();
    for line in [
        "run",
        "run --config /etc/bascule/other.yaml",
        "check --json",
        "status",
        "status --watch --json",
        "activate --reason x",
        "activate --force",
        "deactivate",
        "freeze",
        "resume",
        "mode manual --reason y",
        "failback window",
        "history -n 5",
        "takeover",
        "release --json",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
    for line in ["", "dance", "mode", "mode sometimes", "history -n 0", "deactivate --force"] {
        assert!(parse(line).is_err(), "{line}");
    }
}

async fn ask(line: &str, json: bool) -> Result<String, Trouble> {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("watchdog.sock");
    let control = Control::open(&socket).await.unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    journal.append(Entry::new(Kind::Act, "Froze\u{1b}[2J.").by("ann", "upgrade").with(["the peer is fit"]));
    let (_status, shown) = watch::channel(Arc::new(view()));
    let (orders, mut ordered) = mpsc::channel::<crate::control::api::Order>(ORDERS);
    let serving = tokio::spawn(control.serve(shown, journal, Some(orders)));
    let answering = tokio::spawn(async move {
        while let Some(order) = ordered.recv().await {
            let _ = order.reply.send(Ok(format!("Did {} because {}.", order.act, order.reason)));
        }
    });
    let Verb::Ask(question) = parse(line).unwrap().verb else { panic!("{line} asks nobody") };
    let mut inquiry = Inquiry { client: Client { socket, program: &WATCHDOG }, json, terminal: false, out: Vec::new() };
    let asked = answer(&mut inquiry, &question).await;
    serving.abort();
    answering.abort();
    asked.map(|()| String::from_utf8(inquiry.out).unwrap())
}

#[tokio::test]
async fn a_status_says_first_what_it_does_and_why() {
    let text = ask("status", false).await.unwrap();
    assert!(text.starts_with("main-xivo (main xivo) is active: it has its own vote and that of peer\n"), "{text}");
    for words in ["ALARM", "the witness is silent", "epoch 7", "lease", "mds1", "fence", "open (nft)", "takeover"] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&ask("status", true).await.unwrap()).unwrap();
    assert_eq!(json["status"], "active");
}

#[tokio::test]
async fn history_names_who_and_why_and_hides_what_could_harm_a_terminal() {
    let text = ask("history", false).await.unwrap();
    assert!(text.contains("[ann] (upgrade)") && text.contains("    the peer is fit\n"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[tokio::test]
async fn acts_are_carried_to_the_driver() {
    for (line, said) in [
        ("freeze --reason upgrade", "Did freeze because upgrade.\n"),
        ("activate --force --reason fire", "Did activate by force, unguarded because fire.\n"),
        ("mode manual --reason x", "Did be manual because x.\n"),
        ("failback window --reason x", "Did fail back in the window because x.\n"),
    ] {
        assert_eq!(ask(line, false).await.unwrap(), said);
    }
}

#[test]
fn a_check_shows_the_default_bounds_and_names_what_is_missing_on_the_machine() {
    let text = include_str!("../../../../conf/watchdog-main.yaml");
    let (mut config, warnings) = Config::parse(text, "watchdog.yaml").unwrap();
    config.legacy_failover = None;
    let found = check::look(&config, warnings, "/nowhere".as_ref());
    let json: serde_json::Value = serde_json::to_value(&found).unwrap();
    let bounds: Vec<u64> = json["bounds"].as_array().unwrap().iter().map(|b| b["ms"].as_u64().unwrap()).collect();
    assert_eq!(bounds, [3800, 113_800, 2300, 2500, 60_000, 3_600_000, 1650]);
    for inequality in json["inequalities"].as_array().unwrap() {
        assert!(inequality["left_ms"].as_f64() >= inequality["right_ms"].as_f64(), "{inequality}");
    }
    let troubles = json["troubles"].to_string();
    assert!(troubles.contains("services.start.command") && troubles.contains("identity:"), "{troubles}");
}

#[test]
fn a_certificate_that_is_over_is_said_to_be_over() {
    let mut status = view();
    for (days, said) in
        [(300, "expires in 300 days"), (0, "expires in 0 days"), (-1, "EXPIRED 0 days ago"), (-4, "EXPIRED 3 days ago")]
    {
        status.certificate_days = Some(days);
        let screen = super::render::status(&status);
        assert!(screen.contains(said), "{days}: {screen}");
    }
}
