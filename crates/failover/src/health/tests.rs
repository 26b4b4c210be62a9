use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use std::string::ToString;

use super::*;
use crate::names::{Explain, Names};
use crate::side::Side;
use crate::time::Instant;
use crate::verdict::{Failure, Reason as Why, Report, Verdict};

const STALE: Duration = Duration::from_secs(5);

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

/// Standby has cc on one backend, xivo on two, the second with two checks; a meeting room is shared.
struct Site {
    health: Health,
    cc: CheckId,
    xivo: [CheckId; 3],
    room: CheckId,
    node: NodeId,
}

impl Site {
    fn new() -> Self {
        let mut topology = Topology::new();
        let side = Side::Standby;
        let cc = topology.service(Scope::Of(side), Need::Required);
        let cc = topology.backend(cc);
        let cc = topology.check(cc);
        let xivo = topology.service(Scope::Of(side), Need::Required);
        let first = topology.backend(xivo);
        let second = topology.backend(xivo);
        let xivo = [topology.check(first), topology.check(second), topology.check(second)];
        let room = topology.service(Scope::Shared, Need::Required);
        let room = topology.backend(room);
        let room = topology.check(room);
        let node = topology.node(side, Need::Required);
        Self { health: Health::new(topology, STALE, at(0)), cc, xivo, room, node }
    }

    fn all_up() -> Self {
        let mut site = Self::new();
        for check in site.health.topology().checks().collect::<Vec<_>>() {
            site.say(check, Verdict::Up, Failure::Silent, 1);
        }
        site
    }

    fn say(&mut self, check: CheckId, verdict: Verdict, failure: Failure, second: u64) -> Vec<Output> {
        let reason = match verdict {
            Verdict::Unknown => Why::NotProbed,
            Verdict::Up => Why::Answered { times: 1 },
            Verdict::Down => Why::Failed { last: failure, times: 3, time_limit: Duration::from_millis(800) },
        };
        let report = Report { verdict, reason, as_of: at(second), first_sign: at(second) };
        self.health.handle(Event::Verdict { check, report }, at(second))
    }

    fn down(&mut self, check: CheckId, failure: Failure) -> Vec<Output> {
        self.say(check, Verdict::Down, failure, 2)
    }

    fn node(&mut self, status: Status, second: u64) -> Vec<Output> {
        self.health.handle(Event::Node { node: self.node, status }, at(second))
    }

    fn side(&self) -> SideHealth {
        *self.health.side(Side::Standby)
    }
}

struct Dubois;

impl Names for Dubois {
    fn service(&self, id: ServiceId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(["cc", "xivo", "meeting room"][id.index()])
    }

    fn backend(&self, id: BackendId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(["10.0.0.22:443", "10.0.0.12:5060", "10.0.0.13:5060", "10.0.0.40:443"][id.index()])
    }

    fn check(&self, id: CheckId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(["login", "sip", "sip", "https", "https"][id.index()])
    }

    fn node(&self, _: NodeId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("xivo of standby")
    }
}

#[test]
fn a_side_works_when_each_required_service_has_a_working_backend() {
    let mut site = Site::new();
    assert_eq!(site.side().state, State::Unknown);
    site.say(site.cc, Verdict::Up, Failure::Silent, 1);
    let outputs = site.say(site.xivo[0], Verdict::Up, Failure::Silent, 1);
    assert_eq!(site.side().state, State::Working, "{outputs:?}");
    assert!(outputs.iter().any(|output| matches!(output, Output::SideChanged { .. })));
    site.down(site.xivo[0], Failure::Refused);
    assert_eq!(site.side().state, State::Unknown, "the other backend is unknown");
    site.down(site.xivo[2], Failure::Refused);
    assert_eq!(site.side().state, State::NotWorking, "one check down is enough for a backend");
}

#[test]
fn a_shared_service_moves_nobody() {
    let mut site = Site::all_up();
    let before = site.side();
    let outputs = site.down(site.room, Failure::Silent);
    assert!(matches!(outputs[..], [Output::ServiceChanged { from: State::Working, .. }]), "{outputs:?}");
    assert_eq!(site.side(), before);
}

#[test]
fn the_state_of_every_mix_of_verdicts_follows_the_rule() {
    const ALL: [Verdict; 3] = [Verdict::Unknown, Verdict::Up, Verdict::Down];
    let mut mixes = 0;
    for mix in 0..81_usize {
        let pick = |digit: u32| ALL[mix / 3_usize.pow(digit) % 3];
        let verdicts = [pick(0), pick(1), pick(2), pick(3)];
        let mut site = Site::new();
        let checks = [site.cc, site.xivo[0], site.xivo[1], site.xivo[2]];
        for (check, verdict) in checks.into_iter().zip(verdicts) {
            site.say(check, verdict, Failure::Refused, 1);
        }
        let [cc, first, second, third] = verdicts;
        let up = |verdicts: &[Verdict]| verdicts.iter().all(|verdict| *verdict == Verdict::Up);
        let down = |verdicts: &[Verdict]| verdicts.contains(&Verdict::Down);
        let works = up(&[cc]) && (up(&[first]) || up(&[second, third]));
        let fails = down(&[cc]) || (down(&[first]) && down(&[second, third]));
        let expected = match (works, fails) {
            (true, _) => State::Working,
            (_, true) => State::NotWorking,
            _ => State::Unknown,
        };
        assert_eq!(site.side().state, expected, "{verdicts:?}");
        mixes += 1;
    }
    assert_eq!(mixes, 81);
}

#[test]
fn the_diagnosis_names_the_illness() {
    use Failure::{Overloaded, Refused, Silent, Status, Unreachable, Wrong};
    for (cc, xivo, diagnosis) in [
        (Some(Refused), Some(Refused), Diagnosis::Dead),
        (Some(Silent), Some(Refused), Diagnosis::Dead),
        (Some(Silent), Some(Unreachable), Diagnosis::UnreachableFromHere),
        (Some(Silent), None, Diagnosis::PartlyDown),
        (None, Some(Refused), Diagnosis::PartlyDown),
        (Some(Overloaded), None, Diagnosis::Overloaded),
        (Some(Status(502)), None, Diagnosis::Wrong),
        (Some(Wrong), Some(Overloaded), Diagnosis::Wrong),
        (Some(Status(502)), Some(Refused), Diagnosis::Dead),
    ] {
        let mut site = Site::all_up();
        if let Some(failure) = cc {
            site.down(site.cc, failure);
        }
        for check in site.xivo {
            if let Some(failure) = xivo {
                site.down(check, failure);
            }
        }
        assert_eq!(site.side().diagnosis(), Some(diagnosis), "cc {cc:?}, xivo {xivo:?}");
    }
}

#[test]
fn a_node_that_says_inactive_outweighs_its_probes_until_its_report_is_old() {
    for (status, diagnosis) in [
        (Status::Inactive, Diagnosis::Inactive),
        (Status::Stopping, Diagnosis::Inactive),
        (Status::Faulty, Diagnosis::Faulty),
    ] {
        let mut site = Site::all_up();
        site.node(status, 10);
        assert_eq!((site.side().state, site.side().diagnosis()), (State::NotWorking, Some(diagnosis)));
        assert_eq!(site.health.deadline(), Some(at(15)));
        site.health.handle(Event::Timer, at(14));
        assert_eq!(site.side().state, State::NotWorking);
        let outputs = site.health.handle(Event::Timer, at(15));
        assert!(matches!(outputs[..], [Output::SideChanged { .. }]), "{outputs:?}");
        assert_eq!((site.side().state, site.health.deadline()), (State::Working, None));
    }
}

#[test]
fn a_starting_side_is_not_yet_a_target_and_no_reason_to_leave() {
    let mut site = Site::all_up();
    site.node(Status::Starting, 10);
    assert_eq!(site.side().state, State::Unknown);
    site.down(site.cc, Failure::Refused);
    assert_eq!(site.side().state, State::NotWorking, "the probes still count against it");
}

#[test]
fn a_refusal_that_is_repeated_is_no_new_trouble() {
    let mut site = Site::all_up();
    site.node(Status::Inactive, 10);
    site.node(Status::Inactive, 12);
    assert_eq!((site.side().trouble_since, site.side().as_of), (at(10), at(12)));
    site.node(Status::Active, 13);
    site.node(Status::Inactive, 14);
    assert_eq!(site.side().trouble_since, at(14));
}

#[test]
fn an_active_node_proves_nothing_its_probes_deny() {
    let mut site = Site::all_up();
    site.down(site.cc, Failure::Silent);
    site.node(Status::Active, 10);
    assert_eq!(site.side().state, State::NotWorking);
}

#[test]
fn evidence_is_as_fresh_as_its_oldest_needed_part() {
    let mut site = Site::all_up();
    site.say(site.xivo[0], Verdict::Up, Failure::Silent, 7);
    assert_eq!(site.side().as_of, at(1), "cc was asked long ago");
    let outputs = site.say(site.cc, Verdict::Up, Failure::Silent, 9);
    assert!(matches!(outputs[..], [Output::SideConfirmed { .. }]), "{outputs:?}");
    assert_eq!(site.side().as_of, at(7), "the freshest working backend of xivo counts");
    site.say(site.xivo[0], Verdict::Down, Failure::Silent, 11);
    site.say(site.xivo[1], Verdict::Down, Failure::Silent, 13);
    assert_eq!((site.side().trouble_since, site.side().as_of), (at(13), at(11)), "down since the last backend failed");
    site.say(site.cc, Verdict::Down, Failure::Silent, 17);
    assert_eq!((site.side().trouble_since, site.side().as_of), (at(13), at(17)), "one proof is enough");
    assert_eq!(site.side().since, at(13));
}

#[test]
fn e2_a_node_that_repeats_itself_does_not_make_its_trouble_younger() {
    let mut site = Site::all_up();
    site.node(Status::Stopping, 10);
    site.node(Status::Inactive, 11);
    site.node(Status::Inactive, 12);
    assert_eq!((site.side().trouble_since, site.side().as_of), (at(10), at(12)));
    site.node(Status::Active, 13);
    site.node(Status::Inactive, 14);
    assert_eq!(site.side().trouble_since, at(14));
}

#[test]
fn spurious_timers_and_strangers_change_nothing() {
    let mut site = Site::all_up();
    let before = site.health.clone();
    for now in [at(2), at(1), at(0)] {
        assert_eq!(site.health.handle(Event::Timer, now), []);
    }
    assert_eq!(site.say(CheckId(99), Verdict::Down, Failure::Silent, 2), []);
    assert_eq!(site.health.handle(Event::Node { node: NodeId(99), status: Status::Inactive }, at(2)), []);
    assert_eq!(site.side(), *before.side(Side::Standby));
}

#[test]
fn e8_health_reads_as_a_sentence_with_the_sites_own_names() {
    let mut site = Site::all_up();
    let outputs = [site.down(site.xivo[0], Failure::Silent), site.down(site.xivo[2], Failure::Silent)].concat();
    let lines: Vec<_> = outputs.iter().map(|output| output.named(&Dubois).to_string()).collect();
    let fault = "partly down: xivo is down on 10.0.0.12:5060 (sip: no answer within 800 ms, 3 times)";
    assert!(lines.contains(&std::format!("standby does not work: {fault}")), "{lines:#?}");
    site.node(Status::Inactive, 3);
    let side = site.side();
    assert_eq!(side.named(&Dubois).to_string(), "does not work: node xivo of standby says it is inactive");
}

#[test]
fn a_topology_that_cannot_be_judged_is_told() {
    let mut topology = Topology::new();
    let service = topology.service(Scope::Of(Side::Main), Need::Required);
    assert_eq!(
        topology.flaws(),
        [Flaw::NothingRequired(Side::Main), Flaw::NothingRequired(Side::Standby), Flaw::NoBackend(service)]
    );
    let backend = topology.backend(service);
    assert!(topology.flaws().contains(&Flaw::NoCheck(backend)));
    let check = topology.check(backend);
    assert_eq!(topology.flaws(), [Flaw::NothingRequired(Side::Standby)]);
    assert_eq!(topology.required_checks(Side::Main).collect::<Vec<_>>(), [check]);
}
