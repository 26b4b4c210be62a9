use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use std::string::ToString;

use super::*;
use crate::time::Instant;

const POLICY: Policy = Policy::DEFAULT;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

/// A backend on virtual time: how it answers a probe started at a given millisecond.
struct Run<F> {
    judge: Judge,
    now: Instant,
    backend: F,
    /// Probes under way: when they end, and how.
    ends: Vec<(Instant, ProbeId, Outcome)>,
    starts: Vec<Instant>,
    changes: Vec<(Instant, Report)>,
}

impl<F: Fn(Instant) -> (Duration, Outcome)> Run<F> {
    fn new(policy: Policy, backend: F) -> Self {
        let judge = Judge::new(policy, at(0));
        Self { judge, now: at(0), backend, ends: vec![], starts: vec![], changes: vec![] }
    }

    fn feed(&mut self, event: Event) {
        for output in self.judge.handle(event, self.now) {
            match output {
                Output::StartProbe { id, .. } => {
                    let (takes, outcome) = (self.backend)(self.now);
                    self.starts.push(self.now);
                    self.ends.push((self.now + takes, id, outcome));
                    self.ends.sort();
                }
                Output::Changed { report, .. } => self.changes.push((self.now, report)),
                Output::Suspected { .. } | Output::Confirmed { .. } => {}
            }
        }
    }

    fn until(&mut self, end: Instant) {
        loop {
            let timer = self.judge.deadline().unwrap();
            let finish = self.ends.first().map(|(at, ..)| *at);
            let next = finish.map_or(timer, |finish| finish.min(timer));
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            if finish == Some(next) {
                let (_, id, outcome) = self.ends.remove(0);
                self.feed(Event::Finished { id, outcome });
            } else {
                self.feed(Event::Timer);
            }
        }
    }

    fn first_change_to(&self, verdict: Verdict, after: Instant) -> Option<Instant> {
        self.changes.iter().find(|(at, report)| *at >= after && report.verdict == verdict).map(|(at, _)| *at)
    }
}

impl PartialOrd for Outcome {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Outcome {
    fn cmp(&self, _: &Self) -> core::cmp::Ordering {
        core::cmp::Ordering::Equal
    }
}

fn refuses() -> (Duration, Outcome) {
    (ms(1), Outcome::Failed(Failure::Refused))
}

fn is_silent() -> (Duration, Outcome) {
    (POLICY.time_limit, Outcome::Failed(Failure::Silent))
}

fn answers() -> (Duration, Outcome) {
    (ms(1), Outcome::Ok)
}

fn breaks(fault: Instant, failure: fn() -> (Duration, Outcome)) -> impl Fn(Instant) -> (Duration, Outcome) {
    move |now| if now < fault { answers() } else { failure() }
}

#[test]
fn a_restarted_edge_knows_a_working_backend_after_one_answer() {
    let mut run = Run::new(POLICY, |_| answers());
    run.until(at(10));
    assert_eq!(run.first_change_to(Verdict::Up, at(0)), Some(at(1)));
}

#[test]
fn a_restarted_edge_knows_a_dead_backend_within_about_a_second() {
    for (failure, limit) in [(refuses as fn() -> _, 200), (is_silent, 1200)] {
        let mut run = Run::new(POLICY, move |_| failure());
        run.until(at(3000));
        assert!(run.first_change_to(Verdict::Down, at(0)).unwrap() <= at(limit));
    }
}

#[test]
fn a_fault_without_traffic_is_seen_within_the_fault_bound_whenever_it_strikes() {
    for fault in (5_000..6_100).step_by(7).map(at) {
        for (failure, bound) in
            [(refuses as fn() -> _, POLICY.fault_bound_refused() + ms(3)), (is_silent, POLICY.fault_bound_silent())]
        {
            let mut run = Run::new(POLICY, breaks(fault, failure));
            run.until(at(12_000));
            let down = run.first_change_to(Verdict::Down, fault).unwrap();
            assert!(down - fault <= bound, "fault at {fault}: down after {:?}, bound {bound:?}", down - fault);
        }
    }
}

#[test]
fn a_sign_of_live_traffic_leads_to_down_within_the_detection_bound() {
    for fault in (5_000..6_100).step_by(7).map(at) {
        for (failure, sign, bound) in [
            (refuses as fn() -> _, Sign::Refused, POLICY.detection_bound_refused() + ms(3)),
            (is_silent, Sign::TimedOut, POLICY.detection_bound_silent()),
        ] {
            let mut run = Run::new(POLICY, breaks(fault, failure));
            run.until(fault);
            run.feed(Event::Sign(sign));
            run.until(at(12_000));
            let down = run.first_change_to(Verdict::Down, fault).unwrap();
            assert!(down - fault <= bound, "fault at {fault}: down after {:?}, bound {bound:?}", down - fault);
        }
    }
}

#[test]
fn the_default_bounds_are_those_of_the_design() {
    assert_eq!(POLICY.detection_bound_refused(), ms(170));
    assert_eq!(POLICY.detection_bound_silent(), ms(1250));
    assert_eq!(POLICY.fault_bound_refused(), ms(1120));
    assert_eq!(POLICY.fault_bound_silent(), ms(2850));
    assert_eq!(POLICY.recovery_bound(), ms(1350));
}

#[test]
fn silent_probes_overlap_until_the_verdict_is_settled() {
    let mut run = Run::new(POLICY, breaks(at(5_000), is_silent));
    run.until(at(5_000));
    let calm = *run.starts.last().unwrap();
    run.until(at(9_000));
    let quick: Vec<Duration> = run.starts.iter().filter(|start| **start > calm).map(|start| *start - calm).collect();
    // The calm probe times out after 800 ms; the next ones follow 150 ms apart without waiting for each other.
    assert_eq!(quick[..4], [ms(800), ms(950), ms(1100), ms(1250)]);
    assert_eq!(run.first_change_to(Verdict::Down, at(5_000)), Some(calm + ms(950 + 800)));
}

#[test]
fn a_sign_starts_probes_and_never_counts_as_a_failure() {
    let mut run = Run::new(POLICY, |_| answers());
    run.until(at(1_500));
    let before = run.starts.len();
    for sign in [Sign::Refused, Sign::Reset, Sign::TimedOut, Sign::Refused, Sign::Refused] {
        run.feed(Event::Sign(sign));
    }
    assert_eq!(run.starts.len(), before + 1);
    run.until(at(5_000));
    assert_eq!(run.changes.len(), 1, "only the first up: {:?}", run.changes);
}

#[test]
fn a_storm_of_signs_makes_no_storm_of_probes() {
    let mut run = Run::new(POLICY, |_| answers());
    run.until(at(1_000));
    let before = run.starts.len();
    for millis in 1_000..11_000 {
        run.until(at(millis));
        run.feed(Event::Sign(Sign::Reset));
    }
    let seconds = 10;
    let most = seconds * 1000 / POLICY.reprobe_silent.as_millis() as usize + 1;
    assert!(run.starts.len() - before <= most, "{} probes in {seconds} s", run.starts.len() - before);
    assert_eq!(run.judge.report().verdict, Verdict::Up);
}

#[test]
fn a_healed_backend_is_up_within_the_recovery_bound() {
    for healed in (5_000..6_100).step_by(13).map(at) {
        for failure in [refuses as fn() -> _, is_silent] {
            let mut run = Run::new(POLICY, move |now| if now < healed { failure() } else { answers() });
            run.until(at(12_000));
            let up = run.first_change_to(Verdict::Up, healed).unwrap();
            assert!(up - healed <= POLICY.recovery_bound() + ms(2), "up after {:?}", up - healed);
        }
    }
}

#[test]
fn one_lost_probe_changes_nothing() {
    let mut run = Run::new(POLICY, |now| if (at(2_990)..at(3_100)).contains(&now) { is_silent() } else { answers() });
    run.until(at(9_000));
    assert_eq!(run.changes.len(), 1, "{:?}", run.changes);
    assert_eq!(run.judge.pace(), Pace::Calm);
}

#[test]
fn a_silent_prober_makes_unknown_and_never_up() {
    for settled in [Outcome::Ok, Outcome::Failed(Failure::Refused)] {
        let mut judge = Judge::new(POLICY, at(0));
        for id in 1..=3 {
            judge.handle(Event::Timer, at(id * 200));
            judge.handle(Event::Finished { id: ProbeId(id), outcome: settled }, at(id * 200));
        }
        assert_ne!(judge.report().verdict, Verdict::Unknown);
        let mut now = at(600);
        while now < at(20_000) {
            now = judge.deadline().unwrap();
            judge.handle(Event::Timer, now);
        }
        assert_eq!(judge.report().verdict, Verdict::Unknown);
        assert_eq!(judge.report().reason, Reason::Stale { after: ms(3000) });
        assert!(judge.flights.len() <= POLICY.in_flight);
    }
}

#[test]
fn an_older_probe_never_overrides_a_newer_one() {
    let mut judge = Judge::new(POLICY, at(0));
    let start = |judge: &mut Judge, now| {
        let outputs = judge.handle(Event::Timer, at(now));
        assert!(matches!(outputs[..], [Output::StartProbe { .. }]), "{outputs:?}");
    };
    start(&mut judge, 0);
    start(&mut judge, 150);
    start(&mut judge, 300);
    judge.handle(Event::Finished { id: ProbeId(2), outcome: Outcome::Ok }, at(301));
    let before = judge.against;
    judge.handle(Event::Finished { id: ProbeId(1), outcome: Outcome::Failed(Failure::Silent) }, at(302));
    assert_eq!((judge.report().verdict, judge.against), (Verdict::Up, before), "older failure");
    judge.handle(Event::Finished { id: ProbeId(3), outcome: Outcome::Failed(Failure::Silent) }, at(303));
    assert_eq!((judge.report().verdict, judge.against), (Verdict::Up, before + 1), "newer failure");
}

#[test]
fn a_probe_that_could_not_run_says_nothing_and_is_not_hurried() {
    let mut run = Run::new(POLICY, |_| answers());
    run.until(at(100));
    let mut starts = 0;
    for millis in 100..5_100 {
        for output in run.judge.handle(Event::Timer, at(millis)) {
            if let Output::StartProbe { id, .. } = output {
                starts += 1;
                run.judge.handle(Event::Abandoned { id }, at(millis));
            }
        }
    }
    assert!(starts < 20, "{starts} probes in 5 s");
    assert_eq!(run.judge.report().verdict, Verdict::Unknown);
}

#[test]
fn a_prober_that_cannot_run_is_not_pressed_even_in_an_alert() {
    let mut run = Run::new(POLICY, |_| answers());
    run.until(at(1_500));
    let mut starts = 0;
    run.judge.handle(Event::Sign(Sign::Refused), at(1_500));
    let id = run.judge.flights[0].id;
    run.judge.handle(Event::Finished { id, outcome: Outcome::Failed(Failure::Refused) }, at(1_501));
    for millis in 1_501..2_501 {
        for output in run.judge.handle(Event::Timer, at(millis)) {
            if let Output::StartProbe { id, .. } = output {
                starts += 1;
                run.judge.handle(Event::Abandoned { id }, at(millis));
            }
        }
    }
    assert!((2..=7).contains(&starts), "{starts} probes in a second");
}

#[test]
fn fresh_evidence_comes_when_it_is_asked_for() {
    let mut run = Run::new(POLICY, |_| answers());
    run.until(at(1_400));
    run.feed(Event::Reprobe);
    run.until(at(1_402));
    assert_eq!(run.judge.report().as_of, at(1_400));
}

#[test]
fn reasons_read_as_sentences() {
    let failed = |last, times| Reason::Failed { last, times, time_limit: ms(800) }.to_string();
    assert_eq!(failed(Failure::Silent, 3), "no answer within 800 ms, 3 times");
    assert_eq!(failed(Failure::Refused, 1), "connection refused");
    assert_eq!(failed(Failure::Status(502), 47), "answered with status 502, 47 times");
    assert_eq!(Reason::Stale { after: ms(3000) }.to_string(), "no probe has ended for 3 s");
}

#[test]
fn all_violated_relations_are_reported_at_once() {
    assert_eq!(POLICY.validate(), Ok(()));
    assert_eq!(POLICY.stale_after, POLICY.default_stale_after());
    let bad = Policy {
        interval: ms(100),
        time_limit: ms(800),
        fall: 0,
        reprobe_refused: ms(0),
        in_flight: 0,
        stale_after: ms(900),
        ..POLICY
    };
    let found = bad.validate().unwrap_err();
    let fields: Vec<&str> = found.iter().map(Violation::field).collect();
    assert_eq!(fields, ["reprobe_refused", "time_limit", "reprobe_silent", "reprobe_rising", "fall", "stale_after"]);
    assert_eq!(found[1].to_string(), "time_limit (800 ms) must not be longer than interval (100 ms)");
    let few = Policy { in_flight: 2, ..POLICY }.validate().unwrap_err();
    assert_eq!(few[0].to_string(), "in_flight (2) must be at least fall (3)");
}

#[test]
fn an_unsound_policy_does_no_harm() {
    let zero = Policy {
        interval: ms(0),
        time_limit: ms(0),
        fall: 0,
        rise: 0,
        reprobe_refused: ms(0),
        reprobe_silent: ms(0),
        reprobe_rising: ms(0),
        stale_after: ms(0),
        in_flight: 0,
        jitter: ms(0),
    };
    let mut judge = Judge::new(zero, at(0));
    for now in 0..100 {
        judge.handle(Event::Timer, Instant::from_micros(now));
        judge.handle(Event::Sign(Sign::Reset), Instant::from_micros(now));
        assert!(judge.flights.len() <= 1);
    }
}
