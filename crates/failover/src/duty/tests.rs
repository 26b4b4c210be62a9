mod namesake;
mod pair;
mod relapses;
mod times;
mod wishes;
mod wrong;

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::health::Status;
use crate::lease::{Answer, Ask, Report, Request, Timing, VoteReply};
use crate::side::Side;
use crate::time::Instant;

const TIMING: Timing = Timing::DEFAULT;
/// A machine, and no disk before it.
const LIFE: Life = Life { instance: 1, campaign_base: 0 };
const BEAT: Duration = TIMING.heartbeat;
const START: Instant = Instant::from_micros(1_000_000_000);

/// A node whose messages, commands and clock the test holds.
struct Node {
    duty: Duty,
    now: Instant,
    outputs: Vec<Output>,
    /// What the peer says of itself.
    settled: bool,
    /// How long a write takes.
    write: Duration,
    /// The kernel takes no permit.
    refuses: bool,
}

impl Node {
    fn new(settings: Settings) -> Self {
        let memory = Memory {
            vote: crate::lease::Memory { record: crate::lease::Record::Free, epoch: 7 },
            campaign: 1,
            wishes: settings.wishes,
            relapses: 0,
        };
        let (duty, outputs) = Duty::new(settings, Some(&memory), LIFE, Found::Stopped, START);
        let mut node = Self { duty, now: START, outputs, settled: true, write: Duration::ZERO, refuses: false };
        node.feed(Event::Written { took: Duration::ZERO });
        node.feed(Event::Fit);
        node
    }

    fn active(settings: Settings) -> Self {
        let mut node = Self::new(settings);
        node.pass(TIMING.promise);
        node.hear(RemoteVoter::Witness, VoteReply::Grant);
        node.feed(Event::Started(Outcome::Done));
        assert_eq!(node.duty.status(), Status::Active);
        node
    }

    fn feed(&mut self, event: Event) -> &[Output] {
        self.outputs = self.duty.handle(event, self.now);
        if self.outputs.contains(&Output::ProveDisk) {
            self.outputs.extend(self.duty.handle(Event::Written { took: self.write }, self.now));
        }
        let permits: Vec<_> = self.outputs.iter().copied().filter(|_| !self.refuses).collect();
        for output in permits {
            if let Output::Permit { until } = output {
                self.outputs.extend(self.duty.handle(Event::Permitted { until }, self.now));
            }
        }
        assert!(self.duty.deadline().is_none_or(|at| at > self.now), "a deadline that has passed: {:?}", self.duty);
        &self.outputs
    }

    /// Lets time pass, waking at each deadline.
    fn pass(&mut self, time: Duration) -> Vec<Output> {
        let (end, mut all) = (self.now + time, Vec::new());
        loop {
            self.now = self.duty.deadline().unwrap_or(end).min(end).max(self.now);
            all.extend_from_slice(self.feed(Event::Timer));
            if self.now >= end {
                return all;
            }
        }
    }

    fn hear(&mut self, by: RemoteVoter, ruling: VoteReply) -> &[Output] {
        let to = self.duty.asking.last[by];
        let report = (by == RemoteVoter::Peer).then_some(report(Status::Inactive));
        let epoch = self.duty.epoch() + u64::from(to == Ask::Want && ruling == VoteReply::Grant);
        let answer =
            Answer { to, campaign: self.duty.asking.campaign, ruling, epoch, promises: TIMING.promise, report };
        self.feed(Event::Answered { by, sent: self.now, answer })
    }

    fn asked(&mut self, ask: Ask, hears: bool) -> VoteReply {
        let from = self.duty.settings.side.other();
        let report = report(if ask == Ask::Renew { Status::Active } else { Status::Inactive });
        let request = Request { settled: self.settled, hears, ..request(from, ask, report) };
        let outputs = self.feed(Event::Asked(request));
        outputs.iter().find_map(|o| if let Output::Answer(a) = o { Some(a.ruling) } else { None }).unwrap()
    }
}

fn request(from: Side, ask: Ask, report: Report) -> Request {
    let needs = TIMING.shortest_promise();
    Request { from, ask, campaign: 50, epoch: 0, report, settled: true, hears: true, instance: 50, needs }
}

fn report(status: Status) -> Report {
    Report { status, fit: true, witness_out: false, unguarded: false }
}

fn asks(outputs: &[Output]) -> Vec<(RemoteVoter, Ask)> {
    outputs
        .iter()
        .filter_map(|o| if let Output::Ask { voter, request, .. } = o { Some((*voter, request.ask)) } else { None })
        .collect()
}

fn does(outputs: &[Output], what: impl Fn(&Output) -> bool) -> bool {
    outputs.iter().any(what)
}

const MAIN: Settings = Settings::new(Side::Main);
const STANDBY: Settings = Settings::new(Side::Standby);

#[test]
fn campaigns_begin_above_what_the_disk_has_and_above_all_that_the_node_may_have_had() {
    let vote = crate::lease::Memory { record: crate::lease::Record::Free, epoch: 7 };
    for (disk, campaign_base, first) in [(Some(4), 0, 5), (Some(4), 9, 10), (Some(9), 4, 10), (None, 9, 10)] {
        let memory = disk.map(|campaign| Memory { vote, campaign, wishes: MAIN.wishes, relapses: 0 });
        let life = Life { campaign_base, ..LIFE };
        let (duty, _) = Duty::new(MAIN, memory.as_ref(), life, Found::Stopped, START);
        assert_eq!(duty.memory().campaign, first);
    }
}

#[test]
fn main_wants_at_once_and_starts_with_its_own_vote_and_one_other_written_down_first() {
    let mut node = Node::new(MAIN);
    assert_eq!(asks(&node.outputs), [(RemoteVoter::Peer, Ask::Want), (RemoteVoter::Witness, Ask::Want)]);
    let outputs = node.hear(RemoteVoter::Witness, VoteReply::Grant);
    let at = |what: fn(&Output) -> bool| outputs.iter().position(what).unwrap();
    let persist = at(|o| matches!(o, Output::Persist(memory) if memory.vote.epoch == 8));
    assert!(persist < at(|o| matches!(o, Output::Start { epoch: 8, .. })), "{outputs:?}");
    node.feed(Event::Started(Outcome::Done));
    assert_eq!(node.duty.guard(), Some(Guard::Exposed { lacks: RemoteVoter::Peer }));
    node.hear(RemoteVoter::Peer, VoteReply::Grant);
    assert_eq!(node.duty.guard(), Some(Guard::Guarded));
}

#[test]
fn standby_lets_main_speak_first() {
    let mut node = Node::new(STANDBY);
    let before = node.pass(TIMING.promise - Duration::from_millis(1));
    assert!(asks(&before).iter().all(|(_, ask)| *ask == Ask::Hello), "{before:?}");
    let after = node.pass(Duration::from_millis(1));
    assert_eq!(asks(&after), [(RemoteVoter::Peer, Ask::Want), (RemoteVoter::Witness, Ask::Want)]);
}

#[test]
fn a_node_whose_own_vote_is_promised_does_not_start() {
    let mut node = Node::new(STANDBY);
    node.pass(TIMING.promise);
    assert_eq!(node.asked(Ask::Want, true), VoteReply::Grant);
    node.hear(RemoteVoter::Witness, VoteReply::Grant);
    assert_eq!(node.duty.status(), Status::Inactive);
    assert!(matches!(node.duty.waiting(), Some(Waiting::VoteTaken(_))));
}

#[test]
fn a_node_cut_off_fences_itself_when_its_lease_is_over_and_releases_after_the_stop() {
    let mut node = Node::active(MAIN);
    let outputs = node.pass(TIMING.lease - Duration::from_millis(1));
    assert!(!does(&outputs, |o| matches!(o, Output::Fence(_))));
    let outputs = node.pass(Duration::from_millis(1));
    let order: Vec<_> =
        outputs.iter().filter(|o| matches!(o, Output::Fence(_) | Output::Persist(_) | Output::Stop)).collect();
    assert!(matches!(order[..], [Output::Fence(Why::LeaseOver), Output::Stop, Output::Persist(_)]), "{outputs:?}");
    assert!(asks(node.feed(Event::Fenced)).is_empty());
    let outputs = node.feed(Event::Stopped(Outcome::Done));
    assert_eq!(asks(outputs), [(RemoteVoter::Peer, Ask::Release), (RemoteVoter::Witness, Ask::Release)]);
}

#[test]
fn a_node_whose_fence_the_kernel_has_closed_steps_down_although_its_lease_goes_on() {
    let mut node = Node::active(MAIN);
    let permitted = node.duty.permit.until.unwrap();
    assert_eq!(permitted, node.now + TIMING.lease + TIMING.pause);
    node.refuses = true;
    while node.now < permitted {
        assert_eq!(node.duty.status(), Status::Active, "{}", node.now);
        node.now = permitted.min(node.now + BEAT / 4);
        let renewed =
            RemoteVoter::BOTH.map(|by| does(node.hear(by, VoteReply::Grant), |o| matches!(o, Output::Fence(_))));
        assert_eq!(renewed[0], node.now == permitted);
    }
    assert_eq!(node.duty.status(), Status::Stopping);
    node.feed(Event::Fenced);
    node.feed(Event::Unfit);
    let outputs = node.feed(Event::Stopped(Outcome::Done));
    assert_eq!(asks(outputs), [(RemoteVoter::Peer, Ask::Release), (RemoteVoter::Witness, Ask::Release)]);
}

#[test]
fn a_start_that_phones_cannot_be_let_in_for_is_given_up_within_a_lease() {
    for forced in [false, true] {
        let mut node = Node::new(MAIN);
        node.refuses = true;
        if forced {
            node.feed(Event::Act(Act::ForceActivate));
        } else {
            node.hear(RemoteVoter::Witness, VoteReply::Grant);
        }
        assert_eq!(node.duty.status(), Status::Starting);
        node.feed(Event::Started(Outcome::Done));
        for _ in 0..5 {
            node.pass(Duration::from_millis(300));
            if !forced {
                node.hear(RemoteVoter::Peer, VoteReply::Grant);
            }
        }
        assert_eq!(node.duty.status(), Status::Active);
        let outputs = node.pass(BEAT);
        assert!(does(&outputs, |o| matches!(o, Output::Fence(Why::Lapsed))), "{outputs:?}");
    }
}

#[test]
fn a_slow_disk_delays_neither_fence_nor_stop_nor_kill() {
    let last_writes = |outputs: &[Output]| {
        let ends = |o: &Output| matches!(o, Output::Fence(_) | Output::Stop | Output::Kill);
        let write = outputs.iter().position(|o| matches!(o, Output::Persist(_))).unwrap();
        assert!(outputs[..write].iter().filter(|o| ends(o)).count() == 2, "{outputs:?}");
        assert!(!outputs[write..].iter().any(ends), "{outputs:?}");
        let asked = outputs.iter().position(|o| matches!(o, Output::Ask { .. }));
        assert!(asked.is_none_or(|asked| asked > write), "the next campaign is written before it is asked in");
    };
    last_writes(Node::active(MAIN).feed(Event::Unfit));
    last_writes(Node::active(MAIN).feed(Event::Act(Act::Deactivate)));
    let mut starting = Node::new(MAIN);
    starting.hear(RemoteVoter::Witness, VoteReply::Grant);
    last_writes(starting.feed(Event::Unfit));
    // A forced node whose lost vote becomes known at the moment at which its start fails.
    let (duty, _) = Duty::new(MAIN, None, LIFE, Found::Stopped, START);
    let mut forced =
        Node { duty, now: START, outputs: Vec::new(), settled: true, write: Duration::ZERO, refuses: false };
    forced.feed(Event::Act(Act::ForceActivate));
    forced.now += TIMING.quiet;
    last_writes(&forced.duty.handle(Event::Started(Outcome::Failed), forced.now));
}

#[test]
fn a_fence_that_does_not_work_in_time_ends_in_the_last_resort_and_no_release() {
    let mut node = Node::active(MAIN);
    node.feed(Event::Unfit);
    let outputs = node.pass(TIMING.fence);
    assert!(does(&outputs, |o| matches!(o, Output::HardFence { .. })), "{outputs:?}");
    node.feed(Event::Fenced);
    let outputs = node.feed(Event::Stopped(Outcome::Done)).to_vec();
    assert!(asks(&outputs).iter().all(|(_, ask)| *ask == Ask::Hello), "{outputs:?}");
}

#[test]
fn a_lost_vote_stops_a_node_only_if_no_other_carries_it() {
    let mut node = Node::active(MAIN);
    node.hear(RemoteVoter::Peer, VoteReply::Grant);
    node.hear(RemoteVoter::Witness, VoteReply::Lost);
    assert_eq!(node.duty.status(), Status::Active);
    let outputs = node.hear(RemoteVoter::Peer, VoteReply::Lost);
    assert!(does(outputs, |o| matches!(o, Output::Fence(Why::VoteLost(RemoteVoter::Peer)))), "{outputs:?}");
}

#[test]
fn standby_stops_for_a_main_that_hears_it_and_for_no_other() {
    let mut node = Node::active(Settings { hold_down: Duration::ZERO, ..STANDBY });
    assert_eq!(node.asked(Ask::Want, false), VoteReply::Lost);
    node.feed(Event::Act(Act::Freeze));
    assert_eq!(node.asked(Ask::Want, true), VoteReply::Lost);
    node.feed(Event::Act(Act::Resume));
    node.feed(Event::Act(Act::Failback(Failback::Window)));
    assert_eq!(node.asked(Ask::Want, true), VoteReply::Lost);
    node.feed(Event::Window(Window::Open));
    assert_eq!(node.asked(Ask::Want, true), VoteReply::Deny);
    assert_eq!(node.duty.status(), Status::Stopping);
    assert_eq!(node.asked(Ask::Want, true), VoteReply::Deny);
}

#[test]
fn start_and_stop_never_overlap_and_failures_are_retried_with_growing_pauses() {
    let mut node = Node::new(MAIN);
    node.hear(RemoteVoter::Witness, VoteReply::Grant);
    let outputs = node.feed(Event::Unfit).to_vec();
    assert!(does(&outputs, |o| *o == Output::Kill) && !does(&outputs, |o| *o == Output::Stop), "{outputs:?}");
    assert!(does(node.feed(Event::Started(Outcome::Failed)), |o| *o == Output::Stop));
    for pause in [1, 2, 4] {
        node.feed(Event::Stopped(Outcome::Failed));
        let outputs = node.pass(Duration::from_secs(pause) - Duration::from_millis(1));
        assert!(!does(&outputs, |o| *o == Output::Stop), "{outputs:?}");
        assert!(does(&node.pass(Duration::from_millis(1)), |o| *o == Output::Stop));
    }
    node.feed(Event::Stopped(Outcome::Done));
    assert_eq!(node.duty.status(), Status::Inactive);
}

#[test]
fn without_a_witness_standby_serves_when_main_is_silent_on_every_path_and_says_that_it_is_unguarded() {
    let mut node = Node::new(Settings { witness: Witness::None, ..STANDBY });
    node.pass(TIMING.promise);
    assert_eq!(node.duty.status(), Status::Inactive, "the host still answers");
    let outputs = node.feed(Event::Surroundings(Surroundings { peer_host: false, anchors: true }));
    assert!(does(outputs, |o| matches!(o, Output::Permit { until: None })), "{outputs:?}");
    node.feed(Event::Started(Outcome::Done));
    assert_eq!(node.duty.guard(), Some(Guard::Unguarded(Unguarded::NoWitness)));
    node.pass(TIMING.promise);
    assert_eq!(node.duty.status(), Status::Active);
    assert_eq!(node.asked(Ask::Renew, true), VoteReply::Deny);
    assert_eq!(node.duty.status(), Status::Stopping, "main serves");
}

#[test]
fn w1b_a_node_is_unguarded_only_after_both_agreed_that_the_witness_is_out() {
    let alone = Surroundings { peer_host: false, anchors: true };
    for (agreed, expected) in [(false, Status::Inactive), (true, Status::Starting)] {
        let mut node = Node::new(STANDBY);
        node.feed(Event::Surroundings(alone));
        node.pass(TIMING.witness_out);
        let told = Report { witness_out: agreed, ..report(Status::Active) };
        node.feed(Event::Asked(request(Side::Main, Ask::Renew, told)));
        node.pass(TIMING.promise);
        assert_eq!(node.duty.status(), expected);
    }
    let mut node = Node::new(Settings { alone: Alone::Serve, ..STANDBY });
    node.feed(Event::Surroundings(alone));
    node.pass(TIMING.witness_out);
    assert_eq!(node.duty.guard(), Some(Guard::Unguarded(Unguarded::Alone)));
}

#[test]
fn w7_a_manual_node_waits_for_its_operator_and_obeys_the_gates_unless_forced() {
    let manual = Wishes { mode: Mode::Manual, ..MAIN.wishes };
    let mut node = Node::new(Settings { wishes: manual, ..MAIN });
    assert_eq!(node.duty.waiting(), Some(Waiting::Manual));
    assert_eq!(
        asks(node.feed(Event::Act(Act::Activate))),
        [(RemoteVoter::Peer, Ask::Want), (RemoteVoter::Witness, Ask::Want)]
    );
    assert_eq!(node.duty.status(), Status::Inactive);
    node.feed(Event::Act(Act::ForceActivate));
    assert_eq!(node.duty.guard(), Some(Guard::Unguarded(Unguarded::Forced)));
    node.pass(TIMING.promise);
    assert_eq!(node.duty.status(), Status::Starting, "no lease, and none needed");
}

#[test]
fn a_wish_handed_over_by_the_edge_is_followed_only_where_that_is_accepted_and_the_peer_is_ready() {
    let over = Event::Act(Act::HandOver { to: Side::Standby });
    let mut node = Node::active(MAIN);
    assert!(does(node.feed(over), |o| matches!(o, Output::Refused { reason: Refusal::NotAccepted, .. })));
    let mut node = Node::active(Settings { requests: Requests::Accept, ..MAIN });
    assert!(does(node.feed(over), |o| matches!(o, Output::Refused { reason: Refusal::PeerNotReady, .. })));
    node.hear(RemoteVoter::Peer, VoteReply::Grant);
    assert!(does(node.feed(over), |o| *o == Output::Fence(Why::HandedOver)));
    node.feed(Event::Fenced);
    node.feed(Event::Stopped(Outcome::Done));
    assert_eq!(node.duty.waiting(), Some(Waiting::SteppedBack));
    node.pass(TIMING.promise + BEAT);
    assert_eq!(node.duty.waiting(), None, "the peer is silent: somebody must serve");
}

#[test]
fn e8_a_duty_explains_itself() {
    let node = Node::active(MAIN);
    assert_eq!(
        node.duty.explain().to_string(),
        "main is active, exposed: guarded by a bare majority, without the vote of the peer, on a lease of 1.6 s more. \
         Epoch 8; the vote is free; the peer is silent."
    );
}

#[test]
fn a_watchdog_that_ends_hands_over_within_the_lease_and_no_later() {
    let node = Node::active(MAIN);
    let (memory, handed) = (node.duty.memory(), node.duty.hand_over().unwrap());
    let next =
        |after, memory: &Memory| Duty::new(MAIN, Some(memory), LIFE, Found::HandedOver(handed), node.now + after);
    let (duty, outputs) = next(TIMING.lease - Duration::from_millis(1), &memory);
    assert_eq!((duty.status(), duty.epoch()), (Status::Active, node.duty.epoch()));
    assert!(asks(&outputs).contains(&(RemoteVoter::Witness, Ask::Renew)), "{outputs:?}");
    let (duty, outputs) = next(TIMING.lease, &memory);
    assert_eq!(duty.status(), Status::Stopping);
    assert!(
        matches!(outputs[..], [Output::Fence(Why::LeaseOver), Output::Stop, Output::Persist(_), ..]),
        "{outputs:?}"
    );
    let (duty, _) = next(Duration::ZERO, &Memory { campaign: memory.campaign + 1, ..memory });
    assert_eq!(duty.status(), Status::Stopping, "of another life");
}

#[test]
fn two_actives_are_told_once_by_words_that_are_newer_than_the_own_start() {
    let two = |outputs: &[Output]| outputs.iter().filter(|o| matches!(o, Output::TwoActives)).count();
    let says = |node: &mut Node, status, sent| {
        let (report, promises) = (Some(report(status)), TIMING.promise);
        let answer = Answer { to: Ask::Renew, campaign: 1, ruling: VoteReply::Deny, epoch: 0, promises, report };
        two(node.feed(Event::Answered { by: RemoteVoter::Peer, sent, answer }))
    };
    let mut node = Node::new(STANDBY);
    node.asked(Ask::Renew, true);
    let before = node.now;
    node.now += BEAT;
    assert_eq!(two(node.feed(Event::Act(Act::ForceActivate))), 0, "that was before");
    let started = node.now;
    node.now += BEAT;
    assert_eq!(says(&mut node, Status::Active, before), 0, "asked before the start");
    assert_eq!(says(&mut node, Status::Active, started), 1);
    let now = node.now;
    assert_eq!(says(&mut node, Status::Active, now), 0, "told already");
    assert!(node.duty.two_actives());
    says(&mut node, Status::Inactive, now);
    assert!(!node.duty.two_actives());
    assert_eq!(says(&mut node, Status::Starting, now), 1, "it ceased to serve, and serves again");
}

#[test]
fn a_request_that_says_the_peer_serves_counts_once_it_has_said_so_for_a_lease() {
    let two = |outputs: &[Output]| outputs.iter().any(|o| matches!(o, Output::TwoActives));
    let mut node = Node::new(STANDBY);
    node.feed(Event::Act(Act::ForceActivate));
    // A cut that heals lets through what was sent before it.
    for _ in 0..3 {
        node.asked(Ask::Renew, true);
        assert!(!two(&node.outputs));
    }
    // The peer is heard and hears nothing: it never answers, and serves.
    let end = node.now + TIMING.lease;
    let mut told = false;
    while node.now < end {
        assert!(!told, "too early");
        node.now += BEAT;
        node.asked(Ask::Renew, true);
        told = two(&node.outputs);
    }
    assert!(told);
}
