//! Every reachable state of a judge with a small policy, every event in it, the rules checked on every edge.

use alloc::vec::Vec;
use core::time::Duration;
use std::collections::HashSet;
use std::time::Instant as Clock;

use super::judge::{Flight, Schedule};
use super::*;
use crate::time::Instant;
use crate::walked;

const fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks)
}

const TICK: Duration = ticks(1);
const BASE: Instant = Instant::from_micros(1_000_000);

const SMALL: Policy = Policy {
    interval: ticks(4),
    time_limit: ticks(3),
    fall: 3,
    rise: 2,
    reprobe_refused: ticks(1),
    reprobe_silent: ticks(2),
    reprobe_rising: ticks(2),
    stale_after: ticks(8),
    in_flight: 3,
    jitter: ticks(0),
};

/// Whether the driver keeps its word and reports each probe within the time limit.
#[derive(Clone, Copy, PartialEq)]
enum Driver {
    Honest,
    Careless,
}

/// Renames times and probes so that states that behave alike are equal.
fn canonical(judge: &Judge) -> Judge {
    let mut like = judge.clone();
    let now = judge.now;
    let past = |at: Instant| BASE.saturating_sub(now.since(at).min(ticks(9)));
    let future = |at: Instant| BASE + at.since(now);
    let rank = |id: ProbeId| judge.flights.iter().filter(|flight| flight.id <= id).count() as u64;
    like.now = BASE;
    like.flights = (1..)
        .zip(&judge.flights)
        .map(|(id, flight)| Flight { id: ProbeId(id), started: past(flight.started) })
        .collect();
    like.next = ProbeId(judge.flights.len() as u64 + 1);
    like.newest_ok = ProbeId(rank(judge.newest_ok));
    like.newest_failed = ProbeId(rank(judge.newest_failed));
    if let Schedule::Alert { since, .. } = &mut like.schedule {
        *since = ProbeId(judge.flights.iter().filter(|flight| flight.id < *since).count() as u64 + 1);
    }
    like.last_start = judge.last_start.map(past);
    like.last_outcome = past(judge.last_outcome);
    like.asked = judge.asked.map(future);
    like.held_until = future(judge.held_until);
    let reason = match judge.report.verdict {
        Verdict::Unknown => Reason::NotProbed,
        Verdict::Up => Reason::Answered { times: 1 },
        Verdict::Down => Reason::Failed { last: Failure::Silent, times: 1, time_limit: ticks(3) },
    };
    like.report = Report { verdict: judge.report.verdict, reason, as_of: BASE, first_sign: BASE };
    like
}

fn events(judge: &Judge, driver: Driver) -> Vec<(Duration, Event)> {
    let overdue = |flight: &Flight| judge.now.since(flight.started) >= SMALL.time_limit;
    let mut events = Vec::from([(Duration::ZERO, Event::Timer), (Duration::ZERO, Event::Sign(Sign::Refused))]);
    if driver == Driver::Careless || !judge.flights.iter().any(overdue) {
        events.push((TICK, Event::Timer));
    }
    if driver == Driver::Honest {
        events.push((Duration::ZERO, Event::Reprobe));
    }
    for flight in &judge.flights {
        let id = flight.id;
        for outcome in [Outcome::Ok, Outcome::Failed(Failure::Refused), Outcome::Failed(Failure::Silent)] {
            events.push((Duration::ZERO, Event::Finished { id, outcome }));
        }
        events.push((Duration::ZERO, Event::Abandoned { id }));
    }
    events.push((Duration::ZERO, Event::Finished { id: ProbeId(0), outcome: Outcome::Ok }));
    events
}

fn check_edge(before: &Judge, wait: Duration, event: Event, outputs: &[Output], after: &Judge) {
    let now = before.now + wait;
    let context = || std::format!("{before:?}\n+ {event:?} after {wait:?}\n= {after:?}\n{outputs:?}");
    let verdicts = (before.report.verdict, after.report.verdict);
    assert!(after.flights.len() <= SMALL.in_flight, "too many probes under way: {}", context());
    let starts = outputs.iter().filter(|output| matches!(output, Output::StartProbe { .. })).count();
    assert!(starts <= 1, "a burst of probes: {}", context());
    if starts == 1 {
        let soon = before.last_start.is_some_and(|last| now.since(last) < SMALL.reprobe_refused);
        assert!(!soon, "probes too close: {}", context());
    }
    let success = matches!(event, Event::Finished { outcome: Outcome::Ok, .. });
    let failure = matches!(event, Event::Finished { outcome: Outcome::Failed(_), .. });
    if verdicts.0 != verdicts.1 {
        match verdicts.1 {
            Verdict::Up => assert!(success, "up without an answer: {}", context()),
            Verdict::Down => assert!(failure, "down without a failure: {}", context()),
            Verdict::Unknown => assert!(now - before.last_outcome >= SMALL.stale_after, "unknown: {}", context()),
        }
    }
    let told = outputs.iter().filter(|output| matches!(output, Output::Changed { .. })).count();
    assert_eq!(told > 0, verdicts.0 != verdicts.1 || told > 1, "each change is told: {}", context());
    if let Event::Finished { id, .. } = event {
        let newer = if success { before.newest_failed } else { before.newest_ok };
        if id < newer {
            assert_eq!(verdicts.0, verdicts.1, "older evidence won: {}", context());
            assert_eq!(before.against, after.against, "older evidence counted: {}", context());
        }
    }
    if matches!(event, Event::Sign(_) | Event::Reprobe | Event::Abandoned { .. }) {
        assert_eq!(before.against, after.against, "a sign counted: {}", context());
    }
    assert!(after.against < SMALL.fall, "{}", context());
    assert!(after.deadline().unwrap() > after.now, "the deadline must lie ahead: {}", context());
    let mut again = after.clone();
    for earlier in [after.now, after.now.saturating_sub(ticks(5))] {
        assert_eq!(again.handle(Event::Timer, earlier), [], "a spurious timer acted: {}", context());
        assert_eq!(again, *after, "a spurious timer changed the state: {}", context());
    }
    if wait == Duration::ZERO && event == Event::Timer {
        assert_eq!(outputs, [], "nothing was due: {}", context());
    }
    if wait == TICK && now < before.deadline().unwrap() {
        assert_eq!(outputs, [], "acted before its deadline: {}", context());
    }
}

/// Runs on from a state with a backend that ends every probe alike, and returns how long the verdict takes.
fn time_to(verdict: Verdict, from: &Judge, takes: Duration, outcome: Outcome) -> Duration {
    let mut judge = from.clone();
    let start = judge.now;
    while judge.report.verdict != verdict {
        let due = judge.flights.iter().find(|flight| judge.now.since(flight.started) >= takes).map(|flight| flight.id);
        match due {
            Some(id) => judge.handle(Event::Finished { id, outcome }, judge.now),
            None => judge.handle(Event::Timer, judge.now + TICK),
        };
        assert!(judge.now - start < ticks(100), "never {verdict}: {from:?}");
    }
    judge.now - start
}

fn check_liveness(judge: &Judge) {
    // A prober that could not run its last probe waits this long.
    let hold = SMALL.reprobe_silent;
    let refused = time_to(Verdict::Down, judge, ticks(0), Outcome::Failed(Failure::Refused));
    assert!(refused <= SMALL.fault_bound_refused() + hold, "down after {refused:?}: {judge:?}");
    let silent = time_to(Verdict::Down, judge, SMALL.time_limit, Outcome::Failed(Failure::Silent));
    assert!(silent <= SMALL.fault_bound_silent() + hold, "down after {silent:?}: {judge:?}");
    let answered = time_to(Verdict::Up, judge, ticks(0), Outcome::Ok);
    assert!(answered <= SMALL.recovery_bound() + hold, "up after {answered:?}: {judge:?}");
}

fn walk(driver: Driver) -> (usize, usize) {
    let first = canonical(&Judge::new(SMALL, BASE));
    let mut seen = HashSet::from([first.clone()]);
    let (mut open, mut edges) = (Vec::from([first]), 0);
    while let Some(before) = open.pop() {
        if driver == Driver::Honest {
            check_liveness(&before);
        }
        for (wait, event) in events(&before, driver) {
            let mut after = before.clone();
            let outputs = after.handle(event, before.now + wait);
            // The state before the very first event has not started its probe yet.
            if before.last_start.is_some() {
                check_edge(&before, wait, event, &outputs, &after);
            }
            edges += 1;
            let after = canonical(&after);
            if seen.insert(after.clone()) {
                open.push(after);
            }
        }
    }
    (seen.len(), edges)
}

#[test]
fn every_state_and_event_with_an_honest_driver_keeps_the_rules_and_settles_within_the_bounds() {
    let began = Clock::now();
    let (states, edges) = walk(Driver::Honest);
    let what = std::format!("judge, honest driver, every state, {edges} steps");
    walked::states("verdicts", states, began.elapsed(), &what);
    assert!(states > 1000);
}

#[test]
fn every_state_and_event_with_a_driver_that_loses_probes_keeps_the_rules() {
    let began = Clock::now();
    let (states, edges) = walk(Driver::Careless);
    let what = std::format!("judge, careless driver, every state, {edges} steps");
    walked::states("verdicts", states, began.elapsed(), &what);
    assert!(states > 1000);
}
