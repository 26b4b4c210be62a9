//! Both nodes and the witness over links that lose, delay and cut, with crashes, lost disks, slow stops and slow clocks: every
//! reachable state, W1 in each, and every mistake caught.

mod campaigns;
mod heal;
mod key;
mod search;
mod world;

use crate::lease::Timing;
use crate::traps::{Trap, making};
use core::time::Duration;
use heal::{BOUND, SCENES, heal};
use search::{search, wander};
use std::println;
use std::time::Instant as Clock;
use world::{Link, Plan, TICK, World, ticks};

/// A lease of two ticks, a fence of one.
const TIMING: Timing = Timing {
    heartbeat: TICK,
    request_limit: TICK,
    lease: ticks(2),
    pause: Duration::ZERO,
    fence: TICK,
    drift_ppm: 0,
    granularity: Duration::ZERO,
    promise: ticks(3),
    quiet: ticks(3),
    witness_out: ticks(1000),
    witness_restart: Duration::ZERO,
};

const PLAN: Plan = Plan {
    name: "lost, delayed and cut messages, crashes, lost disks",
    timing: TIMING,
    delay: 1,
    late: 0,
    slow: None,
    pace: 0,
    pause: 0,
    cut: [false; 4],
    crashes: [true; 3],
    lost_disks: [true; 3],
    slow_start: false,
    orphans: false,
    unguarded: false,
};

fn limit() -> usize {
    std::env::var("WALK_STATES").ok().and_then(|text| text.parse().ok()).unwrap_or(250_000)
}

fn holds(plan: &Plan, limit: usize) {
    let began = Clock::now();
    let found = search(plan, limit, World::breaks_w1, |_| {});
    let extent = if found.complete { "all" } else { "the first" };
    println!(
        "W1 holds in {extent} {} states, {} steps, {:.1?}: {}",
        found.states,
        found.edges,
        began.elapsed(),
        plan.name
    );
    assert!(found.broken.is_none(), "{}: W1 broken by {:#?}", plan.name, found.broken);
    let steps = limit / 2;
    let mut started = 0;
    let broken = wander(plan, 1, steps, |world| {
        started = started.max(world.epoch);
        world.breaks_w1()
    });
    println!("W1 holds on a way of {steps} steps with {started} starts: {}", plan.name);
    assert!(broken.is_none(), "{}: W1 broken, in the end by {broken:#?}", plan.name);
}

#[test]
fn w1_no_two_nodes_serve_whatever_is_lost_delayed_or_cut_and_whoever_restarts() {
    holds(&PLAN, 4 * limit());
}

#[test]
fn w1_holds_with_late_messages_slow_clocks_paused_watchdogs_slow_starts_and_orphans() {
    let slow = |name, whose| {
        let timing = Timing { promise: ticks(4), quiet: ticks(4), ..TIMING };
        Plan { name, timing, delay: 0, slow: Some(whose), pace: 5, ..PLAN }
    };
    let paused = Timing { pause: TICK, promise: ticks(4), quiet: ticks(4), ..TIMING };
    let fence = Timing { fence: ticks(2), promise: ticks(4), quiet: ticks(4), ..TIMING };
    for plan in [
        Plan { name: "one late message", delay: 0, late: 1, ..PLAN },
        Plan { name: "two late messages", delay: 0, late: 2, lost_disks: [false; 3], ..PLAN },
        slow("Main's clock slow by a sixth", 0),
        slow("Standby's clock slow by a sixth", 1),
        slow("the witness's clock slow by a sixth", 2),
        Plan { name: "a watchdog kept waiting for a tick", timing: paused, delay: 0, pause: 1, ..PLAN },
        Plan { name: "a fence of two ticks", timing: fence, delay: 0, ..PLAN },
        Plan { name: "starts that take time and fail", delay: 0, slow_start: true, ..PLAN },
        Plan { name: "watchdogs that die alone", delay: 0, orphans: true, ..PLAN },
    ] {
        holds(&plan, limit());
    }
}

/// How many mistakes' worlds are looked at: more than any needs.
const MISTAKES: usize = 700_000;

/// Makes a mistake, and looks for the broken promise.
fn caught(name: &str, plan: &Plan, trap: Option<Trap>, breaks: fn(&World) -> bool) {
    let began = Clock::now();
    let found = making(trap, || search(plan, MISTAKES, breaks, |_| {}));
    match &found.broken {
        Some(way) => {
            println!("caught after {} states, {} steps deep, {:.1?}: {name}", found.states, way.len(), began.elapsed());
        }
        None => println!("NOT caught in {} states, {:.1?}: {name}", found.states, began.elapsed()),
    }
    assert!(found.broken.is_some(), "{name} is not caught in {} states", found.states);
}

#[test]
fn w1_is_broken_by_each_mistake_in_the_rules() {
    let late = Plan { delay: 0, late: 1, crashes: [false; 3], ..PLAN };
    // Of two late messages of an old campaign to the witness, nothing else is needed.
    let two_late = Plan { late: 2, cut: [true, false, true, false], ..late };
    let prompt = Plan { delay: 0, crashes: [false, false, true], ..PLAN };
    for (trap, plan) in [
        (Trap::LeaseFromReceipt, PLAN),
        (Trap::NoQuietTime, PLAN),
        (Trap::PromiseForgotten, PLAN),
        (Trap::OwnVoteIgnored, PLAN),
        (Trap::HearingIsAGrant, PLAN),
        (Trap::EarlyRelease, PLAN),
        (Trap::NoStepDown, PLAN),
        (Trap::ActivateAlone, PLAN),
        (Trap::QuietRenewals, prompt),
        (Trap::SecondRestartIsClean, prompt),
        (Trap::OldAnswers, late),
        (Trap::AnyRelease, late),
        (Trap::OldWants, two_late),
    ] {
        caught(&std::format!("{trap:?}"), &plan, Some(trap), World::breaks_w1);
    }
}

#[test]
fn w1_is_broken_by_each_time_that_is_too_short() {
    let timed = |timing| Plan { timing, ..PLAN };
    caught("promise one tick short", &timed(Timing { promise: ticks(2), ..TIMING }), None, World::breaks_w1);
    caught("quiet one tick short", &timed(Timing { quiet: ticks(2), ..TIMING }), None, World::breaks_w1);
    caught("drift ignored", &Plan { slow: Some(0), pace: 5, ..PLAN }, None, World::breaks_w1);
    caught("pause ignored", &Plan { pause: 1, ..PLAN }, None, World::breaks_w1);
}

#[test]
fn epochs_repeat_if_a_voter_forgets_them() {
    let kept = Plan { lost_disks: [false; 3], ..PLAN };
    let found = search(&kept, limit(), |world| world.epoch_repeated, |_| {});
    println!("no epoch repeats in {} states without lost disks", found.states);
    assert!(found.broken.is_none(), "an epoch repeats: {:#?}", found.broken);
    caught("EpochForgotten", &kept, Some(Trap::EpochForgotten), |world| world.epoch_repeated);
}

/// Collects worlds with nothing on its way, and lets each scene settle from each of them.
fn heals(plan: &Plan, limit: usize) -> usize {
    let settled = std::cell::RefCell::new(std::vec::Vec::new());
    let keep = |world: &World| {
        if world.links.iter().all(|link| *link == Link::Idle) {
            settled.borrow_mut().push(*world);
        }
    };
    search(plan, limit, |_| false, keep);
    wander(plan, 2, 4 * limit, |world| {
        keep(world);
        false
    });
    let settled = settled.into_inner();
    let mut failures = 0;
    for scene in SCENES {
        let began = Clock::now();
        let mut worst = 0;
        let mut first = None;
        for world in &settled {
            match heal(plan, &scene, world) {
                Ok(ticks) => worst = worst.max(ticks),
                Err(end) => {
                    failures += 1;
                    first = first.or(Some((*world, end)));
                }
            }
        }
        let (took, count) = (began.elapsed(), settled.len());
        println!("W2 within {worst} ticks of {BOUND} from {count} worlds, {took:.1?}: {}", scene.name);
        if let Some((from, end)) = first {
            println!("W2 broken: {}: from {from:#?}\nto {end:#?}", scene.name);
        }
    }
    failures
}

#[test]
fn w2_whatever_happened_exactly_one_node_serves_soon_once_two_voters_reach_each_other() {
    assert_eq!(heals(&PLAN, limit() / 10), 0);
}
