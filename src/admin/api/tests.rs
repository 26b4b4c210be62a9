use failover::Side;
use serde_json::json;

use super::{SwitchRequest, Time};
use crate::admin::fake;

#[test]
fn a_time_is_utc_with_milliseconds_and_reads_back_the_same() {
    let time = Time::from_unix_ms(1_700_000_000_045);
    assert_eq!(time.to_string(), "2023-11-14T22:13:20.045Z");
    assert_eq!(time.to_string().parse::<Time>().unwrap(), time);
    assert_eq!("2023-11-14T23:13:20.045+01:00".parse::<Time>().unwrap(), time);
    assert!("yesterday".parse::<Time>().unwrap_err().to_string().contains("yesterday"));
}

#[test]
fn a_time_before_1970_keeps_its_milliseconds() {
    let time = Time::from_unix_ms(-1);
    assert_eq!(time.to_string(), "1969-12-31T23:59:59.999Z");
    assert_eq!(time.to_string().parse::<Time>().unwrap(), time);
}

#[test]
fn everything_said_reads_back_the_same() {
    let status = fake::status();
    let text = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<super::Status>(&text).unwrap(), status);
    let report = fake::report(7);
    assert_eq!(serde_json::from_str::<super::Report>(&serde_json::to_string(&report).unwrap()).unwrap(), report);
    let entry = fake::entry(3);
    assert_eq!(serde_json::from_str::<super::JournalEntry>(&serde_json::to_string(&entry).unwrap()).unwrap(), entry);
}

#[test]
fn an_unknown_side_is_refused_by_name() {
    let error = serde_json::from_value::<SwitchRequest>(json!({"to": "left"})).unwrap_err().to_string();
    assert!(error.contains("`left` is no side"), "{error}");
}

#[test]
fn a_switch_order_needs_only_its_side_and_no_unknown_words() {
    let request: SwitchRequest = serde_json::from_value(json!({"to": "standby"})).unwrap();
    assert_eq!((request.to, request.dry_run, request.force), (Side::Standby, false, false));
    assert!(serde_json::from_value::<SwitchRequest>(json!({"to": "standby", "dryrun": true})).is_err());
}

#[test]
fn a_journal_line_of_a_later_version_is_still_read() {
    let mut line = serde_json::to_value(fake::entry(3)).unwrap();
    line["event"] = json!("teleported");
    line["colour"] = json!("blue");
    let entry: super::JournalEntry = serde_json::from_value(line).unwrap();
    assert_eq!(entry.event, super::Event::Other);
}

// Scripts of the site's own read these words.
#[test]
fn every_word_of_the_admin_api_is_spelled_as_it_always_was() {
    fn spelled<T: serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug>(text: &str, told: &str) {
        let read: T = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let words = format!("{read:?}");
        assert!(words.contains(told), "{text} is {words}, not {told}");
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
    for (word, told) in
        [("working", "health: Working"), ("not_working", "health: NotWorking"), ("unknown", "health: Unknown")]
    {
        spelled::<super::SideStatus>(&format!(r#"{{"health":"{word}","reason":"r","since":null}}"#), told);
        let service =
            format!(r#"{{"name":"cc","side":"main","required":true,"health":"{word}","reason":"r","backends":[]}}"#);
        spelled::<super::ServiceStatus>(&service, told);
        spelled::<super::ServiceStatus>(&service.replace(r#""main""#, "null"), "side: None");
    }
    for (word, told) in [("up", "verdict: Up"), ("down", "verdict: Down"), ("unknown", "verdict: Unknown")] {
        let check = format!(
            r#"{{"name":"http","port":null,"verdict":"{word}","reason":"r","last":null,"certificate_days":null}}"#
        );
        spelled::<super::CheckStatus>(&check, told);
        let backend = format!(r#"{{"name":"b","address":"10.0.0.1:443","verdict":"{word}","checks":[]}}"#);
        spelled::<super::BackendStatus>(&backend, told);
    }
    for (word, told) in [("failover", "Failover"), ("failback", "Failback"), ("planned", "Planned")] {
        let last = format!(
            r#"{{"epoch":6,"at":"2023-11-14T22:13:20.000Z","kind":"{word}","from":"standby","to":"main","reason":"r"}}"#
        );
        spelled::<super::SwitchSummary>(&last, told);
    }
    for (word, told) in [
        ("planned", "Planned"),
        ("refused", "Refused"),
        ("running", "Running"),
        ("undoing", "Undoing"),
        ("done", "Done"),
        ("failed", "Failed"),
    ] {
        let switchover = format!(
            r#"{{"to":"standby","by":"ann","began":"2023-11-14T22:13:20.000Z","state":"{word}","sentence":"s","checks":[],"steps":[]}}"#
        );
        spelled::<super::SwitchoverStatus>(&switchover, told);
        let answer = format!(
            r#"{{"switched":false,"dry_run":false,"live":"main","epoch":7,"explain":{{"sentence":"s","facts":[],"rule":"r","outcome":"o"}},"walk":{switchover}}}"#
        );
        spelled::<super::SwitchAnswer>(&answer, told);
        let mut status = fake::status();
        status.switchover = Some(serde_json::from_str(&switchover).unwrap());
        let shown = serde_json::to_value(&status).unwrap();
        assert_eq!(shown["walk"], serde_json::from_str::<serde_json::Value>(&switchover).unwrap());
    }
    for (word, told) in [("waiting", "Waiting"), ("running", "Running"), ("done", "Done"), ("failed", "Failed")] {
        let step = format!(r#"{{"step":"s","state":"{word}","said":"","took_ms":1,"expected_ms":2,"limit_ms":3}}"#);
        spelled::<super::SwitchoverStep>(&step, told);
    }
    for (role, told) in [("xivo", "Xivo"), ("cc", "Cc"), ("mds", "Mds")] {
        let node = format!(
            r#"{{"role":"{role}","side":"standby","name":"n","fresh":true,"heard":"2023-11-14T22:13:20.000Z","report":{{"status":"active","since":5,"because":"b","version":"1","services":{{}},"alarms":[],"certificate_days":null}}}}"#
        );
        spelled::<super::NodeStatus>(&node, told);
        spelled::<super::NodeStatus>(&node.replace(r#""standby""#, "null"), "side: None");
    }
}
