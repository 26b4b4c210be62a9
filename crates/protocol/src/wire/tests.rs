use std::collections::BTreeMap;
use std::time::Duration;

use failover::Side;
use failover::health::Status;
use failover::lease::{self, Report, VoteReply};

use super::*;

fn request() -> Request {
    let report = Report { status: Status::Starting, fit: true, witness_out: false, unguarded: false };
    Request {
        from: Side::Standby,
        ask: lease::Ask::Want,
        campaign: u64::MAX,
        epoch: 7,
        report,
        settled: true,
        hears: false,
        instance: 5,
        needs: Duration::from_millis(2_405),
    }
}

fn same<T>(message: &T)
where
    T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let text = serde_json::to_string(message).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), message, "{text}");
}

#[test]
fn every_message_survives_its_way() {
    same(&Call { id: 1, ask: Ask::Vote(request()) });
    same(&Call { id: 2, ask: Ask::Watch { seen: 3 } });
    for report in [None, Some(request().report)] {
        let promises = Duration::from_millis(2_500);
        let answer =
            Answer { to: lease::Ask::Want, campaign: 9, ruling: VoteReply::TooLong, epoch: 8, promises, report };
        same(&Reply { id: 1, answer: Told::Vote(answer) });
    }
    let wish = Wish { id: 4, to: Side::Main, who: "ann".into(), reason: "upgrade".into() };
    for wish in [None, Some(wish)] {
        same(&Reply { id: 2, answer: Told::Report { wish } });
    }
    same(&Reply { id: 3, answer: Told::Watch(Watched { serial: 2, status: Status::Active, epoch: 5 }) });
    same(&Reply { id: 4, answer: Told::Refused { reason: "no".into() } });
}

#[test]
fn the_spelling_of_a_vote_is_fixed() {
    let text = serde_json::to_string(&Call { id: 1, ask: Ask::Vote(request()) }).unwrap();
    let fixed = r#"{"id":1,"ask":{"vote":{"from":"standby","ask":"want","campaign":18446744073709551615,"epoch":7,"#;
    assert!(text.starts_with(fixed), "{text}");
}

#[test]
fn what_is_needed_is_rounded_up_and_what_is_promised_down() {
    let over = Duration::from_micros(2_404_600);
    let call = Call { id: 1, ask: Ask::Vote(Request { needs: over, ..request() }) };
    let text = serde_json::to_string(&call).unwrap();
    assert!(text.ends_with(r#""instance":5,"needs_ms":2405}}}"#), "{text}");
    let answer =
        Answer { to: lease::Ask::Want, campaign: 9, ruling: VoteReply::Grant, epoch: 8, promises: over, report: None };
    let text = serde_json::to_string(&Reply { id: 1, answer: Told::Vote(answer) }).unwrap();
    assert!(text.contains(r#""promises_ms":2404"#), "{text}");
    // Whatever a stranger writes there is a time.
    let text = text.replace("2404", &u64::MAX.to_string());
    assert!(matches!(serde_json::from_str(&text).unwrap(), Reply { answer: Told::Vote(_), .. }));
}

#[test]
fn the_largest_report_fits_a_frame() {
    let name = |i: usize| format!("{i:0>64}");
    let server = MediaServer { registered: false, state: "s".repeat(200) };
    let service = ServiceState { works: false, detail: "d".repeat(200) };
    let report = NodeReport {
        status: Status::Faulty,
        since: u64::MAX,
        because: "b".repeat(500),
        version: "v".repeat(32),
        services: (0..32).map(|i| (name(i), service.clone())).collect(),
        alarms: vec!["a".repeat(300); 16],
        failed_starts: Some(FailedStarts {
            count: u32::MAX,
            since: u64::MAX,
            newest: u64::MAX,
            words: "w".repeat(300),
        }),
        certificate_days: Some(-1),
        vote: None,
        media_servers: (0..64).map(|i| (name(i), server.clone())).collect::<BTreeMap<_, _>>(),
        presence: None,
        wished: None,
        chosen: None,
        instance: Some(u64::MAX),
        made_us: Some(u64::MAX),
    };
    let call = Call { id: u64::MAX, ask: Ask::Report(Box::new(report)) };
    same(&call);
    assert!(serde_json::to_vec(&call).unwrap().len() < FRAME_BYTES);
}

/// Reads each line, and writes it again to the letter. In between it is what `told` says, in the machines' own words.
fn spelled<T>(lines: &[(&str, &str)])
where
    T: Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    for (line, told) in lines {
        let read: T = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let words = format!("{read:?}");
        assert!(words.contains(told), "{line} is {words}, not {told}");
        assert_eq!(serde_json::to_string(&read).unwrap(), *line);
    }
}

// Nodes and an Edge of different versions work together during an upgrade: no word of these may change.
#[test]
fn every_word_that_nodes_say_to_each_other_is_spelled_as_it_always_was() {
    let request = |from: &str, ask: &str, status: &str| {
        format!(
            r#"{{"id":1,"ask":{{"vote":{{"from":"{from}","ask":"{ask}","campaign":3,"epoch":7,"report":{{"status":"{status}","fit":true,"witness_out":false,"unguarded":false}},"settled":true,"hears":false,"instance":5,"needs_ms":2405}}}}}}"#
        )
    };
    for (from, told) in [("main", "from: Main"), ("standby", "from: Standby")] {
        spelled::<Call>(&[(&request(from, "hello", "active"), told)]);
    }
    for (ask, told) in
        [("hello", "ask: Hello"), ("want", "ask: Want"), ("renew", "ask: Renew"), ("release", "ask: Release")]
    {
        spelled::<Call>(&[(&request("main", ask, "active"), told)]);
    }
    let statuses = [
        ("active", "status: Active"),
        ("inactive", "status: Inactive"),
        ("starting", "status: Starting"),
        ("stopping", "status: Stopping"),
        ("faulty", "status: Faulty"),
    ];
    for (status, told) in statuses {
        spelled::<Call>(&[(&request("main", "hello", status), told)]);
        let watched = format!(r#"{{"id":3,"answer":{{"watch":{{"serial":2,"status":"{status}","epoch":5}}}}}}"#);
        spelled::<Reply>(&[(&watched, told)]);
    }
    let answer = |ask: &str, ruling: &str, report: &str| {
        format!(
            r#"{{"id":1,"answer":{{"vote":{{"to":"{ask}","campaign":9,"ruling":"{ruling}","epoch":8,"promises_ms":2404{report}}}}}}}"#
        )
    };
    for (ruling, told) in [
        ("grant", "ruling: Grant"),
        ("deny", "ruling: Deny"),
        ("lost", "ruling: Lost"),
        ("too_long", "ruling: TooLong"),
    ] {
        spelled::<Reply>(&[(&answer("want", ruling, ""), told), (&answer("want", ruling, ""), "report: None")]);
    }
    let report = r#","report":{"status":"faulty","fit":false,"witness_out":true,"unguarded":true}"#;
    spelled::<Reply>(&[(&answer("release", "deny", report), "report: Some(Report { status: Faulty")]);
    spelled::<Call>(&[(r#"{"id":2,"ask":{"watch":{"seen":3}}}"#, "Watch")]);
    spelled::<Reply>(&[
        (r#"{"id":2,"answer":{"report":{}}}"#, "wish: None"),
        (
            r#"{"id":2,"answer":{"report":{"wish":{"id":4,"to":"standby","who":"ann","reason":"upgrade"}}}}"#,
            "to: Standby",
        ),
        (r#"{"id":4,"answer":{"refused":{"reason":"no"}}}"#, "Refused"),
    ]);
}

#[test]
fn every_word_of_a_report_is_spelled_as_it_always_was() {
    spelled::<Role>(&[(r#""xivo""#, "Xivo"), (r#""cc""#, "Cc"), (r#""mds""#, "Mds")]);
    spelled::<Guard>(&[
        (r#""guarded""#, "Guarded"),
        (r#"{"exposed":{"lacks":"peer"}}"#, "Exposed"),
        (r#"{"unguarded":{"why":"forced"}}"#, "Unguarded"),
    ]);
    spelled::<WishOutcome>(&[(r#""followed""#, "Followed"), (r#"{"refused":{"reason":"frozen"}}"#, "Refused")]);
    let report = r#"{"status":"active","since":5,"because":"b","version":"1","services":{"sip":{"works":true,"detail":"d"}},"alarms":[],"failed_starts":{"count":1,"since":2,"newest":3,"words":"w"},"certificate_days":9,"vote":{"epoch":7,"guard":"guarded","fit":true,"automatic":true,"frozen":false,"accept_requests":false,"waiting":null,"hears_peer":true,"peer_host":null,"takeover_ms":3800},"media_servers":{"mds1":{"registered":true,"state":"s"}},"presence":{"main":true,"standby":false,"conflict":false},"wished":{"id":4,"outcome":"followed"},"chosen":{"serves":"standby","who":"ann","reason":""},"instance":5,"made_us":6}"#;
    spelled::<NodeReport>(&[(report, "serves: Standby")]);
}
