//! Starts and stops a node's services, one command at a time (W4), and verifies what came of it.

mod verify;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use failover::Span;
pub use failover::duty::Outcome;
use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use self::verify::Notes;
pub use super::command::reap;
use super::command::{CommandSpec, Ending, Ran};
use super::line::one_line;

/// Orders that may wait; a driver that waits for outcomes never has more than two.
const ORDERS: usize = 8;

/// How the services are started, stopped and checked.
#[derive(Clone, Debug)]
pub struct ServicesSpec {
    /// Starts them; verified afterwards, whatever it says.
    pub start: CommandSpec,
    /// Stops them; verified afterwards, whatever it says.
    pub stop: CommandSpec,
    /// Ends with exit code 0 when they run.
    pub check: Option<CommandSpec>,
    /// Ends with exit code 0 when they are surely stopped; none: `check` says no, and `probe` gets no answer (SIP) or not
    /// the right one (HTTP).
    pub stopped: Option<CommandSpec>,
    /// Answered when they work: SIP OPTIONS to the own address, or a CC's readiness.
    pub probe: Option<Arc<probe::Check>>,
    /// Says which instance of the services runs, in one word that each restart changes. With it a start is a restart, and is
    /// done only once the word differs from that of before.
    pub instance: Option<CommandSpec>,
    /// How long verification may take after the command has ended.
    pub verify_limit: Duration,
    /// Where the start or stop command is recorded while it runs, for [`reap`]: a file that is gone after a boot.
    pub running: Option<PathBuf>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start the services, and verify that they run.
    Start {
        /// Commands before, side by side, each within its own time limit; their failure is told and no hindrance.
        before: Vec<CommandSpec>,
    },
    /// Stop the services, and verify that they do not run.
    Stop {
        /// Commands before, side by side, each within its own time limit; their failure is told and no hindrance.
        before: Vec<CommandSpec>,
    },
    /// Kill the process group of what runs, and give up what is being verified; its outcome is reported all the same.
    /// Starts that wait fail, stops that wait stay. Nothing runs: nothing happens.
    Kill,
}

/// What became of an order; each `Start` and `Stop` has exactly one, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Whether it works now, and why not.
    Started(Report),
    /// Whether it is verified as stopped, and why not.
    Stopped(Report),
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Done only once it was verified.
    pub outcome: Outcome,
    /// What was done and seen, in one printable line.
    pub text: String,
    /// Why a start failed, without its times; none: it came well, or nobody wanted it any more.
    pub why: Option<String>,
    /// How long all of it took.
    pub took: Duration,
    /// How much of it was verification.
    pub verifying: Duration,
}

/// What a worker does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doing {
    /// Nothing is under way, and the next order may come.
    #[default]
    Idle,
    /// A start or its verification.
    Starting,
    /// A stop or its verification.
    Stopping,
}

/// What was found on the node at the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// They run, and check and SIP say that they work.
    Running,
    /// Certainly none of them runs: the vote may be given back.
    Stopped,
    /// Neither is certain; why, in one line. Whoever must be safe takes them for running.
    Unclear(String),
}

/// The worker has no room for the order, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker of the start and stop commands takes no more orders")]
pub struct Busy;

/// Looks at services; see [`Worker`] for starting and stopping them.
#[derive(Clone, Debug)]
pub struct Services {
    spec: Arc<ServicesSpec>,
}

/// The way to a worker's task, which ends when this is dropped; a command that runs is killed then, services are not.
#[derive(Debug)]
pub struct Worker {
    orders: mpsc::Sender<Job>,
    /// Counts the kills: each ends what was ordered before it.
    kills: watch::Sender<u64>,
    doing: watch::Receiver<Doing>,
}

#[derive(Debug)]
struct Job {
    what: What,
    before: Vec<CommandSpec>,
    kills: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Start,
    Stop,
}

impl Services {
    /// Makes a worker that has nothing to do yet.
    pub fn new(spec: ServicesSpec) -> Self {
        Self { spec: Arc::new(spec) }
    }

    /// Starts a worker, and returns the way to it and what it reports. Needs a tokio runtime.
    pub fn work(&self) -> (Worker, mpsc::Receiver<Event>) {
        let (orders, jobs) = mpsc::channel(ORDERS);
        let (events, reports) = mpsc::channel(ORDERS);
        let (kills, killed) = watch::channel(0);
        let (tell, doing) = watch::channel(Doing::Idle);
        host::spawn(work(self.clone(), jobs, killed, tell, events));
        (Worker { orders, kills, doing }, reports)
    }
}

impl Worker {
    /// Gives an order. Never waits; a kill always arrives.
    ///
    /// # Errors
    /// Returns [`Busy`] if eight orders wait already; the order will not be carried out and has no event.
    pub fn order(&self, order: Order) -> Result<(), Busy> {
        let (what, before) = match order {
            Order::Kill => {
                self.kills.send_modify(|kills| *kills += 1);
                return Ok(());
            }
            Order::Start { before } => (What::Start, before),
            Order::Stop { before } => (What::Stop, before),
        };
        // Kills are counted as of now: one that came before the order does not end it.
        let kills = *self.kills.borrow();
        self.orders.try_send(Job { what, before, kills }).map_err(|_| Busy)
    }

    /// Returns what it does now.
    pub fn doing(&self) -> Doing {
        *self.doing.borrow()
    }
}

async fn work(
    services: Services,
    mut jobs: mpsc::Receiver<Job>,
    kills: watch::Receiver<u64>,
    doing: watch::Sender<Doing>,
    events: mpsc::Sender<Event>,
) {
    while let Some(job) = jobs.recv().await {
        let event = match job.what {
            What::Start => {
                doing.send_replace(Doing::Starting);
                // A start that waited is killed by what came since it was ordered: nobody wants it any more.
                Event::Started(services.start(&job.before, Kills { kills: kills.clone(), before: job.kills }).await)
            }
            What::Stop => {
                doing.send_replace(Doing::Stopping);
                // A stop that waited is killed only by what comes while it runs: the kill before it was meant for the
                // start, and the node is to stop all the same.
                let before = *kills.borrow();
                Event::Stopped(services.stop(&job.before, Kills { kills: kills.clone(), before }).await)
            }
        };
        doing.send_replace(Doing::Idle);
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// The kills that end one job: those after it was ordered, or its worker's end.
struct Kills {
    kills: watch::Receiver<u64>,
    before: u64,
}

impl Kills {
    async fn killed(&self) {
        // An error says that the worker is gone.
        let _ = self.kills.clone().wait_for(|kills| *kills > self.before).await;
    }

    fn came(&self) -> bool {
        *self.kills.borrow() > self.before || self.kills.has_changed().is_err()
    }
}

impl Services {
    async fn start(&self, before: &[CommandSpec], kills: Kills) -> Report {
        let began = Instant::now();
        let mut notes = run_before(before, &kills).await;
        if kills.came() {
            return failed(began, "killed before the start command ran".into(), notes);
        }
        // Read before the command runs: an answer alone could come from the instance of before.
        let former = self.instance().await;
        let ran = self.spec.start.run_recorded(self.spec.running.as_deref(), kills.killed()).await;
        if !ran.is_done() {
            // A start that was killed has not failed: nobody wanted it any more, and an alarm would say otherwise.
            let why = (ran.ending != Ending::Killed).then(|| one_line(&format!("the start command: {}", ran.cause())));
            return Report { why, ..failed(began, format!("the start command: {ran}"), notes) };
        }
        let verifying = Instant::now();
        let seen = Notes::default();
        let verified = tokio::select! {
            biased;
            () = kills.killed() => return failed(began, "killed while its start was verified".into(), notes),
            // What the command says of itself is not believed: one that says yes and starts nothing would leave a node
            // `active` that serves nobody (W4).
            verified = timeout(self.spec.verify_limit, self.started(former.as_ref(), &seen)) => verified.is_ok(),
        };
        let text = if verified {
            format!("started in {}, verified after {}{seen}", Span(ran.took), Span(verifying.elapsed()))
        } else {
            format!(
                "the start command ended well after {}, but the services do not work within {}{seen}",
                Span(ran.took),
                Span(self.spec.verify_limit)
            )
        };
        notes.insert(0, text);
        let why = (!verified).then(|| one_line(&format!("its command ends well, but the services do not work{seen}")));
        Report { why, ..report(verified, began, verifying, &notes) }
    }

    /// Whether the stop command was content does not matter: whether the services are stopped does.
    async fn stop(&self, before: &[CommandSpec], kills: Kills) -> Report {
        let began = Instant::now();
        let mut notes = run_before(before, &kills).await;
        let ran = self.spec.stop.run_recorded(self.spec.running.as_deref(), kills.killed()).await;
        if ran.ending == Ending::Killed {
            return failed(began, format!("the stop command: {ran}"), notes);
        }
        let verifying = Instant::now();
        let seen = Notes::default();
        // A command that never ran has stopped nothing: one look shows whether they were stopped before, and nobody
        // waits for more.
        let limit = if ran_at_all(&ran) { self.spec.verify_limit } else { Duration::ZERO };
        let verified = tokio::select! {
            biased;
            () = kills.killed() => return failed(began, "killed while its stop was verified".into(), notes),
            verified = self.stopped_within(limit, &ran, &seen) => verified,
        };
        let command = if ran.is_done() { String::new() } else { format!(", though the stop command: {ran}") };
        let text = if verified {
            format!("stopped in {}, verified after {}{command}", Span(ran.took), Span(verifying.elapsed()))
        } else {
            format!("the stop command: {ran}; not verified to be stopped within {}{seen}", Span(limit))
        };
        notes.insert(0, text);
        report(verified, began, verifying, &notes)
    }

    async fn stopped_within(&self, limit: Duration, ran: &Ran, seen: &Notes) -> bool {
        if !self.can_be_looked_at() {
            // With nothing to look by, the command's own word is all there is.
            return ran.is_done();
        }
        if limit.is_zero() {
            return self.look().await == Found::Stopped;
        }
        timeout(limit, self.stopped(seen)).await.is_ok()
    }
}

fn ran_at_all(ran: &Ran) -> bool {
    !matches!(ran.ending, Ending::NotFound | Ending::NotExecutable | Ending::NotStarted)
}

/// Runs what must come before, all at once; returns what failed.
async fn run_before(before: &[CommandSpec], kills: &Kills) -> Vec<String> {
    let all =
        // They run all at once, and what fails is told: a media server that does not answer must hold up neither the
        // stop nor the others.
        join_all(before.iter().map(|command| async move { (command, command.run_until(kills.killed()).await) })).await;
    let failed = all.into_iter().filter(|(_, ran)| !ran.is_done());
    failed.map(|(command, ran)| format!("before it, `{command}`: {ran}")).collect()
}

fn failed(began: Instant, text: String, mut notes: Vec<String>) -> Report {
    notes.insert(0, text);
    report(false, began, Instant::now(), &notes)
}

fn report(verified: bool, began: Instant, verifying: Instant, notes: &[String]) -> Report {
    Report {
        outcome: if verified { Outcome::Done } else { Outcome::Failed },
        text: one_line(&notes.join("; ")),
        why: None,
        took: began.elapsed(),
        verifying: verifying.elapsed(),
    }
}

#[cfg(test)]
mod tests;
