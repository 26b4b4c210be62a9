use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::health::Status;
use crate::side::Side;
use crate::time::Instant;
use crate::traps::{Trap, making};

const TIMING: Timing = Timing::DEFAULT;
const TTL: Duration = TIMING.promise;
const START: Instant = Instant::from_micros(1_000_000_000);
const CLEAN: Memory = Memory { record: Record::Free, epoch: 4 };

fn request(from: Side, ask: Ask, campaign: Campaign) -> Request {
    let report = Report { status: Status::Inactive, fit: true, witness_out: false, unguarded: false };
    let needs = TIMING.shortest_promise();
    Request { from, ask, campaign, epoch: 0, report, settled: true, hears: true, instance: from as u64, needs }
}

fn ask(voter: &mut Voter, from: Side, ask: Ask, campaign: Campaign, now: Instant) -> (VoteReply, Vec<Output>) {
    let outputs = voter.handle(Event::Asked(request(from, ask, campaign)), now);
    let rulings: Vec<_> =
        outputs.iter().filter_map(|o| if let Output::Answer(a) = o { Some(a.ruling) } else { None }).collect();
    assert_eq!(rulings.len(), 1, "one request, one answer: {outputs:?}");
    (rulings[0], outputs)
}

fn clean() -> Voter {
    Voter::new(&TIMING, Some(&CLEAN), START).0
}

/// Restarts a voter with what it last wrote.
fn restart(outputs: &[Output], now: Instant) -> (Voter, Vec<Output>) {
    let written = outputs.iter().rev().find_map(|o| if let Output::Persist(memory) = o { Some(memory) } else { None });
    Voter::new(&TIMING, written, now)
}

#[test]
fn a_free_vote_is_granted_once_and_the_other_node_has_lost_it() {
    let mut voter = clean();
    assert_eq!(ask(&mut voter, Side::Main, Ask::Want, 1, START).0, VoteReply::Grant);
    assert_eq!(ask(&mut voter, Side::Standby, Ask::Want, 1, START).0, VoteReply::Lost);
    assert_eq!(ask(&mut voter, Side::Main, Ask::Renew, 1, START + TTL / 2).0, VoteReply::Grant);
    let almost = START + TTL / 2 + (TTL - Duration::from_micros(1));
    assert_eq!(ask(&mut voter, Side::Standby, Ask::Want, 1, almost).0, VoteReply::Lost);
    assert_eq!(ask(&mut voter, Side::Standby, Ask::Want, 1, START + TTL / 2 + TTL).0, VoteReply::Grant);
}

#[test]
fn a_changed_promise_is_written_before_the_answer_and_a_kept_one_is_not() {
    let mut voter = clean();
    let (_, outputs) = ask(&mut voter, Side::Main, Ask::Want, 1, START);
    assert!(matches!(outputs[..], [Output::Persist(_), Output::Changed(_), Output::Answer(_)]), "{outputs:?}");
    let (_, outputs) = ask(&mut voter, Side::Main, Ask::Renew, 1, START);
    assert!(matches!(outputs[..], [Output::Answer(_)]), "{outputs:?}");
    let (_, outputs) = ask(&mut voter, Side::Main, Ask::Want, 2, START);
    assert!(matches!(outputs[..], [Output::Persist(_), Output::Changed(_), Output::Answer(_)]), "{outputs:?}");
}

#[test]
fn a_hello_changes_nothing() {
    let mut voter = clean();
    let (ruling, outputs) = ask(&mut voter, Side::Main, Ask::Hello, 1, START);
    assert_eq!((ruling, outputs.len(), voter.is_free()), (VoteReply::Deny, 1, true));
}

#[test]
fn a_release_frees_only_the_campaign_that_was_promised() {
    let mut voter = clean();
    ask(&mut voter, Side::Main, Ask::Want, 2, START);
    ask(&mut voter, Side::Main, Ask::Release, 1, START);
    ask(&mut voter, Side::Standby, Ask::Release, 2, START);
    assert!(!voter.is_free());
    ask(&mut voter, Side::Main, Ask::Release, 2, START);
    assert!(voter.is_free());
}

#[test]
fn a_late_want_of_an_older_campaign_does_not_take_the_place_of_the_newer() {
    let mut voter = clean();
    ask(&mut voter, Side::Main, Ask::Want, 2, START);
    assert_eq!(ask(&mut voter, Side::Main, Ask::Want, 1, START).0, VoteReply::Deny);
    ask(&mut voter, Side::Main, Ask::Release, 1, START);
    assert!(matches!(voter.record(), Record::Promised(Promise { campaign: 2, .. })));
}

#[test]
fn a_restarted_voter_keeps_its_promise_for_a_whole_ttl() {
    let mut voter = clean();
    let (_, outputs) = ask(&mut voter, Side::Main, Ask::Want, 1, START);
    let later = START + TTL / 2;
    let (mut voter, _) = restart(&outputs, later);
    assert_eq!(ask(&mut voter, Side::Standby, Ask::Want, 1, START + TTL).0, VoteReply::Lost);
    assert_eq!(ask(&mut voter, Side::Standby, Ask::Want, 1, later + TTL).0, VoteReply::Grant);
}

const LONG: Duration = Duration::from_millis(3_900);
const PATIENT: Timing = Timing { quiet: Duration::from_secs(5), ..TIMING };

fn needing(needs: Duration, from: Side, ask: Ask, campaign: Campaign) -> Event {
    Event::Asked(Request { needs, ..request(from, ask, campaign) })
}

fn answer(outputs: &[Output]) -> Answer {
    outputs.iter().find_map(|o| if let Output::Answer(a) = o { Some(*a) } else { None }).expect("an answer")
}

#[test]
fn w1_a_promise_lasts_as_long_as_the_asker_needs_and_a_restart_keeps_all_of_it() {
    let (mut voter, _) = Voter::new(&PATIENT, Some(&CLEAN), START);
    let outputs = voter.handle(needing(LONG, Side::Main, Ask::Want, 1), START);
    assert_eq!((answer(&outputs).ruling, answer(&outputs).promises), (VoteReply::Grant, LONG));
    let almost = START + (LONG - Duration::from_micros(1));
    assert_eq!(ask(&mut voter, Side::Standby, Ask::Want, 1, almost).0, VoteReply::Lost);
    assert_eq!(ask(&mut voter, Side::Standby, Ask::Want, 1, START + LONG).0, VoteReply::Grant);
    let restarted = START + TTL;
    let (mut voter, _) = restart(&outputs, restarted);
    let almost = restarted + (LONG - Duration::from_micros(1));
    assert_eq!(ask(&mut voter, Side::Standby, Ask::Want, 1, almost).0, VoteReply::Lost);
    assert_eq!(ask(&mut voter, Side::Standby, Ask::Want, 1, restarted + LONG).0, VoteReply::Grant);
}

#[test]
fn a_promise_grows_with_what_its_holder_needs_and_shrinks_for_nobody_before_it_ends() {
    let (mut voter, _) = Voter::new(&PATIENT, Some(&CLEAN), START);
    voter.handle(needing(Duration::ZERO, Side::Main, Ask::Want, 1), START);
    assert!(matches!(voter.record(), Record::Promised(promise) if promise.length == TTL), "its own is the least");
    let grown = voter.handle(needing(LONG, Side::Main, Ask::Renew, 1), START);
    assert!(matches!(grown[0], Output::Persist(_)), "before the answer: {grown:?}");
    for campaign in [1, 2] {
        voter.handle(needing(TTL, Side::Main, Ask::Renew, campaign), START + TTL);
        assert_eq!(voter.deadline(), Some(START + TTL + LONG), "campaign {campaign}");
    }
    ask(&mut voter, Side::Main, Ask::Release, 2, START + TTL);
    voter.handle(needing(TTL, Side::Standby, Ask::Want, 1), START + TTL);
    assert_eq!(voter.deadline(), Some(START + TTL * 2), "another holder's is another promise");
}

#[test]
fn w1_nothing_is_promised_for_longer_than_a_voter_waits_that_lost_its_disk_and_it_says_so() {
    let mut voter = clean();
    for what in [Ask::Want, Ask::Renew] {
        for needs in [TIMING.quiet + Duration::from_micros(1), Duration::MAX] {
            let outputs = voter.handle(needing(needs, Side::Main, what, 1), START);
            let Answer { ruling, promises, .. } = answer(&outputs);
            assert_eq!((ruling, promises), (VoteReply::TooLong, TIMING.quiet), "{what}");
            assert!(voter.is_free());
        }
    }
    let outputs = voter.handle(needing(TIMING.quiet, Side::Main, Ask::Want, 1), START);
    assert_eq!(answer(&outputs).ruling, VoteReply::Grant);
    // A holder whose times grew keeps what it was promised, and no more.
    voter.handle(needing(LONG, Side::Main, Ask::Renew, 1), START + TTL / 2);
    assert_eq!(voter.deadline(), Some(START + TTL));
}

#[test]
fn w1_another_machine_of_the_same_name_is_granted_nothing_while_the_first_holds_the_vote() {
    let machine = |instance, ask, campaign| Event::Asked(Request { instance, ..request(Side::Main, ask, campaign) });
    let mut voter = clean();
    let first = voter.handle(machine(1, Ask::Want, 3), START);
    assert_eq!(answer(&first).ruling, VoteReply::Grant);
    for (ask, campaign) in [(Ask::Want, 4), (Ask::Want, 3), (Ask::Renew, 3), (Ask::Renew, 4)] {
        let outputs = voter.handle(machine(2, ask, campaign), START + TTL / 2);
        assert_eq!(answer(&outputs).ruling, VoteReply::Lost, "{ask} {campaign}");
    }
    voter.handle(machine(2, Ask::Release, 3), START + TTL / 2);
    assert_eq!(voter.deadline(), Some(START + TTL), "neither freed nor prolonged");
    let (mut restarted, _) = restart(&first, START);
    assert_eq!(answer(&restarted.handle(machine(2, Ask::Want, 4), START)).ruling, VoteReply::Lost);
    assert_eq!(answer(&voter.handle(machine(2, Ask::Want, 4), START + TTL)).ruling, VoteReply::Grant);
    // Who wrote the promise knew of no machines.
    let Record::Promised(promise) = voter.record() else { panic!("{voter}") };
    let old = Memory { record: Record::Promised(Promise { instance: None, ..promise }), epoch: 9 };
    let (mut voter, _) = Voter::new(&TIMING, Some(&old), START);
    assert_eq!(answer(&voter.handle(machine(3, Ask::Renew, promise.campaign), START)).ruling, VoteReply::Grant);
    assert_eq!(answer(&voter.handle(machine(4, Ask::Renew, promise.campaign), START)).ruling, VoteReply::Lost);
}

#[test]
fn a_voter_that_lost_its_disk_denies_everything_for_the_quiet_time_and_a_second_restart_is_not_clean() {
    let (mut voter, first) = Voter::new(&TIMING, None, START);
    assert!(matches!(first[0], Output::Persist(Memory { record: Record::Unknown, .. })));
    for what in [Ask::Want, Ask::Renew] {
        assert_eq!(ask(&mut voter, Side::Main, what, 1, START).0, VoteReply::Deny);
    }
    let again = START + TIMING.quiet / 2;
    let (mut voter, second) = restart(&first, again);
    assert_eq!(ask(&mut voter, Side::Main, Ask::Renew, 1, START + TIMING.quiet).0, VoteReply::Deny);
    let over = again + TIMING.quiet;
    assert_eq!(voter.deadline(), Some(over));
    assert!(matches!(second[0], Output::Persist(_)));
    let outputs = voter.handle(Event::Timer, over);
    assert!(matches!(outputs[0], Output::Persist(Memory { record: Record::Free, .. })), "{outputs:?}");
    assert_eq!(ask(&mut voter, Side::Main, Ask::Renew, 1, over).0, VoteReply::Grant);
}

#[test]
fn an_epoch_is_assigned_above_all_that_voter_and_asker_know_and_stays_the_campaigns() {
    let mut voter = clean();
    let epoch =
        |outputs: &[Output]| outputs.iter().find_map(|o| if let Output::Answer(a) = o { Some(a.epoch) } else { None });
    assert_eq!(epoch(&ask(&mut voter, Side::Main, Ask::Want, 1, START).1), Some(5));
    assert_eq!(epoch(&ask(&mut voter, Side::Main, Ask::Want, 1, START).1), Some(5));
    ask(&mut voter, Side::Main, Ask::Release, 1, START);
    assert_eq!(epoch(&ask(&mut voter, Side::Standby, Ask::Want, 9, START).1), Some(6));
    let known = Request { epoch: 9, ..request(Side::Standby, Ask::Want, 9) };
    assert_eq!(epoch(&voter.handle(Event::Asked(known), START)), Some(10));
    // Who knows of this very epoch may know it from the other node, which served in it.
    let used = Request { epoch: 10, ..known };
    assert_eq!(epoch(&voter.handle(Event::Asked(used), START)), Some(11));
    let (again, _) = restart(&[Output::Persist(voter.memory())], START);
    assert_eq!(again.epoch(), 11);
}

#[test]
fn an_epoch_that_cannot_be_true_is_not_taken_in_and_the_asker_is_answered_all_the_same() {
    for wrong in [u64::MAX, CLEAN.epoch + epoch::LEAP + 1] {
        for what in [Ask::Hello, Ask::Release, Ask::Want, Ask::Renew] {
            let mut voter = clean();
            let told = Request { epoch: wrong, ..request(Side::Standby, what, 1) };
            let outputs = voter.handle(Event::Asked(told), START);
            let Some(Output::Answer(answer)) = outputs.last() else { panic!("{outputs:?}") };
            let granted = matches!(what, Ask::Want | Ask::Renew);
            assert_eq!(answer.ruling == VoteReply::Grant, granted, "{what}");
            let epoch = CLEAN.epoch + u64::from(what == Ask::Want);
            assert_eq!((answer.epoch, voter.epoch()), (epoch, epoch), "{what}");
        }
    }
    let mut voter = clean();
    let far = Request { epoch: CLEAN.epoch + epoch::LEAP, ..request(Side::Standby, Ask::Hello, 1) };
    voter.handle(Event::Asked(far), START);
    assert_eq!(voter.epoch(), far.epoch, "far, and believed");
}

#[test]
fn the_default_times_are_sound_and_give_the_bounds_of_the_documentation() {
    assert_eq!(TIMING.validate(), Ok(()));
    assert_eq!(TIMING.shortest_lease(), Duration::from_millis(1_400));
    assert_eq!(TIMING.shortest_promise(), Duration::from_micros(2_404_600));
    assert_eq!(TIMING.fence_bound(), Duration::from_millis(2_300));
    assert_eq!(TIMING.takeover_bound(), Duration::from_millis(3_800));
    let bound = TIMING.activation_bound(Duration::from_millis(1_200), Duration::from_millis(200));
    assert_eq!(bound, Duration::from_millis(5_200));
}

#[test]
fn every_broken_inequality_is_reported() {
    let broken = Timing {
        heartbeat: Duration::ZERO,
        request_limit: Duration::ZERO,
        fence: Duration::ZERO,
        lease: Duration::ZERO,
        quiet: Duration::from_millis(2_499),
        witness_out: Duration::from_secs(10),
        ..TIMING
    };
    let fields = |timing: Timing| timing.validate().unwrap_err().iter().map(|v| v.field).collect::<Vec<_>>();
    assert_eq!(fields(broken), ["heartbeat", "request_limit", "fence", "quiet", "witness_out"]);
    assert_eq!(fields(Timing { lease: Duration::from_millis(1_399), ..TIMING }), ["lease"]);
    let drifting = Timing { drift_ppm: 25_000, ..TIMING };
    assert_eq!(fields(drifting), ["promise"]);
    let said = drifting.validate().unwrap_err()[0].to_string();
    assert_eq!(said, "promise (2.5 s) must be at least (lease + pause + fence)(1 + 2 drift) + granularity (2.515s)");
}

#[test]
fn a_voter_says_what_it_does() {
    let mut voter = clean();
    ask(&mut voter, Side::Main, Ask::Want, 3, START);
    assert_eq!(voter.to_string(), "the vote is promised to main (campaign 3, epoch 5), for 2.5 s more");
}

#[test]
fn each_mistake_of_a_voter_changes_what_it_grants() {
    let quiet = |trap| {
        making(trap, || {
            let (mut voter, outputs) = Voter::new(&TIMING, None, START);
            let renewed = ask(&mut voter, Side::Main, Ask::Renew, 1, START).0;
            (renewed, restart(&outputs, START).0.record())
        })
    };
    assert_eq!(quiet(None), (VoteReply::Deny, Record::Unknown));
    for trap in [Trap::NoQuietTime, Trap::QuietRenewals, Trap::SecondRestartIsClean] {
        assert_ne!(quiet(Some(trap)), quiet(None), "{trap:?}");
    }
}

#[test]
fn a_want_of_a_node_that_does_not_hear_is_granted_once_in_a_campaign() {
    let mut voter = clean();
    let want = |hears, campaign| Request { hears, ..request(Side::Main, Ask::Want, campaign) };
    let ruling = |voter: &mut Voter, want, now| {
        let outputs = voter.handle(Event::Asked(want), now);
        outputs.iter().find_map(|o| if let Output::Answer(a) = o { Some(a.ruling) } else { None })
    };
    assert_eq!(ruling(&mut voter, want(false, 1), START), Some(VoteReply::Grant));
    assert_eq!(ruling(&mut voter, want(false, 1), START + TTL / 2), Some(VoteReply::Deny));
    voter.handle(Event::Timer, START + TTL);
    assert!(voter.is_free(), "the promise was not renewed");
    assert_eq!(ruling(&mut voter, want(false, 1), START + TTL), Some(VoteReply::Deny));
    assert!(voter.is_free());
    assert_eq!(ruling(&mut voter, want(true, 1), START + TTL), Some(VoteReply::Grant), "the denial was heard");
    assert_eq!(ruling(&mut voter, want(false, 2), START + TTL), Some(VoteReply::Grant), "a newer campaign");
}
