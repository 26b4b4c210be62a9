//! Activations that come to nothing, and disks that are too slow for one.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::super::*;
use super::pair::Pair;
use super::{BEAT, LIFE, MAIN, Node, STANDBY, TIMING, asks, does, report};
use crate::health::Status;
use crate::lease::{Answer, Ask, Report, VoteReply};
use crate::side::Side;
use crate::traps::{Trap, making};
use crate::walked;

const MINUTE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);
const SLOW: Duration = TIMING.lease.saturating_sub(Duration::from_millis(1));

/// Main's activations end soon; Standby serves, and Main is fit again.
fn dies(pair: &mut Pair, times: usize) {
    for _ in 0..times {
        assert_eq!(pair.active(), Some(Side::Main));
        pair.feed(Side::Main, Event::Unfit);
        pair.pass(BEAT * 10);
        assert_eq!(pair.active(), Some(Side::Standby));
        pair.feed(Side::Main, Event::Fit);
        let hold_down = pair.nodes[Side::Main].unwrap().relapses().unwrap().hold_down;
        pair.pass(hold_down - BEAT);
        assert_eq!(pair.active(), Some(Side::Standby), "{hold_down:?} are not over");
        pair.pass(BEAT * 4);
    }
}

fn failed(pair: &Pair, side: Side) -> (u8, Duration) {
    pair.nodes[side].unwrap().relapses().map_or((0, MAIN.hold_down), |relapses| (relapses.failed, relapses.hold_down))
}

#[test]
fn each_activation_that_ends_soon_doubles_the_hold_down_up_to_its_limit() {
    let mut pair = Pair::new(MAIN, STANDBY);
    pair.pass(SOON);
    for (count, minutes) in [(1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 60), (7, 60)] {
        dies(&mut pair, 1);
        assert_eq!(failed(&pair, Side::Main), (count, MINUTE * minutes));
    }
    assert_eq!(failed(&pair, Side::Standby), (0, MINUTE), "it stopped for main: that is no failure");
}

#[test]
fn a_node_that_has_served_for_long_is_trusted_again_and_one_that_has_not_is_not() {
    let mut pair = Pair::new(MAIN, STANDBY);
    pair.pass(SOON);
    dies(&mut pair, 2);
    pair.pass(MAIN.hold_down_limit - MINUTE);
    assert_eq!(failed(&pair, Side::Main).0, 2);
    pair.pass(MINUTE);
    assert_eq!(failed(&pair, Side::Main).0, 0);
    pair.feed(Side::Main, Event::Unfit);
    pair.pass(SOON);
    pair.feed(Side::Main, Event::Fit);
    pair.pass(MAIN.hold_down + BEAT * 4);
    assert_eq!(pair.active(), Some(Side::Main), "after a good time an end is as good as the first");
}

#[test]
fn a_restart_forgets_no_activation_that_failed_and_a_crash_counts_as_one() {
    let mut pair = Pair::new(MAIN, STANDBY);
    pair.pass(SOON);
    dies(&mut pair, 2);
    for count in [3, 3] {
        pair.crash(Side::Main);
        pair.pass(SOON);
        pair.boot(Side::Main);
        assert_eq!(failed(&pair, Side::Main), (count, MINUTE * 8), "the second crash was that of an inactive node");
    }
    pair.pass(MINUTE * 8 - BEAT);
    assert_eq!(pair.active(), Some(Side::Standby));
    pair.pass(BEAT * 4);
    assert_eq!(pair.active(), Some(Side::Main));
}

#[test]
fn an_operator_who_has_a_node_serve_or_resume_is_believed() {
    for act in [Act::Resume, Act::Activate] {
        let mut pair = Pair::new(MAIN, STANDBY);
        pair.pass(SOON);
        dies(&mut pair, 3);
        pair.feed(Side::Main, Event::Unfit);
        pair.pass(SOON);
        pair.feed(Side::Main, Event::Fit);
        pair.pass(MINUTE);
        assert_eq!(pair.active(), Some(Side::Standby));
        if act == Act::Activate {
            pair.act(Side::Standby, Act::Deactivate);
        }
        assert!(pair.act(Side::Main, act));
        pair.pass(SOON);
        assert_eq!((pair.active(), failed(&pair, Side::Main).0), (Some(Side::Main), 0), "{act}");
    }
}

#[test]
fn what_an_operator_ends_is_no_failure() {
    let mut pair = Pair::new(MAIN, STANDBY);
    pair.pass(SOON);
    pair.act(Side::Main, Act::Deactivate);
    pair.pass(SOON);
    assert_eq!((pair.active(), failed(&pair, Side::Main).0), (Some(Side::Standby), 0));
}

#[test]
fn no_hold_down_keeps_a_node_from_serving_that_is_alone_to_do_so() {
    let mut pair = Pair::new(MAIN, STANDBY);
    pair.pass(SOON);
    dies(&mut pair, 4);
    pair.feed(Side::Main, Event::Unfit);
    pair.pass(SOON);
    pair.feed(Side::Main, Event::Fit);
    pair.crash(Side::Standby);
    pair.pass(SOON);
    assert_eq!(pair.active(), Some(Side::Main), "however often it failed");
}

#[test]
fn an_upgraded_watchdog_goes_on_with_an_activation_that_is_on_trial() {
    let node = Node::active(MAIN);
    let (memory, handed) = (node.duty.memory(), node.duty.hand_over().unwrap());
    assert_eq!(memory.relapses, 1, "on the disk it has failed until it proves otherwise");
    let found = Found::HandedOver(handed);
    let (mut duty, _) = Duty::new(MAIN, Some(&memory), LIFE, found, node.now);
    assert_eq!((duty.relapses(), duty.memory().relapses), (None, 1));
    duty.handle(Event::Unfit, node.now);
    assert_eq!(duty.relapses().map(|relapses| (relapses.failed, relapses.why)), Some((1, Some(Why::Unfit))));
}

#[test]
fn a_start_whose_lease_ends_before_it_is_verified_lets_the_peer_have_its_turn() {
    let rests = || {
        let mut node = Node::new(MAIN);
        node.hear(RemoteVoter::Witness, VoteReply::Grant);
        node.pass(TIMING.lease);
        assert_eq!(node.duty.status(), Status::Stopping);
        node.feed(Event::Fenced);
        node.feed(Event::Started(Outcome::Failed));
        node.feed(Event::Stopped(Outcome::Done));
        node.duty.waiting() == Some(Waiting::Resting { until: node.now + MAIN.retry })
    };
    assert!(rests());
    let caught = !making(Some(Trap::AbortedStartsForgotten), rests);
    walked::mistake("AbortedStartsForgotten", caught, "both votes are wanted again at once");
}

/// An inactive Main whose writes take so long, beside a Standby that is there.
fn beside_standby(write: Duration) -> Node {
    let mut node = Node::new(MAIN);
    node.write = write;
    node.hear(RemoteVoter::Peer, VoteReply::Deny);
    node.feed(Event::Written { took: write });
    node
}

/// Standby says that it serves, once each heartbeat.
fn pass_beside_standby(node: &mut Node, time: Duration) -> Vec<Output> {
    let end = node.now + time;
    let mut all = Vec::new();
    while node.now < end {
        all.extend(node.pass(BEAT));
        let (to, campaign) = (node.duty.asking.last[RemoteVoter::Peer], node.duty.asking.campaign);
        let report = Some(Report { fit: true, ..report(Status::Active) });
        let promises = TIMING.promise;
        let answer = Answer { to, campaign, ruling: VoteReply::Lost, epoch: 0, promises, report };
        node.feed(Event::Answered { by: RemoteVoter::Peer, sent: node.now, answer });
    }
    all
}

fn last_asked(outputs: &[Output]) -> crate::lease::Request {
    outputs.iter().rev().find_map(|o| if let Output::Ask { request, .. } = o { Some(*request) } else { None }).unwrap()
}

#[test]
fn a_node_whose_disk_is_too_slow_for_a_start_is_unfit_and_wants_nothing_of_a_peer_that_serves() {
    let mut node = beside_standby(SLOW);
    let outputs = pass_beside_standby(&mut node, MINUTE * 3);
    assert_eq!(node.duty.waiting(), Some(Waiting::SlowDisk { took: SLOW }));
    assert!(asks(&outputs[1..]).iter().all(|(_, ask)| *ask == Ask::Hello), "{outputs:?}");
    let request = last_asked(&outputs);
    assert!(!request.report.fit && !request.settled, "{request:?}");
    // Well again: it wants once three writes were in time, and is settled a hold-down after the first of them.
    node.write = Duration::ZERO;
    let outputs = pass_beside_standby(&mut node, MAIN.disk_watch * 3);
    assert!(last_asked(&outputs).report.fit && !last_asked(&outputs).settled);
    assert!(last_asked(&pass_beside_standby(&mut node, MINUTE)).settled);
    let explained = node.duty.waiting();
    assert_eq!(explained, None);
}

#[test]
fn a_write_as_long_as_half_a_lease_is_in_time_and_a_longer_one_is_not() {
    assert_eq!(beside_standby(TIMING.lease / 2).duty.slow_disk(), None);
    let late = TIMING.lease / 2 + Duration::from_micros(1);
    assert_eq!(beside_standby(late).duty.slow_disk(), Some(late));
}

#[test]
fn a_slow_node_is_better_than_none() {
    let mut node = beside_standby(SLOW);
    let before = node.pass(TIMING.promise - BEAT);
    assert!(asks(&before[1..]).iter().all(|(_, ask)| *ask == Ask::Hello), "the peer may be about to serve");
    let outputs = node.pass(BEAT * 2);
    assert!(asks(&outputs).contains(&(RemoteVoter::Witness, Ask::Want)), "the peer is silent: {outputs:?}");
    // A peer that is there and does not begin, as it is frozen.
    let mut node = beside_standby(SLOW);
    let mut wants = false;
    for _ in 0..40 {
        wants |= asks(&node.pass(BEAT)).contains(&(RemoteVoter::Witness, Ask::Want));
        node.hear(RemoteVoter::Peer, VoteReply::Deny);
    }
    assert!(wants);
    // An operator insists.
    let mut node = beside_standby(SLOW);
    let outputs = node.feed(Event::Act(Act::Activate));
    assert!(asks(outputs).contains(&(RemoteVoter::Witness, Ask::Want)), "{outputs:?}");
}

#[test]
fn a_slow_disk_ends_no_calls() {
    let mut node = Node::active(MAIN);
    node.feed(Event::Written { took: SLOW });
    assert_eq!(node.duty.status(), Status::Active);
    assert!(node.duty.report().fit);
    let outputs = node.pass(TIMING.lease / 2);
    assert!(!does(&outputs, |o| *o == Output::ProveDisk), "{outputs:?}");
}

#[test]
fn a_main_that_has_not_proven_a_write_lately_does_not_have_standby_stop() {
    let mut node = beside_standby(Duration::ZERO);
    assert!(last_asked(&pass_beside_standby(&mut node, MINUTE + BEAT)).settled);
    // The next write hangs: nothing is told of it. By and by that is known to be no proof.
    let since = node.duty.ready.disk.proven_at.unwrap();
    node.duty.ready.disk.look = since + MINUTE * 60;
    let outputs = pass_beside_standby(&mut node, MAIN.disk_watch * 2 + BEAT * 2);
    assert!(!last_asked(&outputs).settled, "{:?}", node.duty.ready.disk);
    node.feed(Event::Written { took: Duration::ZERO });
    assert!(last_asked(&pass_beside_standby(&mut node, BEAT)).settled, "it was never too slow");
}

#[test]
fn e8_activations_that_failed_are_explained_with_the_last_reason() {
    let mut pair = Pair::new(MAIN, STANDBY);
    pair.pass(SOON);
    dies(&mut pair, 2);
    let explained = pair.nodes[Side::Main].unwrap().explain().to_string();
    let words = "; its last 2 activations failed (telephony is dead), hold-down 4 min.";
    assert!(explained.ends_with(words), "{explained}");
}
