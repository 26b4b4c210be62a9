//! Carries out what the duty decides, strictly in order.

use std::time::Duration;

use failover::Instant;
use failover::duty::{Event, Outcome, Output, StartReason, Why};
use failover::health::Status;
use failover::lease::{Answer, VoteReply};
use tokio::sync::oneshot;

use super::operators::Operator;
use super::{Input, Xivo};
use crate::node::clock;
use crate::node::fence::Partners;
use crate::node::services::Order;
use crate::roles::mistakes::{Mistake, made};
use crate::roles::status::note_failed_start;
use crate::state::Kind;

/// For how long an orderly stop may reach the media servers, to take its registrations back.
const PARTNERS: Duration = Duration::from_secs(2);

/// An operator waits for the disk for so long at most.
const ACT_LIMIT: Duration = Duration::from_secs(2);

/// Who waits for what comes of one event.
#[derive(Default)]
pub(super) enum Waits {
    /// The event came by itself: of a timer, a command, a look.
    #[default]
    Nobody,
    /// The peer, for the answer to its request.
    Peer(oneshot::Sender<Answer>),
    /// Whoever gave an order, at the socket or at the Edge.
    Operator(Operator),
}

impl Waits {
    /// The peer, if it waits: it is answered once.
    fn peer(&mut self) -> Option<oneshot::Sender<Answer>> {
        match std::mem::take(self) {
            Self::Peer(asker) => Some(asker),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Whoever gave an order, if somebody did: the outcome is told once.
    fn operator(&mut self) -> Option<Operator> {
        match std::mem::take(self) {
            Self::Operator(operator) => Some(operator),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Xivo {
    /// Carries out what came of one event. Who `waits` and gets no answer was not heard: it asks again.
    pub(super) async fn carry_out(&mut self, outputs: Vec<Output>, mut waits: Waits) {
        for output in outputs {
            tracing::debug!("{output}");
            match output {
                Output::Persist(memory) => {
                    // Nothing that is told to the kernel or asked of the voters waits here: a slow disk would end the
                    // lease (`WaitsForDisk`).
                    self.disk.write(memory);
                    if made(Mistake::WaitsForDisk) {
                        self.disk.written(ACT_LIMIT).await;
                    }
                }
                Output::Answer(answer) => {
                    if let Some(asker) = waits.peer() {
                        self.answer(answer, asker);
                    }
                }
                Output::Ask { voter, request, sent } => self.others.voters.ask(voter, request, sent),
                Output::Permit { until } => self.permit(until).await,
                Output::Start { epoch, reason } => self.start(epoch, reason).await,
                Output::Fence(why) => self.fence(why).await,
                Output::Stop => {
                    if !self.telephony.stop(&self.telling) {
                        // A worker that is gone reports nothing: the duty would wait for the end of a stop that never
                        // began.
                        self.queue.push_back(Event::Stopped(Outcome::Failed).into());
                    }
                }
                // The command that is killed reports its own end: a kill that cannot be given has nothing to add.
                Output::Kill => self.order(Order::Kill, Event::Timer),
                Output::HardFence { waited } => {
                    let fenced = self.fencing.harden(waited, &mut self.telling).await;
                    self.fenced(fenced);
                }
                Output::VerifyFence { phones } => self.fencing.look(phones),
                Output::ProveDisk => self.disk.write(self.duty.memory()),
                Output::Changed { from, status, .. } => self.changed(from, status, &output),
                Output::TwoActives => {
                    self.telling.metrics.two_actives();
                    self.telling.alarms.two_actives(clock::now());
                    self.telling.tell(Kind::Alarm, &output.to_string());
                }
                Output::Acted(act) => {
                    if let Some(operator) = waits.operator() {
                        self.operators.acted(act, operator, self.disk.written(ACT_LIMIT), &self.telling);
                    }
                }
                Output::Refused { act, reason } => {
                    if let Some(operator) = waits.operator() {
                        self.operators.refused(act, reason, operator, &self.telling);
                    }
                }
            }
        }
    }

    /// Answers the peer. A promise that is not on the disk is not given: after a restart nobody would know of it. The disk is
    /// waited for beside the loop: else a peer that asks again and again keeps a node with a slow one from everything else,
    /// from saying so above all.
    fn answer(&self, answer: Answer, asker: oneshot::Sender<Answer>) {
        if answer.ruling != VoteReply::Grant || made(Mistake::AnswersUnwritten) {
            tell(asker, answer);
            return;
        }
        // Later, no lease could come of it any more.
        let promised = self.disk.promised(answer.campaign, self.settings.timing.lease);
        host::spawn(async move {
            if promised.await {
                tell(asker, answer);
            }
        });
    }

    /// Starts, if the campaign and the epoch are on the disk, and the lease did not end while they were written.
    async fn start(&mut self, epoch: u64, reason: StartReason) {
        let written = self.disk.written(self.settings.timing.lease).await;
        let guarded = matches!(reason, StartReason::Granted { .. });
        // A start without a majority has no lease that could have ended meanwhile.
        let late = guarded && self.duty.lease_until().is_none_or(|until| until <= clock::now());
        if !written || late {
            let why = if written { "the lease ended before it could" } else { "the state is not on the disk" };
            self.telling.tell(Kind::Decided, &format!("does not start: {why}"));
            note_failed_start(&self.telling.journal, &mut self.telling.alarms, why);
            // The start is reported as failed: the duty would else go on, and keep both votes, with nothing that runs
            // (`LostStart`).
            if !made(Mistake::LostStart) {
                self.queue.push_back(Event::Started(Outcome::Failed).into());
            }
            return;
        }
        self.telling.tell(Kind::Decided, &format!("starts in epoch {epoch}: {reason}"));
        // The file is there before the command: units that are held back ask for it the moment they are started.
        self.telling.warn(self.telephony.serving.allow());
        self.order(Order::Start { before: Vec::new() }, Event::Started(Outcome::Failed));
    }

    /// Lets phones in, for a time or without end.
    pub(super) async fn permit(&mut self, until: Option<Instant>) {
        let permitted = self.fencing.permit(until, &mut self.telling).await;
        self.condition.fitness.fence(permitted.as_ref().err().cloned());
        if let Ok(event) = permitted {
            // The report goes ahead of the queue: a timer in it would take the permit before this one for the last.
            self.queue.push_front(event.into());
        }
    }

    async fn fence(&mut self, why: Why) {
        self.telling.tell(Kind::Decided, &format!("fences and stops: {why}"));
        // What dies or is not registered from here on is so by order, and no news.
        self.telephony.leave();
        // Who lost the lease may not speak to media servers either: the other node may be registering.
        let partners = match why {
            Why::LeaseOver | Why::VoteLost(_) | Why::FoundRunning => Partners::Closed,
            _ => Partners::For(PARTNERS),
        };
        // Whoever comes after this watchdog must not go on.
        self.left.leave(self.duty.hand_over());
        let fenced = self.fencing.close(partners, &mut self.telling).await;
        self.fenced(fenced);
        // The fence, which keeps phones out, comes first: this keeps others from starting services, and a file may take
        // its time.
        self.telling.warn(self.telephony.serving.forbid());
    }

    /// Phones are verified to be kept out, since then; the duty hears of that before anything else.
    fn fenced(&mut self, since: Option<Instant>) {
        if let Some(at) = since {
            self.queue.push_front(Input::Fenced(at));
        }
    }

    /// Gives an order to the worker; one it cannot take has failed.
    fn order(&mut self, order: Order, failed: Event) {
        if !self.telephony.order(order, &self.telling) {
            self.queue.push_back(failed.into());
        }
    }

    fn changed(&mut self, from: Status, status: Status, output: &Output) {
        self.telling.changed(from, status, output);
        self.telephony.follow(status);
    }
}

fn tell(asker: oneshot::Sender<Answer>, answer: Answer) {
    #[cfg(test)]
    crate::node::played::answers(&answer);
    // Whoever is gone asks again.
    let _ = asker.send(answer);
}
