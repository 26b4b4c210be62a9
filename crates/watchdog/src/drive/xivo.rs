//! Drives a XiVO node: reads the clock, feeds the duty what happens, carries out what it decides. It decides nothing.

mod carry;
mod hear;
mod show;

use super::door::{self, Asked, Porter};
use super::fitness::Fitness;
use super::journal::{Journal, Kind};
use super::outside::Watch as OutsideWatch;
use super::registrations::Registrations;
use super::voters::{Answered, Voters};
use crate::control::api::StatusView;
use crate::control::{Order, Reply};
use crate::hands::clock;
use crate::hands::echo::Echo;
use crate::hands::fence::Fence;
use crate::hands::pulse::{Felt, Pulse, Watching};
use crate::hands::services::{self, Services, Worker};
use crate::metrics::Metrics;
use crate::state::State;
use failover::Side;
use failover::duty::{Act, Duty, Event, Settings};
use failover::health::Status;
use failover::lease::Answer;
use protocol::identity::Keyring;
use protocol::wire::{Watched, Wish, Wished};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};

/// The loop turns at least so often, whatever the duty wants: the service manager is told that it does.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// A XiVO node at work.
pub(super) struct Xivo {
    pub(super) name: String,
    pub(super) side: Side,
    pub(super) settings: Settings,
    pub(super) duty: Duty,
    pub(super) queue: VecDeque<Input>,

    pub(super) state: Arc<State>,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<Metrics>,
    pub(super) keyring: Arc<Keyring>,

    pub(super) fence: Fence,
    /// The fence stops no packet: the node is fenced when its services are stopped.
    pub(super) fenced_when_stopped: bool,
    pub(super) worker: Worker,
    pub(super) done: mpsc::Receiver<services::Event>,
    pub(super) pulse: Pulse,
    pub(super) felt: watch::Receiver<Felt>,
    pub(super) fitness: Fitness,
    pub(super) told_fit: Option<bool>,
    pub(super) outside: OutsideWatch,

    pub(super) voters: Voters,
    pub(super) answers: mpsc::Receiver<Answered>,
    pub(super) asked: mpsc::Receiver<Asked>,
    /// Who waits for the answer to the request in hand.
    pub(super) asker: Option<oneshot::Sender<Answer>>,
    pub(super) orders: mpsc::Receiver<Order>,
    /// Who waits for what comes of the order in hand.
    pub(super) operator: Option<Operator>,
    pub(super) wishes: mpsc::Receiver<Wish>,
    pub(super) wished: Option<Wished>,

    pub(super) echo: Echo,
    pub(super) peer_host: IpAddr,
    pub(super) anchors: Vec<IpAddr>,
    pub(super) window: Option<crate::config::Window>,
    pub(super) registrations: Option<Registrations>,

    pub(super) watched: watch::Sender<Watched>,
    pub(super) view: watch::Sender<Arc<StatusView>>,
    pub(super) since: SystemTime,
    pub(super) because: String,
    pub(super) alarms: super::alarms::Alarms,
}

/// Something that happens, and who waits for what comes of it.
pub(super) enum Input {
    /// Nobody waits.
    Event(Event),
    /// The peer asks.
    Asked(Asked),
    /// An operator acts.
    Act(Act, Operator),
}

impl From<Event> for Input {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

/// Who gave an order, and where the outcome goes.
pub(super) struct Operator {
    pub(super) who: String,
    pub(super) reason: String,
    pub(super) reply: Waits,
}

/// Who waits for what comes of an order.
pub(super) enum Waits {
    /// An operator at the socket.
    Here(oneshot::Sender<Reply>),
    /// The Edge, which handed a wish over.
    Edge(u64),
}

impl Xivo {
    /// Runs until told to end.
    pub(super) async fn run(mut self, mut end: watch::Receiver<bool>) {
        self.look_around();
        loop {
            self.judge_fitness();
            while let Some(input) = self.queue.pop_front() {
                self.feed(input).await;
                self.judge_fitness();
            }
            self.show();
            crate::systemd::alive();
            if *end.borrow() {
                break;
            }
            self.wait(&mut end).await;
        }
        self.leave().await;
    }

    /// Feeds the duty one event and carries out what it says.
    async fn feed(&mut self, input: Input) {
        let event = match input {
            Input::Event(event) => event,
            Input::Asked(asked) => {
                self.asker = Some(asked.answer);
                Event::Asked(asked.request)
            }
            Input::Act(act, operator) => {
                self.operator = Some(operator);
                Event::Act(act)
            }
        };
        let outputs = self.duty.handle(event, clock::now());
        self.carry_out(outputs).await;
        // Whoever asked and got no answer was not heard: it asks again.
        self.asker = None;
        self.operator = None;
    }

    /// Waits for the next thing that happens, and queues it.
    async fn wait(&mut self, end: &mut watch::Receiver<bool>) {
        let now = clock::now();
        let wake = [self.duty.deadline(), self.fitness.deadline(now), Some(now + LONGEST_SLEEP)];
        let wake = wake.into_iter().flatten().min().unwrap_or(now);
        tokio::select! {
            biased;
            Some(done) = self.done.recv() => self.worked(done),
            Some(answered) = self.answers.recv() => self.answered(answered),
            Some(asked) = self.asked.recv() => self.queue.push_back(Input::Asked(asked)),
            Some(order) = self.orders.recv() => self.ordered(order),
            Some(wish) = self.wishes.recv() => self.wish(wish),
            Ok(()) = self.felt.changed() => self.feel().await,
            Some(seen) = self.outside.seen() => self.saw_outside(seen),
            () = clock::sleep_until(wake) => {
                self.look_around();
                self.queue.push_back(Event::Timer.into());
            }
            _ = end.changed() => {}
        }
    }

    /// What it does now, to those that follow and to whoever asks.
    pub(super) fn serves(&self) -> bool {
        matches!(self.duty.status(), Status::Active | Status::Starting)
    }

    /// The daemon ends: telephony stays, and the next daemon goes on if it comes within the lease.
    async fn leave(&mut self) {
        let left = match self.duty.hand_over() {
            Some(handover) => match self.state.hand_over(&handover) {
                Ok(()) => "the watchdog ends; telephony goes on, and the next watchdog may take over within the lease",
                Err(error) => {
                    tracing::error!(%error, "the hand-over cannot be written");
                    "the watchdog ends without a hand-over: telephony goes on until the lease runs out"
                }
            },
            None if self.duty.status() == Status::Inactive => "the watchdog ends; the node does not serve",
            None => "the watchdog ends in the middle of a start or stop: the lease runs out, the fence closes by itself",
        };
        self.journal.note(Kind::Watchdog, left);
        self.journal.settle().await;
        // No answer is given any more that the next daemon would not know of.
        self.asked.close();
        self.pulse.watch(Watching::Off);
        drop(self.asker.take());
    }
}

/// The parts of a node's door.
pub(super) fn porter(
    side: Side,
    watched: watch::Receiver<Watched>,
) -> (Arc<Porter>, mpsc::Receiver<Asked>) {
    let (asked, receiver) = mpsc::channel(door::REQUESTS);
    (Arc::new(Porter { side, asked, watched, turned_away: 0.into() }), receiver)
}
