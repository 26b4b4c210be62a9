//! Drives a CC node: its services follow its XiVO (W5).

use super::alarms::Alarms;
use super::mistakes::{Mistake, made};
use super::serving::Serving;
use super::status::{
    Doings, Line, Requested, Shown, Who, ended, millis, note, note_start, own_certificate, running, settle,
};
use crate::control::api::Followed;
use crate::node::clock;
use crate::node::liveness::{Liveness, Observed, Watching};
use crate::node::services::{self, Doing, Order, Worker};
use crate::state::{Journal, Kind};
use crate::telemetry::metrics::Metrics;
use failover::Instant;
use failover::duty::Outcome;
use failover::follow::{Event, Follower, Output};
use failover::health::{self, Status};
use protocol::identity::Keyring;
use protocol::link::Link;
use protocol::wire::{Ask, ServiceState, Told, Watched};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
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
    pub(super) who: Who,
    pub(super) follower: Follower,
    pub(super) worker: Worker,
    pub(super) done: mpsc::Receiver<services::Event>,
    pub(super) liveness: Liveness,
    pub(super) observed: watch::Receiver<Observed>,
    pub(super) xivo: mpsc::Receiver<Watched>,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<Metrics>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) shown: Shown,
    pub(super) doings: Doings,
    pub(super) doing_since: Option<(Doing, Instant)>,
    pub(super) alarms: Alarms,
    /// The way to its XiVO, what that said, and when.
    pub(super) line: Line,
    pub(super) heard: Option<(Watched, Instant)>,
    /// What lets the service manager start services.
    pub(super) serving: Serving,
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
            _ if made(Mistake::NeverAsksAgain) => return,
            _ => {
                if made(Mistake::SilenceIsInactive) {
                    let _ = heard.send(Watched { serial: 0, status: Status::Inactive, epoch: 0 }).await;
                }
                // After an outage nothing is taken for seen: the first answer comes at once.
                seen = 0;
                sleep(ASK_AGAIN).await;
            }
        }
    }
}

impl Cc {
    /// Looks after services that run already.
    pub(super) fn begin(&mut self) {
        if self.follower.status() == Status::Active {
            self.liveness.watch(Watching::On);
        }
        self.permit(self.follower.status());
    }

    /// Runs until told to end. The services go on.
    pub(super) async fn run(mut self, mut end: watch::Receiver<bool>) {
        let mut queue = VecDeque::from([Event::Timer]);
        loop {
            while let Some(event) = queue.pop_front() {
                for output in self.follower.handle(event, clock::now()) {
                    if made(Mistake::WaitsForCommand) && matches!(output, Output::Changed(_)) {
                        sleep(LONGEST_SLEEP * 2).await;
                    }
                    self.carry_out(output, &mut queue);
                }
            }
            self.show();
            crate::telemetry::systemd::alive();
            if *end.borrow() {
                break;
            }
            let soon = clock::now() + LONGEST_SLEEP;
            let wake = self.follower.deadline().map_or(soon, |at| at.min(soon));
            tokio::select! {
                biased;
                Some(watched) = self.xivo.recv() => {
                    queue.push_back(Event::Xivo(watched.status));
                    self.heard = Some((watched, clock::now()));
                }
                Some(done) = self.done.recv() => queue.push_back(self.worked(done)),
                Ok(()) = self.observed.changed() => {
                    let observed = self.observed.borrow_and_update().clone();
                    // While services start or stop they come and go; that is for the worker to judge.
                    let died = observed.works == health::State::NotWorking && self.follower.status() == Status::Active;
                    if died && !made(Mistake::DeathUnnoticed) {
                        note(&self.journal, Kind::Alarm, &format!("the services do not work: {}", observed.detail));
                        queue.push_back(Event::Died);
                    }
                }
                () = clock::sleep_until(wake) => queue.push_back(Event::Timer),
                _ = end.changed() => {}
            }
        }
        note(&self.journal, Kind::Run, "the watchdog ends; the services go on as they are");
        settle(&self.journal).await;
    }

    fn worked(&mut self, done: services::Event) -> Event {
        let (kind, what, report, event): (_, _, _, fn(Outcome) -> Event) = match done {
            services::Event::Started(report) => (Kind::Command, "start", report, Event::Started),
            services::Event::Stopped(report) => (Kind::Command, "stop", report, Event::Stopped),
        };
        self.metrics.command(what, ended(report.outcome), report.took);
        note(&self.journal, kind, &report.text);
        if what == "start" {
            note_start(&self.journal, &mut self.alarms, &report);
        }
        event(report.outcome)
    }

    fn carry_out(&mut self, output: Output, queue: &mut VecDeque<Event>) {
        let text = output.to_string();
        match output {
            Output::Start => {
                self.order(Order::Start { before: Vec::new() }, Event::Started(Outcome::Failed), &text, queue)
            }
            Output::Stop => {
                self.order(Order::Stop { before: Vec::new() }, Event::Stopped(Outcome::Failed), &text, queue)
            }
            Output::Changed(status) => {
                self.doings = Doings { status, since: clock::wall(), because: text.clone() };
                self.liveness.watch(if status == Status::Active { Watching::On } else { Watching::Off });
                // The order that came before in this turn is only queued: the worker finds the permission when it runs.
                self.permit(status);
                note(&self.journal, Kind::Changed, &text);
                crate::telemetry::systemd::status(&text);
            }
            Output::OutOfSight { .. } | Output::InSight => {
                if output == Output::InSight && made(Mistake::OutOfSightStays) {
                    return;
                }
                self.alarms.unfit(matches!(output, Output::OutOfSight { .. }).then(|| ("out of sight", text.clone())));
                note(&self.journal, Kind::Alarm, &text);
            }
        }
    }

    fn permit(&self, status: Status) {
        let shown = match status {
            Status::Active | Status::Starting => self.serving.allow(),
            _ => self.serving.forbid(),
        };
        if let Err(error) = shown {
            note(&self.journal, Kind::Alarm, &error.to_string());
        }
    }

    fn order(&mut self, order: Order, failed: Event, text: &str, queue: &mut VecDeque<Event>) {
        note(&self.journal, Kind::Changed, text);
        if let Err(error) = self.worker.order(order) {
            note(&self.journal, Kind::Alarm, &error.to_string());
            queue.push_back(failed);
        }
    }

    fn show(&mut self) {
        own_certificate(&self.keyring, &mut self.alarms, &self.shown.metrics);
        let mut view = self.who.view(&self.doings, &self.alarms, Vec::new());
        let observed = self.observed.borrow().clone();
        if observed.works != health::State::Unknown {
            let works = observed.works == health::State::Working;
            view.services.insert("cc".into(), ServiceState { works, detail: observed.detail });
        }
        view.running = running(&self.worker, &mut self.doing_since);
        view.follows = Some(Followed {
            link: self.line.view(),
            status: self.heard.as_ref().map(|(watched, _)| watched.status),
            epoch: self.heard.as_ref().map_or(0, |(watched, _)| watched.epoch),
            heard_ms_ago: self.heard.as_ref().map(|(_, at)| millis(clock::now().since(*at))),
        });
        self.shown.show(view, Requested::default());
    }
}
