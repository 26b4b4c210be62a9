use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::side::Side;
use crate::time::Instant;

const SETTINGS: Settings = Settings::new(2);
const START: Instant = Instant::from_micros(1_000_000_000);
const SERVES: Event = Event::Service(Service::Serves);
const STOPS: Event = Event::Service(Service::Stops);

/// A registrar with one MDS whose attempts the test ends.
struct One {
    registrar: Registrar,
    now: Instant,
    attempt: Option<Attempt>,
}

impl One {
    fn new() -> Self {
        Self { registrar: Registrar::new(Settings::new(1), START), now: START, attempt: None }
    }

    fn registered() -> Self {
        let mut one = Self::new();
        assert_eq!(one.feed(SERVES), ["register"]);
        assert_eq!(one.end(Outcome::Registered), ["verify"]);
        assert!(one.end(Outcome::Registered).is_empty());
        assert!(matches!(one.state(), State::Registered { .. }));
        one
    }

    fn state(&self) -> State {
        self.registrar.state(MdsId(0)).unwrap()
    }

    fn feed(&mut self, event: Event) -> Vec<&'static str> {
        let outputs = self.registrar.handle(event, self.now);
        assert!(self.registrar.deadline().is_none_or(|at| at > self.now), "a deadline that has passed");
        let done = outputs.iter().filter_map(|output| {
            let (attempt, name) = match output {
                Output::Register(attempt) => (*attempt, "register"),
                Output::Verify(attempt) => (*attempt, "verify"),
                Output::Unregister(attempt) => (*attempt, "unregister"),
                Output::Changed { .. } => return None,
            };
            self.attempt = Some(attempt);
            Some(name)
        });
        done.collect()
    }

    fn end(&mut self, outcome: Outcome) -> Vec<&'static str> {
        let attempt = self.attempt.take().unwrap();
        self.feed(Event::Ended { attempt, outcome })
    }

    fn pass(&mut self, time: Duration) -> Vec<&'static str> {
        self.now += time;
        self.feed(Event::Timer)
    }
}

#[test]
fn w6_a_node_that_serves_registers_with_every_mds_at_once_and_is_registered_when_that_is_verified() {
    let mut registrar = Registrar::new(SETTINGS, START);
    assert_eq!(registrar.deadline(), None);
    let outputs = registrar.handle(SERVES, START);
    let attempts: Vec<_> =
        outputs.iter().filter_map(|o| if let Output::Register(attempt) = o { Some(*attempt) } else { None }).collect();
    assert_eq!(attempts.iter().map(|attempt| attempt.mds).collect::<Vec<_>>(), [MdsId(0), MdsId(1)]);
    assert!(registrar.handle(SERVES, START).is_empty(), "told twice");
    let outputs = registrar.handle(Event::Ended { attempt: attempts[1], outcome: Outcome::Registered }, START);
    let Output::Verify(attempt) = outputs[0] else { panic!("{outputs:?}") };
    let outputs = registrar.handle(Event::Ended { attempt, outcome: Outcome::Registered }, START);
    assert_eq!(outputs[0].to_string(), "with MDS 1 it is registered");
    assert_eq!(registrar.state(MdsId(0)), Some(State::Registering), "an MDS that is slow keeps no other waiting");
}

#[test]
fn w6_a_registration_that_fails_is_tried_again_after_a_pause_that_grows_up_to_its_limit() {
    let mut one = One::new();
    one.feed(SERVES);
    one.end(Outcome::Failed);
    for (attempts, pause) in [1, 2, 4, 8, 16, 30, 30].into_iter().enumerate() {
        let State::Failing { since, attempts: told } = one.state() else { panic!("{}", one.state()) };
        assert_eq!((since, told as usize), (START, attempts + 1));
        assert!(one.pass(Duration::from_millis(pause * 1000 - 1)).is_empty());
        assert_eq!(one.pass(Duration::from_millis(1)), ["register"]);
        one.end(if attempts % 2 == 0 { Outcome::NotRegistered } else { Outcome::Failed });
    }
}

#[test]
fn w6_an_attempt_that_never_ends_has_failed_and_its_late_outcome_counts_for_nothing() {
    let mut one = One::new();
    one.feed(SERVES);
    let late = one.attempt.unwrap();
    one.pass(SETTINGS.answer_limit);
    assert!(matches!(one.state(), State::Failing { attempts: 1, .. }));
    assert!(one.feed(Event::Ended { attempt: late, outcome: Outcome::Registered }).is_empty());
    assert_eq!(one.pass(SETTINGS.retry), ["register"]);
    assert!(one.feed(Event::Ended { attempt: late, outcome: Outcome::Registered }).is_empty());
    assert!(matches!(one.state(), State::Failing { .. }));
}

#[test]
fn w6_a_lost_registration_is_noticed_and_renewed() {
    let mut one = One::registered();
    assert!(one.pass(SETTINGS.verify_every - Duration::from_millis(1)).is_empty());
    assert_eq!(one.pass(Duration::from_millis(1)), ["verify"]);
    assert_eq!(one.end(Outcome::NotRegistered), ["register"]);
    assert_eq!(one.state(), State::Registering);
    assert_eq!(one.end(Outcome::Registered), ["verify"]);
    assert!(one.end(Outcome::NotRegistered).is_empty(), "it does not hurry for ever");
}

#[test]
fn w6_a_registration_that_stands_is_made_again_so_often_because_an_mds_may_have_forgotten_it() {
    let mut one = One::registered();
    for _ in 0..3 {
        assert_eq!(one.pass(SETTINGS.verify_every), ["verify"]);
        assert!(one.end(Outcome::Registered).is_empty());
        let rest = SETTINGS.refresh_every - SETTINGS.verify_every;
        assert!(one.pass(rest - Duration::from_millis(1)).is_empty());
        assert_eq!(one.pass(Duration::from_millis(1)), ["register"]);
        assert!(matches!(one.state(), State::Registered { .. }), "it stands while it is made again");
        assert_eq!(one.end(Outcome::Registered), ["verify"]);
        assert!(one.end(Outcome::Registered).is_empty());
    }
    for outcome in [Outcome::Failed, Outcome::NotRegistered] {
        let mut one = One::registered();
        one.pass(SETTINGS.verify_every);
        one.end(Outcome::Registered);
        assert_eq!(one.pass(SETTINGS.refresh_every - SETTINGS.verify_every), ["register"]);
        assert!(one.end(outcome).is_empty());
        assert!(matches!(one.state(), State::Failing { attempts: 1, .. }));
        assert_eq!(one.pass(SETTINGS.retry), ["register"]);
    }
}

#[test]
fn w6_a_node_that_stops_takes_each_registration_back_once() {
    let mut one = One::registered();
    assert_eq!(one.feed(STOPS), ["unregister"]);
    assert!(!one.registrar.is_quiet());
    one.end(Outcome::Failed);
    assert_eq!((one.state(), one.registrar.is_quiet()), (State::Unregistered, true));
    assert_eq!(one.registrar.deadline(), None, "for good");
    // What a watchdog before this one left.
    assert_eq!(One::new().feed(STOPS), ["unregister"]);
}

#[test]
fn w6_a_registration_under_way_ends_before_it_is_taken_back_and_the_other_way_round() {
    let mut one = One::new();
    one.feed(SERVES);
    assert!(one.feed(STOPS).is_empty());
    assert_eq!(one.end(Outcome::Registered), ["unregister"]);
    assert!(one.feed(SERVES).is_empty());
    assert_eq!(one.pass(SETTINGS.answer_limit), ["register"]);
}

#[test]
fn figures_that_do_not_fit_are_all_told() {
    assert_eq!(SETTINGS.validate(), Ok(()));
    let wrong = Settings { mds: 65, retry_limit: Duration::ZERO, verify_every: Duration::ZERO, ..SETTINGS };
    let texts: Vec<_> = wrong.validate().unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "mds: 65 are more than 64",
            "retry_limit (0 s) must be at least retry (1 s)",
            "verify_every (0 s) must be at least answer_limit (1 s)"
        ]
    );
    let rare = Settings { refresh_every: Duration::from_secs(9), ..SETTINGS };
    assert_eq!(rare.validate().unwrap_err()[0].to_string(), "refresh_every (9 s) must be at least verify_every (10 s)");
}

#[test]
fn w6_both_nodes_at_one_mds_are_a_conflict_when_it_lasts() {
    let settle = Duration::from_secs(3);
    let mut holder = Holder::new(settle, START);
    assert!(holder.handle(Sight::Claims(Claims::None), START).is_empty());
    let changed = |from, claims| Seen::Changed { from, claims };
    let main = Claims::One(Side::Main);
    assert_eq!(holder.handle(Sight::Claims(main), START), [changed(Claims::None, main)]);
    assert_eq!(holder.handle(Sight::Claims(Claims::Both), START), [changed(main, Claims::Both)]);
    assert_eq!(holder.deadline(), Some(START + settle));
    assert!(holder.handle(Sight::Timer, START + settle / 2).is_empty());
    assert_eq!(holder.handle(Sight::Claims(Claims::Both), START + settle), [Seen::Conflict { lasts: settle }]);
    assert!(holder.has_conflict() && holder.deadline().is_none());
    assert!(holder.handle(Sight::Timer, START + settle * 2).is_empty(), "once");
    let standby = Claims::One(Side::Standby);
    let over = holder.handle(Sight::Claims(standby), START + settle * 2);
    assert_eq!(over, [changed(Claims::Both, standby), Seen::ConflictOver { lasted: settle * 2 }]);
    assert_eq!(over[1].to_string(), "the conflict is over after 6 s");
    // For a moment it is how a takeover looks.
    holder.handle(Sight::Claims(Claims::Both), START + settle * 2);
    assert_eq!(holder.handle(Sight::Claims(main), START + settle * 5 / 2).len(), 1);
}
