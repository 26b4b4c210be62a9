//! Voters that are faulty, or taken: epochs that cannot be true, and ever higher ones that can.

use alloc::format;
use core::time::Duration;

use super::super::*;
use super::pair::Pair;
use super::{MAIN, Node, STANDBY, START, TIMING, report, request};
use crate::health::Status;
use crate::lease::{self, Answer, Ask, LEAP, Request, VoteReply};
use crate::side::Side;
use crate::traps::{Trap, making};
use crate::walked;

const SOON: Duration = Duration::from_secs(20);
const WRONG: u64 = u64::MAX;

#[test]
fn a_grant_in_an_epoch_that_cannot_be_true_neither_starts_a_node_nor_keeps_it_serving() {
    let grant = |node: &mut Node, by, epoch| {
        let to = node.duty.asking.last[by];
        let (campaign, promises) = (node.duty.asking.campaign, TIMING.promise);
        let answer = Answer { to, campaign, ruling: VoteReply::Grant, epoch, promises, report: None };
        node.feed(Event::Answered { by, sent: node.now, answer });
    };
    for by in RemoteVoter::BOTH {
        let mut node = Node::new(MAIN);
        grant(&mut node, by, WRONG);
        assert_eq!((node.duty.status(), node.duty.epoch()), (Status::Inactive, 7));
        grant(&mut node, by, 8);
        assert_eq!((node.duty.status(), node.duty.epoch()), (Status::Starting, 8), "the voter is sound again");
    }
    let mut node = Node::active(MAIN);
    node.pass(TIMING.lease / 2);
    grant(&mut node, RemoteVoter::Witness, WRONG);
    node.pass(TIMING.lease / 2);
    assert_eq!((node.duty.status(), node.duty.epoch()), (Status::Stopping, 8));
}

#[test]
fn an_epoch_that_cannot_be_true_is_learnt_from_no_answer_and_no_request() {
    for mut node in [Node::new(STANDBY), Node::active(STANDBY)] {
        let epoch = node.duty.epoch();
        for ruling in [VoteReply::Deny, VoteReply::Lost] {
            for by in RemoteVoter::BOTH {
                let campaign = node.duty.asking.campaign;
                let promises = TIMING.promise;
                let answer = Answer { to: Ask::Hello, campaign, ruling, epoch: WRONG, promises, report: None };
                node.feed(Event::Answered { by, sent: node.now, answer });
            }
        }
        for ask in [Ask::Hello, Ask::Release, Ask::Renew] {
            let told = request(Side::Main, ask, report(Status::Inactive));
            node.feed(Event::Asked(Request { epoch: WRONG, settled: false, ..told }));
        }
        assert_eq!(node.duty.epoch(), epoch);
        assert_eq!(node.duty.memory().vote.epoch, epoch);
    }
}

/// A peer that tells a higher epoch with each word, in answers and in requests of its own.
fn boast(node: &mut Node, words: u32, step: u64) {
    for _ in 0..words {
        let epoch = node.duty.epoch().saturating_add(step);
        let (campaign, promises, said) = (node.duty.asking.campaign, TIMING.promise, report(Status::Inactive));
        let answer = Answer { to: Ask::Want, campaign, ruling: VoteReply::Deny, epoch, promises, report: Some(said) };
        node.feed(Event::Answered { by: RemoteVoter::Peer, sent: node.now, answer });
        let epoch = node.duty.epoch().saturating_add(step);
        node.feed(Event::Asked(Request { epoch, ..request(Side::Standby, Ask::Hello, said) }));
    }
}

/// What the node asks of the witness next.
fn next_want(node: &mut Node) -> Request {
    let outputs = node.pass(TIMING.heartbeat);
    let mut wants = outputs.iter().filter_map(|output| match output {
        Output::Ask { voter: RemoteVoter::Witness, request, .. } => Some(*request),
        _ => None,
    });
    wants.next_back().unwrap()
}

#[test]
fn a_peer_that_tells_ever_higher_epochs_between_a_want_and_its_grant_keeps_nobody_from_starting() {
    let starts = |step| {
        let mut node = Node::new(MAIN);
        for _ in 0..5 {
            let want = next_want(&mut node);
            boast(&mut node, 20, step);
            let (to, campaign, epoch, promises) = (want.ask, want.campaign, want.epoch + 1, TIMING.promise);
            let answer = Answer { to, campaign, ruling: VoteReply::Grant, epoch, promises, report: None };
            node.feed(Event::Answered { by: RemoteVoter::Witness, sent: node.now, answer });
        }
        node.duty.status() == Status::Starting
    };
    for step in [1, LEAP] {
        assert!(starts(step));
        let stuck = making(Some(Trap::HearsayOutranks), || !starts(step));
        walked::mistake("HearsayOutranks", stuck, "a node whose peer boasts does not start");
    }
}

#[test]
fn a_peer_that_raised_a_node_or_its_witness_while_they_did_not_see_each_other_keeps_nobody_from_starting() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Raised {
        Node,
        OwnVote,
        Witness,
    }
    let starts = |raised| {
        let mut node = Node::new(MAIN);
        let memory = lease::Memory { record: lease::Record::Free, epoch: 7 };
        let mut witness = lease::Voter::new(&TIMING, Some(&memory), node.now).0;
        let said = report(Status::Inactive);
        for round in 1..=50 {
            match raised {
                Raised::Node => boast(&mut node, 3, LEAP),
                // It wants the node's own vote, and gives it back, again and again.
                Raised::OwnVote => {
                    for ask in [Ask::Want, Ask::Release] {
                        let (epoch, campaign) = (node.duty.epoch() + LEAP, 50 + round);
                        let asked = Request { epoch, campaign, ..request(Side::Standby, ask, said) };
                        node.feed(Event::Asked(asked));
                    }
                }
                Raised::Witness => {
                    let epoch = witness.epoch() + LEAP;
                    let hello = Request { epoch, ..request(Side::Standby, Ask::Hello, said) };
                    witness.handle(lease::Event::Asked(hello), node.now);
                }
            }
            node.pass(TIMING.heartbeat);
        }
        for _ in 0..4 {
            let want = next_want(&mut node);
            for answer in witness.handle(lease::Event::Asked(want), node.now) {
                if let lease::Output::Answer(answer) = answer {
                    node.feed(Event::Answered { by: RemoteVoter::Witness, sent: node.now, answer });
                }
            }
        }
        node.duty.status() == Status::Starting
    };
    for raised in [Raised::Node, Raised::OwnVote, Raised::Witness] {
        assert!(starts(raised), "{raised:?}");
        let trap = if raised == Raised::Witness { Trap::BeyondBelief } else { Trap::HearsayOutranks };
        let stuck = making(Some(trap), || !starts(raised));
        walked::mistake(format!("{trap:?}"), stuck, format!("{raised:?} raised by a peer that boasts"));
    }
}

#[test]
fn a_grant_that_was_asked_for_before_the_own_vote_was_given_away_starts_nobody_in_an_epoch_that_was_used() {
    let starts = || {
        let mut node = Node::new(MAIN);
        let want = next_want(&mut node);
        let sent = node.now;
        // Standby serves with this node's vote, and gives it back, before the witness's grant arrives.
        for ask in [Ask::Want, Ask::Release] {
            let asked = Request { epoch: 7, ..request(Side::Standby, ask, report(Status::Inactive)) };
            node.feed(Event::Asked(asked));
        }
        let (to, campaign, epoch, promises) = (want.ask, want.campaign, want.epoch + 1, TIMING.promise);
        let answer = Answer { to, campaign, ruling: VoteReply::Grant, epoch, promises, report: None };
        node.feed(Event::Answered { by: RemoteVoter::Witness, sent, answer });
        node.duty.status() == Status::Starting
    };
    assert!(!starts());
    let repeated = making(Some(Trap::VoteLostSince), starts);
    walked::mistake("VoteLostSince", repeated, "a duty epoch is used twice");
}

#[test]
fn a_voter_that_told_the_highest_epoch_there_is_keeps_neither_nodes_from_serving_nor_epochs_from_growing() {
    let taken_over = || {
        let mut pair = Pair::new(MAIN, STANDBY);
        pair.pass(SOON);
        assert!(pair.now > START && pair.active() == Some(Side::Main));
        let campaign = pair.nodes[Side::Standby].unwrap().asking.campaign;
        let promises = TIMING.promise;
        let answer = Answer { to: Ask::Hello, campaign, ruling: VoteReply::Deny, epoch: WRONG, promises, report: None };
        pair.feed(Side::Standby, Event::Answered { by: RemoteVoter::Witness, sent: pair.now, answer });
        pair.crash(Side::Main);
        pair.pass(SOON);
        let first = (pair.active(), pair.nodes[Side::Standby].unwrap().epoch());
        for event in [Event::Unfit, Event::Fit] {
            pair.feed(Side::Standby, event);
            pair.pass(SOON);
        }
        let again = (pair.active(), pair.nodes[Side::Standby].unwrap().epoch());
        assert_eq!((first.0, again.0), (Some(Side::Standby), Some(Side::Standby)));
        again.1 > first.1
    };
    assert!(taken_over());
    let repeats = !making(Some(Trap::AnyEpoch), taken_over);
    walked::mistake("AnyEpoch", repeats, "each start is in the same epoch");
}
