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
