use std::collections::BTreeMap;

use failover::PerSide;
use failover::health::Status;
use protocol::wire::{FailedStarts, MediaServer, WishOutcome, Wished};

use super::*;
use crate::site::nodes::fake::vote;

const LIMITS: Limits = Limits {
    hand_over: Duration::from_secs(5),
    stop: Duration::from_secs(90),
    start: Duration::from_secs(120),
    register: Duration::from_secs(15),
    contact: Duration::from_secs(60),
    traffic: Duration::from_secs(15),
    verify: Duration::from_secs(40),
    undo: Duration::from_secs(200),
};

fn at(ms: u64) -> Instant {
    Instant::ORIGIN + Duration::from_millis(ms)
}

fn xivo(status: Status) -> Xivo {
    let registered = status == Status::Active;
    let server = MediaServer { registered, state: if registered { "Registered" } else { "Unregistered" }.into() };
    Xivo {
        name: "xivo".into(),
        status,
        version: "0.1.0".into(),
        vote: Some(vote()),
        failed_starts: None,
        media_servers: BTreeMap::from([("mds1".to_owned(), server)]),
        wished: None,
    }
}

fn half(status: Status) -> Half {
    let cc = vec![Cc { name: "cc1".into(), status }];
    let works = status == Status::Active;
    Half { xivo: Some(xivo(status)), cc, works, health: "works or not".into(), answers: true, sessions: 0 }
}

/// Main serves, Standby could.
fn site() -> Facts {
    Facts {
        sides: PerSide { main: half(Status::Active), standby: half(Status::Inactive) },
        has_cc_nodes: true,
        conflicts: Vec::new(),
        live: Side::Main,
        observe: false,
    }
}

fn set(facts: &mut Facts, side: Side, status: Status) {
    let wished = facts.sides[side].xivo.as_ref().and_then(|xivo| xivo.wished.clone());
    facts.sides[side] = half(status);
    facts.sides[side].xivo.as_mut().unwrap().wished = wished;
}

fn answer(facts: &mut Facts, side: Side, id: u64, outcome: WishOutcome) {
    facts.sides[side].xivo.as_mut().unwrap().wished = Some(Wished { id, outcome });
}

fn refused() -> WishOutcome {
    WishOutcome::Refused { reason: "I will not".into() }
}

fn ended(outputs: &[Output]) -> Option<&End> {
    outputs.iter().find_map(|output| match output {
        Output::Ended(end) => Some(end),
        _ => None,
    })
}

fn wishes(outputs: &[Output]) -> Vec<(Side, Side)> {
    let wish = |output: &Output| match output {
        Output::Wish { node, to, .. } => Some((*node, *to)),
        _ => None,
    };
    outputs.iter().filter_map(wish).collect()
}

fn switchover() -> Switchover {
    Switchover::new(Side::Standby, LIMITS, 100, at(0))
}

#[test]
fn a_site_that_follows_is_moved_step_by_step_and_verified() {
    let (mut switchover, mut facts) = (switchover(), site());
    assert_eq!(wishes(&switchover.handle(&facts, at(0))), [(Side::Main, Side::Standby)]);
    assert_eq!(switchover.handle(&facts, at(400)), [], "a wish is told once");
    answer(&mut facts, Side::Main, 101, WishOutcome::Followed);
    switchover.handle(&facts, at(500));
    set(&mut facts, Side::Main, Status::Stopping);
    assert_eq!(switchover.handle(&facts, at(600)), []);
    set(&mut facts, Side::Main, Status::Inactive);
    switchover.handle(&facts, at(3000));
    set(&mut facts, Side::Standby, Status::Starting);
    assert_eq!(switchover.handle(&facts, at(3500)), []);
    set(&mut facts, Side::Standby, Status::Active);
    facts.sides.standby.cc[0].status = Status::Starting;
    facts.sides.standby.works = false;
    switchover.handle(&facts, at(5000));
    facts.sides.standby.cc[0].status = Status::Active;
    let told = switchover.handle(&facts, at(6000));
    assert!(!told.contains(&Output::MoveTraffic(Side::Standby)), "it does not work yet");
    facts.sides.standby.works = true;
    assert_eq!(switchover.handle(&facts, at(7000)), [Output::MoveTraffic(Side::Standby)]);
    assert_eq!(switchover.handle(&facts, at(7100)), [], "once a second at most");
    facts.live = Side::Standby;
    facts.sides.main.sessions = 3;
    assert_eq!(ended(&switchover.handle(&facts, at(7200))), None);
    facts.sides.main.sessions = 0;
    assert_eq!(ended(&switchover.handle(&facts, at(9000))), Some(&End::Moved));
    assert!(switchover.records().iter().all(|record| record.state == SwitchoverStepState::Done));
    assert_eq!(switchover.deadline(), None);
}

#[test]
fn a_node_that_refuses_ends_it_and_nothing_was_changed() {
    let (mut switchover, mut facts) = (switchover(), site());
    switchover.handle(&facts, at(0));
    answer(&mut facts, Side::Main, 101, refused());
    let outputs = switchover.handle(&facts, at(500));
    assert!(wishes(&outputs).is_empty());
    let why = "hand over: main does not follow: I will not".to_owned();
    assert_eq!(ended(&outputs), Some(&End::Failed { why, undone: Undone::Nothing }));
}

#[test]
fn a_target_that_does_not_start_by_itself_is_asked_and_its_refusal_is_undone() {
    let (mut switchover, mut facts) = (switchover(), site());
    switchover.handle(&facts, at(0));
    set(&mut facts, Side::Main, Status::Inactive);
    switchover.handle(&facts, at(1000));
    assert_eq!(switchover.deadline(), Some(at(3000)));
    assert_eq!(wishes(&switchover.handle(&facts, at(3000))), [(Side::Standby, Side::Standby)]);
    answer(&mut facts, Side::Standby, 102, refused());
    let outputs = switchover.handle(&facts, at(3500));
    assert_eq!(wishes(&outputs), [(Side::Standby, Side::Main), (Side::Main, Side::Main)]);
    assert!(switchover.is_undoing());
    set(&mut facts, Side::Main, Status::Active);
    assert_eq!(ended(&switchover.handle(&facts, at(5000))), None, "it may be active as it was before the wish back");
    answer(&mut facts, Side::Main, 104, WishOutcome::Followed);
    let outputs = switchover.handle(&facts, at(6000));
    let Some(End::Failed { why, undone: Undone::All }) = ended(&outputs) else { panic!("{outputs:?}") };
    assert_eq!(why, "start telephony: standby does not follow: I will not");
}

#[test]
fn a_driver_is_never_kept_busy_while_the_target_takes_its_time_to_start() {
    let (mut switchover, mut facts) = (switchover(), site());
    switchover.handle(&facts, at(0));
    set(&mut facts, Side::Main, Status::Inactive);
    switchover.handle(&facts, at(1000));
    set(&mut facts, Side::Standby, Status::Starting);
    for ms in (1_000..100_000).step_by(500) {
        switchover.handle(&facts, at(ms));
        assert!(switchover.deadline().is_some_and(|deadline| deadline > at(ms)), "{ms}");
    }
}

#[test]
fn a_source_that_serves_again_because_the_target_did_not_start_ends_the_switchover_with_that_reason() {
    let (mut switchover, mut facts) = (switchover(), site());
    switchover.handle(&facts, at(0));
    set(&mut facts, Side::Main, Status::Inactive);
    switchover.handle(&facts, at(1000));
    set(&mut facts, Side::Main, Status::Active);
    let outputs = switchover.handle(&facts, at(4000));
    assert_eq!(wishes(&outputs), [(Side::Standby, Side::Main), (Side::Main, Side::Main)]);
    answer(&mut facts, Side::Main, switchover.wished.main.unwrap(), WishOutcome::Followed);
    let outputs = switchover.handle(&facts, at(4500));
    let Some(End::Failed { why, undone: Undone::All }) = ended(&outputs) else { panic!("{outputs:?}") };
    assert_eq!(why, "start telephony: standby did not start, and main serves again");
}

#[test]
fn a_step_whose_time_is_over_asks_for_nothing_more() {
    let (mut switchover, mut facts) = (switchover(), site());
    // Telephony is there already: no node has to be asked.
    set(&mut facts, Side::Main, Status::Inactive);
    set(&mut facts, Side::Standby, Status::Active);
    facts.sides.standby.works = false;
    switchover.handle(&facts, at(0));
    facts.sides.standby.works = true;
    let outputs = switchover.handle(&facts, at(0) + LIMITS.traffic);
    assert!(matches!(ended(&outputs), Some(End::Failed { undone: Undone::Nothing, .. })), "{outputs:?}");
    assert!(!outputs.contains(&Output::MoveTraffic(Side::Standby)), "that would not be nothing: {outputs:?}");
}

#[test]
fn each_step_that_takes_too_long_is_undone() {
    // How the facts must be for the switchover to come to a step, and to stay there.
    type Arrange = fn(&mut Facts);
    let arrivals: [(Step, Arrange); 6] = [
        (Step::HandOver, |_| {}),
        (Step::Stop, |facts| answer(facts, Side::Main, 101, WishOutcome::Followed)),
        (Step::Start, |facts| set(facts, Side::Main, Status::Inactive)),
        (Step::Register, |facts| {
            set(facts, Side::Main, Status::Inactive);
            set(facts, Side::Standby, Status::Active);
            facts.sides.standby.xivo.as_mut().unwrap().media_servers.get_mut("mds1").unwrap().registered = false;
        }),
        (Step::Contact, |facts| {
            set(facts, Side::Main, Status::Inactive);
            set(facts, Side::Standby, Status::Active);
            facts.sides.standby.cc[0].status = Status::Inactive;
        }),
        (Step::Traffic, |facts| {
            set(facts, Side::Main, Status::Inactive);
            set(facts, Side::Standby, Status::Active);
            facts.sides.standby.works = false;
        }),
    ];
    for (step, arrange) in arrivals {
        let (mut switchover, mut facts) = (switchover(), site());
        switchover.handle(&facts, at(0));
        arrange(&mut facts);
        switchover.handle(&facts, at(1));
        let running =
            switchover.records().iter().find(|record| record.state == SwitchoverStepState::Running).map(|r| r.step);
        assert_eq!(running, Some(step));
        let outputs = switchover.handle(&facts, at(1) + LIMITS.of(step));
        // A target that serves must cease to before the source is asked.
        let both = [(Side::Standby, Side::Main), (Side::Main, Side::Main)];
        let back = if facts.serves(Side::Standby) { &both[..1] } else { &both[..] };
        assert!(wishes(&outputs).ends_with(back), "{step}: {outputs:?}");
        let outputs = switchover.handle(&facts, at(400_000));
        match ended(&outputs) {
            Some(End::Failed { why, undone: Undone::NotAll(_) }) => assert!(why.starts_with(&step.to_string())),
            other => panic!("{step}: {other:?}"),
        }
    }
}

#[test]
fn traffic_that_had_moved_goes_back_with_the_rest() {
    let (mut switchover, mut facts) = (switchover(), site());
    switchover.handle(&facts, at(0));
    set(&mut facts, Side::Main, Status::Inactive);
    set(&mut facts, Side::Standby, Status::Active);
    facts.live = Side::Standby;
    facts.sides.main.sessions = 1;
    switchover.handle(&facts, at(1000));
    facts.sides.standby.works = false;
    assert_eq!(wishes(&switchover.handle(&facts, at(60_000))), [(Side::Standby, Side::Main)]);
    set(&mut facts, Side::Standby, Status::Stopping);
    assert_eq!(switchover.handle(&facts, at(60_100)), [], "it still runs");
    set(&mut facts, Side::Standby, Status::Inactive);
    assert_eq!(wishes(&switchover.handle(&facts, at(60_200))), [(Side::Main, Side::Main)]);
    let wished = |switchover: &Switchover| switchover.wished.main.unwrap();
    // It has not heard of it yet: it is asked again.
    answer(&mut facts, Side::Main, wished(&switchover), refused());
    assert_eq!(switchover.handle(&facts, at(60_700)), []);
    assert_eq!(wishes(&switchover.handle(&facts, at(62_200))), [(Side::Main, Side::Main)]);
    answer(&mut facts, Side::Main, wished(&switchover), WishOutcome::Followed);
    set(&mut facts, Side::Main, Status::Active);
    assert_eq!(switchover.handle(&facts, at(63_000)), [Output::MoveTraffic(Side::Main)]);
    facts.live = Side::Main;
    let outputs = switchover.handle(&facts, at(64_000));
    assert!(matches!(ended(&outputs), Some(End::Failed { undone: Undone::All, .. })), "{outputs:?}");
}

#[test]
fn a_source_that_dies_on_the_way_is_no_reason_to_wait_for_its_stop() {
    let (mut switchover, mut facts) = (switchover(), site());
    switchover.handle(&facts, at(0));
    set(&mut facts, Side::Main, Status::Stopping);
    switchover.handle(&facts, at(500));
    facts.sides.main = Half::default();
    assert_eq!(switchover.handle(&facts, at(4000)), []);
    set(&mut facts, Side::Standby, Status::Active);
    facts.live = Side::Standby;
    assert_eq!(ended(&switchover.handle(&facts, at(6000))), Some(&End::Moved));
}

#[test]
fn sessions_that_stay_are_said_and_are_no_reason_to_go_back() {
    let (mut switchover, mut facts) = (switchover(), site());
    switchover.handle(&facts, at(0));
    set(&mut facts, Side::Main, Status::Inactive);
    set(&mut facts, Side::Standby, Status::Active);
    facts.live = Side::Standby;
    facts.sides.main.sessions = 2;
    switchover.handle(&facts, at(1000));
    let outputs = switchover.handle(&facts, at(41_000));
    assert_eq!(ended(&outputs), Some(&End::Moved));
    assert!(switchover.records()[Step::Verify as usize].said.contains("2 sessions are left"));
}

#[test]
fn preflight_names_everything_that_is_in_the_way() {
    assert!(preflight(Side::Standby, &site()).iter().all(|check| check.passed));
    let failing = |change: fn(&mut Facts)| {
        let mut facts = site();
        change(&mut facts);
        let failed = preflight(Side::Standby, &facts).into_iter().filter(|check| !check.passed);
        failed.map(|check| check.name).collect::<Vec<_>>()
    };
    fn standby(facts: &mut Facts) -> &mut Xivo {
        facts.sides.standby.xivo.as_mut().unwrap()
    }
    assert_eq!(failing(|facts| facts.sides.main.xivo = None), ["both XiVO nodes report"]);
    assert_eq!(failing(|facts| standby(facts).vote.as_mut().unwrap().fit = false), ["the target can serve"]);
    fn failed() -> FailedStarts {
        FailedStarts { count: 1, since: 0, newest: 0, words: "licence missing".into() }
    }
    assert_eq!(failing(|facts| standby(facts).failed_starts = Some(failed())), ["the target can serve"]);
    assert_eq!(failing(|facts| standby(facts).vote.as_mut().unwrap().frozen = true), ["nobody froze a node"]);
    assert_eq!(
        failing(|facts| standby(facts).vote.as_mut().unwrap().accept_requests = false),
        ["both nodes follow wishes"]
    );
    assert_eq!(failing(|facts| standby(facts).version = "0.2.0".into()), ["their versions are alike"]);
    assert_eq!(failing(|facts| facts.sides.standby.cc.clear()), ["the target's CC reports"]);
    assert_eq!(failing(|facts| facts.sides.standby.answers = false), ["the Edge reaches the target"]);
    assert_eq!(failing(|facts| facts.observe = true), ["the Edge may move traffic"]);
    assert_eq!(failing(|facts| set(facts, Side::Standby, Status::Active)), ["one serves at most"]);
    let there = |facts: &mut Facts| {
        set(facts, Side::Standby, Status::Active);
        set(facts, Side::Main, Status::Inactive);
        facts.live = Side::Standby;
    };
    assert_eq!(failing(there), ["there is something to do"]);
}
