//! Orders and questions from outside, answered between two turns of the loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use failover::switch::{self, Act, Guard, Switch};
use failover::{Explain as _, Instant};
use protocol::wire::{NodeReport, Told};
use tokio::sync::{mpsc, oneshot};

use super::act::Asker;
use super::clock::Clock;
use super::mistakes::{Mistake, made};
use super::plan::Plan;
use super::{Engine, Means};
use crate::admin::api::{
    BrokenConfiguration, ConfigurationStatus, Done, DrainRequest, Event, Explain, FreezeRequest, JournalEntry,
    MaintenanceRequest, Report, ResumeRequest, SessionRow, Status, SwitchAnswer, SwitchRequest, SwitchoverStatus, Time,
};
use crate::admin::{EngineApi, EngineError};
use crate::live::Mode;
use crate::live::state::State;
use crate::site::nodes::{Node, Reports};
use crate::telemetry::metrics::Reload;
use crate::traffic::edge::{Edge, Site};
use crate::traffic::websocket::tunnel::{Pin, User};

/// A loop that has not turned for so long is not alive: it turns at least every second.
const PULSE_LIMIT: Duration = Duration::from_secs(5);

/// An order or a question to the loop, with the way back for its answer.
pub(super) enum Order {
    Status(oneshot::Sender<Status>),
    Explain(oneshot::Sender<Explain>),
    Switch(SwitchRequest, oneshot::Sender<Result<SwitchAnswer, EngineError>>),
    Freeze(FreezeRequest, oneshot::Sender<Result<Done, EngineError>>),
    Resume(ResumeRequest, oneshot::Sender<Result<Done, EngineError>>),
    Maintenance(MaintenanceRequest, oneshot::Sender<Result<Done, EngineError>>),
    Drain(DrainRequest, oneshot::Sender<Done>),
    Reload(Arc<Site>, oneshot::Sender<Result<(), String>>),
    Broken { error: String, more: usize, noted: oneshot::Sender<()> },
    Note(Event, String, oneshot::Sender<()>),
    Report(Node, Box<NodeReport>, oneshot::Sender<Told>),
    Switchover(oneshot::Sender<Option<SwitchoverStatus>>),
}

/// A way to the engine. It runs as long as there is one.
#[derive(Clone)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
    pulse: Arc<AtomicU64>,
    clock: Clock,
    edge: Arc<Edge>,
    state: Arc<State>,
    drain: Arc<tokio::sync::Notify>,
}

impl Handle {
    pub(super) fn new(orders: mpsc::Sender<Order>, pulse: Arc<AtomicU64>, clock: Clock, means: &Means) -> Self {
        let (edge, state) = (means.edge.clone(), means.state.clone());
        Self { orders, pulse, clock, edge, state, drain: Arc::default() }
    }

    /// Puts another configuration's site before the engine.
    ///
    /// # Errors
    /// One sentence why the engine did not take the site; the old one stays in force.
    pub async fn reload(&self, site: Arc<Site>) -> Result<(), String> {
        self.ask(|answer| Order::Reload(site, answer)).await.map_err(|error| error.to_string())?
    }

    /// Tells that the file on the disk did not load: its first error, and how many there are besides. What is in force stays.
    pub async fn broken(&self, error: String, more: usize) {
        // Without an engine there is no screen either.
        let _ = self.ask(|noted| Order::Broken { error, more, noted }).await;
    }

    /// Writes an entry into the journal.
    pub async fn note(&self, event: Event, sentence: String) {
        // Without an engine there is no journal either.
        let _ = self.ask(|answer| Order::Note(event, sentence, answer)).await;
    }

    /// The same without waiting, from any thread. A note for which there is no room is in the log only.
    pub fn note_soon(&self, event: Event, sentence: String) {
        match event {
            Event::Alarm => tracing::error!("{sentence}"),
            _ => tracing::info!("{sentence}"),
        }
        // The witness's thread calls this, and keeps the vote: a loop that hangs must not hang it.
        let (answer, _) = oneshot::channel();
        let _ = self.orders.try_send(Order::Note(event, sentence, answer));
    }

    /// Returns when an operator ordered the Edge to drain.
    pub async fn drain_ordered(&self) {
        self.drain.notified().await;
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, EngineError> {
        let gone = || EngineError::Unavailable("The Edge is stopping.".to_owned());
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }
}

impl Reports for Handle {
    async fn report(&self, node: Node, report: NodeReport) -> Told {
        let told = self.ask(|answer| Order::Report(node, Box::new(report), answer)).await;
        told.unwrap_or_else(|error| Told::Refused { reason: error.to_string() })
    }
}

#[async_trait]
impl EngineApi for Handle {
    fn alive(&self) -> Result<(), String> {
        let pulse = Instant::from_micros(self.pulse.load(Ordering::Acquire));
        let silent = self.clock.now().since(pulse);
        match silent > PULSE_LIMIT {
            true => Err(format!("The engine's loop has not turned for {} s.", silent.as_secs())),
            false => Ok(()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        let view = self.edge.live.view();
        match view.mode {
            Mode::Serving => Ok(()),
            Mode::Deciding => Err("No side is known to work yet.".to_owned()),
            Mode::Waiting => Err(format!("{} is live and does not work.", view.side.title())),
        }
    }

    async fn status(&self) -> Result<Status, EngineError> {
        self.ask(Order::Status).await
    }

    async fn explain(&self) -> Result<Explain, EngineError> {
        self.ask(Order::Explain).await
    }

    async fn history(&self, limit: usize) -> Result<Vec<JournalEntry>, EngineError> {
        Ok(self.state.history(limit))
    }

    async fn report(&self, number: u64) -> Result<Report, EngineError> {
        let state = self.state.clone();
        let read = tokio::task::spawn_blocking(move || state.read_report(number)).await;
        match read {
            Ok(Ok(Some(report))) => Ok(report),
            Ok(Ok(None)) => Err(EngineError::NotFound(format!("There is no report {number}."))),
            Ok(Err(error)) => Err(EngineError::Failed(error.to_string())),
            Err(error) => Err(EngineError::Failed(error.to_string())),
        }
    }

    async fn switch(&self, request: SwitchRequest) -> Result<SwitchAnswer, EngineError> {
        self.ask(|answer| Order::Switch(request, answer)).await?
    }

    async fn switchover(&self) -> Result<SwitchoverStatus, EngineError> {
        let none =
            || EngineError::NotFound("No switch of the whole site was ordered since the Edge started.".to_owned());
        self.ask(Order::Switchover).await?.ok_or_else(none)
    }

    async fn freeze(&self, request: FreezeRequest) -> Result<Done, EngineError> {
        self.ask(|answer| Order::Freeze(request, answer)).await?
    }

    async fn resume(&self, request: ResumeRequest) -> Result<Done, EngineError> {
        self.ask(|answer| Order::Resume(request, answer)).await?
    }

    async fn maintenance(&self, request: MaintenanceRequest) -> Result<Done, EngineError> {
        self.ask(|answer| Order::Maintenance(request, answer)).await?
    }

    async fn sessions(&self, limit: usize) -> Result<Vec<SessionRow>, EngineError> {
        let site = self.edge.site();
        let now = Time::now();
        let mut rows: Vec<SessionRow> = self
            .edge
            .sessions
            .list(limit)
            .into_iter()
            .map(|listed| {
                let route = site.config.routes.iter().find(|route| route.name == *listed.route);
                let service = route.map(|route| site.config.services[route.service.0].name.clone());
                let age = i64::try_from(listed.age.as_millis()).unwrap_or(i64::MAX);
                SessionRow {
                    id: listed.id,
                    side: match listed.pin {
                        Pin::Side(side) => Some(side),
                        Pin::Follows(_) | Pin::Stays => None,
                    },
                    route: listed.route.to_string(),
                    service: service.unwrap_or_default(),
                    login: match &listed.user {
                        User::Login(login) => Some(login.to_string()),
                        User::Address(_) => None,
                    },
                    client: listed.client,
                    backend: listed.backend.to_string(),
                    since: Time::from_unix_ms(now.unix_ms().saturating_sub(age)),
                    bytes_in: listed.to_upstream,
                    bytes_out: listed.to_client,
                    closing: listed.leaving,
                }
            })
            .collect();
        rows.sort_by_key(|row| row.since);
        Ok(rows)
    }

    async fn drain(&self, request: DrainRequest) -> Result<Done, EngineError> {
        let done = self.ask(|answer| Order::Drain(request, answer)).await?;
        self.drain.notify_one();
        Ok(done)
    }
}

impl Engine {
    pub(super) async fn obey(&mut self, order: Order) {
        // An asker may have given up meanwhile: then nobody reads the answer.
        match order {
            Order::Status(answer) => drop(answer.send(self.status())),
            Order::Explain(answer) => drop(answer.send(self.explain_now())),
            Order::Switch(request, answer) => {
                let done = self.order_switch(request).await;
                drop(answer.send(done));
            }
            Order::Freeze(request, answer) => {
                let done = self.order_act(Act::Freeze, request.by, request.reason).await;
                drop(
                    answer.send(
                        done.map(|()| Done { sentence: "Automatic switches are forbidden until resume.".into() }),
                    ),
                );
            }
            Order::Resume(request, answer) => {
                let done = self.order_act(Act::Resume, request.by, request.reason).await;
                drop(answer.send(done.map(|()| Done { sentence: "Automatic switches are allowed again.".into() })));
            }
            Order::Maintenance(request, answer) => drop(answer.send(self.order_maintenance(request).await)),
            Order::Drain(request, answer) => {
                let asker = Asker { by: request.by, why: request.reason };
                self.draining = true;
                self.means.metrics.draining.set(1);
                let sentence = "The Edge takes no new connections and ends.".to_owned();
                self.journal_of(Event::Drained, sentence, Some(&asker));
                drop(answer.send(Done {
                    sentence: "Draining: no new connections; the Edge ends when the old ones have.".into(),
                }));
            }
            Order::Reload(site, answer) => drop(answer.send(self.reload(site))),
            Order::Broken { error, more, noted } => {
                self.note_broken(error, more);
                let _ = noted.send(());
            }
            Order::Report(node, report, answer) => drop(answer.send(self.take_report(node, *report))),
            Order::Switchover(answer) => {
                drop(answer.send(self.switchover.as_ref().and_then(|driver| driver.status().cloned())));
            }
            Order::Note(event, sentence, answer) => {
                self.journal(event, sentence);
                // The caller may have given up meanwhile.
                let _ = answer.send(());
            }
        }
    }

    async fn order_switch(&mut self, request: SwitchRequest) -> Result<SwitchAnswer, EngineError> {
        if let Some(answer) = self.order_switchover(&request).await {
            return answer;
        }
        let SwitchRequest { to, dry_run, force, reason, by } = request;
        let guard = if force { Guard::Forced } else { Guard::Checked };
        let act = Act::Switch { to, guard };
        if dry_run {
            return Ok(self.dry_run(act));
        }
        self.order_act(act, by, reason).await?;
        Ok(SwitchAnswer {
            switched: true,
            dry_run: false,
            live: self.switcher.switch.live(),
            epoch: self.switcher.switch.epoch(),
            explain: self.explain_now(),
            switchover: None,
            refused: None,
        })
    }

    /// Lets a copy of the machine answer.
    fn dry_run(&self, act: Act) -> SwitchAnswer {
        // By the rules themselves: what is foretold otherwise may come otherwise.
        let mut copy: Switch = self.switcher.switch.clone();
        let outputs = copy.handle(switch::Event::Act(act), self.clock.now());
        let refused = outputs.iter().find(|output| matches!(output, switch::Output::Refused { .. }));
        let refused = refused.map(|output| output.named(self.plan.names()).to_string());
        let told: Vec<String> = outputs
            .iter()
            .filter(|output| !matches!(output, switch::Output::Persist(_)))
            .map(|output| output.named(self.plan.names()).to_string())
            .collect();
        let mut explain = self.explanation(format!("dry run, nothing was done: {}", told.join("; ")));
        let works = self.health().side(copy.live()).works();
        explain.facts.push(format!("sessions that would be closed: {}", self.means.edge.sessions.len()));
        if !works {
            explain.facts.push(format!("{} is not known to work", copy.live()));
        }
        SwitchAnswer {
            switched: false,
            dry_run: true,
            live: self.switcher.switch.live(),
            epoch: self.switcher.switch.epoch(),
            explain,
            switchover: None,
            refused,
        }
    }

    pub(super) async fn order_act(&mut self, act: Act, by: String, why: String) -> Result<(), EngineError> {
        let refusal = self.decide(switch::Event::Act(act), Some(&Asker { by, why })).await;
        // Before the answer: whoever asks for the status next sees all that came of the order.
        self.turn().await;
        match refusal {
            Some(_) if made(Mistake::RefusalUntold) => Ok(()),
            Some(sentence) => Err(EngineError::Refused(sentence)),
            None => Ok(()),
        }
    }

    fn note_broken(&mut self, error: String, more: usize) {
        self.means.metrics.reloaded(Reload::Rejected);
        let besides = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        self.journal(Event::Alarm, format!("The configuration was not loaded, nothing has changed: {error}{besides}"));
        // A file that is tried again and again is one trouble, and as old as its first try.
        let since = self.configuration.broken.take().map_or_else(Time::now, |before| before.since);
        self.configuration.broken = Some(BrokenConfiguration { since, error, more });
    }

    /// Watches another site, keeping what is known of checks that stay.
    fn reload(&mut self, site: Arc<Site>) -> Result<(), String> {
        let plan = Plan::new(site, self.clock).map_err(|error| error.to_string())?;
        let known = self.monitor.leave(&self.plan);
        self.plan = plan;
        self.show_maintenance();
        // Events that wait bear the old plan's numbers, which mean other checks in the new one.
        self.work.clear();
        self.switcher.adopt(self.plan.site.config.switch_policy(), self.clock.now());
        self.means.metrics.observe.set(i64::from(self.plan.site.config.switch.observe));
        self.judge_anew(known);
        // The new switch knows of no wish, and would book a move of a switchover under way as the Edge's own.
        self.tell_wish();
        self.configuration = ConfigurationStatus { loaded: Some(Time::now()), broken: None };
        self.journal(Event::Reloaded, "The configuration was loaded anew.".to_owned());
        Ok(())
    }
}
