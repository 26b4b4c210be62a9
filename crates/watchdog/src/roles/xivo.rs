//! Drives a XiVO node: reads the clock, feeds the duty what happens, carries out what it decides. It decides nothing.
//!
//! Each part keeps its own state and returns what the duty is to know: `fencing`, `telephony`, `condition` (could the node
//! serve?), `others` (the other voters), `operators`, `surroundings`; `telling` is the way to all who want to know.

mod condition;
mod disk;
pub(super) mod endpoint;
mod execute;
mod fencing;
mod fitness;
mod left_lease;
mod on_event;
mod operators;
mod others;
mod outside;
mod registrations;
mod replication;
mod start;
mod status;
mod surroundings;
mod telephony;
mod telling;
mod unfenced;
mod voters;

use std::collections::VecDeque;
use std::time::Duration;

use failover::Instant;
use failover::duty::{Act, Duty, Event, Output, Settings};
use failover::health::Status;
use tokio::sync::watch;

use self::condition::Condition;
use self::disk::Disk;
use self::endpoint::Asked;
use self::execute::Waits;
use self::fencing::Fencing;
use self::left_lease::LeftLease;
use self::operators::{Operator, Operators};
use self::others::Others;
use self::surroundings::SurroundingsMonitor;
use self::telephony::Telephony;
use self::telling::Telling;
use super::status::settle;
use crate::node::clock;
use crate::node::liveness::Watching;
use crate::state::Kind;

/// The loop turns at least so often, whatever the duty wants: the service manager is told that it does.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// The machine of a XiVO node, and the parts that it hears and acts through.
struct Xivo {
    settings: Settings,
    /// The start command's time limit: of the bound that is shown.
    start_limit: Duration,
    duty: Duty,
    queue: VecDeque<Input>,
    disk: Disk,
    left: LeftLease,
    fencing: Fencing,
    telephony: Telephony,
    condition: Condition,
    others: Others,
    operators: Operators,
    surroundings: SurroundingsMonitor,
    telling: Telling,
}

/// Something that happens, and who waits for what comes of it.
enum Input {
    /// Something happened, and nobody waits for an answer.
    Event(Event),
    /// Phones were kept out: verified then.
    Fenced(Instant),
    /// The peer asks, and waits at the endpoint.
    Asked(Asked),
    /// An operator acts, and waits at the control socket.
    Act(Act, Operator),
}

impl From<Event> for Input {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

impl Xivo {
    /// Carries out what the duty said first.
    async fn begin(&mut self, first: Vec<Output>) {
        // What an earlier watchdog left there means nothing, unless this one goes on.
        let serving = &self.telephony.serving;
        self.telling.warn(if self.serves() { serving.allow() } else { serving.forbid() });
        self.carry_out(first, Waits::Nobody).await;
        if self.duty.status() == Status::Active {
            self.telephony.follow(Status::Active);
        }
    }

    /// Turns until told to end: each turn decides all that is queued, shows it, and waits for what comes next.
    async fn run(mut self, mut end: watch::Receiver<bool>) {
        self.look_around();
        loop {
            // Fitness is judged before each event, so that the duty decides by what the node can do as of then.
            self.judge_fitness();
            while let Some(input) = self.queue.pop_front() {
                self.feed(input).await;
                self.judge_fitness();
            }
            // Nothing renews a permit without an end: one that failed would keep phones out for ever.
            if self.fencing.wants_permit() && self.serves() {
                self.permit(None).await;
            }
            self.show();
            // The loop itself says that it turns: a watchdog whose loop hangs must not be taken for alive by whoever
            // would start it again.
            crate::telemetry::systemd::alive();
            if *end.borrow() {
                break;
            }
            self.wait(&mut end).await;
        }
        self.leave().await;
    }

    /// Feeds the duty one event and carries out what it says.
    async fn feed(&mut self, input: Input) {
        let (event, now, waits) = match input {
            Input::Event(event) => (event, clock::now(), Waits::Nobody),
            // The fence counts as of when it was verified: one that was in time is not late because much was queued
            // before this.
            Input::Fenced(at) => (Event::Fenced, at, Waits::Nobody),
            Input::Asked(asked) => {
                let now = clock::now();
                self.others.meet(&asked.request);
                (Event::Asked(asked.request), now, Waits::Peer(asked.answer))
            }
            Input::Act(act, operator) => (Event::Act(act), clock::now(), Waits::Operator(operator)),
        };
        let outputs = self.duty.handle(event, now);
        self.carry_out(outputs, waits).await;
    }

    /// Waits for the next thing that happens, and queues it.
    async fn wait(&mut self, end: &mut watch::Receiver<bool>) {
        let now = clock::now();
        let wake = [self.duty.deadline(), self.condition.fitness.deadline(now), Some(now + LONGEST_SLEEP)];
        let wake = wake.into_iter().flatten().min().unwrap_or(now);
        // The order is stated: with one drawn at random a seed of the simulation would not be one run.
        tokio::select! {
            biased;
            Some(done) = self.telephony.done.recv() => self.worked(done),
            Some(answered) = self.others.answers.recv() => self.answered(answered),
            Some(asked) = self.others.asked.recv() => self.queue.push_back(Input::Asked(asked)),
            Some(order) = self.operators.orders.recv() => self.ordered(order),
            Some(wish) = self.operators.wishes.recv() => self.wish(wish),
            Ok(()) = self.telephony.observed.changed() => self.liveness_changed(),
            Some(looked) = self.fencing.looked() => self.saw_fence(looked),
            took = self.disk.wrote() => self.queue.push_back(Event::Written { took }.into()),
            Some(seen) = self.condition.outside.seen() => self.saw_outside(seen),
            () = clock::sleep_until(wake) => {
                self.look_around();
                self.queue.push_back(Event::Timer.into());
            }
            _ = end.changed() => {}
        }
    }

    /// What it does now, to those that follow and to whoever asks.
    fn serves(&self) -> bool {
        matches!(self.duty.status(), Status::Active | Status::Starting)
    }

    /// The daemon ends: telephony stays, and the next daemon goes on if it comes within the lease.
    async fn leave(&mut self) {
        let left = if self.left.is_left() {
            "the watchdog ends; telephony goes on, and the next watchdog may take over within the lease"
        } else if self.duty.status() == Status::Inactive {
            "the watchdog ends; the node does not serve"
        } else {
            "the watchdog ends in the middle of a start or stop: the next one fences and stops first"
        };
        if self.left.is_left() && self.fencing.is_absent() {
            let text = "without the kernel's fence nothing stops telephony here when the lease is over: start the watchdog soon";
            self.telling.tell(Kind::Alarm, text);
        }
        self.telling.tell(Kind::Run, left);
        settle(&self.telling.journal).await;
        // No answer is given any more that the next daemon would not know of.
        self.others.asked.close();
        self.telephony.liveness.watch(Watching::Off);
    }
}
