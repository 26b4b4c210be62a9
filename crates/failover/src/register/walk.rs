//! Every reachable state of a registrar with two MDS that answer, fail, forget and are silent; W6 on every edge.

use alloc::vec::Vec;
use core::time::Duration;
use std::collections::HashSet;
use std::time::Instant as Clock;

use super::registrar::{Act, Work};
use super::*;
use crate::time::Instant;
use crate::traps::{Trap, making};
use crate::walked;

const TICK: Duration = Duration::from_secs(1);
const TWO: Duration = Duration::from_secs(2);
const THREE: Duration = Duration::from_secs(3);
const SMALL: Settings =
    Settings { mds: 2, retry: TICK, retry_limit: TWO, verify_every: TWO, refresh_every: THREE, answer_limit: TWO };
const BASE: Instant = Instant::from_micros(1_000_000_000);

/// A registrar, and what is true at each MDS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    registrar: Registrar,
    /// Whether the node is registered.
    there: [bool; 2],
    /// Whether whoever is asked to verify it believes so: not the MDS itself, but the node's own side of it.
    believed: [bool; 2],
    /// Attempts that the driver makes.
    under_way: [Option<(Act, Attempt, Instant)>; 2],
    /// Unregistrations since it was told what to do last.
    taken_back: [u8; 2],
    serves: bool,
    broken: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Tick,
    Service(Service),
    /// An attempt ends: whether it does its work, and whether that is known.
    Ends(usize, Effect, Known),
    /// The media server restarts, and has forgotten everybody.
    Forgets(usize),
    /// The node's own side finds out.
    Notices(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Effect {
    Works,
    DoesNot,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    Yes,
    No,
    Never,
}

impl World {
    fn new() -> Self {
        let registrar = Registrar::new(SMALL, BASE);
        Self {
            registrar,
            there: [false; 2],
            believed: [false; 2],
            under_way: [None; 2],
            taken_back: [0; 2],
            serves: false,
            broken: None,
        }
    }

    /// States that behave alike are equal.
    fn canonical(&self) -> Self {
        let (mut like, now) = (self.clone(), self.registrar.now);
        let past = |at: Instant| BASE.saturating_sub(now.since(at));
        let registrar = &mut like.registrar;
        (registrar.now, registrar.attempts) = (BASE, 1);
        for (line, under_way) in registrar.lines.iter_mut().zip(&mut like.under_way) {
            // Numbers matter only as far as they are the same.
            if let Some((_, attempt, since)) = under_way {
                let awaited = line.work.is_some_and(|work| work.number == attempt.number);
                (attempt.number, *since) = (u64::from(awaited), past(*since));
            }
            line.next = line.next.map(|(act, at)| (act, BASE + at.since(now)));
            line.work = line.work.map(|work| Work { number: 1, since: past(work.since), ..work });
            // When it was made counts while it is verified.
            let verifies = line.work.is_some_and(|work| work.act == Act::Verify)
                || line.next.is_some_and(|next| next.0 == Act::Verify);
            line.made = if verifies { past(line.made) } else { BASE };
            line.told = line.state;
            match &mut line.state {
                State::Registered { verified } => *verified = BASE,
                State::Failing { since, attempts } => (*since, *attempts) = (BASE, (*attempts).min(2)),
                _ => {}
            }
        }
        like
    }

    fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::from([Action::Tick, Action::Service(Service::Serves), Action::Service(Service::Stops)]);
        for mds in 0..2 {
            actions.push(if self.there[mds] { Action::Forgets(mds) } else { Action::Notices(mds) });
            if self.under_way[mds].is_some() {
                for known in [Known::Yes, Known::No, Known::Never] {
                    actions.extend([Effect::Works, Effect::DoesNot].map(|effect| Action::Ends(mds, effect, known)));
                }
            }
        }
        actions
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Tick => {
                let now = self.registrar.now + TICK;
                // The driver ends what is not over in time.
                for work in &mut self.under_way {
                    *work = work.filter(|(_, _, since)| now.since(*since) < SMALL.answer_limit);
                }
                self.feed(Event::Timer, now);
            }
            Action::Service(service) => {
                if self.serves != (service == Service::Serves) {
                    self.taken_back = [0; 2];
                }
                self.serves = service == Service::Serves;
                self.feed(Event::Service(service), self.registrar.now);
            }
            Action::Forgets(mds) => self.there[mds] = false,
            Action::Notices(mds) => self.believed[mds] = self.there[mds],
            Action::Ends(mds, effect, known) => {
                let Some((act, attempt, _)) = self.under_way[mds].take() else { return };
                if effect == Effect::Works && act != Act::Verify {
                    self.there[mds] = act == Act::Register;
                    self.believed[mds] = self.there[mds];
                }
                let outcome = match (effect, self.believed[mds]) {
                    _ if known != Known::Yes => Outcome::Failed,
                    (Effect::DoesNot, _) if act == Act::Verify => Outcome::Failed,
                    // It said yes, and did not do it.
                    (Effect::DoesNot, _) if act == Act::Register => Outcome::Registered,
                    (_, true) => Outcome::Registered,
                    (_, false) => Outcome::NotRegistered,
                };
                if known != Known::Never {
                    self.feed(Event::Ended { attempt, outcome }, self.registrar.now);
                }
            }
        }
    }

    fn feed(&mut self, event: Event, now: Instant) {
        let outputs = self.registrar.handle(event, now);
        assert!(self.registrar.deadline().is_none_or(|at| at > now), "a deadline that has passed: {self:#?}");
        for output in outputs {
            let (act, attempt) = match output {
                Output::Register(attempt) => (Act::Register, attempt),
                Output::Verify(attempt) => (Act::Verify, attempt),
                Output::Unregister(attempt) => (Act::Unregister, attempt),
                Output::Changed { mds, state: State::Registered { .. }, .. } => {
                    self.demand(self.believed[mds.index()] && self.serves, "told that it is registered, and it is not");
                    continue;
                }
                Output::Changed { .. } => continue,
            };
            let mds = attempt.mds.index();
            let busy = self.under_way[mds].is_some_and(|(act, ..)| act != Act::Verify);
            self.taken_back[mds] += u8::from(act == Act::Unregister);
            self.demand((act == Act::Unregister) != self.serves, "registers though it stopped, or the other way round");
            self.demand(!busy, "two attempts overlap");
            self.demand(self.taken_back[mds] <= 1, "taken back twice");
            self.under_way[mds] = Some((act, attempt, now));
        }
    }

    fn demand(&mut self, holds: bool, else_broken: &'static str) {
        if !holds {
            self.broken = self.broken.or(Some(else_broken));
        }
    }

    /// Lets the MDS answer from now on; returns how many ticks it takes until all is as it shall be.
    fn settles(&self) -> Option<usize> {
        let mut world = self.clone();
        for tick in 0..8 {
            world.answer();
            let registered = |mds| matches!(world.registrar.state(MdsId(mds)), Some(State::Registered { .. }));
            let right = match world.registrar.service {
                Some(Service::Serves) => world.there == [true; 2] && registered(0) && registered(1),
                Some(Service::Stops) | None => world.registrar.is_quiet() && world.registrar.deadline().is_none(),
            };
            if right {
                return Some(tick);
            }
            world.act(Action::Tick);
        }
        None
    }

    /// Lets every MDS answer what is under way, and what follows.
    fn answer(&mut self) {
        for mds in [0, 1, 0, 1, 0, 1] {
            self.act(Action::Ends(mds, Effect::Works, Known::Yes));
        }
    }

    /// A node that stops beside MDS that answer leaves no registration: at once, or when an attempt that was lost is over.
    fn leaves_none(&self) -> bool {
        let mut world = self.clone();
        world.act(Action::Service(Service::Stops));
        world.answer();
        for _ in 0..2 {
            world.act(Action::Tick);
            world.answer();
        }
        world.there == [false; 2] && world.registrar.is_quiet()
    }
}

/// Walks every state; returns how many there are, the edges and the slowest way to rest, or what is broken where.
fn walk() -> Result<(usize, u64, usize), (&'static str, World)> {
    let first = World::new().canonical();
    let (mut seen, mut open) = (HashSet::from([first.clone()]), Vec::from([first]));
    let (mut edges, mut slowest) = (0, 0);
    while let Some(before) = open.pop() {
        let Some(ticks) = before.settles() else { return Err(("it does not settle", before)) };
        slowest = slowest.max(ticks);
        if before.serves && !before.leaves_none() {
            return Err(("a node that stopped is still registered", before));
        }
        for action in before.actions() {
            let mut after = before.clone();
            after.act(action);
            edges += 1;
            if let Some(broken) = after.broken {
                return Err((broken, after));
            }
            let after = after.canonical();
            if seen.insert(after.clone()) {
                open.push(after);
            }
        }
    }
    Ok((seen.len(), edges, slowest))
}

#[test]
fn w6_who_serves_is_registered_with_every_mds_and_who_stopped_asks_for_it_no_more() {
    let began = Clock::now();
    match walk() {
        Ok((states, edges, slowest)) => {
            let what = std::format!("registrations, every state, {edges} steps, settled within {slowest} ticks");
            walked::states("W6", states, began.elapsed(), &what);
            assert!(states > 1000);
        }
        Err((broken, world)) => panic!("W6: {broken}: {world:#?}"),
    }
}

#[test]
fn w6_is_broken_by_each_mistake_in_the_rules() {
    for trap in [
        Trap::AnswerIsProof,
        Trap::VerifiedOnce,
        Trap::NeverRefreshed,
        Trap::OverlappingAttempts,
        Trap::RegistrationLeft,
    ] {
        let broken = making(Some(trap), walk).err().map(|(broken, _)| broken);
        walked::mistake(std::format!("{trap:?}"), broken.is_some(), broken.unwrap_or("nothing is broken"));
    }
}
