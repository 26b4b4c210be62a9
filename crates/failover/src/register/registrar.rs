//! The machine that holds a serving node's registrations.

use alloc::vec::Vec;

use super::output::{Attempt, MdsId, Output, State};
use super::settings::Settings;
use crate::time::Instant;
use crate::traps::{Trap, made};

/// Keeps a serving node registered with every MDS, and a stopped one with none (W6).
///
/// ```text
///                   serves               verified
///   [ unregistered ] --> [ registering ] --------> [ registered ] --+ verified again every verify_every
///          ^                 |      ^   ^               |   ^ <-----+
///          |          failed |      |   +---------------+   |
///          |                 v      |    it is not there    | verified
///          |            [ failing ] ------------------------+
///          |                 | again after a pause that grows
///          |  stops (any)    v
///          +----------- [ unregistering ]    once, however it ends
/// ```
///
/// Every `refresh_every` a registration that stands is made again: whoever is asked to verify it is the node's own side of
/// it, and knows nothing of an MDS that lost it. It stays registered meanwhile; what fails, fails as any other attempt.
///
/// Each MDS goes its own way: one that is down keeps no other waiting. At one MDS a registration and taking it back never
/// overlap. A node that stops waits for nobody: what it could not take back, the next node's registration replaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Registrar {
    settings: Settings,
    pub(super) now: Instant,
    /// What it was told; nothing at first, when a watchdog before this one may have registered the node.
    pub(super) service: Option<Service>,
    pub(super) lines: Vec<Line>,
    pub(super) attempts: u64,
}

/// Whether the node serves, and so has to be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// It does: it shall be registered with every MDS.
    Serves,
    /// It does not, or not much longer.
    Stops,
}

/// What happens to a [`Registrar`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The deadline passed, or the driver woke up for any other reason.
    Timer,
    /// The node began to serve, or begins to stop. Telling it twice changes nothing.
    Service(Service),
    /// An attempt ended, in time or by its limit.
    Ended {
        /// Which of the attempts under way.
        attempt: Attempt,
        /// What the media server has now, as far as the attempt showed.
        outcome: Outcome,
    },
}

/// What an attempt showed of the media server: a lost answer is no proof that it has nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The node is registered there.
    Registered,
    /// The media server certainly does not have it.
    NotRegistered,
    /// Nobody knows: the MDS did not answer, or the attempt could not be made.
    Failed,
}

/// The registration with one media server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Line {
    pub(super) state: State,
    /// The state that was told last.
    pub(super) told: State,
    pub(super) work: Option<Work>,
    /// What to do next, and when, once nothing is under way.
    pub(super) next: Option<(Act, Instant)>,
    /// When the attempt began that made the registration, or made it again; of no meaning while there is none.
    pub(super) made: Instant,
}

/// An attempt under way; no other begins beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Work {
    pub(super) act: Act,
    pub(super) number: u64,
    pub(super) since: Instant,
}

/// What is attempted at an MDS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// To have the node registered.
    Register,
    /// To see whether the node is registered.
    Verify,
    /// To take the registration back.
    Unregister,
}

impl Registrar {
    /// Starts a registrar that was told nothing yet: it does nothing. MDS beyond [`Settings::MOST`] are left out.
    pub fn new(settings: Settings, now: Instant) -> Self {
        let line = Line { state: State::Unregistered, told: State::Unregistered, work: None, next: None, made: now };
        let lines = (0..settings.mds.min(Settings::MOST)).map(|_| line).collect();
        Self { settings, now, service: None, lines, attempts: 0 }
    }

    /// Takes in what happened and says what to do.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Output> {
        self.now = self.now.max(now);
        let mut outputs = Vec::new();
        // An outcome that comes in time counts, however late the timer is.
        if let Event::Ended { attempt, outcome } = event {
            self.ended(attempt, outcome);
        }
        if let Event::Service(service) = event
            && self.service.replace(service) != Some(service)
        {
            self.lines.iter_mut().for_each(|line| line.turn(service, self.now));
        }
        for at in 0..self.lines.len() {
            self.go_on(at, &mut outputs);
        }
        outputs
    }

    /// Returns when to call [`Event::Timer`]; may change with each call of [`Registrar::handle`].
    pub fn deadline(&self) -> Option<Instant> {
        let limit = self.settings.answer_limit;
        self.lines
            .iter()
            // What is under way is waited for first: nothing else begins at that MDS before it ends.
            .filter_map(|line| line.work.map(|work| work.since + limit).or(line.next.map(|next| next.1)))
            .min()
    }

    /// Returns the state of the registration with an MDS.
    pub fn state(&self, mds: MdsId) -> Option<State> {
        self.lines.get(mds.index()).map(|line| line.state)
    }

    /// Returns all states, in the order of the MDS' numbers.
    pub fn states(&self) -> impl Iterator<Item = (MdsId, State)> + '_ {
        (0..).map(MdsId).zip(self.lines.iter().map(|line| line.state))
    }

    /// Tells whether nothing is under way to take registrations back: a node that stops waits for it, for a short while.
    pub fn is_quiet(&self) -> bool {
        self.lines.iter().all(|line| line.state != State::Unregistering)
    }

    fn ended(&mut self, attempt: Attempt, outcome: Outcome) {
        let Some(line) = self.lines.get_mut(attempt.mds.index()) else { return };
        let in_time =
            |work: &Work| work.number == attempt.number && self.now.since(work.since) <= self.settings.answer_limit;
        if let Some(work) = line.work.filter(in_time) {
            line.work = None;
            line.learn(work, outcome, &self.settings, self.now);
        }
    }

    fn go_on(&mut self, at: usize, outputs: &mut Vec<Output>) {
        let (settings, now, line) = (self.settings, self.now, &mut self.lines[at]);
        let mds = MdsId(u8::try_from(at).unwrap_or(u8::MAX));
        if let Some(work) = line.work.filter(|work| now.since(work.since) >= settings.answer_limit) {
            line.work = None;
            line.learn(work, Outcome::Failed, &settings, now);
        }
        if let Some((act, _)) = line.next.filter(|next| line.work.is_none() && next.1 <= now) {
            self.attempts = self.attempts.wrapping_add(1);
            (line.work, line.next) = (Some(Work { act, number: self.attempts, since: now }), None);
            let attempt = Attempt { mds, number: self.attempts };
            outputs.push(match act {
                Act::Register => Output::Register(attempt),
                Act::Verify => Output::Verify(attempt),
                Act::Unregister => Output::Unregister(attempt),
            });
        }
        let from = core::mem::replace(&mut line.told, line.state);
        if !from.is_like(&line.state) {
            outputs.push(Output::Changed { mds, from, state: line.state });
        }
    }
}

impl Line {
    /// Turns to what the node does now. What is under way is waited for, so that it cannot undo what comes after it; only to
    /// a verification nobody needs to listen any more.
    fn turn(&mut self, service: Service, now: Instant) {
        self.work = self.work.filter(|work| work.act != Act::Verify && !made(Trap::OverlappingAttempts));
        if service == Service::Stops && made(Trap::RegistrationLeft) && !matches!(self.state, State::Registered { .. })
        {
            (self.state, self.next) = (State::Unregistered, None);
            return;
        }
        (self.state, self.next) = match service {
            Service::Serves => (State::Registering, Some((Act::Register, now))),
            Service::Stops => (State::Unregistering, Some((Act::Unregister, now))),
        };
    }

    /// Takes in how the attempt under way ended.
    fn learn(&mut self, work: Work, outcome: Outcome, settings: &Settings, now: Instant) {
        match (self.state, work.act, outcome) {
            (State::Unregistering, Act::Unregister, _) => self.state = State::Unregistered,
            // Of the time before it turned: what is next is known.
            (State::Unregistering, _, _) | (_, Act::Unregister, _) => {}
            (_, Act::Register, Outcome::Registered) if !made(Trap::AnswerIsProof) => {
                // The answer to the request is no proof: the registration counts when it is seen to stand
                // (`AnswerIsProof`, W6).
                self.made = work.since;
                self.next = Some((Act::Verify, now));
            }
            (_, Act::Register | Act::Verify, Outcome::Registered) => {
                self.state = State::Registered { verified: work.since };
                let verify = (Act::Verify, work.since + settings.verify_every);
                let refresh = (Act::Register, self.made + settings.refresh_every);
                let again = if refresh.1 <= verify.1 && !made(Trap::NeverRefreshed) { refresh } else { verify };
                self.next = (!made(Trap::VerifiedOnce)).then_some(again);
            }
            // The registration is certainly gone, and nothing says that the MDS would refuse another: it is made again
            // without a pause, as calls reach nobody meanwhile.
            (State::Registered { .. }, Act::Verify, Outcome::NotRegistered) => {
                self.state = State::Registering;
                self.next = Some((Act::Register, now));
            }
            _ => self.fail(settings, now),
        }
    }

    fn fail(&mut self, settings: &Settings, now: Instant) {
        let (since, before) = match self.state {
            State::Failing { since, attempts } => (since, attempts),
            _ => (now, 0),
        };
        let attempts = before.saturating_add(1);
        self.state = State::Failing { since, attempts };
        // After a failure the node registers and does not merely look: whatever stands there, registering again does no
        // harm.
        self.next = Some((Act::Register, now + settings.pause_after(attempts)));
    }
}
