//! Drives a CC node: its services follow its XiVO (W5).

use super::alarms::Alarms;
use super::journal::{Journal, Kind};
use super::show;
use crate::control::api::StatusView;
use crate::hands::clock;
use crate::hands::pulse::{Felt, Pulse, Watching, Works};
use crate::hands::services::{self, Order, Worker};
use crate::metrics::Metrics;
use failover::duty::Outcome;
use failover::follow::{Event, Follower, Output};
use failover::health::Status;
use protocol::identity::Keyring;
use protocol::link::Link;
use protocol::wire::{Ask, NodeReport, Told, Watched};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// The loop turns at least so often.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// A XiVO that could not be asked is asked again after so long.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// A watch that has no answer for so long failed: the XiVO holds it for a second.
pub(super) const WATCH_LIMIT: Duration = Duration::from_millis(2500);

/// A CC node at work.
pub(super) struct Cc {
    pub(super) identity: show::Who,
    pub(super) follower: Follower,
    pub(super) worker: Worker,
    pub(super) done: mpsc::Receiver<services::Event>,
    pub(super) pulse: Pulse,
    pub(super) felt: watch::Receiver<Felt>,
    pub(super) xivo: mpsc::Receiver<Watched>,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<Metrics>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) view: watch::Sender<Arc<StatusView>>,
    pub(super) reports: watch::Sender<Arc<NodeReport>>,
    pub(super) since: SystemTime,
    pub(super) because: String,
    pub(super) alarms: Alarms,
}

/// Watches the XiVO node's status, and sends each answer on.
pub(super) async fn watch_xivo(link: Link, heard: mpsc::Sender<Watched>) {
    let mut seen = 0;
    loop {
        match timeout(WATCH_LIMIT, link.ask(Ask::Watch { seen })).await {
            Ok(Ok(Told::Watch(watched))) => {
                seen = watched.serial;
                if heard.send(watched).await.is_err() {
                    return;
                }
            }
            _ => {
                // After an outage nothing is taken for seen: the first answer comes at once.
                seen = 0;
                sleep(ASK_AGAIN).await;
            }
        }
    }
}

impl Cc {
    /// Runs until told to end. The services go on.
    pub(super) async fn run(mut self, mut end: watch::Receiver<bool>) {
        let mut queue = VecDeque::from([Event::Timer]);
        loop {
            while let Some(event) = queue.pop_front() {
                for output in self.follower.handle(event, clock::now()) {
                    self.carry_out(output, &mut queue);
                }
            }
            self.show();
            crate::systemd::alive();
            if *end.borrow() {
                break;
            }
            let soon = clock::now() + LONGEST_SLEEP;
            let wake = self.follower.deadline().map_or(soon, |at| at.min(soon));
            tokio::select! {
                biased;
                Some(watched) = self.xivo.recv() => queue.push_back(Event::Xivo(watched.status)),
                Some(done) = self.done.recv() => queue.push_back(self.worked(done)),
                Ok(()) = self.felt.changed() => {
                    let felt = self.felt.borrow_and_update().clone();
                    if felt.works == Works::No && self.follower.status() == Status::Active {
                        self.journal.note(Kind::Alarm, &format!("the services do not work: {}", felt.detail));
                        queue.push_back(Event::Died);
                    }
                }
                () = clock::sleep_until(wake) => queue.push_back(Event::Timer),
                _ = end.changed() => {}
            }
        }
        self.journal.note(Kind::Watchdog, "the watchdog ends; the services go on as they are");
        self.journal.settle().await;
    }

    fn worked(&mut self, done: services::Event) -> Event {
        let (kind, what, report, event): (_, _, _, fn(Outcome) -> Event) = match done {
            services::Event::Started(report) => (Kind::Start, "start", report, Event::Started),
            services::Event::Stopped(report) => (Kind::Stop, "stop", report, Event::Stopped),
        };
        self.metrics.command(what, report.outcome == Outcome::Done, report.took);
        self.journal.note(kind, &report.text);
        event(report.outcome)
    }

    fn carry_out(&mut self, output: Output, queue: &mut VecDeque<Event>) {
        let text = output.to_string();
        match output {
            Output::Start => self.order(Order::Start { before: Vec::new() }, Event::Started(Outcome::Failed), &text, queue),
            Output::Stop => self.order(Order::Stop { before: Vec::new() }, Event::Stopped(Outcome::Failed), &text, queue),
            Output::Changed(status) => {
                self.since = SystemTime::now();
                self.because.clone_from(&text);
                self.pulse.watch(if status == Status::Active { Watching::On } else { Watching::Off });
                self.journal.note(Kind::Status, &text);
                crate::systemd::status(&text);
            }
            Output::OutOfSight { .. } | Output::InSight => {
                self.alarms.unfit(matches!(output, Output::OutOfSight { .. }).then(|| text.clone()));
                self.journal.note(Kind::Alarm, &text);
            }
        }
    }

    fn order(&mut self, order: Order, failed: Event, text: &str, queue: &mut VecDeque<Event>) {
        self.journal.note(Kind::Status, text);
        if let Err(error) = self.worker.order(order) {
            self.journal.note(Kind::Alarm, &error.to_string());
            queue.push_back(failed);
        }
    }
}
