//! Carries out what the duty decides, strictly in order.

use super::{Waits, Xivo};
use crate::control::api::FenceState;
use crate::drive::show::note;
use crate::hands::clock;
use crate::hands::fence::{Closed, Partners, Permit};
use crate::hands::pulse::Watching;
use crate::hands::services::Order;
use crate::state::{Entry, Kind, Time};
use failover::Instant;
use failover::duty::{Event, Memory, Outcome, Output, Why};
use failover::health::Status;
use failover::lease::{Answer, Ruling};
use failover::register::Service;
use protocol::wire::WishOutcome;
use std::time::Duration;

/// For how long an orderly stop may reach the media servers, to take its registrations back.
const PARTNERS: Duration = Duration::from_secs(2);

impl Xivo {
    pub(super) async fn carry_out(&mut self, outputs: Vec<Output>) {
        // What follows a state that could not be written, and must not happen without it, does not happen.
        let mut written = true;
        for output in outputs {
            tracing::debug!("{output}");
            match output {
                Output::Persist(memory) => written = self.persist(memory).await,
                Output::Answer(answer) => self.answer(answer, written),
                Output::Ask { voter, request, sent } => self.voters.ask(voter, request, sent),
                Output::Permit { until } => self.permit(until).await,
                Output::Start { epoch, reason } if written => {
                    let text = format!("starts in epoch {epoch}: {reason}");
                    self.tell(Kind::Decided, &text);
                    self.order(Order::Start { before: Vec::new() }, Event::Started(Outcome::Failed));
                }
                Output::Start { .. } => {
                    self.tell(Kind::Decided, "does not start: the state cannot be written");
                    self.queue.push_back(Event::Started(Outcome::Failed).into());
                }
                Output::Fence(why) => self.fence(why).await,
                Output::Stop => {
                    let before = self.registrations.as_ref().map(|all| all.unregistering()).unwrap_or_default();
                    self.order(Order::Stop { before }, Event::Stopped(Outcome::Failed));
                }
                Output::Kill => self.order(Order::Kill, Event::Timer),
                Output::HardFence { waited } => self.harden(waited).await,
                Output::Changed { from, status, .. } => self.changed(from, status, &output),
                Output::TwoActives => {
                    self.metrics.two_actives();
                    self.alarms.two_actives(clock::now());
                    self.tell(Kind::Alarm, &output.to_string());
                }
                Output::Acted(act) => self.acted(&act.to_string()),
                Output::Refused { act, reason } => self.refused(&act.to_string(), &reason.to_string()),
            }
        }
    }

    async fn persist(&mut self, memory: Memory) -> bool {
        let began = clock::now();
        let state = self.state.clone();
        let written = tokio::task::spawn_blocking(move || state.persist(&memory)).await;
        let written = written.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        self.metrics.persisted(&written, clock::now().since(began));
        let sentence = written.as_ref().err().map(|error| format!("the state cannot be written: {error}"));
        if self.alarms.disk(sentence.clone())
            && let Some(sentence) = &sentence
        {
            self.tell(Kind::Alarm, sentence);
        }
        self.fitness.disk(written.is_ok());
        written.is_ok()
    }

    fn answer(&mut self, answer: Answer, written: bool) {
        let Some(asker) = self.asker.take() else { return };
        if written || answer.ruling != Ruling::Grant {
            let _ = asker.send(answer);
        }
    }

    async fn permit(&mut self, until: Option<Instant>) {
        let permit = until.map_or(Permit::Unlimited, |until| Permit::For(until.since(clock::now())));
        let failed = self.fence.permit(permit).await.err().map(|error| error.to_string());
        match &failed {
            None if self.fence_state != FenceState::Absent => self.saw_fence(FenceState::Open, "phones are let in"),
            None => {}
            Some(why) => self.saw_fence(FenceState::Failed, why),
        }
        if self.alarms.fence(failed.clone())
            && let Some(failed) = &failed
        {
            self.tell(Kind::Alarm, failed);
        }
    }

    async fn fence(&mut self, why: Why) {
        self.tell(Kind::Decided, &format!("fences and stops: {why}"));
        self.pulse.watch(Watching::Off);
        if let Some(registrations) = &self.registrations {
            registrations.tell(Service::Stops);
        }
        // Who lost the lease may not speak to media servers either: the other node may be registering.
        let partners = match why {
            Why::LeaseOver | Why::VoteLost(_) | Why::FoundRunning => Partners::Closed,
            _ => Partners::For(PARTNERS),
        };
        self.fenced_when_stopped = false;
        match self.fence.close(partners).await {
            Ok(Closed::Verified { took }) => {
                self.metrics.command("fence", "done", took);
                self.saw_fence(FenceState::Closed, "phones are kept out");
                self.alarms.fence(None);
                self.queue.push_back(Event::Fenced.into());
            }
            Ok(Closed::WhenStopped) => self.fenced_when_stopped = true,
            Err(error) => self.fence_failed(&error.to_string()),
        }
    }

    async fn harden(&mut self, waited: Duration) {
        self.metrics.hard_fenced();
        self.tell(Kind::Alarm, &format!("HARD FENCE: not fenced within {waited:?}"));
        match self.fence.harden().await {
            Ok(Closed::Verified { .. }) => {
                self.saw_fence(FenceState::Closed, "phones are kept out by the last resort");
                self.queue.push_back(Event::Fenced.into());
            }
            Ok(Closed::WhenStopped) => self.fenced_when_stopped = true,
            Err(error) => self.fence_failed(&error.to_string()),
        }
    }

    fn fence_failed(&mut self, why: &str) {
        self.saw_fence(FenceState::Failed, why);
        self.alarms.fence(Some(why.to_owned()));
        self.tell(Kind::Alarm, why);
    }

    /// Gives an order to the worker; one it cannot take has failed.
    fn order(&mut self, order: Order, failed: Event) {
        if let Err(error) = self.worker.order(order) {
            self.tell(Kind::Alarm, &error.to_string());
            self.queue.push_back(failed.into());
        }
    }

    fn changed(&mut self, from: Status, status: Status, output: &Output) {
        let text = output.to_string();
        if from != status {
            self.doings.since = Time::now();
            match status {
                Status::Active => self.metrics.activated(),
                Status::Stopping => self.metrics.stepped_down(),
                _ => {}
            }
        }
        self.doings.status = status;
        self.doings.because.clone_from(&text);
        self.tell(Kind::Changed, &text);
        self.pulse.watch(if status == Status::Active { Watching::On } else { Watching::Off });
        if status == Status::Active
            && let Some(registrations) = &self.registrations
        {
            registrations.tell(Service::Serves);
        }
        crate::systemd::status(&text);
    }

    fn acted(&mut self, act: &str) {
        let Some(operator) = self.operator.take() else { return };
        self.journal.append(Entry::new(Kind::Act, act).by(&operator.who, &operator.reason));
        match operator.reply {
            Waits::Here(reply) => {
                let _ = reply.send(Ok(act.to_owned()));
            }
            Waits::Edge(id) => self.wished = Some(protocol::wire::Wished { id, outcome: WishOutcome::Followed }),
        }
    }

    fn refused(&mut self, act: &str, reason: &str) {
        let Some(operator) = self.operator.take() else { return };
        let sentence = format!("refused to {act}: {reason}");
        self.journal.append(Entry::new(Kind::Act, sentence).by(&operator.who, &operator.reason));
        match operator.reply {
            Waits::Here(reply) => {
                let _ = reply.send(Err(reason.to_owned()));
            }
            Waits::Edge(id) => {
                let outcome = WishOutcome::Refused { reason: reason.to_owned() };
                self.wished = Some(protocol::wire::Wished { id, outcome });
            }
        }
    }

    pub(super) fn tell(&mut self, kind: Kind, text: &str) {
        note(&self.journal, kind, text);
    }
}
