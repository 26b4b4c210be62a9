//! Voters whose times differ, nodes that sleep, and those that have just begun to serve.

use core::time::Duration;

use super::super::*;
use super::pair::Pair;
use super::{BEAT, LIFE, MAIN, Node, STANDBY, START, TIMING, does};
use crate::health::Status;
use crate::lease::{Answer, Ask, Report, Timing, VoteReply};
use crate::side::Side;
use crate::traps::{Trap, making};
use crate::walked;

const SOON: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(600);

/// A lease of three seconds, as for a loaded machine.
const LONGER: Timing =
    Timing { lease: Duration::from_secs(3), promise: Duration::from_secs(4), quiet: Duration::from_secs(4), ..TIMING };

#[test]
fn a_grant_for_less_time_than_the_node_needs_is_none() {
    let mut node = Node::new(Settings { timing: LONGER, ..MAIN });
    let grant = |node: &Node, promises| Event::Answered {
        by: RemoteVoter::Witness,
        sent: node.now,
        answer: Answer {
            to: Ask::Want,
            campaign: node.duty.asking.campaign,
            ruling: VoteReply::Grant,
            epoch: 8,
            promises,
            report: None,
        },
    };
    let needs = LONGER.shortest_promise();
    node.feed(grant(&node, needs - Duration::from_micros(1)));
    assert_eq!(node.duty.status(), Status::Inactive);
    node.feed(grant(&node, needs));
    assert_eq!(node.duty.status(), Status::Starting);
}

#[test]
fn standby_does_not_stop_for_a_main_to_which_it_cannot_promise_its_vote() {
    // The witness has Main's times, Standby was forgotten.
    let stays = || {
        let mut pair = Pair::new(Settings { timing: LONGER, ..MAIN }, STANDBY);
        pair.pass(SOON);
        assert_eq!(pair.active(), Some(Side::Main), "by the witness's vote");
        pair.crash(Side::Main);
        pair.pass(SOON);
        pair.boot(Side::Main);
        pair.pass(LONG);
        pair.active() == Some(Side::Standby)
    };
    assert!(stays());
    let caught = !making(Some(Trap::FailbackInVain), stays);
    walked::mistake("FailbackInVain", caught, "standby stops for a main to which it cannot promise");
}

#[test]
fn w1_a_watchdog_with_longer_times_goes_on_no_longer_than_the_votes_were_promised_for() {
    let node = Node::active(MAIN);
    let (memory, handed) = (node.duty.memory(), node.duty.hand_over().unwrap());
    let ends = |timing| {
        let settings = Settings { timing, ..MAIN };
        let (duty, _) = Duty::new(settings, Some(&memory), LIFE, Found::HandedOver(handed), node.now);
        duty.lease_until().map(|until| until.since(node.now) + timing.pause + timing.fence)
    };
    assert_eq!(ends(TIMING), Some(TIMING.fence_bound()));
    let slower = Timing { fence: TIMING.fence * 2, promise: TIMING.promise * 2, quiet: TIMING.quiet * 2, ..TIMING };
    for timing in [LONGER, slower] {
        assert_eq!(ends(timing), Some(TIMING.fence_bound()), "{timing:?}");
    }
    let outlives = making(Some(Trap::LeaseOfOtherTimes), || ends(LONGER)) > Some(TIMING.promise);
    walked::mistake("LeaseOfOtherTimes", outlives, "the next watchdog serves on when the vote is free");
}

#[test]
fn standby_serves_for_its_hold_down_before_it_stops_for_a_main_that_came_back_while_it_started() {
    let serves_for = |trap| {
        making(trap, || {
            let mut node = Node::new(STANDBY);
            node.pass(TIMING.promise);
            node.hear(RemoteVoter::Witness, VoteReply::Grant);
            let renewed = |node: &mut Node| {
                node.hear(RemoteVoter::Witness, VoteReply::Grant);
                node.pass(BEAT);
            };
            // Main is back meanwhile, and has been fit for long when the start is done.
            (0..80).for_each(|_| renewed(&mut node));
            node.feed(Event::Started(Outcome::Done));
            let began = node.now;
            while node.asked(Ask::Want, true) == VoteReply::Lost {
                renewed(&mut node);
            }
            assert_eq!(node.duty.status(), Status::Stopping);
            node.now.since(began)
        })
    };
    let served = serves_for(None);
    assert!((STANDBY.hold_down..STANDBY.hold_down + BEAT * 2).contains(&served), "{served:?}");
    let served = serves_for(Some(Trap::NoRest));
    walked::mistake("NoRest", served < BEAT, "users are moved twice at once");
}

#[test]
fn a_node_that_slept_takes_nobody_for_silent_when_it_wakes() {
    let told = |out| Answer {
        to: Ask::Renew,
        campaign: 2,
        ruling: VoteReply::Lost,
        epoch: 8,
        promises: TIMING.promise,
        report: Some(Report { witness_out: out, ..super::report(Status::Inactive) }),
    };
    let wakes = |alone, agreed: bool, trap| {
        making(trap, || {
            let mut node = Node::active(Settings { alone, ..MAIN });
            node.feed(Event::Surroundings(Surroundings { peer_host: false, anchors: true }));
            if agreed {
                // The witness is silent, and the peer's vote carries the lease.
                (0..40).for_each(|_| {
                    node.hear(RemoteVoter::Peer, VoteReply::Grant);
                    node.pass(BEAT);
                });
                let sent = node.now;
                node.feed(Event::Answered {
                    by: RemoteVoter::Peer,
                    sent,
                    answer: Answer { campaign: 0, ..told(true) },
                });
                assert!(node.duty.guarding.agreed);
            }
            node.now += SOON;
            let outputs = node.feed(Event::Timer);
            let opens = does(outputs, |o| matches!(o, Output::Permit { until: None }));
            (opens, node.duty.status())
        })
    };
    for (alone, agreed) in [(Alone::Serve, false), (Alone::Wait, true)] {
        assert_eq!(wakes(alone, agreed, None), (false, Status::Stopping), "{alone:?}");
        let (opens, _) = wakes(alone, agreed, Some(Trap::SleepIsSilence));
        walked::mistake("SleepIsSilence", opens, "it serves beside the one that took over");
    }
    // Who is awake and hears nobody is alone indeed.
    let mut node = Node::active(Settings { alone: Alone::Serve, ..MAIN });
    node.feed(Event::Act(Act::Deactivate));
    node.feed(Event::Fenced);
    node.feed(Event::Stopped(Outcome::Done));
    node.feed(Event::Surroundings(Surroundings { peer_host: false, anchors: true }));
    node.pass(TIMING.witness_out);
    assert_eq!(node.duty.guard(), Some(Guard::Unguarded(Unguarded::Alone)));
    assert!(node.now > START);
}

#[test]
fn a_node_whose_stop_cannot_be_verified_gives_its_vote_once_it_is_fenced_and_not_before() {
    let mut node = Node::active(MAIN);
    node.feed(Event::Unfit);
    node.feed(Event::Stopped(Outcome::Failed));
    assert_eq!(node.asked(Ask::Want, true), VoteReply::Deny, "phones may still get in");
    node.feed(Event::Fenced);
    assert_eq!(node.asked(Ask::Want, true), VoteReply::Grant);
    node.pass(TIMING.promise / 2);
    assert_eq!(node.asked(Ask::Renew, true), VoteReply::Grant);
    node.feed(Event::Stopped(Outcome::Done));
    node.feed(Event::Fit);
    assert_eq!(node.duty.status(), Status::Inactive);
    assert!(matches!(node.duty.waiting(), Some(Waiting::VoteTaken(_))), "{:?}", node.duty.waiting());
    // A stop under way is waited for: it takes its time, and ends in order.
    let mut node = Node::active(MAIN);
    node.feed(Event::Unfit);
    node.feed(Event::Fenced);
    assert_eq!(node.asked(Ask::Want, true), VoteReply::Deny);
    // A fence that did not work in time is never trusted.
    let mut node = Node::active(MAIN);
    node.feed(Event::Unfit);
    node.pass(TIMING.fence);
    node.feed(Event::Fenced);
    node.feed(Event::Stopped(Outcome::Failed));
    assert_eq!(node.asked(Ask::Want, true), VoteReply::Deny);
}
