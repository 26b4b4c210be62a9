use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use std::string::ToString;

use super::promises::{Step, after, ill, well};
use super::*;
use crate::chance::Chance;
use crate::health::{Diagnosis, SideHealth, State};
use crate::side::Side;
use crate::time::Instant;
use crate::verdict;

const HOUR: Duration = Duration::from_secs(3600);

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn feed(switch: &mut Switch, side: Side, health: SideHealth, now: Instant) -> Vec<Output> {
    let health = after(&switch.sides[side], health);
    switch.handle(Event::Health { side, health }, now)
}

/// A settled switch with both sides working.
fn working(policy: Policy) -> Switch {
    let mut switch = Switch::new(policy, None, at(0));
    for side in Side::BOTH {
        feed(&mut switch, side, well(at(10)), at(10));
    }
    switch
}

fn moved(outputs: &[Output]) -> Option<(Side, Kind, u64)> {
    outputs.iter().find_map(|output| match output {
        Output::SwitchTo(step) => Some((step.to, step.kind, step.epoch)),
        _ => None,
    })
}

#[test]
fn e1_a_healed_main_gets_no_traffic_while_standby_works() {
    let mut switch = working(Policy::DEFAULT);
    feed(&mut switch, Side::Main, ill(Diagnosis::Dead, at(20)), at(20));
    feed(&mut switch, Side::Standby, well(at(20)), at(20));
    assert_eq!((switch.live(), switch.epoch()), (Side::Standby, 1));
    for second in 21..10_000 {
        feed(&mut switch, Side::Main, well(at(second)), at(second));
        feed(&mut switch, Side::Standby, well(at(second)), at(second));
    }
    assert_eq!((switch.live(), switch.epoch()), (Side::Standby, 1));
}

#[test]
fn e1_prefer_main_moves_back_after_the_hold_down_and_not_after_an_operators_choice() {
    let policy = Policy { failback: Failback::PreferMain { hold_down: ms(60_000) }, ..Policy::DEFAULT };
    let mut switch = working(policy);
    feed(&mut switch, Side::Main, ill(Diagnosis::Dead, at(20)), at(20));
    feed(&mut switch, Side::Standby, well(at(20)), at(20));
    feed(&mut switch, Side::Main, well(at(30)), at(30));
    assert_eq!(switch.deadline(), Some(at(90)));
    assert_eq!(moved(&switch.handle(Event::Timer, at(89))), None);
    assert_eq!(moved(&switch.handle(Event::Timer, at(90))), Some((Side::Main, Kind::Failback, 2)));
    switch.handle(Event::Act(Act::Switch { to: Side::Standby, guard: Guard::Checked }), at(91));
    assert_eq!(moved(&switch.handle(Event::Timer, at(3000))), None);
    assert_eq!(switch.explain(at(3000)).standing, HoldReason::OperatorChose);
    assert_eq!(moved(&switch.handle(Event::Act(Act::Resume), at(3001))), Some((Side::Main, Kind::Failback, 4)));
}

#[test]
fn e2_a_confirmed_target_gets_the_traffic_in_the_same_step() {
    let mut switch = working(Policy::DEFAULT);
    feed(&mut switch, Side::Standby, well(at(21)), at(21));
    let dead = SideHealth { as_of: at(22), ..ill(Diagnosis::Dead, at(20)) };
    assert_eq!(moved(&feed(&mut switch, Side::Main, dead, at(22))), Some((Side::Standby, Kind::Failover, 1)));
}

#[test]
fn e2_a_second_check_that_falters_in_the_same_trouble_delays_nothing() {
    let mut switch = working(Policy::DEFAULT);
    switch.handle(Event::Suspected { side: Side::Main }, at(20));
    feed(&mut switch, Side::Standby, well(at(20)), at(20));
    switch.handle(Event::Suspected { side: Side::Main }, at(22));
    feed(&mut switch, Side::Standby, well(at(22)), at(22));
    // Its newest failed probe began after the first answer of the target, and before the second.
    let silent = SideHealth { as_of: at(21), ..ill(Diagnosis::Dead, at(20)) };
    assert_eq!(moved(&feed(&mut switch, Side::Main, silent, at(23))), Some((Side::Standby, Kind::Failover, 1)));
}

#[test]
fn e3_unknown_is_neither_a_reason_to_leave_nor_a_target() {
    let mut switch = working(Policy::DEFAULT);
    assert_eq!(moved(&feed(&mut switch, Side::Main, SideHealth::unknown(at(20)), at(20))), None);
    feed(&mut switch, Side::Standby, SideHealth::unknown(at(21)), at(21));
    assert_eq!(moved(&feed(&mut switch, Side::Main, ill(Diagnosis::Dead, at(22)), at(22))), None);
    assert_eq!(switch.explain(at(22)).standing, HoldReason::OtherUnknown(Side::Main));
}

#[test]
fn e4_a_restarted_edge_does_not_flip_a_running_standby() {
    let mut switch = working(Policy::DEFAULT);
    feed(&mut switch, Side::Main, ill(Diagnosis::Dead, at(20)), at(20));
    feed(&mut switch, Side::Standby, well(at(20)), at(20));
    let memory = switch.memory(at(25));
    assert_eq!(memory.switches, [ms(5000)]);
    let mut again = Switch::new(Policy::DEFAULT, Some(&memory), at(0));
    assert_eq!((again.live(), again.epoch()), (Side::Standby, 1));
    for (side, second) in [(Side::Main, 1), (Side::Standby, 5)] {
        assert_eq!(moved(&feed(&mut again, side, well(at(second)), at(second))), None);
    }
    assert_eq!(again.explain(at(6)).budget, Budget { used: 1, limit: 4, back_at: None });
}

#[test]
fn e7_everything_failing_at_once_moves_nobody_and_a_common_recovery_does_not_either() {
    let mut switch = working(Policy::DEFAULT);
    // Our own network goes away: the live side is judged first.
    let outputs = feed(&mut switch, Side::Main, ill(Diagnosis::UnreachableFromHere, at(20)), at(20));
    let reprobe = Output::Reprobe { side: Side::Standby, reason: ReprobeReason::ConfirmTarget };
    assert!(moved(&outputs).is_none() && outputs.contains(&reprobe), "{outputs:?}");
    let outputs = feed(&mut switch, Side::Standby, ill(Diagnosis::UnreachableFromHere, at(21)), at(21));
    assert!(outputs.iter().any(|output| matches!(output, Output::SelfDoubt(_))), "{outputs:?}");
    for second in 22..50 {
        for side in Side::BOTH {
            let still = ill(Diagnosis::UnreachableFromHere, at(second));
            assert_eq!(moved(&feed(&mut switch, side, still, at(second))), None);
        }
    }
    // It comes back: Standby is seen a moment before Main.
    assert_eq!(moved(&feed(&mut switch, Side::Standby, well(at(50)), at(50))), None);
    let outputs = feed(&mut switch, Side::Main, well(at(50)), at(50) + ms(200));
    assert_eq!(moved(&outputs), None);
    assert!(outputs.iter().any(|output| matches!(output, Output::DoubtOver(_))), "{outputs:?}");
    assert_eq!(switch.live(), Side::Main);
}

#[test]
fn e7_a_side_found_dead_again_after_the_doubt_is_left() {
    let mut switch = working(Policy::DEFAULT);
    for side in Side::BOTH {
        feed(&mut switch, side, ill(Diagnosis::UnreachableFromHere, at(20)), at(20));
    }
    assert_eq!(moved(&feed(&mut switch, Side::Standby, well(at(50)), at(50))), None);
    let still = ill(Diagnosis::UnreachableFromHere, at(50));
    assert_eq!(moved(&feed(&mut switch, Side::Main, still, at(51))), Some((Side::Standby, Kind::Failover, 1)));
}

#[test]
fn e7_a_lagging_loop_decides_on_new_evidence_only() {
    let mut switch = working(Policy::DEFAULT);
    assert_eq!(switch.handle(Event::Lagged { by: ms(250) }, at(19)), []);
    switch.handle(Event::Lagged { by: ms(900) }, at(20));
    feed(&mut switch, Side::Standby, well(at(20)), at(20));
    let old = SideHealth { as_of: at(19), trouble_since: at(19), ..ill(Diagnosis::Dead, at(20)) };
    assert_eq!(moved(&feed(&mut switch, Side::Main, old, at(20))), None);
    let new = ill(Diagnosis::Dead, at(21));
    assert_eq!(moved(&feed(&mut switch, Side::Main, new, at(21))), Some((Side::Standby, Kind::Failover, 1)));
}

#[test]
fn e2_a_loop_that_lags_for_ever_still_leaves_a_dead_side() {
    let mut switch = working(Policy::DEFAULT);
    let mut now = at(20);
    while switch.live() == Side::Main {
        assert!(now < at(30), "doubted for ever");
        switch.handle(Event::Lagged { by: ms(300) }, now);
        // Each probe of the silent side was started before the last lag.
        let asked = now.saturating_sub(ms(800));
        let dead = SideHealth { as_of: asked, ..ill(Diagnosis::UnreachableFromHere, at(19)) };
        feed(&mut switch, Side::Standby, SideHealth { as_of: asked, ..well(now) }, now);
        feed(&mut switch, Side::Main, dead, now);
        now += ms(500);
    }
}

#[test]
fn e9_a_damped_switch_leaves_only_a_dead_side_and_says_so() {
    let mut switch = working(Policy { switches_per_hour: 2, ..Policy::DEFAULT });
    let mut second = 20;
    let mut fail = |switch: &mut Switch, diagnosis| {
        second += 10;
        let live = switch.live();
        let mut outputs = feed(switch, live, ill(diagnosis, at(second)), at(second));
        outputs.extend(feed(switch, live.other(), well(at(second)), at(second)));
        let step = moved(&outputs);
        if step.is_some() {
            feed(switch, live, well(at(second + 1)), at(second + 1));
        }
        (step.is_some(), outputs)
    };
    assert!(fail(&mut switch, Diagnosis::PartlyDown).0);
    let (left, outputs) = fail(&mut switch, Diagnosis::PartlyDown);
    assert!(left && outputs.iter().any(|output| matches!(output, Output::Damped { used: 2, .. })), "{outputs:?}");
    assert!(!fail(&mut switch, Diagnosis::PartlyDown).0);
    let (left, outputs) = fail(&mut switch, Diagnosis::Dead);
    let text: Vec<_> = outputs.iter().map(ToString::to_string).collect();
    assert!(left && text.iter().any(|line| line.contains("but a dead side is left")), "{text:?}");
    let back = switch.deadline().unwrap();
    assert!(switch.handle(Event::Timer, back).contains(&Output::Undamped));
}

#[test]
fn a_planned_switch_is_refused_to_a_side_that_does_not_work_unless_it_is_forced_which_freezes() {
    let mut switch = working(Policy::DEFAULT);
    feed(&mut switch, Side::Standby, ill(Diagnosis::PartlyDown, at(20)), at(20));
    let act = |guard| Event::Act(Act::Switch { to: Side::Standby, guard });
    let refused = switch.handle(act(Guard::Checked), at(21));
    assert_eq!(
        refused[0].to_string(),
        "refused to switch to standby: standby does not work: partly down: service 1 is down on backend 1 (check 1: no \
         answer within 800 ms, 3 times)"
    );
    let forced = switch.handle(act(Guard::Forced), at(22));
    assert_eq!(moved(&forced), Some((Side::Standby, Kind::Planned, 1)));
    assert!(forced.contains(&Output::Frozen(FreezeReason::Forced)));
    assert_eq!(moved(&feed(&mut switch, Side::Main, well(at(23)), at(23))), None);
    feed(&mut switch, Side::Standby, ill(Diagnosis::PartlyDown, at(23)), at(23));
    assert_eq!(moved(&switch.handle(Event::Act(Act::Resume), at(24))), Some((Side::Main, Kind::Failback, 2)));
}

#[test]
fn a_frozen_switch_still_obeys_its_operator() {
    let mut switch = working(Policy::DEFAULT);
    switch.handle(Event::Act(Act::Freeze), at(20));
    feed(&mut switch, Side::Main, ill(Diagnosis::Dead, at(21)), at(21));
    feed(&mut switch, Side::Standby, well(at(21)), at(21));
    assert_eq!(switch.explain(at(22)).standing, HoldReason::Frozen { to: Side::Standby });
    let planned = Event::Act(Act::Switch { to: Side::Standby, guard: Guard::Checked });
    assert_eq!(moved(&switch.handle(planned, at(23))), Some((Side::Standby, Kind::Planned, 1)));
}

#[test]
fn a_move_that_completes_a_wish_is_planned_and_uses_up_no_budget() {
    let mut switch = working(Policy::DEFAULT);
    for round in 1..=10 {
        let (now, from) = (at(round * 100), switch.live());
        let to = from.other();
        assert_eq!(moved(&switch.handle(Event::Wished(Some(to)), now)), None);
        feed(&mut switch, from, ill(Diagnosis::Dead, now), now);
        let outputs = feed(&mut switch, to, well(now), now);
        assert_eq!(moved(&outputs), Some((to, Kind::Planned, round)));
        assert!(!outputs.iter().any(|output| matches!(output, Output::Damped { .. })));
        switch.handle(Event::Wished(None), now);
        feed(&mut switch, from, well(at(round * 100 + 50)), at(round * 100 + 50));
    }
    assert_eq!(switch.ledger.used(), 0);
    // The target of a wish that dies is left as any side that dies.
    let now = at(5000);
    let target = switch.live();
    switch.handle(Event::Wished(Some(target)), now);
    feed(&mut switch, target, ill(Diagnosis::Dead, now), now);
    let kind = moved(&feed(&mut switch, target.other(), well(now), now)).unwrap().1;
    assert!(kind != Kind::Planned && switch.ledger.used() == 1, "{kind}");
}

#[test]
fn an_observer_says_once_what_it_would_have_done() {
    let mut switch = working(Policy { observe: true, ..Policy::DEFAULT });
    let mut would = 0;
    for second in 20..100 {
        let mut outputs = feed(&mut switch, Side::Main, ill(Diagnosis::Dead, at(second)), at(second));
        outputs.extend(feed(&mut switch, Side::Standby, well(at(second)), at(second)));
        would += outputs.iter().filter(|output| matches!(output, Output::WouldSwitch(_))).count();
    }
    assert_eq!((would, switch.live(), switch.epoch()), (1, Side::Main, 0));
}

#[test]
fn a_new_edge_moves_to_standby_when_main_is_dead_once_it_has_settled() {
    let mut switch = Switch::new(Policy::DEFAULT, None, at(0));
    let soon = Instant::from_micros(200_000);
    feed(&mut switch, Side::Standby, well(soon), soon);
    assert_eq!(moved(&feed(&mut switch, Side::Main, ill(Diagnosis::Dead, soon), soon)), None);
    assert_eq!(switch.deadline(), Some(at(1)));
    assert_eq!(moved(&switch.handle(Event::Timer, at(1))), Some((Side::Standby, Kind::Failover, 1)));
}

#[test]
fn e8_explanations_read_as_sentences() {
    let mut switch = working(Policy::DEFAULT);
    assert_eq!(
        switch.explain(at(20)).to_string(),
        "traffic stays on main, which works. main is live in epoch 0; main works; standby works; 0 of 4 automatic switches \
         of this hour are used. If main died now: traffic would move to standby (failover)."
    );
    feed(&mut switch, Side::Standby, ill(Diagnosis::PartlyDown, at(20)), at(20));
    assert_eq!(
        switch.if_live_died(at(20)).to_string(),
        "traffic stays on main: neither side works, and the first to work gets the traffic"
    );
}

#[test]
fn relations_between_the_figures_are_checked() {
    let prober = verdict::Policy::DEFAULT;
    assert_eq!(Policy::DEFAULT.validate(&prober), Ok(()));
    let bad = Policy {
        failback: Failback::PreferMain { hold_down: ms(1) },
        settle: HOUR,
        lag_limit: ms(0),
        same_instant: ms(1),
        doubt_limit: ms(1),
        ..Policy::DEFAULT
    };
    let fields: Vec<_> = bad.validate(&prober).unwrap_err().iter().map(Violation::field).collect();
    assert_eq!(fields, ["hold_down", "settle", "lag_limit", "same_instant", "doubt_limit"]);
}

/// Runs days of random events with restarts, and counts what the machine keeps no count of.
#[test]
fn e1_to_e9_hold_over_random_days_with_restarts() {
    let mut met = 0;
    for seed in 0..60 {
        let mut chance = Chance::new(seed);
        let failback = chance.one_of(&[Failback::Sticky, Failback::PreferMain { hold_down: ms(300_000) }]);
        let policy = Policy { failback, switches_per_hour: 1 + chance.below(4) as u32, ..Policy::DEFAULT };
        let mut now = at(100_000);
        let mut switch = Switch::new(policy, None, now);
        let (mut disk, mut written): (Option<Memory>, Instant) = (None, now);
        let mut automatic: Vec<Instant> = vec![];
        for _ in 0..1500 {
            now += ms(chance.one_of(&[0, 1, 40, 1000, 20_000, 400_000]));
            if chance.percent(2) {
                let memory = disk.clone().map(|mut memory| {
                    memory.switches.iter_mut().for_each(|age| *age += now - written);
                    memory
                });
                let restarted = Switch::new(policy, memory.as_ref(), now);
                assert_eq!((restarted.live, restarted.epoch), (switch.live, switch.epoch), "E4, seed {seed}");
                switch = restarted;
            }
            let event = random_event(&switch, &mut chance, now);
            let before = switch.clone();
            let outputs = switch.handle(event, now);
            Step { before: &before, event, outputs: &outputs, after: &switch }.check_all();
            for output in &outputs {
                match output {
                    Output::Persist(memory) => (disk, written) = (Some(memory.clone()), now),
                    Output::BudgetReset => automatic.clear(),
                    Output::SwitchTo(step) if step.kind != Kind::Planned => {
                        let dead = switch.sides[step.from].diagnosis().is_some_and(Diagnosis::is_dead);
                        let recent = automatic.iter().filter(|at| now - **at < HOUR).count();
                        assert!(dead || recent < policy.switches_per_hour as usize, "E9, seed {seed}");
                        automatic.push(now);
                        met += 1;
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(met > 600, "only {met} automatic switches were met");
}

fn random_event(switch: &Switch, chance: &mut Chance, now: Instant) -> Event {
    let side = chance.one_of(&Side::BOTH);
    match chance.below(40) {
        0 => Event::Lagged { by: ms(chance.below(1000)) },
        1 => Event::Act(Act::Switch { to: side, guard: chance.one_of(&[Guard::Checked, Guard::Forced]) }),
        2 => Event::Act(chance.one_of(&[Act::Freeze, Act::ResetBudget])),
        3 | 4 => Event::Act(Act::Resume),
        5..8 => Event::Timer,
        8 => Event::Suspected { side },
        9 => Event::Wished(chance.one_of(&[None, None, Some(side)])),
        _ => {
            let asked = now.saturating_sub(ms(chance.one_of(&[0, 1, 800, 2000])));
            let illness = chance.one_of(&[Diagnosis::Dead, Diagnosis::UnreachableFromHere, Diagnosis::PartlyDown]);
            let known = switch.sides[side].state;
            // Sides mostly stay as they are.
            let state = if chance.percent(70) {
                known
            } else {
                chance.one_of(&[State::Working, State::Working, State::NotWorking, State::Unknown])
            };
            let health = match state {
                State::Working => SideHealth { as_of: asked, ..well(now) },
                State::NotWorking => SideHealth { as_of: asked, trouble_since: asked, ..ill(illness, now) },
                State::Unknown => SideHealth::unknown(now),
            };
            Event::Health { side, health: after(&switch.sides[side], health) }
        }
    }
}
