use super::*;
use crate::site::nodes::fake::{node, report};

fn at(ms: u64) -> Instant {
    Instant::ORIGIN + Duration::from_millis(ms)
}

fn said(registry: &mut Registry, side: Side, status: Status, ms: u64) -> Vec<News> {
    registry.take(node(Role::Xivo, side, "xivo"), report(status), at(ms)).unwrap()
}

fn is_alarm(news: &[News]) -> bool {
    news.iter().any(|news| matches!(news, News::Alarm(alarm) if alarm.contains("TWO ACTIVES")))
}

#[test]
fn a_change_is_told_once_and_a_repeated_report_not_at_all() {
    let mut registry = Registry::default();
    assert_eq!(said(&mut registry, Side::Main, Status::Active, 0).len(), 1);
    assert_eq!(said(&mut registry, Side::Main, Status::Active, 500), []);
    let told = said(&mut registry, Side::Main, Status::Stopping, 600);
    assert_eq!(told, [News::Node("xivo xivo of main is stopping, was active".to_owned())]);
}

#[test]
fn a_node_that_falls_silent_is_told_once_and_counts_no_more() {
    let mut registry = Registry::default();
    said(&mut registry, Side::Main, Status::Inactive, 0);
    assert_eq!(registry.word(Role::Xivo, Side::Main, 1, at(2499)), Some(Status::Inactive));
    assert_eq!(registry.deadline(), Some(at(2500)));
    assert_eq!(registry.tick(at(2500)).len(), 1);
    assert_eq!(registry.tick(at(2600)), []);
    assert_eq!((registry.deadline(), registry.word(Role::Xivo, Side::Main, 1, at(2600))), (None, None));
    let back = said(&mut registry, Side::Main, Status::Inactive, 3000);
    assert!(matches!(&back[..], [News::Node(told)] if told.contains("reports again")), "{back:?}");
}

#[test]
fn what_operators_chose_counts_while_they_agree_and_for_a_while_after_their_node_fell_silent() {
    let mut registry = Registry::default();
    let says = |registry: &mut Registry, side, serves: Option<Side>, ms| {
        let chosen = serves.map(|serves| Chosen { serves, who: "alice".repeat(200), reason: String::new() });
        let report = NodeReport { chosen, ..report(Status::Inactive) };
        registry.take(node(Role::Xivo, side, "xivo"), report, at(ms)).unwrap();
        registry.chosen(at(ms)).map(|chosen| chosen.serves)
    };
    assert_eq!(says(&mut registry, Side::Main, None, 0), None);
    assert_eq!(says(&mut registry, Side::Main, Some(Side::Standby), 1), Some(Side::Standby));
    assert_eq!(says(&mut registry, Side::Standby, Some(Side::Standby), 2), Some(Side::Standby));
    assert_eq!(says(&mut registry, Side::Standby, Some(Side::Main), 3), None);
    assert_eq!(says(&mut registry, Side::Standby, None, 4), Some(Side::Standby));
    assert_eq!(registry.chosen(at(5)).map(|chosen| chosen.who.len()), Some(MOST_CHARS));
    assert!(registry.chosen(at(0) + CHOSEN_LATELY).is_some());
    assert!(registry.chosen(at(1) + CHOSEN_LATELY).is_none());
    assert_eq!(says(&mut registry, Side::Main, None, 6), None);
}

#[test]
fn one_of_several_cc_that_serves_is_enough_and_all_must_say_that_they_do_not() {
    let mut registry = Registry::default();
    let mut say = |name: &str, status| {
        registry.take(node(Role::Cc, Side::Main, name), report(status), at(0)).unwrap();
        registry.word(Role::Cc, Side::Main, 2, at(1))
    };
    assert_eq!(say("cc1", Status::Inactive), None);
    assert_eq!(say("cc2", Status::Inactive), Some(Status::Inactive));
    assert_eq!(say("cc2", Status::Starting), Some(Status::Starting));
    assert_eq!(say("cc1", Status::Active), Some(Status::Active));
}

#[test]
fn two_nodes_that_both_go_on_reporting_to_serve_are_an_alarm_until_one_ends() {
    let mut registry = Registry::default();
    said(&mut registry, Side::Main, Status::Active, 0);
    assert!(!is_alarm(&said(&mut registry, Side::Standby, Status::Starting, 100)));
    assert!(is_alarm(&said(&mut registry, Side::Main, Status::Active, 200)));
    assert!(registry.alarms(at(250))[0].contains("TWO ACTIVES"));
    assert!(!is_alarm(&said(&mut registry, Side::Standby, Status::Active, 300)), "it is told once");
    assert_eq!(said(&mut registry, Side::Main, Status::Inactive, 400).len(), 2);
    assert_eq!(registry.two_actives(), None);
}

#[test]
fn a_takeover_from_a_node_that_died_is_no_alarm() {
    let mut registry = Registry::default();
    said(&mut registry, Side::Main, Status::Active, 0);
    said(&mut registry, Side::Main, Status::Active, 500);
    // Main dies. Its promise lapses sooner than its report.
    for ms in [2600, 2800, 3000] {
        assert!(!is_alarm(&said(&mut registry, Side::Standby, Status::Starting, ms)), "{ms}");
    }
}

#[test]
fn what_a_node_says_needs_a_person_is_handed_on_and_its_certificate_too() {
    let mut registry = Registry::default();
    let mut ill = report(Status::Active);
    ill.alarms = vec!["the disk is full".into()];
    ill.certificate_days = Some(3);
    let news = registry.take(node(Role::Mds, Side::Main, "mds1"), ill.clone(), at(0)).unwrap();
    assert!(news.contains(&News::Alarm("mds mds1: the disk is full".into())), "{news:?}");
    assert_eq!(
        registry.alarms(at(1)),
        [
            "mds mds1: the disk is full",
            "the certificate of mds mds1 expires in 3 days: renew it with `bascule certs renew`"
        ]
    );
    assert_eq!(registry.alarms(at(2500)), Vec::<String>::new());
}

#[test]
fn there_is_room_for_so_many_nodes_and_texts_and_no_more() {
    let mut registry = Registry::default();
    for number in 0..MOST_NODES {
        registry.take(node(Role::Cc, Side::Main, &format!("cc{number}")), report(Status::Active), at(0)).unwrap();
    }
    let more = registry.take(node(Role::Cc, Side::Main, "more"), report(Status::Active), at(0));
    assert_eq!(more, Err(NotTaken::TooMany));
    let mut long = report(Status::Active);
    long.because = "x".repeat(9999);
    registry.take(node(Role::Cc, Side::Main, "cc1"), long, at(1)).unwrap();
    assert!(registry.all().all(|(_, known)| known.report.because.len() <= MOST_CHARS));
}

/// What the XiVO node of a side said when its clock showed this, and what the Edge makes of it later.
fn late(registry: &mut Registry, side: Side, status: Status, made: u64, ms: u64) -> Vec<News> {
    let report = NodeReport { instance: Some(side as u64), made_us: Some(made * 1000), ..report(status) };
    registry.take(node(Role::Xivo, side, "xivo"), report, at(ms)).unwrap()
}

#[test]
fn what_a_node_said_before_it_was_cut_off_says_nothing_when_the_cut_heals() {
    let mut registry = Registry::default();
    let word = |registry: &Registry, ms| registry.word(Role::Xivo, Side::Main, 1, at(ms));
    // The clock of Main's machine began 50 s before the Edge's.
    late(&mut registry, Side::Main, Status::Active, 50_000, 0);
    for ms in (4_000..12_000).step_by(500) {
        late(&mut registry, Side::Standby, Status::Active, ms, ms);
    }
    // Cut off since then, it is heard again: first what it said long ago, in turns with what it says now.
    for (made, ms) in [(50_500, 12_000), (51_000, 12_100), (51_500, 12_200)] {
        assert_eq!(late(&mut registry, Side::Main, Status::Active, made, ms), [], "made at {made}");
        assert_eq!(late(&mut registry, Side::Standby, Status::Active, ms + 50, ms + 50), []);
        assert_eq!(word(&registry, ms), None, "made at {made}");
    }
    assert!(!late(&mut registry, Side::Main, Status::Stopping, 62_210, 12_210).is_empty());
    assert_eq!(late(&mut registry, Side::Main, Status::Active, 51_900, 12_220), [], "overtaken");
    assert_eq!(word(&registry, 12_230), Some(Status::Stopping));
    assert_eq!(registry.alarms(at(12_230)), Vec::<String>::new());
}

#[test]
fn a_machine_whose_clock_stood_still_is_heard_again_soon() {
    let mut registry = Registry::default();
    late(&mut registry, Side::Main, Status::Active, 1_000, 0);
    // Paused for a minute, and its clock with it; then restored to what it was before.
    for (began, made) in [(60_000, 1_500), (90_000, 500)] {
        let heard = |registry: &mut Registry, ms: u64| {
            late(registry, Side::Main, Status::Inactive, made + ms, began + ms);
            registry.word(Role::Xivo, Side::Main, 1, at(began + ms)).is_some()
        };
        let first = (0..20_000).step_by(500).find(|ms| heard(&mut registry, *ms));
        assert!(first.is_some_and(|ms| ms <= 2_500), "{first:?}");
    }
    // A day of silence is no lateness.
    let day = 86_400_000;
    assert!(!late(&mut registry, Side::Main, Status::Active, 3_500 + day, 93_000 + day + 100_000).is_empty());
    // And a node that began anew has another clock.
    let report = NodeReport { instance: Some(77), made_us: Some(5), ..report(Status::Inactive) };
    let news = registry.take(node(Role::Xivo, Side::Main, "xivo"), report, at(200_000 + day)).unwrap();
    assert!(!news.is_empty());
}

#[test]
fn a_machine_restored_beside_a_node_is_named_and_takes_nothing_from_the_one_that_serves() {
    let mut registry = Registry::default();
    let mut say = |instance, status, ms| {
        let report = NodeReport { instance: Some(instance), ..report(status) };
        let news = registry.take(node(Role::Xivo, Side::Main, "xivo"), report, at(ms)).unwrap();
        (news, registry.word(Role::Xivo, Side::Main, 1, at(ms)), registry.alarms(at(ms)))
    };
    say(1, Status::Active, 0);
    let mut told = Vec::new();
    for ms in (500..20_000).step_by(500) {
        for (instance, status) in [(1, Status::Active), (2, Status::Inactive)] {
            let (news, word, _) = say(instance, status, ms);
            assert_eq!(word, Some(Status::Active), "{ms} ms");
            told.extend(news);
        }
    }
    assert!(matches!(&told[..], [News::Alarm(alarm)] if alarm.starts_with("TWO MACHINES report as xivo xivo of main")));
    // The first one goes, and the other takes its place.
    for ms in (20_000..30_000).step_by(500) {
        say(2, Status::Inactive, ms);
    }
    let (_, word, alarms) = say(2, Status::Inactive, 30_000);
    assert_eq!((word, alarms), (Some(Status::Inactive), Vec::new()));
}

#[test]
fn the_times_of_nodes_are_told_beside_the_edges() {
    use crate::site::nodes::fake::vote;
    let mut registry = Registry::default();
    let own = Times { needs_ms: 2405, promises_ms: 2500 };
    for (side, needs_ms) in [(Side::Main, 3805), (Side::Standby, 2405)] {
        let vote = Some(protocol::wire::Vote { times: Some(Times { needs_ms, ..own }), ..vote() });
        registry.take(node(Role::Xivo, side, "xivo"), NodeReport { vote, ..report(Status::Inactive) }, at(0)).unwrap();
    }
    let differ = registry.times_differ(own, at(0));
    assert!(differ.len() == 1 && differ[0].contains("xivo xivo of main needs a vote for 3.805 s"), "{differ:?}");
    assert_eq!(registry.times_differ(own, at(5000)), Vec::<String>::new(), "they are gone");
}

#[test]
fn who_says_something_else_each_time_does_not_fill_the_journal_and_is_heard_again_later() {
    let mut registry = Registry::default();
    let mut written = 0;
    // A thousand reports a second for a minute, with another alarm each time.
    for ms in 0..60_000 {
        let mut ill = report(Status::Active);
        ill.alarms = vec![format!("alarm {}", "x".repeat(ms % 97))];
        written += registry.take(node(Role::Cc, Side::Main, "cc1"), ill, at(ms as u64)).unwrap().len();
    }
    assert!(written <= 80, "{written}");
    let told = registry.take(node(Role::Cc, Side::Main, "cc2"), report(Status::Active), at(60_000)).unwrap();
    assert_eq!(told.len(), 1, "another node has its own: {told:?}");
    let told = registry.take(node(Role::Cc, Side::Main, "cc1"), report(Status::Active), at(900_000)).unwrap();
    assert!(matches!(&told[0], News::Node(said) if said.contains("came too fast")), "{told:?}");
}

#[test]
fn an_alarm_whose_numbers_change_is_one_alarm() {
    let mut registry = Registry::default();
    let told: Vec<usize> = (0..5)
        .map(|n| {
            let mut ill = report(Status::Active);
            ill.alarms = vec![format!("nft failed after {} ms", 250 + n)];
            registry.take(node(Role::Cc, Side::Main, "cc1"), ill, at(n)).unwrap().len()
        })
        .collect();
    assert_eq!(told, [2, 0, 0, 0, 0]);
    assert_eq!(registry.alarms(at(5)), ["cc cc1 of main: nft failed after 254 ms"]);
    let over = registry.take(node(Role::Cc, Side::Main, "cc1"), report(Status::Active), at(5)).unwrap();
    assert_eq!(over, [News::Node("cc cc1 of main, over: nft failed after 254 ms".to_owned())]);
}

#[test]
fn a_node_that_does_something_else_with_each_report_counts_twice_a_second() {
    let mut registry = Registry::default();
    let (mut taken, mut changes, mut before) = (0, 0, Status::Active);
    for ms in 0..20_000 {
        let status = if ms % 2 == 0 { Status::Active } else { Status::Inactive };
        taken += usize::from(registry.take(node(Role::Cc, Side::Main, "cc1"), report(status), at(ms)).is_ok());
        let now = registry.nodes.values().next().unwrap().report.status;
        changes += usize::from(std::mem::replace(&mut before, now) != now);
    }
    assert!((60..=80).contains(&changes), "30 at once, and two a second: {changes}");
    assert!(taken > 9_000, "what is as before is taken: {taken}");
    let refused = registry.take(node(Role::Cc, Side::Main, "cc1"), report(Status::Stopping), at(20_000));
    assert_eq!(refused, Err(NotTaken::TooRestless));
    assert!(registry.take(node(Role::Cc, Side::Main, "cc1"), report(Status::Stopping), at(21_000)).is_ok());
}
