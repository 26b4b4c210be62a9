//! Drives a XiVO node: reads the clock, feeds the duty what happens, carries out what it decides. It decides nothing.

pub(super) mod disk;
pub(super) mod endpoint;
mod execute;
pub(super) mod fitness;
mod on_event;
mod others;
pub(super) mod outside;
pub(super) mod registrations;
pub(super) mod replication;
pub(super) mod status;
pub(super) mod unfenced;
pub(super) mod voters;

use self::disk::Disk;
use self::endpoint::Asked;
use self::fitness::Fitness;
use self::outside::Watch as OutsideWatch;
use self::registrations::Registrations;
use self::replication::Replication;
use self::voters::{Answered, Voters};
use super::alarms::Alarms;
use super::serving::Serving;
use super::status::{Doings, Shown, Who, note, settle};
use crate::config::Window;
use crate::control::api::{FenceState, Order, Outside};
use crate::node::clock;
use crate::node::echo::Echo;
use crate::node::fence::{Fence, FenceError, Kept};
use crate::node::liveness::{Liveness, Observed, Watching};
use crate::node::services::{self, Doing, Worker};
use crate::state::{Journal, Kind};
use crate::telemetry::metrics::Metrics;
use failover::Instant;
use failover::duty::{self, Act, Duty, Event, Handover, Output, Settings, Surroundings};
use failover::health::Status;
use failover::lease::{Answer, Namesakes, Report};
use failover::register::Service;
use protocol::identity::Keyring;
use protocol::wire::{Chosen, Watched, Wish, Wished};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// The loop turns at least so often, whatever the duty wants: the service manager is told that it does.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// A XiVO node at work.
pub(super) struct Xivo {
    pub(super) who: Who,
    pub(super) settings: Settings,
    /// The start command's time limit: of the bound that is shown.
    pub(super) start_limit: Duration,
    pub(super) duty: Duty,
    pub(super) queue: VecDeque<Input>,

    pub(super) disk: Disk,
    /// Where the lease is left for the next watchdog, and what was left there.
    pub(super) handover: PathBuf,
    pub(super) left: Option<Handover>,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<Metrics>,
    pub(super) keyring: Arc<Keyring>,

    pub(super) fence: Arc<Fence>,
    /// A look at the fence under way: one at a time, however slow the kernel's tools are.
    pub(super) fence_look: Option<JoinHandle<Result<Kept, FenceError>>>,
    pub(super) fence_state: FenceState,
    pub(super) fence_detail: String,
    /// The fence stops no packet: the node is fenced when its services are stopped.
    pub(super) fenced_when_stopped: bool,
    /// Phones should be let in without end, and could not be.
    pub(super) permit_again: bool,
    /// What lets the service manager start services.
    pub(super) serving: Serving,
    pub(super) worker: Worker,
    pub(super) done: mpsc::Receiver<services::Event>,
    pub(super) doing_since: Option<(Doing, Instant)>,
    pub(super) liveness: Liveness,
    pub(super) observed: watch::Receiver<Observed>,
    pub(super) fitness: Fitness,
    pub(super) told_fit: Option<bool>,
    pub(super) outside: OutsideWatch,
    /// What others did to the services, newest first.
    pub(super) acts_of_others: VecDeque<Outside>,

    /// When this watchdog began, on this node's clock.
    pub(super) began: Instant,
    pub(super) voters: Voters,
    pub(super) answers: mpsc::Receiver<Answered>,
    pub(super) asked: mpsc::Receiver<Asked>,
    /// What the peer said of itself last.
    pub(super) peer_report: Option<Report>,
    /// For how long the peer needs this node's vote.
    pub(super) peer_needs: Option<Duration>,
    /// The machines that ask under the peer's name.
    pub(super) peer_machines: Namesakes,
    /// Who waits for the answer to the request in hand.
    pub(super) asker: Option<oneshot::Sender<Answer>>,
    pub(super) orders: mpsc::Receiver<Order>,
    /// Who waits for what comes of the order in hand.
    pub(super) operator: Option<Operator>,
    pub(super) wishes: mpsc::Receiver<Wish>,
    pub(super) wished: Option<Wished>,
    /// Which side an operator chose last, and when.
    pub(super) chosen: Option<(Chosen, Instant)>,

    pub(super) echo: Echo,
    pub(super) peer_host: IpAddr,
    pub(super) anchors: Vec<IpAddr>,
    pub(super) surroundings: Option<Surroundings>,
    pub(super) window: Option<Window>,
    pub(super) in_window: Option<duty::Window>,
    pub(super) registrations: Option<Registrations>,
    pub(super) replication: Option<Replication>,
    /// Where Asterisk listens beyond the fence, in a sentence.
    pub(super) unfenced: Option<watch::Receiver<Option<String>>>,
    pub(super) legacy_failover: Option<PathBuf>,

    pub(super) watched: watch::Sender<Watched>,
    pub(super) shown: Shown,
    pub(super) doings: Doings,
    pub(super) alarms: Alarms,
}

/// Something that happens, and who waits for what comes of it.
pub(super) enum Input {
    /// Something happened, and nobody waits for an answer.
    Event(Event),
    /// Phones were kept out: verified then.
    Fenced(Instant),
    /// The peer asks, and waits at the door.
    Asked(Asked),
    /// An operator acts, and waits at the control socket.
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
    Here(oneshot::Sender<Result<String, String>>),
    /// The Edge, which handed a wish over.
    Edge(u64),
}

impl Xivo {
    /// Carries out what the duty said first.
    pub(super) async fn begin(&mut self, first: Vec<Output>) {
        // What an earlier watchdog left there means nothing, unless this one goes on.
        let shown = if self.serves() { self.serving.allow() } else { self.serving.forbid() };
        self.warn(shown);
        self.carry_out(first).await;
        if self.duty.status() == Status::Active {
            self.liveness.watch(Watching::On);
            if let Some(registrations) = &self.registrations {
                registrations.tell(Service::Serves);
            }
        }
    }

    /// Runs until told to end.
    pub(super) async fn run(mut self, mut end: watch::Receiver<bool>) {
        self.look_around();
        loop {
            self.judge_fitness();
            while let Some(input) = self.queue.pop_front() {
                self.feed(input).await;
                self.judge_fitness();
            }
            if self.permit_again && self.serves() {
                self.permit(None).await;
            }
            self.show();
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
        let mut now = clock::now();
        let event = match input {
            Input::Event(event) => event,
            Input::Fenced(at) => {
                now = at;
                Event::Fenced
            }
            Input::Asked(asked) => {
                self.meet(&asked.request);
                self.asker = Some(asked.answer);
                Event::Asked(asked.request)
            }
            Input::Act(act, operator) => {
                self.operator = Some(operator);
                Event::Act(act)
            }
        };
        let outputs = self.duty.handle(event, now);
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
            Ok(()) = self.observed.changed() => self.liveness_changed(),
            Some(looked) = ended(&mut self.fence_look) => self.saw_fence_kept(looked),
            took = self.disk.wrote() => self.queue.push_back(Event::Written { took }.into()),
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
        let left = match self.left {
            Some(_) => "the watchdog ends; telephony goes on, and the next watchdog may take over within the lease",
            None if self.duty.status() == Status::Inactive => "the watchdog ends; the node does not serve",
            None => "the watchdog ends in the middle of a start or stop: the next one fences and stops first",
        };
        if self.left.is_some() && self.fence_state == FenceState::Absent {
            let text = "without the kernel's fence nothing stops telephony here when the lease is over: start the watchdog soon";
            note(&self.journal, Kind::Alarm, text);
        }
        note(&self.journal, Kind::Run, left);
        settle(&self.journal).await;
        // No answer is given any more that the next daemon would not know of.
        self.asked.close();
        self.liveness.watch(Watching::Off);
        drop(self.asker.take());
    }
}

/// Waits for a look under way, if any, and takes it.
async fn ended(look: &mut Option<JoinHandle<Result<Kept, FenceError>>>) -> Option<Result<Kept, FenceError>> {
    let ended = look.as_mut()?.await;
    *look = None;
    // One that panicked saw nothing.
    Some(ended.unwrap_or(Ok(Kept::Overtaken)))
}
