//! A CC up to 2025.10: it runs on both sides, and is stale until it is restarted.

use std::collections::HashSet;
use std::vec::Vec;

use super::*;
use crate::traps::making;

const STALE: Settings = Settings { idle: Idle::Stale, ..SETTINGS };

/// A follower, what its XiVO really did, and what became of the commands.
#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    cc: Follower,
    now: Instant,
    /// Counts its XiVO's activations; an even one is over.
    turn: u8,
    /// The activation that it was told of last.
    told: u8,
    /// In which activation the command that runs was ordered.
    runs: Option<u8>,
    /// In which activation the xuc that runs was restarted.
    restarted: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Turn,
    TwoTurns,
    Word,
    Faulty,
    Ended(Outcome),
    Died,
    Pause,
    Silence,
}

const STEPS: [Step; 9] = [
    Step::Turn,
    Step::TwoTurns,
    Step::Word,
    Step::Faulty,
    Step::Ended(Outcome::Done),
    Step::Ended(Outcome::Failed),
    Step::Died,
    Step::Pause,
    Step::Silence,
];

impl World {
    fn new() -> Self {
        let cc = Follower::new(STALE, Found::Running, START);
        Self { cc, now: START, turn: 0, told: 0, runs: None, restarted: None }
    }

    /// Takes a step; an error is a promise that broke.
    fn step(&mut self, step: Step, epochs: bool) -> Result<(), &'static str> {
        match step {
            Step::Turn => {
                // A second turn between two words is as long as a silence, too.
                if !epochs && self.turn != self.told {
                    self.now += STALE.stale_after;
                    self.feed(Event::Timer)?;
                }
                self.turn += 1;
            }
            // Away and back between two words: without epochs that takes longer than a silence may last unnoticed.
            Step::TwoTurns => {
                self.turn += 2;
                if !epochs {
                    self.now += STALE.stale_after;
                    self.feed(Event::Timer)?;
                }
            }
            Step::Word => {
                self.told = self.turn;
                let active = self.turn % 2 == 1;
                if epochs {
                    self.feed(Event::Epoch(u64::from(self.turn)))?;
                }
                self.feed(Event::Xivo(if active { Status::Active } else { Status::Inactive }))?;
            }
            Step::Faulty => self.feed(Event::Xivo(Status::Faulty))?,
            Step::Ended(outcome) => {
                let Some(ordered) = self.runs.take() else { return Ok(()) };
                if outcome == Outcome::Done {
                    self.restarted = Some(ordered);
                }
                self.feed(Event::Started(outcome))?;
            }
            Step::Died => self.feed(Event::Died)?,
            Step::Pause => {
                self.now += STALE.retry;
                self.feed(Event::Timer)?;
            }
            Step::Silence => {
                self.now += STALE.stale_after;
                self.feed(Event::Timer)?;
            }
        }
        if self.cc.status() == Status::Active && (self.told.is_multiple_of(2) || self.restarted != Some(self.told)) {
            return Err("a stale xuc is active");
        }
        Ok(())
    }

    fn feed(&mut self, event: Event) -> Result<(), &'static str> {
        for output in self.cc.handle(event, self.now) {
            match output {
                Output::Start if self.runs.is_some() => return Err("a restart beside another"),
                Output::Start => self.runs = Some(self.told),
                Output::Stop => return Err("a xuc that runs on both sides is stopped"),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Walks every sequence of steps, and tells the first promise that breaks and how many states there are.
fn walk(epochs: bool, depth: usize) -> Result<usize, (&'static str, Vec<Step>)> {
    let mut seen = HashSet::from([World::new()]);
    let mut edge = std::vec![(World::new(), Vec::new())];
    for _ in 0..depth {
        let mut next = Vec::new();
        for (world, path) in &edge {
            for step in STEPS {
                let mut world: World = world.clone();
                let path: Vec<_> = path.iter().copied().chain([step]).collect();
                world.step(step, epochs).map_err(|broken| (broken, path.clone()))?;
                if seen.insert(world.clone()) {
                    next.push((world, path));
                }
            }
        }
        edge = next;
    }
    Ok(seen.len())
}

#[test]
fn w5_a_stale_xuc_is_never_active_whatever_its_xivo_does_between_two_words() {
    for epochs in [true, false] {
        let states = walk(epochs, 7).unwrap_or_else(|broken| panic!("{broken:?}"));
        assert!(states > 500, "{states}");
    }
}

#[test]
fn w5_a_cc_that_takes_a_stale_xuc_for_a_restarted_one_is_caught() {
    for epochs in [true, false] {
        let found = making(Some(Trap::StaleServes), || walk(epochs, 7));
        assert_eq!(found.unwrap_err().0, "a stale xuc is active");
    }
}

#[test]
fn w5_a_hundred_switches_each_restart_once_and_stop_nothing() {
    let mut world = World::new();
    for switch in 1..=200u8 {
        for step in [Step::Turn, Step::Word, Step::Word] {
            world.step(step, true).unwrap();
        }
        let wanted = if switch % 2 == 1 { Status::Starting } else { Status::Inactive };
        assert_eq!(world.cc.status(), wanted, "{switch}");
        assert_eq!(world.runs.is_some(), switch % 2 == 1);
        world.step(Step::Ended(Outcome::Done), true).unwrap();
        assert_eq!(world.cc.status() == Status::Active, switch % 2 == 1);
    }
}

#[test]
fn w5_a_restart_that_fails_is_tried_again_after_a_pause() {
    let mut cc = Follower::new(STALE, Found::Running, START);
    assert_eq!(cc.status(), Status::Inactive);
    assert!(has(&cc.handle(Event::Xivo(Status::Active), START), Output::Start));
    assert_eq!(cc.handle(Event::Started(Outcome::Failed), START), [Output::Changed(Status::Inactive)]);
    assert!(has(&cc.handle(Event::Timer, START + STALE.retry), Output::Start));
}

#[test]
fn w5_only_two_words_that_differ_prove_a_restart() {
    for (before, now) in
        [(None, Some("b")), (Some("a"), None), (Some("a"), Some(" a\n")), (Some(""), Some("b")), (Some("a"), Some(" "))]
    {
        assert!(!is_restarted(before, now), "{before:?} {now:?}");
    }
    assert!(is_restarted(Some("a"), Some("b")));
}
