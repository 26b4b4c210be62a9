use super::*;
use failover::Side;
use failover::health::Status;
use failover::lease::{self, Report, Ruling};
use std::collections::BTreeMap;

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
        let answer = Answer { to: lease::Ask::Want, campaign: 9, ruling: Ruling::Lost, epoch: 8, report };
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
        certificate_days: Some(-1),
        vote: None,
        media_servers: (0..64).map(|i| (name(i), server.clone())).collect::<BTreeMap<_, _>>(),
        presence: None,
        wished: None,
        chosen: None,
    };
    let call = Call { id: u64::MAX, ask: Ask::Report(Box::new(report)) };
    same(&call);
    assert!(serde_json::to_vec(&call).unwrap().len() < FRAME_BYTES);
}
