use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use failover::Side;
use prometheus::IntCounter;

use super::history::fake::{entry, report};
use super::{Beginning, LiveState, OpenError, State};

fn errors() -> IntCounter {
    IntCounter::new("errors", "errors").unwrap()
}

fn open(directory: &Path) -> (State, Beginning) {
    State::open(directory, errors()).unwrap()
}

fn live(side: Side, epoch: u64) -> LiveState {
    LiveState { live: side, epoch, frozen: None, switches: vec![], chosen: false, maintenance: vec![] }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never came to hold");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn e4_a_restart_forgets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("var/lib/bascule");
    let (state, beginning) = open(&inner);
    assert_eq!(beginning, Beginning::First);
    state.save(live(Side::Standby, 7)).await.unwrap();
    for epoch in 1..=7 {
        state.note(entry(epoch));
    }
    state.report(report(7));
    state.flushed().await.unwrap();
    drop(state);
    let (state, beginning) = open(&inner);
    assert_eq!(beginning, Beginning::Known { live: live(Side::Standby, 7), alarm: None });
    let newest: Vec<u64> = state.history(3).iter().map(|entry| entry.epoch).collect();
    assert_eq!(newest, [7, 6, 5]);
    assert_eq!(state.read_report(7).unwrap(), Some(report(7)));
    assert_eq!(state.read_report(8).unwrap(), None);
}

#[tokio::test]
async fn what_was_said_last_is_written_before_the_state_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = open(dir.path());
    drop(state.save(live(Side::Standby, 3)));
    state.note(entry(3));
    drop(state);
    let (state, beginning) = open(dir.path());
    assert_eq!(beginning, Beginning::Known { live: live(Side::Standby, 3), alarm: None });
    assert_eq!(state.history(9).len(), 1);
}

#[tokio::test]
async fn the_epoch_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = open(dir.path());
    state.save(live(Side::Standby, 7)).await.unwrap();
    let error = state.save(live(Side::Main, 6)).await.unwrap_err();
    assert!(error.to_string().contains("epoch 6 is older than 7"), "{error}");
    drop(state);
    let (state, beginning) = open(dir.path());
    assert_eq!(beginning, Beginning::Known { live: live(Side::Standby, 7), alarm: None });
    assert!(state.save(live(Side::Main, 6)).await.is_err(), "nor over a restart");
}

#[test]
fn two_edges_do_not_share_a_state_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = open(dir.path());
    assert!(matches!(State::open(dir.path(), errors()), Err(OpenError::Taken(_))));
    drop(state);
    open(dir.path());
}

#[tokio::test]
async fn a_corrupt_live_side_is_kept_aside_and_the_journal_says_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = open(dir.path());
    state.save(live(Side::Standby, 5)).await.unwrap();
    state.note(entry(5));
    drop(state);
    fs::write(dir.path().join("live.json"), "{\"format\": \"basc").unwrap();
    let (_state, beginning) = open(dir.path());
    let Beginning::Lost { epoch: 5, last: Some(Side::Standby), alarm } = beginning else { panic!("{beginning:?}") };
    assert!(alarm.contains("live.json.corrupt") && alarm.contains("Standby was live by the journal"), "{alarm}");
    assert_eq!(fs::read_to_string(dir.path().join("live.json.corrupt")).unwrap(), "{\"format\": \"basc");
}

#[test]
fn a_corrupt_live_side_without_a_journal_is_chosen_by_health() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("live.json"), "").unwrap();
    let (_state, beginning) = open(dir.path());
    let Beginning::Lost { epoch: 0, last: None, alarm } = beginning else { panic!("{beginning:?}") };
    assert!(alarm.contains("whichever side works"), "{alarm}");
}

#[test]
fn a_foreign_file_is_left_alone_and_the_edge_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("live.json"), r#"{"mine": true}"#).unwrap();
    let error = State::open(dir.path(), errors()).unwrap_err();
    assert!(error.to_string().contains("not bascule's"), "{error}");
    assert_eq!(fs::read_to_string(dir.path().join("live.json")).unwrap(), r#"{"mine": true}"#);
}

#[tokio::test]
async fn a_switch_the_file_missed_is_known_from_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = open(dir.path());
    state.save(live(Side::Main, 4)).await.unwrap();
    state.note(entry(5));
    drop(state);
    let (_state, beginning) = open(dir.path());
    let Beginning::Known { live, alarm: Some(alarm) } = beginning else { panic!("{beginning:?}") };
    assert_eq!((live.live, live.epoch), (Side::Standby, 5));
    assert!(alarm.contains("epoch 5"), "{alarm}");
}

#[tokio::test]
async fn a_full_disk_is_told_counted_and_made_good_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (count, path) = (errors(), dir.path().join("journal.jsonl"));
    symlink("/dev/full", &path).unwrap();
    let (state, _) = State::open(dir.path(), count.clone()).unwrap();
    state.note(entry(1));
    let error = state.flushed().await.unwrap_err();
    assert!(error.to_string().contains("journal") && error.to_string().contains("space"), "{error}");
    assert!(count.get() >= 1 && state.trouble().is_some());
    assert_eq!(state.history(5).len(), 1, "it is in memory");
    state.save(live(Side::Standby, 1)).await.expect("the live side is not held up by the journal");
    fs::remove_file(&path).unwrap();
    until(|| state.trouble().is_none()).await;
    drop(state);
    assert_eq!(open(dir.path()).0.history(5).len(), 1, "it is on the disk");
}

#[tokio::test]
async fn a_live_side_that_cannot_be_written_is_told_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = open(dir.path());
    let in_the_way = dir.path().join("live.json.new");
    fs::create_dir(&in_the_way).unwrap();
    assert!(state.save(live(Side::Standby, 2)).await.unwrap_err().to_string().contains("live side"));
    assert!(state.trouble().unwrap().contains("live side"));
    fs::remove_dir(&in_the_way).unwrap();
    until(|| state.trouble().is_none()).await;
    drop(state);
    assert_eq!(open(dir.path()).1, Beginning::Known { live: live(Side::Standby, 2), alarm: None });
}

#[tokio::test]
async fn a_report_that_is_not_written_yet_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = open(dir.path());
    let reports = dir.path().join("reports");
    fs::remove_dir(&reports).unwrap();
    state.report(report(7));
    assert!(state.flushed().await.is_err());
    assert_eq!(state.read_report(7).unwrap(), Some(report(7)));
    fs::create_dir(&reports).unwrap();
    until(|| state.trouble().is_none()).await;
    assert_eq!(super::reports::read(dir.path(), 7).unwrap(), Some(report(7)));
}

const VICTIM: &str = "BASCULE_TEST_STATE_TO_WRITE";

/// Not a test of its own: the process that the next one kills.
#[tokio::test]
async fn a_victim_writes_epochs_until_it_is_killed() {
    let Ok(directory) = std::env::var(VICTIM) else { return };
    let (state, beginning) = open(Path::new(&directory));
    let first = match beginning {
        Beginning::Known { live, .. } => live.epoch + 1,
        _ => 1,
    };
    for epoch in first.. {
        state.note(entry(epoch));
        state.report(report(epoch));
        state.save(live(Side::Standby, epoch)).await.unwrap();
        eprintln!("persisted {epoch}");
    }
}

#[test]
fn e4_a_kill_at_any_instant_loses_no_epoch_that_was_declared_persisted() {
    let dir = tempfile::tempdir().unwrap();
    let (_, here) = module_path!().split_once("::").unwrap();
    let test = format!("{here}::a_victim_writes_epochs_until_it_is_killed");
    let mut least = 0;
    for round in 0..12_u64 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &test, "--nocapture"])
            .env(VICTIM, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stderr.take().unwrap()).lines();
        let epoch = |line: std::io::Result<String>| line.ok()?.strip_prefix("persisted ")?.parse::<u64>().ok();
        let told = lines.by_ref().filter_map(epoch).nth(usize::try_from(round).unwrap() % 5).unwrap();
        std::thread::sleep(Duration::from_micros(137 * round));
        victim.kill().unwrap();
        let told = lines.filter_map(epoch).last().unwrap_or(told).max(told);
        victim.wait().unwrap();
        let (state, beginning) = open(dir.path());
        let Beginning::Known { live, .. } = beginning else { panic!("round {round}: {beginning:?}") };
        assert!(live.epoch >= told && told > least, "round {round}: {told} was persisted, {} is known", live.epoch);
        for number in 1..=live.epoch {
            assert!(state.read_report(number).is_ok(), "round {round}: report {number} is torn");
        }
        least = told;
    }
}

#[test]
fn a_huge_entry_keeps_its_sentence_and_loses_its_facts() {
    let mut huge = super::history::fake::entry(1);
    huge.explain.facts = vec!["x".repeat(1 << 20)];
    let short = store::Entry::shortened(&huge);
    assert_eq!(short.explain.sentence, huge.explain.sentence);
    assert!(short.explain.facts[0].contains("too long"));
}

/// Reads what stands in a file, and writes it again to the letter.
fn spelled(text: &str, told: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = super::live::path(dir.path());
    fs::write(&path, text).unwrap();
    let read = super::live::load(&path).unwrap().unwrap();
    let words = format!("{read:?}");
    assert!(words.contains(told), "{text} is {words}, not {told}");
    super::live::save(&path, &read).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

// A newer program reads what an older one wrote, and after a way back the older what the newer wrote.
#[test]
fn every_word_of_the_live_side_is_spelled_as_it_always_was() {
    let text = |side: &str, frozen: &str, kind: &str| {
        format!(
            r#"{{
  "format": "bascule live side",
  "version": 1,
  "live": "{side}",
  "epoch": 7,
  "frozen": {frozen},
  "switches": [
    {{
      "epoch": 7,
      "at": "2023-11-14T22:13:20.045Z",
      "kind": "{kind}",
      "to": "{side}"
    }}
  ],
  "chosen": true
}}
"#
        )
    };
    let frozen = r#"{
    "by": "root",
    "why": "upgrade",
    "since": "2023-11-14T22:13:20.000Z"
  }"#;
    for (side, told) in [("main", "live: Main"), ("standby", "to: Standby")] {
        spelled(&text(side, "null", "failover"), told);
        spelled(&text(side, frozen, "failover"), r#"frozen: Some(Frozen { by: "root", why: "upgrade""#);
    }
    for (kind, told) in [("failover", "kind: Failover"), ("failback", "kind: Failback"), ("planned", "kind: Planned")] {
        spelled(&text("main", "null", kind), told);
    }
}

#[test]
fn every_word_of_the_journal_and_the_reports_is_spelled_as_it_always_was() {
    let events = [
        ("started", "Started"),
        ("stopped", "Stopped"),
        ("switched", "Switched"),
        ("would_have_switched", "WouldHaveSwitched"),
        ("held", "Held"),
        ("refused", "Refused"),
        ("health", "Health"),
        ("frozen", "Frozen"),
        ("resumed", "Resumed"),
        ("damped", "Damped"),
        ("undamped", "Undamped"),
        ("doubted", "Doubted"),
        ("trusted", "Trusted"),
        ("moved", "Moved"),
        ("drained", "Drained"),
        ("reloaded", "Reloaded"),
        ("alarm", "Alarm"),
        ("node", "Node"),
        ("vote", "Vote"),
        ("walk", "Switchover"),
        ("maintenance", "Maintenance"),
        ("other", "Other"),
    ];
    for (event, told) in events {
        let line = format!(
            r#"{{"at":"2023-11-14T22:13:20.003Z","epoch":3,"event":"{event}","live":"standby","by":null,"why":null,"sentence":"s","facts":["f"],"rule":"r","outcome":"o"}}"#
        );
        let entry: super::JournalEntry = serde_json::from_str(&line).unwrap();
        assert!(format!("{entry:?}").contains(&format!("event: {told}, live: Standby")), "{entry:?}");
        assert_eq!(serde_json::to_string(&entry).unwrap(), line);
    }
    for (kind, told) in [("failover", "kind: Failover"), ("failback", "kind: Failback"), ("planned", "kind: Planned")] {
        let text = format!(
            r#"{{"number":7,"kind":"{kind}","from":"main","to":"standby","reason":"r","by":null,"phases":{{"first_bad_sign":null,"decision":{{"at":"2023-11-14T22:13:20.003Z","offset_ms":3}},"persisted":null,"first_served":null,"last_moved":null}},"counts":{{"replayed":1,"parked":2,"failed":3,"sessions_closed":4,"sessions_cut":5}},"explain":{{"sentence":"s","facts":[],"rule":"r","outcome":"o"}}}}"#
        );
        let report: super::Report = serde_json::from_str(&text).unwrap();
        assert!(format!("{report:?}").contains(told), "{report:?}");
        assert_eq!(serde_json::to_string(&report).unwrap(), text);
    }
}
