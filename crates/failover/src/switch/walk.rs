//! Every reachable state of a switch with a small policy, every event in it, the promises checked on every edge.
//!
//! A tick is twenty minutes, so that an hour has three.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;
use std::collections::HashSet;
use std::time::Instant as Clock;

use super::promises::{Step, after, ill, well};
use super::*;
use crate::health::{Diagnosis, SideHealth, State};
use crate::side::Side;
use crate::time::Instant;
use crate::traps::{Trap, making};
use crate::walked;

const TICK: Duration = Duration::from_secs(20 * 60);
const BASE: Instant = Instant::from_micros(1_000_000 * 3600 * 24);
/// No limit of the policy reaches further back than so many ticks.
const OLD: u32 = 1;

const SMALL: Policy = Policy {
    failback: Failback::Sticky,
    observe: false,
    switches_per_hour: 1,
    settle: TICK,
    lag_limit: Duration::from_millis(100),
    same_instant: Duration::ZERO,
    doubt_limit: TICK,
};

/// Renames times so that states that behave alike are equal: what matters no more is forgotten, and of what is old only the
/// order is kept.
fn canonical(switch: &Switch) -> Switch {
    let now = switch.now;
    let mut like = switch.clone();
    for side in Side::BOTH {
        let health = &mut like.sides[side];
        match health.state {
            State::Unknown => *health = SideHealth::unknown(now),
            State::Working => health.trouble_since = now,
            State::NotWorking if switch.doubt.is_none() => health.since = now,
            State::NotWorking => {}
        }
    }
    let mut old: Vec<Instant> = Side::BOTH
        .iter()
        .flat_map(|side| [like.sides[*side].since, like.sides[*side].as_of, like.sides[*side].trouble_since])
        .chain(switch.doubt.map(|doubt| doubt.since))
        .chain(switch.suspected)
        .chain(switch.answered)
        .filter(|at| now.since(*at) >= TICK * OLD)
        .collect();
    old.sort_unstable_by(|a, b| b.cmp(a));
    old.dedup();
    let past = |at: Instant| match old.iter().position(|old| *old == at) {
        Some(rank) => BASE.saturating_sub(TICK * (OLD + rank as u32)),
        None => BASE.saturating_sub(now.since(at)),
    };
    let future = |at: Instant| BASE + at.since(now);
    let doubt = |doubt: Doubt| Doubt { since: past(doubt.since), ..doubt };
    like.now = BASE;
    like.epoch = 0;
    like.last = switch.last.filter(|last| *last == Kind::Planned);
    like.ledger = switch.ledger.moved(now, BASE);
    like.settled_at = future(switch.settled_at);
    like.doubt = switch.doubt.map(doubt);
    like.suspected = switch.suspected.map(past);
    like.answered = switch.answered.map(past);
    for side in Side::BOTH {
        let health = &mut like.sides[side];
        *health = SideHealth {
            since: past(health.since),
            as_of: past(health.as_of),
            trouble_since: past(health.trouble_since),
            ..*health
        };
    }
    like.standing = match switch.standing {
        HoldReason::Settling { to, until } => HoldReason::Settling { to, until: future(until) },
        HoldReason::HoldingDown { until } => HoldReason::HoldingDown { until: future(until) },
        HoldReason::Damped { to, until } => HoldReason::Damped { to, until: until.map(future) },
        HoldReason::Doubting { to, doubt: standing } => HoldReason::Doubting { to, doubt: doubt(standing) },
        other => other,
    };
    like
}

fn events(switch: &Switch) -> Vec<(Duration, Event)> {
    let now = switch.now;
    let mut events = Vec::from([
        (Duration::ZERO, Event::Timer),
        (TICK, Event::Timer),
        (Duration::ZERO, Event::Lagged { by: Duration::from_secs(1) }),
        (Duration::ZERO, Event::Suspected { side: switch.live }),
        (Duration::ZERO, Event::Act(Act::Freeze)),
        (Duration::ZERO, Event::Wished(None)),
        (Duration::ZERO, Event::Wished(Some(Side::Main))),
        (Duration::ZERO, Event::Wished(Some(Side::Standby))),
        (Duration::ZERO, Event::Act(Act::Resume)),
        (Duration::ZERO, Event::Act(Act::ResetBudget)),
    ]);
    for side in Side::BOTH {
        let old = |health: SideHealth| SideHealth { as_of: now.saturating_sub(TICK), ..health };
        let healths = [
            well(now),
            old(well(now)),
            ill(Diagnosis::Dead, now),
            old(ill(Diagnosis::Dead, now)),
            ill(Diagnosis::PartlyDown, now),
            SideHealth::unknown(now),
        ];
        let healths = healths.map(|health| after(&switch.sides[side], health));
        events.extend(healths.map(|health| (Duration::ZERO, Event::Health { side, health })));
        for guard in [Guard::Checked, Guard::Forced] {
            events.push((Duration::ZERO, Event::Act(Act::Switch { to: side, guard })));
        }
    }
    events
}

fn feed(switch: &mut Switch, side: Side, health: SideHealth) {
    let health = after(&switch.sides[side], health);
    switch.handle(Event::Health { side, health }, switch.now);
}

/// E2: whatever happened before, a dead live side beside a working one is left as soon as fresh evidence of both is in and
/// the Edge has settled, however often its loop lags; one that is not dead, within the hour.
fn e2_a_side_that_does_not_work_is_left_within_the_bound(from: &Switch) {
    if from.frozen || from.policy.observe {
        return;
    }
    for (diagnosis, bound) in [(Diagnosis::Dead, 1), (Diagnosis::PartlyDown, 3)] {
        for lags in [0, 1] {
            let (mut switch, live) = (from.clone(), from.live);
            for tick in 0.. {
                for _ in 0..2 {
                    let now = switch.now;
                    feed(&mut switch, live, ill(diagnosis, now));
                    feed(&mut switch, live.other(), well(now));
                }
                if switch.live != live {
                    break;
                }
                assert!(tick < bound, "E2: still on a side that is {diagnosis}: {switch:#?}\nfrom {from:#?}");
                for _ in 0..lags {
                    switch.handle(Event::Lagged { by: TICK }, switch.now);
                }
                let next = switch.now + TICK;
                switch.handle(Event::Timer, next);
            }
        }
    }
}

/// E3: with neither side working the live side stays, and the first to work gets the traffic.
fn e3_the_first_side_to_work_gets_the_traffic(from: &Switch) {
    if from.frozen || from.policy.observe || from.now < from.settled_at {
        return;
    }
    for first in Side::BOTH {
        let (mut switch, live, now) = (from.clone(), from.live, from.now);
        for side in Side::BOTH {
            switch.sides[side] = SideHealth::unknown(now);
        }
        feed(&mut switch, Side::Main, ill(Diagnosis::Dead, now));
        feed(&mut switch, Side::Standby, ill(Diagnosis::Dead, now));
        assert_eq!(switch.live, live, "E3: moved though neither works: {from:#?}");
        feed(&mut switch, first, well(now));
        feed(&mut switch, first.other(), ill(Diagnosis::Dead, now));
        assert_eq!(switch.live, first, "E3: {first} works and gets nothing: {from:#?}");
    }
}

/// E8: the forecast is what then happens, and the explanation is never silent.
fn e8_the_forecast_comes_true(from: &Switch) {
    let forecast = from.if_live_died(from.now);
    let mut switch = from.clone();
    let (live, now) = (switch.live, switch.now);
    switch.sides[live] = SideHealth::unknown(now);
    feed(&mut switch, live, ill(Diagnosis::Dead, now));
    if switch.sides[live.other()].works() {
        feed(&mut switch, live.other(), well(now));
        feed(&mut switch, live, ill(Diagnosis::Dead, now));
    }
    let moved = switch.live != live;
    assert_eq!(matches!(forecast, WhatIf::Moves { .. }), moved, "E8: {forecast:?}: {from:#?}\n{switch:#?}");
    let explanation = from.explain(from.now).to_string();
    assert!(explanation.contains(" is live in epoch "), "{explanation}");
}

fn walk(policy: Policy) -> (usize, usize) {
    let first = canonical(&Switch::new(policy, None, BASE));
    let mut seen = HashSet::from([first.clone()]);
    let (mut open, mut edges) = (Vec::from([first]), 0);
    while let Some(before) = open.pop() {
        e2_a_side_that_does_not_work_is_left_within_the_bound(&before);
        e3_the_first_side_to_work_gets_the_traffic(&before);
        e8_the_forecast_comes_true(&before);
        for (wait, event) in events(&before) {
            let mut after = before.clone();
            let outputs = after.handle(event, before.now + wait);
            Step { before: &before, event, outputs: &outputs, after: &after }.check_all();
            edges += 1;
            let after = canonical(&after);
            if !seen.contains(&after) {
                seen.insert(after.clone());
                open.push(after);
            }
        }
    }
    (seen.len(), edges)
}

#[test]
fn e1_e2_e3_e4_e7_e8_e9_hold_on_every_edge_of_a_sticky_switch() {
    let began = Clock::now();
    let (states, edges) = walk(SMALL);
    let what = std::format!("switch, sticky, every state, {edges} steps");
    walked::states("E1-E4, E7-E9", states, began.elapsed(), &what);
    assert!(states > 1000);
}

#[test]
fn e1_e2_e3_e4_e7_e8_e9_hold_on_every_edge_of_a_switch_that_prefers_main() {
    let began = Clock::now();
    let (states, edges) = walk(Policy { failback: Failback::PreferMain { hold_down: TICK }, ..SMALL });
    let what = std::format!("switch, prefer-main, every state, {edges} steps");
    walked::states("E1-E4, E7-E9", states, began.elapsed(), &what);
    assert!(states > 1000);
}

#[test]
fn a_switch_that_observes_moves_nothing_on_any_edge() {
    let began = Clock::now();
    let (states, edges) = walk(Policy { observe: true, ..SMALL });
    let what = std::format!("switch, observe, every state, {edges} steps");
    walked::states("E1-E4, E7-E9", states, began.elapsed(), &what);
    assert!(states > 1000);
}

#[test]
fn a_wished_move_that_is_booked_as_automatic_is_noticed() {
    let caught = making(Some(Trap::WishIgnored), || std::panic::catch_unwind(|| walk(SMALL))).is_err();
    walked::mistake("WishIgnored", caught, "whose move");
}

#[test]
fn a_page_for_users_whom_an_ill_side_could_serve_is_noticed() {
    let caught = making(Some(Trap::PageForTheIll), || std::panic::catch_unwind(|| walk(SMALL))).is_err();
    walked::mistake("PageForTheIll", caught, "what is ill still serves some");
}
