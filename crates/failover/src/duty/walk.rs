//! Both nodes and the witness over links that lose, delay and cut, with crashes, lost disks, slow stops and slow clocks.
//!
//! W1 in every state, breadth first as far as a limit allows (`WALK_STATES`), then along a random way to far ones; W2 from
//! what settles on both; and each known mistake made, to see that it is caught. Time is in whole ticks.

mod campaigns;
mod drive;
mod flaws;
mod heal;
mod key;
mod search;
mod world;

use core::time::Duration;
use std::time::Instant as Clock;
use std::{format, println};

use super::machine::Phase;
use super::settings::Witness;
use crate::lease::{Record, Timing};
use crate::side::Side;
use crate::traps::{Trap, making};
use crate::walked;
use flaws::{Flaw, share};
use heal::{BOASTS, DEAF, MAIN_IS_DEAF, REFUSED, SCENES, Scene, Serves, bound, heal};
use search::{search, wander};
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
    timing: [TIMING; 3],
    delay: 1,
    late: 0,
    slow: None,
    pace: 0,
    pause: 0,
    cut: [false; 4],
    crashes: [true; 3],
    lost_disks: [true; 3],
    slow_start: false,
    stuck_stops: false,
    removals: false,
    refusals: false,
    orphans: false,
    sudden: [false; 2],
    unguarded: false,
    witness: Witness::Configured,
    any_proof: false,
    operators: false,
    alarms: false,
    relapses: false,
};

/// The rules without a majority at work, with a witness that is out after three ticks.
const UNGUARDED: Plan = Plan {
    name: "a witness that both may agree to be out",
    timing: [Timing { witness_out: ticks(3), ..TIMING }; 3],
    delay: 0,
    unguarded: true,
    ..PLAN
};

/// Somebody removes the fence of a node whose stop takes its time.
const REMOVED: Plan = Plan { name: "fences that somebody removes", delay: 0, removals: true, ..PLAN };

/// Stops that are not verified for long.
const STUCK: Plan = Plan { name: "stops that nobody can verify", delay: 0, stuck_stops: true, ..PLAN };

/// A lease of three ticks, and times that the other voters do not have.
const LONGER: Timing = Timing { lease: ticks(3), promise: ticks(4), quiet: ticks(4), ..TIMING };
/// A voter that could promise so much, by its own word promises less.
const SHORTER: Timing = Timing { quiet: ticks(4), ..TIMING };

/// One node was given longer times, and the others were forgotten.
const fn longer(name: &'static str, side: Side, others: Timing) -> Plan {
    let timing = match side {
        Side::Main => [LONGER, others, others],
        Side::Standby => [others, LONGER, others],
    };
    Plan { name, timing, delay: 0, ..PLAN }
}

/// Activations that fail count, and disks are too slow for a start.
const RELAPSES: Plan =
    Plan { name: "activations that fail, and slow disks", delay: 0, relapses: true, slow_start: true, ..PLAN };

/// A watchdog that dies alone while its disk is slow, so that what it asked for is not on the disk, and a late message.
const FORGETFUL: Plan = Plan {
    name: "watchdogs that die before their campaign is written",
    delay: 0,
    late: 1,
    cut: [true, false, true, false],
    crashes: [false; 3],
    sudden: [true, false],
    any_proof: true,
    ..PLAN
};

/// Kernels that take no permit, and then do again.
const REFUSALS: Plan = Plan { name: "kernels that let nobody in", delay: 0, refusals: true, ..PLAN };

/// Operators at work: nodes step back, and are chosen.
const OPERATORS: Plan = Plan { name: "nodes that step back and are chosen", delay: 0, operators: true, ..PLAN };

fn limit() -> usize {
    std::env::var("WALK_STATES").ok().and_then(|text| text.parse().ok()).unwrap_or(300_000)
}

fn holds(plan: &Plan, worlds: usize) -> bool {
    let began = Clock::now();
    let found = search(plan, worlds, |from, to| to.breaks_w1() || to.breaks_w1b(from), |_| {});
    assert!(found.broken.is_none(), "{}: W1 broken by {:#?}", plan.name, found.broken);
    let promise = if plan.unguarded { "W1, W1b" } else { "W1" };
    let extent = if found.complete { ", every state" } else { "" };
    walked::states(
        promise,
        found.states,
        began.elapsed(),
        &format!("{}{extent}, {} deep, {} steps", plan.name, found.depth, found.edges),
    );
    let steps = 4 * limit();
    let mut started = 0;
    let broken = wander(plan, 1, steps, |world| {
        started = started.max(world.epoch);
        world.breaks_w1()
    });
    println!("W1 holds on a way of {steps} steps with {started} starts: {}", plan.name);
    assert!(broken.is_none(), "{}: W1 broken, in the end by {broken:#?}", plan.name);
    found.complete
}

#[test]
fn w1_no_two_nodes_serve_whatever_is_lost_delayed_or_cut_and_whoever_restarts() {
    holds(&PLAN, 4 * limit());
}

#[test]
fn w1_holds_with_late_messages_slow_clocks_paused_watchdogs_slow_starts_and_orphans() {
    let slow = |name, whose| {
        let timing = Timing { promise: ticks(4), quiet: ticks(4), ..TIMING };
        Plan { name, timing: [timing; 3], delay: 0, slow: Some(whose), pace: 5, ..PLAN }
    };
    let paused = Timing { pause: TICK, promise: ticks(4), quiet: ticks(4), ..TIMING };
    let fence = Timing { fence: ticks(2), promise: ticks(4), quiet: ticks(4), ..TIMING };
    for plan in [
        Plan { name: "one late message", delay: 0, late: 1, ..PLAN },
        Plan { name: "two late messages", delay: 0, late: 2, lost_disks: [false; 3], ..PLAN },
        slow("Main's clock slow by a sixth", 0),
        slow("Standby's clock slow by a sixth", 1),
        slow("the witness's clock slow by a sixth", 2),
        Plan { name: "a watchdog kept waiting for a tick", timing: [paused; 3], delay: 0, pause: 1, ..PLAN },
        Plan { name: "a fence of two ticks", timing: [fence; 3], delay: 0, ..PLAN },
        Plan { name: "starts that take time and fail", delay: 0, slow_start: true, ..PLAN },
        REMOVED,
        STUCK,
        REFUSALS,
        Plan { name: "watchdogs that die alone", delay: 0, orphans: true, ..PLAN },
    ] {
        holds(&plan, limit());
    }
}

#[test]
fn w1_holds_whatever_times_each_voter_has() {
    for plan in [
        longer("a Main with longer times, which the others can promise", Side::Main, SHORTER),
        longer("a Standby with longer times, which the others can promise", Side::Standby, SHORTER),
        longer("a Main with longer times, which the others cannot promise", Side::Main, TIMING),
        longer("a Standby with longer times, which the others cannot promise", Side::Standby, TIMING),
        Plan {
            name: "three voters with times of their own",
            timing: [LONGER, SHORTER, Timing { promise: ticks(5), quiet: ticks(5), ..TIMING }],
            delay: 0,
            ..PLAN
        },
    ] {
        holds(&plan, limit());
    }
    let forgotten = longer("a Main with longer times", Side::Main, SHORTER);
    let crashes = [false, false, true];
    caught("OwnLength", &Plan { crashes: [false; 3], ..forgotten }, Some(Trap::OwnLength), w1);
    caught("LengthForgotten", &Plan { crashes, ..forgotten }, Some(Trap::LengthForgotten), w1);
    let unable = longer("a Main with longer times", Side::Main, TIMING);
    caught("AnyLength", &Plan { crashes, ..unable }, Some(Trap::AnyLength), w1);
}

#[test]
fn w2_holds_with_times_that_the_others_can_promise() {
    for side in Side::BOTH {
        let plan = longer("a node with longer times", side, SHORTER);
        assert_eq!(heals("W2", &plan, &SCENES, limit() / 10, |_| true), 0);
    }
}

/// How many mistakes' worlds are looked at: more than any needs.
const MISTAKES: usize = 2_000_000;

fn w1(_: &World, next: &World) -> bool {
    next.breaks_w1()
}

/// Makes a mistake, and looks for the broken promise.
fn caught(name: &str, plan: &Plan, trap: Option<Trap>, breaks: fn(&World, &World) -> bool) {
    let began = Clock::now();
    let found = making(trap, || search(plan, MISTAKES, breaks, |_| {}));
    let deep = found.broken.as_ref().map_or(0, |way| way.len());
    let how = format!("{deep} steps deep, in {} states, {:.1?}", found.states, began.elapsed());
    walked::mistake(name, found.broken.is_some(), how);
}

#[test]
fn w1_is_broken_by_each_mistake_in_the_rules() {
    let late = Plan { delay: 0, late: 1, crashes: [false; 3], any_proof: true, ..PLAN };
    // Of two late messages of an old campaign to the witness, nothing else is needed.
    let two_late = Plan { late: 2, cut: [true, false, true, false], ..late };
    let prompt = Plan { delay: 0, crashes: [false, false, true], any_proof: true, ..PLAN };
    for (trap, plan) in [
        (Trap::LeaseFromReceipt, PLAN),
        (Trap::NoQuietTime, PLAN),
        (Trap::PromiseForgotten, PLAN),
        (Trap::OwnVoteIgnored, PLAN),
        (Trap::HearingIsAGrant, PLAN),
        (Trap::EarlyRelease, PLAN),
        (Trap::NoStepDown, PLAN),
        (Trap::ActivateAlone, PLAN),
        (Trap::FencedOnce, Plan { crashes: [false; 3], ..REMOVED }),
        (Trap::UnfencedVote, Plan { crashes: [false; 3], ..STUCK }),
        (Trap::QuietRenewals, prompt),
        (Trap::SecondRestartIsClean, prompt),
        (Trap::OldAnswers, late),
        (Trap::AnyRelease, late),
        (Trap::OldWants, two_late),
    ] {
        caught(&format!("{trap:?}"), &plan, Some(trap), w1);
    }
}

#[test]
fn w1_holds_in_every_state_of_nodes_that_do_not_crash() {
    let plan =
        Plan { name: "lost and cut messages, slow stops", delay: 0, crashes: [false; 3], any_proof: true, ..PLAN };
    assert!(holds(&plan, 4_000_000), "not every state");
    holds(&Plan { name: "the same, with the proofs that can be", any_proof: false, ..plan }, limit());
}

#[test]
fn w1_is_broken_by_mistakes_on_a_random_way_too() {
    let late = Plan { late: 2, ..PLAN };
    let mut caught = 0;
    for trap in [
        Trap::LeaseFromReceipt,
        Trap::NoQuietTime,
        Trap::PromiseForgotten,
        Trap::OwnVoteIgnored,
        Trap::HearingIsAGrant,
        Trap::EarlyRelease,
        Trap::NoStepDown,
        Trap::ActivateAlone,
        Trap::QuietRenewals,
        Trap::SecondRestartIsClean,
        Trap::OldAnswers,
        Trap::AnyRelease,
        Trap::OldWants,
    ] {
        let began = Clock::now();
        let broken = making(Some(trap), || wander(&late, 1, 4 * limit(), World::breaks_w1));
        let how = if broken.is_some() { "caught" } else { "not caught" };
        println!("{how} on a random way, {:.1?}: {trap:?}", began.elapsed());
        caught += usize::from(broken.is_some());
    }
    // The others need more luck.
    assert!(caught >= 10, "only {caught} mistakes are caught");
}

#[test]
fn w1_is_broken_by_each_time_that_is_too_short() {
    let timed = |timing| Plan { timing: [timing; 3], ..PLAN };
    // What a node needs it is promised, whatever the voter's own time, and no more than the voter's quiet time.
    let (promise, quiet) = (timed(Timing { promise: ticks(2), ..TIMING }), timed(Timing { quiet: ticks(2), ..TIMING }));
    caught("promise one tick short", &promise, Some(Trap::OwnLength), w1);
    caught("quiet one tick short", &quiet, Some(Trap::AnyLength), w1);
    caught("drift ignored", &Plan { slow: Some(0), pace: 5, ..PLAN }, None, w1);
    caught("pause ignored", &Plan { pause: 1, ..PLAN }, None, w1);
}

#[test]
fn whoever_is_told_that_two_serve_is_told_the_truth() {
    let plan = Plan { name: "words of who serves, delayed and late", late: 1, alarms: true, ..PLAN };
    let (began, lies) = (Clock::now(), |_: &World, world: &World| world.false_alarm);
    let found = search(&plan, limit(), lies, |_| {});
    assert!(found.broken.is_none(), "a false alarm: {:#?}", found.broken);
    walked::states("alarms", found.states, began.elapsed(), plan.name);
    let broken = wander(&plan, 1, 4 * limit(), |world| world.false_alarm);
    assert!(broken.is_none(), "a false alarm, in the end: {broken:#?}");
    // A word that is late for a whole takeover is many steps away.
    let began = Clock::now();
    let told = |seed| making(Some(Trap::StaleWord), || wander(&plan, seed, 4 * limit(), |world| world.false_alarm));
    let seed = (1..=8).find(|seed| told(*seed).is_some());
    walked::mistake("StaleWord", seed.is_some(), format!("on the random way {seed:?}, {:.1?}", began.elapsed()));
}

#[test]
fn epochs_repeat_if_a_voter_forgets_them() {
    let (kept, began) = (Plan { lost_disks: [false; 3], ..PLAN }, Clock::now());
    let found = search(&kept, limit(), |_, world| world.epoch_repeated, |_| {});
    assert!(found.broken.is_none(), "an epoch repeats: {:#?}", found.broken);
    walked::states("epochs", found.states, began.elapsed(), "none repeats without lost disks");
    caught("EpochForgotten", &kept, Some(Trap::EpochForgotten), |_, world| world.epoch_repeated);
    let prompt = Plan { delay: 0, crashes: [false; 3], any_proof: true, ..kept };
    caught("VoteLostSince", &prompt, Some(Trap::VoteLostSince), |_, world| world.epoch_repeated);
}

/// Collects worlds with nothing on its way.
fn settled(plan: &Plan, limit: usize, counts: impl Fn(&World) -> bool) -> std::vec::Vec<World> {
    let settled = std::cell::RefCell::new(std::vec::Vec::new());
    let keep = |world: &World| {
        if world.links.iter().all(|link| *link == Link::Idle) && counts(world) {
            settled.borrow_mut().push(*world);
        }
    };
    search(plan, limit, |_, _| false, keep);
    wander(plan, 2, 4 * limit, |world| {
        keep(world);
        false
    });
    let settled = settled.into_inner();
    assert!(!settled.is_empty(), "no world to begin with");
    settled
}

/// Lets each scene settle from each of these worlds.
fn heals(promise: &str, plan: &Plan, scenes: &[Scene], limit: usize, counts: impl Fn(&World) -> bool) -> usize {
    let settled = settled(plan, limit, counts);
    let (began, mut failures, mut slowest) = (Clock::now(), 0, 0);
    for scene in scenes {
        let mut worst = 0;
        let mut first = None;
        for world in &settled {
            match heal(plan, scene, world) {
                Ok(ticks) => worst = worst.max(ticks),
                Err(end) => {
                    failures += 1;
                    first = first.or(Some((*world, end)));
                }
            }
        }
        println!("{promise} within {worst} ticks of {} from {} worlds: {}", bound(plan), settled.len(), scene.name);
        if let Some((from, end)) = first {
            println!("{promise} broken: {}: from {:?}\nto {:?}", scene.name, statuses(&from), statuses(&end));
        }
        slowest = slowest.max(worst);
    }
    if failures == 0 {
        let what = format!("{}, {} scenes, within {slowest} ticks of {}", plan.name, scenes.len(), bound(plan));
        walked::worlds(promise, settled.len() * scenes.len(), began.elapsed(), &what);
    }
    failures
}

fn mistakes_fail(trap: Trap, failures: impl Fn(Option<Trap>) -> usize) {
    let count = failures(Some(trap));
    walked::mistake(format!("{trap:?}"), count > 0, format!("from {count} worlds"));
}

fn statuses(world: &World) -> [Option<super::Explanation>; 2] {
    world.nodes.map(|node| node.duty.map(|duty| duty.explain()))
}

#[test]
fn w2_whatever_happened_exactly_one_node_serves_soon_once_two_voters_reach_each_other() {
    assert_eq!(heals("W2", &PLAN, &SCENES, limit() / 10, |_| true), 0);
}

#[test]
fn w1_and_w1b_hold_while_nodes_may_be_unguarded() {
    holds(&UNGUARDED, limit());
    holds(&Plan { name: "no witness", witness: Witness::None, ..UNGUARDED }, limit());
    caught("OneSidedSilence", &UNGUARDED, Some(Trap::OneSidedSilence), |from, to| to.breaks_w1b(from));
}

#[test]
fn w2_holds_while_nodes_may_be_unguarded() {
    let (guarded, alone) = SCENES.split_at(SCENES.len() - 2);
    assert_eq!(heals("W2", &UNGUARDED, guarded, limit() / 10, |_| true), 0);
    // W3: who agreed before that the witness is out serves without it, and without the peer.
    for (side, serves) in [(1, Serves::Standby), (0, Serves::Main)] {
        let scene = Scene { serves, ..alone[1 - side] };
        let agreed =
            |world: &World| world.witness.is_none() && world.nodes[side].duty.is_some_and(|duty| duty.guarding.agreed);
        assert_eq!(heals("W3", &UNGUARDED, &[scene], limit() / 10, agreed), 0);
    }
}

#[test]
fn w2_standby_goes_on_beside_a_main_that_does_not_hear_it() {
    let beside = |world: &World| {
        let [Some(main), Some(standby)] = world.nodes.map(|node| node.duty) else { return false };
        let proven = main.is_fresh(main.asking.heard.peer);
        let held = world
            .witness
            .is_some_and(|voter| matches!(voter.record, Record::Promised(promise) if promise.holder == Side::Standby));
        matches!(standby.phase, Phase::Active { .. })
            && standby.asking.grants.witness == Some(standby.now)
            && held
            && !proven
    };
    let failures = |trap| making(trap, || heals("W2", &PLAN, &[MAIN_IS_DEAF], limit(), beside));
    assert_eq!(failures(None), 0);
    mistakes_fail(Trap::OneWayFailback, failures);
}

#[test]
fn w1_and_w2_hold_whatever_operators_wish() {
    holds(&OPERATORS, limit());
    // Who serves is theirs to say; that somebody does, is not.
    let scenes = SCENES.map(|scene| Scene { serves: scene.with_wishes(), ..scene });
    let failures = |trap| making(trap, || heals("W2", &OPERATORS, &scenes, limit() / 10, |_| true));
    assert_eq!(failures(None), 0);
    mistakes_fail(Trap::EndlessPatience, failures);
}

#[test]
fn w2_a_node_whose_kernel_lets_nobody_in_leaves_the_serving_to_the_other() {
    let failures = |trap| making(trap, || heals("W2", &REFUSALS, &REFUSED, limit() / 10, |_| true));
    assert_eq!(failures(None), 0);
    mistakes_fail(Trap::LapsedServes, failures);
}

#[test]
fn w2_a_deaf_node_does_not_keep_the_votes_of_those_that_hear_it() {
    let failures = |trap| making(trap, || heals("W2", &PLAN, &DEAF, limit() / 10, |_| true));
    assert_eq!(failures(None), 0);
    mistakes_fail(Trap::DeafWants, failures);
}

#[test]
fn w2_a_node_that_tells_ever_higher_epochs_keeps_nobody_from_serving() {
    let failures = |trap| making(trap, || heals("W2", &PLAN, &BOASTS, limit() / 10, |_| true));
    assert_eq!(failures(None), 0);
    mistakes_fail(Trap::HearsayOutranks, failures);
    mistakes_fail(Trap::BeyondBelief, failures);
}

#[test]
fn w3_without_a_witness_one_node_serves_again_after_a_cut() {
    let plan = Plan { name: "no witness", witness: Witness::None, ..UNGUARDED };
    assert_eq!(heals("W3", &plan, &SCENES[..3], limit() / 10, |_| true), 0);
}

/// Fails where somebody serves for less than the promised share of the time beside a node with a flaw; returns from how
/// many worlds it is so.
fn relapses(flaws: &[(usize, Flaw)], limit: usize) -> usize {
    let worlds = settled(&RELAPSES, limit, |_| true);
    let (began, mut failures, mut all) = (Clock::now(), 0, 0);
    for (flawed, flaw) in flaws {
        let mut least = 100;
        for world in &worlds {
            let share = share(&RELAPSES, &SCENES[0], *flawed, *flaw, world)
                .unwrap_or_else(|end| panic!("W1 broken: {:?}", statuses(&end)));
            least = least.min(share);
            failures += usize::from(share < flaw.promised());
        }
        let side = Side::BOTH[*flawed];
        println!("somebody serves {least} % of the time or more from {} worlds: {side}: {flaw:?}", worlds.len());
        all += worlds.len();
    }
    if failures == 0 {
        walked::worlds(
            "W2",
            all,
            began.elapsed(),
            "beside a node that cannot serve, for the promised share of the time",
        );
    }
    failures
}

#[test]
fn w1_and_w2_hold_with_activations_that_fail_and_slow_disks() {
    holds(&RELAPSES, limit());
    holds(&Plan { name: "the same, and a late message", late: 1, ..RELAPSES }, limit());
    assert_eq!(heals("W2", &RELAPSES, &SCENES, limit() / 30, |_| true), 0);
}

#[test]
fn w1_holds_though_a_watchdog_dies_before_its_campaign_is_written() {
    holds(&FORGETFUL, limit());
    caught("CampaignOfTheDisk", &FORGETFUL, Some(Trap::CampaignOfTheDisk), w1);
}

#[test]
fn w2_a_node_that_cannot_serve_takes_the_other_down_ever_more_rarely() {
    let all = [0, 1].map(|side| Flaw::ALL.map(|flaw| (side, flaw))).concat();
    assert_eq!(relapses(&all, limit() / 60), 0);
    for (trap, flaw) in [
        (Trap::RelapseForgiven, Flaw::StartFails),
        (Trap::NoDamping, Flaw::DiesSoon),
        (Trap::UncountedStart, Flaw::CrashesSoon),
        (Trap::SlowDiskIsWell, Flaw::SlowDisk),
    ] {
        mistakes_fail(trap, |trap| making(trap, || relapses(&[(0, flaw)], limit() / 300)));
    }
}
