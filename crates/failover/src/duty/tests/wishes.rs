//! What operators wish: freeze, modes, failback and planned switches.

use alloc::vec::Vec;
use core::time::Duration;

use super::super::*;
use super::pair::Pair;
use super::{BEAT, MAIN, Node, STANDBY, TIMING, asks, does};
use crate::health::Status;
use crate::lease::{Answer, Ask, VoteReply};
use crate::side::Side;
use crate::traps::{Trap, making};
use crate::walked;

const LONG: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(20);
/// Who served for so long, and a little for the start, has served well.
const GOOD: Duration = MAIN.hold_down_limit.saturating_add(SOON);
const HOLD_DOWN: Duration = MAIN.hold_down;
const MAIN_BY_WISH: Settings = Settings { requests: Requests::Accept, ..MAIN };
const STANDBY_BY_WISH: Settings = Settings { requests: Requests::Accept, ..STANDBY };

/// Main died, Standby serves, and Main is back.
fn main_is_back(main: Settings, standby: Settings) -> Pair {
    let mut pair = Pair::new(main, standby);
    pair.pass(GOOD);
    assert_eq!(pair.active(), Some(Side::Main));
    pair.crash(Side::Main);
    pair.pass(SOON);
    assert_eq!(pair.active(), Some(Side::Standby));
    pair.boot(Side::Main);
    pair
}

#[test]
fn a_frozen_node_wants_nothing_and_still_steps_down() {
    let mut node = Node::active(MAIN);
    node.feed(Event::Act(Act::Freeze));
    let outputs = node.pass(TIMING.lease);
    assert!(does(&outputs, |o| *o == Output::Fence(Why::LeaseOver)), "{outputs:?}");
    node.feed(Event::Fenced);
    node.feed(Event::Stopped(Outcome::Done));
    let outputs = node.pass(SOON);
    assert!(asks(&outputs).iter().all(|(_, ask)| matches!(ask, Ask::Hello | Ask::Release)), "{outputs:?}");
    assert_eq!(node.duty.waiting(), Some(Waiting::Frozen));
    assert!(asks(node.feed(Event::Act(Act::Resume))).contains(&(RemoteVoter::Witness, Ask::Want)));
}

#[test]
fn a_frozen_standby_does_not_take_over_until_it_is_resumed() {
    let mut pair = Pair::new(MAIN, STANDBY);
    pair.pass(SOON);
    pair.act(Side::Standby, Act::Freeze);
    pair.crash(Side::Main);
    pair.pass(LONG);
    assert_eq!(pair.active(), None);
    pair.act(Side::Standby, Act::Resume);
    pair.pass(SOON);
    assert_eq!(pair.active(), Some(Side::Standby));
}

#[test]
fn a_frozen_standby_goes_on_beside_a_main_that_is_back() {
    let mut pair = main_is_back(MAIN, STANDBY);
    pair.act(Side::Standby, Act::Freeze);
    pair.pass(LONG);
    assert_eq!(pair.active(), Some(Side::Standby));
    pair.act(Side::Standby, Act::Resume);
    pair.pass(SOON);
    assert_eq!(pair.active(), Some(Side::Main));
}

#[test]
fn standby_stops_for_main_when_that_has_been_fit_for_its_hold_down_and_not_before() {
    let mut pair = main_is_back(MAIN, STANDBY);
    pair.pass(HOLD_DOWN - BEAT);
    assert_eq!(pair.active(), Some(Side::Standby));
    pair.pass(BEAT * 4);
    assert_eq!(pair.active(), Some(Side::Main));
    // Each bad sign begins it anew.
    let mut pair = main_is_back(MAIN, STANDBY);
    pair.pass(HOLD_DOWN / 2);
    pair.feed(Side::Main, Event::Unfit);
    pair.feed(Side::Main, Event::Fit);
    pair.pass(HOLD_DOWN - BEAT);
    assert_eq!(pair.active(), Some(Side::Standby));
    pair.pass(BEAT * 4);
    assert_eq!(pair.active(), Some(Side::Main));
}

#[test]
fn standby_stops_for_a_main_that_was_cut_off_when_that_has_been_in_touch_for_its_hold_down_and_not_before() {
    let mut pair = Pair::new(MAIN, STANDBY);
    pair.pass(GOOD);
    pair.cut_off = Some(Side::Main);
    pair.pass(LONG);
    assert_eq!(pair.active(), Some(Side::Standby));
    pair.cut_off = None;
    pair.pass(HOLD_DOWN / 2);
    // Lost requests are no silence.
    pair.cut_off = Some(Side::Main);
    pair.pass(BEAT * 3);
    pair.cut_off = None;
    pair.pass(HOLD_DOWN / 2 - BEAT * 4);
    assert_eq!(pair.active(), Some(Side::Standby));
    pair.pass(BEAT * 6);
    assert_eq!(pair.active(), Some(Side::Main));
}

#[test]
fn a_link_that_flaps_moves_telephony_once_and_a_main_that_is_in_touch_again_takes_it_back() {
    let mut pair = Pair::new(MAIN, STANDBY);
    pair.pass(GOOD);
    for _ in 0..20 {
        pair.cut_off = Some(Side::Main);
        pair.pass(HOLD_DOWN / 2);
        assert_eq!(pair.active(), Some(Side::Standby));
        pair.cut_off = None;
        pair.pass(HOLD_DOWN / 2);
        assert_eq!(pair.active(), Some(Side::Standby));
    }
    pair.pass(HOLD_DOWN / 2 + BEAT * 4);
    assert_eq!(pair.active(), Some(Side::Main));
}

#[test]
fn hearing_standby_without_being_answered_is_not_being_in_touch() {
    let mut main = Node::new(MAIN);
    main.asked(Ask::Renew, true);
    // Standby's requests arrive all the time, its answers only in the end.
    for _ in 0..HOLD_DOWN.as_millis() / BEAT.as_millis() * 2 {
        main.pass(BEAT);
        main.asked(Ask::Renew, true);
    }
    let settled = |outputs: &[Output]| {
        let asked = |o: &Output| if let Output::Ask { request, .. } = o { Some(request.settled) } else { None };
        outputs.iter().rev().find_map(asked)
    };
    main.hear(RemoteVoter::Peer, VoteReply::Lost);
    assert_eq!(settled(&main.pass(BEAT)), Some(false));
    for _ in 0..HOLD_DOWN.as_millis() / BEAT.as_millis() {
        main.hear(RemoteVoter::Peer, VoteReply::Lost);
        main.pass(BEAT);
    }
    assert_eq!(settled(&main.pass(BEAT)), Some(true));
}

#[test]
fn a_hold_down_keeps_nobody_from_serving_when_standby_dies_within_it() {
    let mut pair = main_is_back(MAIN, STANDBY);
    pair.pass(BEAT * 4);
    pair.crash(Side::Standby);
    pair.pass(SOON);
    assert_eq!(pair.active(), Some(Side::Main));
}

#[test]
fn a_main_that_is_not_settled_says_so_and_is_answered_that_the_vote_is_lost() {
    let mut main = Node::new(MAIN);
    let settled = |outputs: &[Output]| {
        outputs.iter().find_map(|o| if let Output::Ask { request, .. } = o { Some(request.settled) } else { None })
    };
    assert_eq!(settled(&main.outputs), Some(false));
    assert_eq!(settled(&main.pass(HOLD_DOWN)[..1]), Some(false));
    assert_eq!(settled(&main.pass(BEAT)), Some(true));
    let mut standby = Node::active(STANDBY);
    standby.settled = false;
    assert_eq!(standby.asked(Ask::Want, true), VoteReply::Lost);
    assert_eq!(standby.duty.status(), Status::Active);
}

#[test]
fn w7_standby_fails_back_only_in_the_window_or_when_told() {
    let window = Wishes { failback: Failback::Window, ..STANDBY.wishes };
    let mut pair = main_is_back(MAIN, Settings { wishes: window, ..STANDBY });
    pair.pass(LONG);
    assert_eq!(pair.active(), Some(Side::Standby));
    pair.feed(Side::Standby, Event::Window(Window::Open));
    pair.pass(SOON);
    assert_eq!(pair.active(), Some(Side::Main));
    let manual = Wishes { failback: Failback::Manual, ..STANDBY.wishes };
    let mut pair = main_is_back(MAIN, Settings { wishes: manual, ..STANDBY });
    pair.feed(Side::Standby, Event::Window(Window::Open));
    pair.pass(LONG);
    assert_eq!(pair.active(), Some(Side::Standby));
    assert!(pair.act(Side::Standby, Act::Failback(Failback::Auto)));
    pair.pass(SOON);
    assert_eq!(pair.active(), Some(Side::Main));
}

#[test]
fn w7_a_manual_standby_neither_takes_over_nor_fails_back_by_itself() {
    let manual = Settings { wishes: Wishes { mode: Mode::Manual, ..STANDBY.wishes }, ..STANDBY };
    let mut pair = Pair::new(MAIN, manual);
    pair.pass(SOON);
    pair.crash(Side::Main);
    pair.pass(LONG);
    assert_eq!(pair.active(), None);
    assert!(pair.act(Side::Standby, Act::Activate));
    pair.pass(SOON);
    assert_eq!(pair.active(), Some(Side::Standby));
    pair.boot(Side::Main);
    pair.pass(LONG);
    assert_eq!(pair.active(), Some(Side::Standby));
    assert!(pair.act(Side::Standby, Act::Deactivate));
    pair.pass(SOON);
    assert_eq!(pair.active(), Some(Side::Main));
}

#[test]
fn w7_a_manual_node_that_lost_its_lease_starts_again_as_its_operator_chose() {
    let manual = Settings { wishes: Wishes { mode: Mode::Manual, ..MAIN.wishes }, ..MAIN };
    let mut pair = Pair::new(manual, STANDBY);
    pair.pass(SOON);
    assert_eq!(pair.active(), Some(Side::Standby));
    assert!(!pair.act(Side::Main, Act::Activate), "the peer serves");
    assert!(pair.act(Side::Main, Act::Mode(Mode::Automatic)));
    pair.pass(HOLD_DOWN + SOON);
    assert_eq!(pair.active(), Some(Side::Main));
    assert!(pair.act(Side::Main, Act::Mode(Mode::Manual)), "who serves goes on");
    pair.pass(LONG);
    assert_eq!(pair.active(), Some(Side::Main));
}

#[test]
fn a_planned_switch_goes_there_stays_there_and_comes_back() {
    let mut pair = Pair::new(MAIN_BY_WISH, STANDBY_BY_WISH);
    pair.pass(SOON);
    assert!(!pair.act(Side::Standby, Act::HandOver { to: Side::Standby }), "main serves");
    assert!(pair.act(Side::Main, Act::HandOver { to: Side::Standby }));
    assert!(pair.done.contains(&(Side::Main, Output::Fence(Why::HandedOver))), "{:?}", pair.done);
    // The peer starts by itself.
    pair.pass(BEAT * 2);
    assert_eq!(pair.active(), Some(Side::Standby));
    pair.pass(LONG);
    assert_eq!(pair.active(), Some(Side::Standby), "main stepped back");
    // The way back: first the source, then the target.
    assert!(pair.act(Side::Standby, Act::HandOver { to: Side::Main }));
    assert_eq!(pair.status(Side::Standby), Status::Inactive);
    pair.act(Side::Main, Act::HandOver { to: Side::Main });
    pair.pass(BEAT * 4);
    assert_eq!(pair.active(), Some(Side::Main));
    pair.pass(LONG);
    assert_eq!(pair.active(), Some(Side::Main));
    pair.crash(Side::Main);
    pair.pass(SOON);
    assert_eq!(pair.active(), Some(Side::Standby), "it stepped back for a peer that is there");
}

#[test]
fn the_newest_step_back_counts() {
    for side in Side::BOTH {
        let mut pair = Pair::new(MAIN, STANDBY);
        pair.pass(SOON);
        if side == Side::Standby {
            pair.act(Side::Main, Act::Deactivate);
            pair.pass(SOON);
        }
        for _ in 0..3 {
            let serves = pair.active().unwrap();
            assert!(pair.act(serves, Act::Deactivate));
            pair.pass(SOON);
            assert_eq!(pair.active(), Some(serves.other()));
        }
    }
}

#[test]
fn two_nodes_that_both_stepped_back_do_not_wait_for_each_other_for_ever() {
    let both_step_back = || {
        let mut pair = Pair::new(MAIN, STANDBY);
        for act in [Act::Freeze, Act::Deactivate] {
            assert!(Side::BOTH.into_iter().all(|side| pair.act(side, act)));
        }
        // As if restarts had lost who did so last.
        for side in Side::BOTH {
            let duty = pair.nodes[side].as_mut().unwrap();
            duty.wishes = Wishes { choice: Choice::StepBack, ..MAIN.wishes };
        }
        pair.pass(TIMING.takeover_bound());
        assert_eq!(pair.active(), None);
        pair.pass(SOON);
        pair.active()
    };
    assert!(both_step_back().is_some());
    assert_eq!(making(Some(Trap::EndlessPatience), both_step_back), None, "not caught");
}

#[test]
fn a_node_that_stepped_back_serves_again_when_its_peer_does_not_take_over() {
    let mut pair = Pair::new(MAIN, STANDBY);
    pair.pass(SOON);
    pair.act(Side::Standby, Act::Freeze);
    pair.act(Side::Main, Act::Deactivate);
    pair.pass(TIMING.takeover_bound());
    assert_eq!(pair.active(), None);
    pair.pass(SOON);
    assert_eq!(pair.active(), Some(Side::Main), "a node that must stay stopped is frozen");
    pair.act(Side::Main, Act::Freeze);
    pair.act(Side::Main, Act::Deactivate);
    pair.pass(LONG);
    assert_eq!(pair.active(), None);
}

#[test]
fn word_that_is_older_than_the_peers_start_does_not_end_a_step_back() {
    let old_word_comes = || {
        let mut pair = Pair::new(MAIN, STANDBY);
        pair.pass(SOON);
        pair.act(Side::Main, Act::Deactivate);
        pair.pass(SOON);
        let Duty { asking, vote, .. } = pair.nodes[Side::Main].unwrap();
        let report = Some(super::report(Status::Inactive));
        let (ruling, epoch) = (VoteReply::Deny, vote.epoch() - 1);
        let answer =
            Answer { to: Ask::Hello, campaign: asking.campaign, ruling, epoch, promises: TIMING.promise, report };
        pair.feed(Side::Main, Event::Answered { by: RemoteVoter::Peer, sent: pair.now, answer });
        pair.pass(LONG);
        pair.active()
    };
    assert_eq!(old_word_comes(), Some(Side::Standby));
    let goes_back = making(Some(Trap::OldWord), old_word_comes) == Some(Side::Main);
    walked::mistake("OldWord", goes_back, "a planned switch is undone");
}

#[test]
fn wishes_of_the_edge_are_refused_in_both_directions_where_they_are_not_accepted() {
    for (side, to) in [(Side::Main, Side::Main), (Side::Main, Side::Standby), (Side::Standby, Side::Standby)] {
        let mut pair = Pair::new(MAIN, STANDBY);
        pair.pass(SOON);
        let act = Act::HandOver { to };
        assert!(!pair.act(side, act));
        let refusals: Vec<_> = pair.done.iter().map(|(_, output)| *output).collect();
        assert_eq!(refusals, [Output::Refused { act, reason: Refusal::NotAccepted }]);
        pair.pass(SOON);
        assert_eq!(pair.active(), Some(Side::Main));
    }
}
