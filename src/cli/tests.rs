use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use daemon::{AskError, Client, Inquiry, Trouble};
use failover::Side;
use failover::health::State;
use failover::verdict::Verdict;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::ask::Verbs;
use super::render::{self, Paint};
use super::{Cli, Exit, Options, Question, Verb, socket_in};
use crate::admin::api::{Frozen, Maintenance, Time};
use crate::admin::fake::{self, FakeEngine};
use crate::admin::socket::AdminEndpoint;
use crate::config;

struct Site {
    path: PathBuf,
    serving: JoinHandle<()>,
    engine: Arc<FakeEngine>,
    _dir: tempfile::TempDir,
}

impl Site {
    async fn new(engine: FakeEngine) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let endpoint = AdminEndpoint::open(&config::Admin { socket: path.clone(), group: None }).await.unwrap();
        let engine = Arc::new(engine);
        Self { path, serving: tokio::spawn(endpoint.serve(engine.clone())), engine, _dir: dir }
    }

    async fn ask(&self, line: &str, json: bool) -> Result<String, AskError> {
        ask(&self.path, line, json).await
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn ask(path: &std::path::Path, line: &str, json: bool) -> Result<String, AskError> {
    let Verb::Ask(question) = parse(line).unwrap().verb else { panic!("{line} asks nobody") };
    let client = Client { socket: path.to_owned(), program: &super::EDGE };
    let mut inquiry = Inquiry { client, json, terminal: false, out: Vec::new() };
    match (Verbs { inquiry: &mut inquiry, paint: Paint::on(false) }).carry_out(&question).await {
        Ok(()) => Ok(String::from_utf8(inquiry.out).unwrap()),
        Err(Trouble::Ask(error)) => Err(error),
        Err(Trouble::Output(error)) => panic!("{error}"),
        Err(Trouble::Told(exit)) => panic!("{exit:?}"),
    }
}

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("bascule").chain(line.split_whitespace()))
}

#[test]
fn every_verb_of_the_design_is_understood() {
    for line in [
        "run --config /etc/bascule/other.yaml",
        "check --live",
        "status --watch",
        "explain",
        "history -n 5",
        "report",
        "switch --to standby --dry-run --force --reason upgrade",
        "freeze --reason x",
        "resume",
        "maintenance on --route /xuc --for 1h30m --reason upgrade",
        "maintenance on --until 2026-12-01T06:00:00+01:00",
        "maintenance off --route /xuc",
        "maintenance off",
        "maintenance list --json",
        "sessions --json",
        "import /etc/docker/edge/.env --standby cc=10.0.0.22 --standby xivo=10.0.0.12 --observe --out /tmp/edge.yaml",
        "import .env --map MY_XIVO=xivo --holds standby --shared mds.lyon=10.0.0.31 --diff --json",
        "certs ca --dir /etc/bascule/ca",
        "certs node --role xivo --side main --name main-xivo --out /tmp/node --days 90",
        "certs node --role mds --name mds1 --out /tmp/node",
        "certs edge --name edge --out /tmp/edge",
        "certs operator --name alice --ca /tmp/ca --out /tmp/alice",
        "certs renew main-xivo standby-xivo edge --ca /tmp/ca",
        "certs show /etc/bascule/node --json",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
    let Verb::Ask(Question::Switch { to, dry_run: false, force: false, .. }) = parse("switch --to main").unwrap().verb
    else {
        panic!()
    };
    assert_eq!(to, Side::Main);
    assert_eq!(parse("run").unwrap().options.config, PathBuf::from("/etc/bascule/edge.yaml"));
}

#[test]
fn a_bad_command_line_ends_with_2_and_says_what_is_wrong() {
    for (line, word) in [
        ("switch --to left", "use main or standby"),
        ("switch", "--to"),
        ("history --limit 0", "1..=1000"),
        ("report seven", "seven"),
        ("maintenance", "list"),
        ("maintenance on --until 06:00", "such as 2026-12-01T06:00:00+01:00"),
        ("maintenance on --for 2", "such as 2h or 1h30m"),
        ("maintenance on --for 0s", "use 1s to 366d"),
        ("maintenance on --for 1h --until 2026-12-01T06:00:00Z", "cannot be used with"),
        ("fly", "fly"),
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn the_socket_is_the_one_named_then_the_configured_then_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("edge.yaml");
    let mut options = Options { json: false, config: config.clone(), socket: None };
    assert_eq!(options.admin_socket(), PathBuf::from("/run/bascule/admin.sock"));
    std::fs::write(&config, "fqdn: [broken, otherwise]\nadmin: /run/other.sock\n").unwrap();
    assert_eq!(options.admin_socket(), PathBuf::from("/run/other.sock"));
    options.socket = Some("/tmp/mine.sock".into());
    assert_eq!(options.admin_socket(), PathBuf::from("/tmp/mine.sock"));
    assert_eq!(socket_in("admin: { socket: /a, group: b }"), Some("/a".into()));
    assert_eq!(socket_in("admin: 7"), None);
}

#[tokio::test]
async fn e8_every_answer_begins_with_its_sentence_and_fits_a_screen() {
    let site = Site::new(FakeEngine::default()).await;
    for (line, sentence) in [
        ("status", "Main is live and works; Standby works and could take over."),
        ("explain", "Standby is live because Main is dead."),
        ("report 7", "#7 failover, Main → Standby: Main is dead."),
        ("sessions", "2 sessions, 0 of them closing."),
        ("switch --to standby --dry-run", "Standby is live because Main is dead."),
        ("freeze --reason x", "Done: freeze."),
        ("maintenance on --route /xuc --for 2h", "Done: maintenance true /xuc."),
        ("maintenance off", "Done: maintenance false all."),
        ("maintenance list", "Nothing is in maintenance."),
    ] {
        let text = site.ask(line, false).await.unwrap();
        assert!(text.starts_with(sentence), "{line}:\n{text}");
        assert!(text.lines().count() <= 24, "{line}:\n{text}");
    }
    let text = site.ask("history -n 3", false).await.unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.lines().nth(1).unwrap().contains("SWITCHED"), "{text}");
}

#[tokio::test]
async fn every_verb_answers_programs_in_json() {
    let site = Site::new(FakeEngine::default()).await;
    for (line, pointer) in [
        ("status", "/sides/main/health"),
        ("explain", "/rule"),
        ("history", "/0/sentence"),
        ("report 7", "/phases/decision/offset_ms"),
        ("sessions", "/0/client"),
        ("switch --to standby", "/epoch"),
        ("freeze", "/sentence"),
        ("resume", "/sentence"),
        ("maintenance on", "/sentence"),
        ("maintenance list", ""),
    ] {
        let value: Value = serde_json::from_str(&site.ask(line, true).await.unwrap()).unwrap();
        assert!(value.pointer(pointer).is_some(), "{line}: {value}");
    }
}

#[tokio::test]
async fn a_report_without_a_number_is_the_last_switches() {
    let site = Site::new(FakeEngine::default()).await;
    let error = site.ask("report", false).await.unwrap_err();
    assert_eq!(error.to_string(), "There is no report 6.");
    assert_eq!(Exit::from(&error), Exit::Failed);
}

#[tokio::test]
async fn a_refusal_is_told_as_the_edge_tells_it_and_ends_with_3() {
    let site = Site::new(FakeEngine { refuse: Some("Standby does not work.".into()), ..FakeEngine::default() }).await;
    let error = site.ask("switch --to standby", false).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), Exit::from(&error)), ("Standby does not work.", Exit::Refused));
    assert_eq!(error.body().error, "refused");
    assert!(site.engine.orders.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_edge_that_does_not_run_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let error = ask(&path, "status", false).await.unwrap_err();
    assert!(matches!(error, AskError::NoSocket(..)) && error.to_string().contains("systemctl status"), "{error}");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let error = ask(&path, "status", false).await.unwrap_err();
    assert!(matches!(error, AskError::NobodyThere(..)), "{error}");
    assert_eq!((Exit::from(&error), error.body().error.as_str()), (Exit::Failed, "not_running"));
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_says_nothing_is_not_waited_for_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let _silent = tokio::net::UnixListener::bind(&path).unwrap();
    let error = ask(&path, "status", false).await.unwrap_err();
    assert!(matches!(error, AskError::Silent(..)) && error.to_string().contains("healthz"), "{error}");
}

#[test]
fn what_is_wrong_stands_on_the_screen_and_comes_first() {
    let mut status = fake::status();
    let mut broken = status.services[1].clone();
    broken.backends[0].verdict = Verdict::Down;
    broken.backends[0].checks[0].verdict = Verdict::Down;
    broken.backends[0].checks[0].reason = "refused".into();
    status.services = vec![status.services[0].clone(); 30];
    status.services.push(broken);
    status.sides.standby.health = State::NotWorking;
    status.frozen = Some(Frozen { by: "root".into(), why: "upgrade".into(), since: Time::from_unix_ms(0) });
    status.damped = true;
    status.doubt = Some("everything fails at once".into());
    status.observe = true;
    status.draining = true;
    status.alarms = (0..40).map(|n| format!("alarm {n}")).collect();
    let text = render::status(&status, Paint::on(false));
    for word in
        ["DOES NOT WORK", "FROZEN by root", "DAMPED", "SELF-DOUBT", "OBSERVING", "DRAINING", "alarm 0", "http: refused"]
    {
        assert!(text.contains(word), "no {word} in\n{text}");
    }
    assert!(text.contains("and 21 more, 0 of them not up") && text.contains("36 more alarms"), "{text}");
    assert!(text.lines().count() <= 34, "{text}");
}

#[test]
fn text_from_outside_moves_no_cursor() {
    let mut rows = vec![fake::session(1)];
    rows[0].login = Some("\u{1b}[2Jalice\n".into());
    let text = render::sessions(&rows, Paint::on(false));
    assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}[2Jalice\\u{a}"), "{text}");
    let mut status = fake::status();
    status.sentence = "\u{1b}]0;owned\u{7}".into();
    assert!(!render::status(&status, Paint::on(false)).contains('\u{1b}'));
}

#[test]
fn the_status_shows_nodes_the_vote_and_who_would_take_over_loudly_where_it_must() {
    use failover::health::Status as Does;
    use protocol::wire::{Guard, Role, Vote};

    use crate::admin::api::{NodeStatus, WitnessStatus};
    use crate::site::nodes::fake::{report, vote};

    let mut status = fake::status();
    assert!(!render::status(&status, Paint::on(false)).contains("vote"), "an Edge alone has none");
    let node = |role, side, name: &str, does, vote| {
        let report = protocol::wire::NodeReport { vote, ..report(does) };
        NodeStatus { role, side, name: name.into(), fresh: true, heard: status.now, report }
    };
    let unguarded = Vote { guard: Some(Guard::Unguarded { why: "the witness is out".into() }), ..vote() };
    let frozen = Vote { frozen: true, fit: false, ..vote() };
    let mut silent = node(Role::Cc, Some(Side::Main), "cc1", Does::Active, None);
    (silent.fresh, silent.heard) = (false, Time::from_unix_ms(status.now.unix_ms() - 90_000));
    status.nodes = vec![
        node(Role::Xivo, Some(Side::Main), "a", Does::Active, Some(unguarded)),
        node(Role::Xivo, Some(Side::Standby), "b", Does::Inactive, Some(frozen)),
        silent,
        node(Role::Mds, None, "mds1", Does::Active, None),
    ];
    status.witness = Some(WitnessStatus {
        times_differ: Vec::new(),
        sentence: "the vote is promised to main (campaign 2, epoch 7); 2.1 s left".into(),
        holder: Some(Side::Main),
        epoch: 7,
        quiet: false,
        left_ms: 2100,
        trouble: None,
    });
    status.takeovers = vec!["if Main died now: nobody would take over: Standby is frozen".into()];
    let text = render::status(&status, Paint::on(true));
    for words in [
        "UNGUARDED",
        "FROZEN; not fit",
        "not heard of for 1 min 30 s, was active",
        "vote  the vote is promised to main",
        "\x1b[1;31m  if Main died now: nobody would take over: Standby is frozen",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
}

#[test]
fn a_node_that_does_not_start_says_so_with_a_time_and_no_old_switch_says_that_it_serves() {
    use failover::health::Status as Does;
    use protocol::wire::{FailedStarts, Role};

    use crate::admin::api::{NodeStatus, SwitchoverState, SwitchoverStatus, WitnessStatus};
    use crate::site::nodes::fake::{report, vote};

    let mut status = fake::status();
    let now = status.now.unix_ms();
    let minutes_ago = |minutes: i64| Time::from_unix_ms(now - minutes * 60_000);
    let words = "the start command: exit code 3: licence missing".to_owned();
    let at = |minutes: i64| u64::try_from(minutes_ago(minutes).unix_ms()).unwrap();
    let failed_starts = Some(FailedStarts { count: 8, since: at(12), newest: at(1), words });
    let report = protocol::wire::NodeReport { vote: Some(vote()), failed_starts, ..report(Does::Inactive) };
    let (role, side, heard) = (Role::Xivo, Some(Side::Standby), status.now);
    status.nodes = vec![NodeStatus { role, side, name: "b".into(), fresh: true, heard, report }];
    status.witness = Some(WitnessStatus {
        sentence: "nobody holds the vote".into(),
        holder: None,
        epoch: 7,
        quiet: false,
        left_ms: 0,
        trouble: None,
        times_differ: Vec::new(),
    });
    status.switchover = Some(SwitchoverStatus {
        to: Side::Standby,
        by: "root".into(),
        began: minutes_ago(31),
        ended: Some(minutes_ago(30)),
        state: SwitchoverState::Done,
        sentence: "Standby serves, and all of it was verified".into(),
        checks: Vec::new(),
        steps: Vec::new(),
    });
    let text = render::status(&status, Paint::on(false));
    let clock = |minutes: i64| minutes_ago(minutes).to_string()[11..16].to_owned();
    for words in [
        format!("DOES NOT START: failed 8 times since {} UTC, 12 min 0 s ago: the start command: exit", clock(12)),
        format!("verified (done at {} UTC, 30 min 0 s ago; Standby does not serve now)", clock(30)),
    ] {
        assert!(text.contains(&words), "{words}:\n{text}");
    }
    status.nodes[0].report.status = Does::Active;
    status.nodes[0].report.failed_starts = None;
    assert!(!render::status(&status, Paint::on(false)).contains("does not serve now"));
}

#[test]
fn what_is_in_maintenance_stands_on_the_screen_with_who_and_until_when_and_fits() {
    let now = crate::admin::fake::status().now;
    let later = |seconds: i64| Time::from_unix_ms(now.unix_ms() + seconds * 1000);
    let one = |number: usize| Maintenance {
        route: (number > 0).then(|| format!("/route{number}")),
        until: (number != 1).then(|| later(7200)),
        by: "ann".into(),
        why: "upgrade".into(),
        since: now,
    };
    let mut status = crate::admin::fake::status();
    status.maintenance = (0..20).map(one).collect();
    let text = render::status(&status, Paint::on(false));
    for said in [
        "MAINTENANCE of the whole site by ann, until 2023-11-15T00:13:20.000Z (in 2 h 0 min): upgrade",
        "MAINTENANCE of route /route1 by ann, without an end: upgrade (bascule maintenance off)",
        "MAINTENANCE of 17 more (bascule maintenance list)",
    ] {
        assert!(text.contains(said), "{said}\n{text}");
    }
    assert!(text.lines().count() <= 24, "{text}");
    assert_eq!(render::maintenance(&status.maintenance, now).lines().count(), 23);
}
