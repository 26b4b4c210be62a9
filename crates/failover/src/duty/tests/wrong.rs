//! Voters that are faulty, or taken: epochs that cannot be true.

use super::super::*;
use super::pair::Pair;
use super::{MAIN, Node, STANDBY, START, TIMING, report, request};
use crate::health::Status;
use crate::lease::{Answer, Ask, Request, Ruling};
use crate::side::Side;
use crate::traps::{Trap, making};
use crate::walked;
use core::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const WRONG: u64 = u64::MAX;

#[test]
fn a_grant_in_an_epoch_that_cannot_be_true_neither_starts_a_node_nor_keeps_it_serving() {
    let grant = |node: &mut Node, by, epoch| {
        let to = node.duty.last_ask[by];
        let (campaign, promises) = (node.duty.campaign, TIMING.promise);
        let answer = Answer { to, campaign, ruling: Ruling::Grant, epoch, promises, report: None };
        node.feed(Event::Answered { by, sent: node.now, answer });
    };
    for by in Elector::BOTH {
        let mut node = Node::new(MAIN);
        grant(&mut node, by, WRONG);
        assert_eq!((node.duty.status(), node.duty.epoch()), (Status::Inactive, 7));
        grant(&mut node, by, 8);
        assert_eq!((node.duty.status(), node.duty.epoch()), (Status::Starting, 8), "the voter is sound again");
    }
    let mut node = Node::active(MAIN);
    node.pass(TIMING.lease / 2);
    grant(&mut node, Elector::Witness, WRONG);
    node.pass(TIMING.lease / 2);
    assert_eq!((node.duty.status(), node.duty.epoch()), (Status::Stopping, 8));
}

#[test]
fn an_epoch_that_cannot_be_true_is_learnt_from_no_answer_and_no_request() {
    for mut node in [Node::new(STANDBY), Node::active(STANDBY)] {
        let epoch = node.duty.epoch();
        for ruling in [Ruling::Deny, Ruling::Lost] {
            for by in Elector::BOTH {
                let campaign = node.duty.campaign;
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

#[test]
fn a_voter_that_told_the_highest_epoch_there_is_keeps_nobody_from_serving_ever_after() {
    let taken_over = || {
        let mut pair = Pair::new(MAIN, STANDBY);
        pair.pass(SOON);
        assert!(pair.now > START && pair.active() == Some(Side::Main));
        let campaign = pair.nodes[Side::Standby].unwrap().campaign;
        let promises = TIMING.promise;
        let answer = Answer { to: Ask::Hello, campaign, ruling: Ruling::Deny, epoch: WRONG, promises, report: None };
        pair.feed(Side::Standby, Event::Answered { by: Elector::Witness, sent: pair.now, answer });
        pair.crash(Side::Main);
        pair.pass(SOON);
        pair.active()
    };
    assert_eq!(taken_over(), Some(Side::Standby));
    let stuck = making(Some(Trap::AnyEpoch), taken_over).is_none();
    walked::mistake("AnyEpoch", stuck, "nobody serves when main is gone");
}
