//! Drives a CC node: its services follow its XiVO (W5).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use failover::Instant;
use failover::duty::Outcome;
use failover::follow::{Event, Follower, Idle, Output};
use failover::health::{self, Status};
use protocol::identity::Keyring;
use protocol::link::Link;
use protocol::wire::{Ask, ServiceState, Told, Watched};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::alarms::Alarms;
use super::mistakes::{Mistake, made};
use super::serving::Serving;
use super::status::{
    Doings, Line, Requested, Shown, Who, ended, millis, note, note_start, own_certificate, running, settle,
};
use crate::config::Repeated;
use crate::control::api::{self, Followed};
use crate::node::clock;
use crate::node::command::Ending;
use crate::node::liveness::{Liveness, Observed, Watching};
use crate::node::services::{self, Doing, Order, Worker};
use crate::state::{Journal, Kind};
use crate::telemetry::metrics::Metrics;

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
    pub(super) centre: ContactCentre,
    pub(super) leader: Leader,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<Metrics>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) shown: Shown,
    pub(super) doings: Doings,
    pub(super) alarms: Alarms,
}

/// The contact centre's services: the worker that starts and stops them, whether they work, and whether they may run.
pub(super) struct ContactCentre {
    pub(super) worker: Worker,
    pub(super) done: mpsc::Receiver<services::Event>,
    pub(super) doing_since: Option<(Doing, Instant)>,
    pub(super) liveness: Liveness,
    pub(super) observed: watch::Receiver<Observed>,
    /// The permission by which the service manager starts services: without it a boot would start them before their XiVO is
    /// known to serve.
    pub(super) serving: Serving,
    /// Services that run on both sides may be started at any boot.
    pub(super) idle: Idle,
}

/// The XiVO node that is followed: the way to it, and what it said.
pub(super) struct Leader {
    pub(super) way: Way,
    pub(super) words: mpsc::Receiver<Watched>,
    pub(super) newest: Option<(Watched, Instant)>,
}

/// How the followed XiVO is asked.
pub(super) enum Way {
    /// Its watchdog tells, whenever it changes, with its epoch.
    Watchdog(Line),
    /// A command is asked again and again, where it has none; no epoch is known then.
    Command {
        /// What is run, as people read it.
        text: String,
        /// How it ended last, and whether it said anything of the XiVO.
        said: watch::Receiver<Said>,
    },
}

/// How a status command ended last.
#[derive(Debug, Clone)]
pub(super) struct Said {
    status: Option<Status>,
    how: String,
}

impl Said {
    pub(super) fn nothing() -> Self {
        Self { status: None, how: "not asked yet".into() }
    }
}

impl Way {
    fn view(&self) -> api::Link {
        match self {
            Self::Watchdog(line) => line.view(),
            Self::Command { text, said } => {
                let said = said.borrow();
                api::Link { address: text.clone(), connected: said.status.is_some(), state: said.how.clone() }
            }
        }
    }
}

impl ContactCentre {
    /// Has the services watched and permitted as this status wants.
    ///
    /// # Errors
    /// The permission could not be shown to the service manager; the sentence is for the journal.
    fn set(&mut self, status: Status) -> Result<(), String> {
        // Services that start or stop come and go: whether they work is looked at once they should.
        self.liveness.watch(if status == Status::Active { Watching::On } else { Watching::Off });
        self.permit(status)
    }

    fn permit(&self, status: Status) -> Result<(), String> {
        let shown = match status {
            Status::Active | Status::Starting => self.serving.allow(),
            _ if self.idle == Idle::Stale => self.serving.allow(),
            _ => self.serving.forbid(),
        };
        shown.map_err(|error| error.to_string())
    }

    fn state(&self) -> Option<ServiceState> {
        let observed = self.observed.borrow().clone();
        let works = observed.works == health::State::Working;
        (observed.works != health::State::Unknown).then_some(ServiceState { works, detail: observed.detail })
    }
}

impl Leader {
    /// Takes in what the node said, for the follower. A status command knows no epoch: that is 0.
    fn hear(&mut self, watched: Watched, now: Instant) -> impl Iterator<Item = Event> + use<> {
        let (status, epoch) = (watched.status, watched.epoch);
        self.newest = Some((watched, now));
        (epoch > 0).then_some(Event::Epoch(epoch)).into_iter().chain([Event::Xivo(status)])
    }

    fn view(&self, now: Instant) -> Followed {
        let newest = self.newest.as_ref();
        Followed {
            link: self.way.view(),
            status: newest.map(|(watched, _)| watched.status),
            epoch: newest.map_or(0, |(watched, _)| watched.epoch),
            heard_ms_ago: newest.map(|(_, at)| millis(now.since(*at))),
        }
    }
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

/// Asks a XiVO without a watchdog by a command, again and again. Exit codes are those of `xivo-service status all`: with some
/// services stopped it is inactive; what failed, or could not be asked, says nothing of that.
pub(super) async fn ask_xivo(asked: Repeated, tell: watch::Sender<Said>, heard: mpsc::Sender<Watched>) {
    loop {
        let ran = asked.command.run().await;
        let status = match ran.ending {
            Ending::Done => Some(Status::Active),
            Ending::ExitCode(1) => Some(Status::Inactive),
            _ => None,
        };
        tell.send_replace(Said { status, how: ran.cause() });
        if let Some(status) = status
            && heard.send(Watched { serial: 0, status, epoch: 0 }).await.is_err()
        {
            return;
        }
        sleep(asked.interval).await;
    }
}

impl Cc {
    /// Looks after services that run already.
    pub(super) fn begin(&mut self) {
        if self.follower.status() == Status::Active {
            self.centre.liveness.watch(Watching::On);
        }
        let permitted = self.centre.permit(self.follower.status());
        self.tell_unless(permitted);
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
                Some(watched) = self.leader.words.recv() => {
                    queue.extend(self.leader.hear(watched, clock::now()));
                }
                Some(done) = self.centre.done.recv() => queue.push_back(self.worked(done)),
                Ok(()) = self.centre.observed.changed() => {
                    let observed = self.centre.observed.borrow_and_update().clone();
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
                // The order that came before in this turn is only queued: the worker finds the permission when it runs.
                let permitted = self.centre.set(status);
                self.tell_unless(permitted);
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

    fn tell_unless(&self, done: Result<(), String>) {
        if let Err(error) = done {
            note(&self.journal, Kind::Alarm, &error);
        }
    }

    fn order(&mut self, order: Order, failed: Event, text: &str, queue: &mut VecDeque<Event>) {
        note(&self.journal, Kind::Changed, text);
        if let Err(error) = self.centre.worker.order(order) {
            note(&self.journal, Kind::Alarm, &error.to_string());
            queue.push_back(failed);
        }
    }

    fn show(&mut self) {
        own_certificate(&self.keyring, &mut self.alarms, &self.shown.metrics);
        let mut view = self.who.view(&self.doings, &self.alarms, Vec::new());
        if let Some(state) = self.centre.state() {
            view.services.insert("cc".into(), state);
        }
        view.running = running(&self.centre.worker, &mut self.centre.doing_since);
        view.follows = Some(self.leader.view(clock::now()));
        self.shown.show(view, Requested::default());
    }
}
