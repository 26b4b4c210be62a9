use std::fs;
use std::time::Duration;

use failover::Side;
use failover::duty::{Choice, Failback, Memory, Mode, Wishes};
use failover::lease::{self, Promise, Record};

use super::{Entry, Journal, Keep, Kind, State, StateError};

fn memory(record: Record) -> Memory {
    let wishes = Wishes { mode: Mode::Manual, failback: Failback::Window, frozen: true, choice: Choice::StepBack };
    Memory { vote: lease::Memory { record, epoch: 12 }, campaign: u64::MAX, wishes, relapses: 3 }
}

#[test]
fn what_was_persisted_is_read_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (length, instance) = (Duration::from_millis(3_905), Some(7));
    let promise = Promise { holder: Side::Standby, campaign: u64::MAX - 1, epoch: 11, length, instance };
    for record in [Record::Free, Record::Promised(promise), Record::Unknown] {
        let (state, _) = State::open(dir.path()).unwrap();
        state.persist(&memory(record)).unwrap();
        drop(state);
        assert_eq!(State::open(dir.path()).unwrap().1, Some(memory(record)));
    }
}

#[test]
fn a_state_that_counts_no_activations_is_one_of_a_node_whose_activations_never_failed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("watchdog.json");
    State::open(dir.path()).unwrap().0.persist(&memory(Record::Free)).unwrap();
    let mut written: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(written.as_object_mut().unwrap().remove("relapses"), Some(3.into()));
    fs::write(&path, written.to_string()).unwrap();
    assert_eq!(State::open(dir.path()).unwrap().1, Some(Memory { relapses: 0, ..memory(Record::Free) }));
}

#[test]
fn a_lost_disk_is_no_error_and_remembers_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(State::open(&dir.path().join("new")).unwrap().1, None);
}

#[test]
fn a_state_of_another_version_or_a_damaged_one_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("watchdog.json");
    for (text, words) in [
        (r#"{"format":"bascule watchdog","version":2}"#, "format 2, this program knows 1"),
        (r#"{"format":"bascule watchdog","version":0}"#, "run that version"),
        (r#"{"format":"bascule live side","version":1}"#, "not bascule-watchdog's"),
        (r#"{"format":"bascule watchdog","version":1,"vote":"free"}"#, "as after a lost disk"),
        ("{\"format\":", "move the file away"),
    ] {
        fs::write(&path, text).unwrap();
        let error = State::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("watchdog.json"), "{error}");
    }
}

#[test]
fn two_watchdogs_never_share_a_state() {
    let dir = tempfile::tempdir().unwrap();
    let held = State::open(dir.path()).unwrap();
    assert!(matches!(State::open(dir.path()), Err(StateError::Taken(_))));
    drop(held);
    State::open(dir.path()).unwrap();
}

#[test]
fn a_state_that_cannot_be_written_says_so_and_the_old_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = State::open(dir.path()).unwrap();
    state.persist(&memory(Record::Free)).unwrap();
    fs::create_dir(dir.path().join("watchdog.json.new")).unwrap();
    assert!(state.persist(&memory(Record::Unknown)).is_err());
    drop(state);
    assert_eq!(State::open(dir.path()).unwrap().1, Some(memory(Record::Free)));
}

#[test]
fn the_journal_survives_a_restart_and_knows_the_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    journal.append(Entry::new(Kind::Run, "The watchdog began."));
    journal.append(Entry::new(Kind::Act, "Frozen.").by("ann", "upgrade").with(["a fact"]));
    assert!(journal.flush(Duration::from_secs(10)));
    let known = journal.history(10);
    assert_eq!(known[0].who.as_deref(), Some("ann"));
    drop(journal);
    assert_eq!(Journal::open(dir.path()).unwrap().history(10), known);
}

#[test]
fn the_operators_book_names_the_journal_as_it_is_on_the_disk() {
    let book = include_str!("../../../../docs/OPERATIONS.md");
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    journal.append(Entry::new(Kind::Run, "The watchdog began."));
    assert!(journal.flush(Duration::from_secs(30)));
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.is_empty());
    for name in names.iter().map(|name| name.to_string_lossy()) {
        let older = name.replace(".jsonl", ".1.jsonl");
        assert!(book.contains(&format!("| `/var/lib/bascule/{name}`, `{older}` |")), "{name}");
    }
}

#[test]
fn a_disk_that_takes_nothing_blocks_nobody_and_is_written_when_it_is_well_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("watchdog.journal.jsonl");
    let journal = Journal::open(dir.path()).unwrap();
    fs::create_dir(&path).unwrap();
    for _ in 0..3000 {
        journal.append(Entry::new(Kind::Run, "A sentence."));
    }
    assert!(!journal.flush(Duration::from_millis(10)));
    assert_eq!(journal.history(1).len(), 1);
    fs::remove_dir(&path).unwrap();
    assert!(journal.flush(Duration::from_secs(30)));
    assert_eq!(journal.trouble(), None);
    assert!(fs::read_to_string(&path).unwrap().lines().count() >= 1000);
}

// A newer program reads what an older one wrote, and after a way back the older what the newer wrote.
#[test]
fn every_word_of_the_memory_is_spelled_as_it_always_was() {
    let promised = r#"{
    "promised": {
      "holder": "main",
      "campaign": 4,
      "epoch": 9,
      "length_ms": 3905,
      "instance": 7
    }
  }"#;
    let text = |vote: &str, mode: &str, failback: &str, choice: &str| {
        format!(
            r#"{{
  "format": "bascule watchdog",
  "version": 1,
  "vote": {vote},
  "epoch": 12,
  "campaign": 18446744073709551615,
  "wishes": {{
    "mode": "{mode}",
    "failback": "{failback}",
    "frozen": true,
    "choice": "{choice}"
  }},
  "relapses": 3
}}
"#
        )
    };
    for (text, told) in [
        (text(r#""free""#, "automatic", "auto", "none"), "record: Free"),
        (text(r#""unknown""#, "automatic", "auto", "none"), "record: Unknown"),
        (text(promised, "automatic", "auto", "none"), "holder: Main, campaign: 4, epoch: 9, length: 3.905s"),
        (text(r#""free""#, "automatic", "auto", "none"), "mode: Automatic, failback: Auto, frozen: true, choice: None"),
        (text(r#""free""#, "manual", "window", "serve"), "mode: Manual, failback: Window, frozen: true, choice: Serve"),
        (text(r#""free""#, "manual", "manual", "step_back"), "failback: Manual, frozen: true, choice: StepBack"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watchdog.json");
        fs::write(&path, &text).unwrap();
        let (state, memory) = State::open(dir.path()).unwrap();
        let words = format!("{memory:?}");
        assert!(words.contains(told), "{text} is {words}, not {told}");
        state.persist(&memory.unwrap()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn every_word_of_the_journal_is_spelled_as_it_always_was() {
    for (kind, told) in [
        ("run", "Run"),
        ("changed", "Changed"),
        ("decided", "Decided"),
        ("command", "Command"),
        ("act", "Act"),
        ("outside", "Outside"),
        ("alarm", "Alarm"),
        ("cleared", "Cleared"),
        ("peer", "Peer"),
        ("rival", "LegacyFailover"),
    ] {
        let line = format!(r#"{{"time":"2023-11-14T22:13:20.000Z","sentence":"s","kind":"{kind}"}}"#);
        let entry: Entry = serde_json::from_str(&line).unwrap();
        assert!(format!("{entry:?}").contains(&format!("kind: {told},")), "{entry:?}");
        assert_eq!(serde_json::to_string(&entry).unwrap(), line);
    }
}
