//! Carries out what the duty decides, strictly in order.

use super::status::fence_state;
use super::{Input, Waits, Xivo};
use crate::control::api::FenceState;
use crate::node::clock;
use crate::node::fence::{Closed, FenceError, Kept, Partners, Permit};
use crate::node::liveness::Watching;
use crate::node::services::Order;
use crate::roles::mistakes::{Mistake, made};
use crate::roles::status::{note, note_failed_start};
use crate::state::{Entry, Kind};
use failover::Instant;
use failover::duty::{Act, Event, Outcome, Output, Phones, StartReason, Why};
use failover::health::Status;
use failover::lease::{Answer, VoteReply};
use failover::register::Service;
use protocol::wire::{Chosen, WishOutcome};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// For how long an orderly stop may reach the media servers, to take its registrations back.
const PARTNERS: Duration = Duration::from_secs(2);

/// An operator waits for the disk for so long at most.
const ACT_LIMIT: Duration = Duration::from_secs(2);

impl Xivo {
    pub(super) async fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            tracing::debug!("{output}");
            match output {
                Output::Persist(memory) => {
                    self.disk.write(memory);
                    if made(Mistake::WaitsForDisk) {
                        self.disk.written(ACT_LIMIT).await;
                    }
                }
                Output::Answer(answer) => self.answer(answer),
                Output::Ask { voter, request, sent } => self.voters.ask(voter, request, sent),
                Output::Permit { until } => self.permit(until).await,
                Output::Start { epoch, reason } => self.start(epoch, reason).await,
                Output::Fence(why) => self.fence(why).await,
                Output::Stop => {
                    let before = self.registrations.as_ref().map(|all| all.unregistering()).unwrap_or_default();
                    self.order(Order::Stop { before }, Event::Stopped(Outcome::Failed));
                }
                Output::Kill => self.order(Order::Kill, Event::Timer),
                Output::HardFence { waited } => self.harden(waited).await,
                Output::VerifyFence { phones } => self.look_at_fence(phones),
                Output::ProveDisk => self.disk.write(self.duty.memory()),
                Output::Changed { from, status, .. } => self.changed(from, status, &output),
                Output::TwoActives => {
                    self.metrics.two_actives();
                    self.alarms.two_actives(clock::now());
                    self.tell(Kind::Alarm, &output.to_string());
                }
                Output::Acted(act) => self.acted(act),
                Output::Refused { act, reason } => self.refused(&act.to_string(), &reason.to_string()),
            }
        }
    }

    /// Answers the peer. A promise that is not on the disk is not given: after a restart nobody would know of it. The disk is
    /// waited for beside the loop: else a peer that asks again and again keeps a node with a slow one from everything else,
    /// from saying so above all.
    fn answer(&mut self, answer: Answer) {
        let Some(asker) = self.asker.take() else { return };
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
        let late = guarded && self.duty.lease_until().is_none_or(|until| until <= clock::now());
        if !written || late {
            let why = if written { "the lease ended before it could" } else { "the state is not on the disk" };
            self.tell(Kind::Decided, &format!("does not start: {why}"));
            note_failed_start(&self.journal, &mut self.alarms, why);
            if !made(Mistake::LostStart) {
                self.queue.push_back(Event::Started(Outcome::Failed).into());
            }
            return;
        }
        self.tell(Kind::Decided, &format!("starts in epoch {epoch}: {reason}"));
        let allowed = self.serving.allow();
        self.warn(allowed);
        self.order(Order::Start { before: Vec::new() }, Event::Started(Outcome::Failed));
    }

    pub(super) async fn permit(&mut self, until: Option<Instant>) {
        let until = until.filter(|_| !made(Mistake::PermitsForever));
        let permit = until.map_or(Permit::Unlimited, |until| Permit::For(until.since(clock::now())));
        let failed = self.fence.permit(permit).await.err().map(|error| error.to_string());
        match &failed {
            None if self.fence_state != FenceState::Absent => self.saw_fence(FenceState::Open, "phones are let in"),
            None => {}
            Some(why) => self.saw_fence(FenceState::Failed, why),
        }
        self.fitness.fence(failed.clone());
        if failed.is_none() {
            let until = until.filter(|_| self.fence.ends_by_itself());
            self.queue.push_front(Event::Permitted { until }.into());
        }
        // A lease is renewed by itself; what has no end is given once, and must be given again.
        self.permit_again = failed.is_some() && until.is_none();
        if self.alarms.fence(failed.clone())
            && let Some(failed) = &failed
        {
            self.tell(Kind::Alarm, failed);
        }
    }

    async fn fence(&mut self, why: Why) {
        self.tell(Kind::Decided, &format!("fences and stops: {why}"));
        self.liveness.watch(Watching::Off);
        if let Some(registrations) = &self.registrations {
            registrations.tell(Service::Stops);
        }
        // Who lost the lease may not speak to media servers either: the other node may be registering.
        let partners = match why {
            Why::LeaseOver | Why::VoteLost(_) | Why::FoundRunning => Partners::Closed,
            _ => Partners::For(PARTNERS),
        };
        self.fenced_when_stopped = false;
        self.permit_again = false;
        // Whoever comes after this watchdog must not go on.
        self.leave_lease();
        match self.fence.close(partners).await {
            Ok(Closed::Verified { took }) => {
                self.metrics.command("fence", "done", took);
                self.saw_fence(FenceState::Closed, "phones are kept out");
                self.alarms.fence(None);
                self.queue.push_front(Input::Fenced(clock::now()));
            }
            Ok(Closed::WhenStopped) => self.fenced_when_stopped = true,
            Err(error) => self.fence_failed(&error.to_string()),
        }
        let forbidden = self.serving.forbid();
        self.warn(forbidden);
    }

    /// Looks at the fence beside the loop: a slow kernel delays no answer to the peer.
    fn look_at_fence(&mut self, phones: Phones) {
        if self.fence_look.is_none() && !made(Mistake::FenceTrusted) {
            self.fence_look = Some(host::spawn(Arc::clone(&self.fence).keep(phones)));
        }
    }

    /// What a look at the fence came to: the status shows what the kernel has, whatever was done to it last.
    pub(super) fn saw_fence_kept(&mut self, looked: Result<Kept, FenceError>) {
        match &looked {
            Ok(Kept::Unread(why)) => {
                if !self.serves() {
                    self.fitness.fence(None);
                }
                self.saw_fence(FenceState::Failed, why);
                let text = format!("the fence takes permits, but cannot be read back: {why}");
                if self.alarms.unread(Some(text.clone())) {
                    self.tell(Kind::Alarm, &text);
                }
            }
            Ok(Kept::AsItShould(_) | Kept::Mended { .. }) => {
                self.alarms.unread(None);
            }
            Ok(Kept::Overtaken) | Err(_) => {}
        }
        match looked {
            Ok(Kept::Unread(_)) => {}
            Ok(Kept::Overtaken) => {}
            Ok(Kept::AsItShould(state)) => {
                let (state, detail) = fence_state(&state);
                // What was never verified, or could not be renewed, is not made good by a look; but a closed fence is not
                // found as it should be before it would take a permit again.
                if state == FenceState::Closed && !self.serves() {
                    self.alarms.fence(None);
                    self.fitness.fence(None);
                }
                self.saw_fence(state, &detail);
            }
            Ok(Kept::Mended { state, was, by }) => {
                let (state, detail) = fence_state(&state);
                self.saw_fence(state, &detail);
                if state == FenceState::Closed {
                    self.fitness.fence(None);
                }
                self.permit_again |= self.serves() && self.duty.report().unguarded;
                self.metrics.fence_mended();
                let last = by.as_ref().map(|by| format!("; {by} wrote to the packet filter last")).unwrap_or_default();
                if let Some(count) = self.alarms.fence_removed(clock::now(), by) {
                    let text = format!(
                        "the fence was not as the watchdog wrote it ({was}), {count} times by now: it is written anew, but \
                         somebody on this node removes it{last}"
                    );
                    self.tell(Kind::Alarm, &text);
                }
            }
            Err(error) => {
                self.fitness.fence(Some(error.to_string()));
                self.fence_failed(&error.to_string());
            }
        }
    }

    /// Says what the service manager could not be shown; the fence does not hang on it.
    pub(super) fn warn(&mut self, shown: std::io::Result<()>) {
        if let Err(error) = shown {
            self.tell(Kind::Alarm, &error.to_string());
        }
    }

    async fn harden(&mut self, waited: Duration) {
        self.metrics.hard_fenced();
        self.tell(Kind::Alarm, &format!("HARD FENCE: not fenced within {waited:?}"));
        match self.fence.harden().await {
            Ok(Closed::Verified { .. }) => {
                self.saw_fence(FenceState::Closed, "phones are kept out by the last resort");
                self.queue.push_front(Input::Fenced(clock::now()));
            }
            Ok(Closed::WhenStopped) => self.fenced_when_stopped = true,
            Err(error) => self.fence_failed(&error.to_string()),
        }
    }

    fn fence_failed(&mut self, why: &str) {
        self.saw_fence(FenceState::Failed, why);
        if self.alarms.fence(Some(why.to_owned())) {
            self.tell(Kind::Alarm, why);
        }
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
            self.doings.since = clock::wall();
            match status {
                Status::Active => self.metrics.activated(),
                Status::Stopping => self.metrics.stepped_down(),
                _ => {}
            }
        }
        self.doings.status = status;
        self.doings.because.clone_from(&text);
        self.tell(Kind::Changed, &text);
        if status != Status::Inactive {
            self.alarms.outside(false);
        }
        self.liveness.watch(if status == Status::Active { Watching::On } else { Watching::Off });
        if status == Status::Active
            && let Some(registrations) = &self.registrations
        {
            registrations.tell(Service::Serves);
        }
        crate::telemetry::systemd::status(&text);
    }

    fn acted(&mut self, act: Act) {
        let Some(operator) = self.operator.take() else { return };
        let serves = match act {
            Act::Activate | Act::ForceActivate => Some(self.settings.side),
            Act::Deactivate => Some(self.settings.side.other()),
            Act::HandOver { to } => Some(to),
            Act::Freeze | Act::Resume | Act::Mode(_) | Act::Failback(_) => None,
        };
        if let Some(serves) = serves {
            let chosen = Chosen { serves, who: operator.who.clone(), reason: operator.reason.clone() };
            self.chosen = Some((chosen, clock::now()));
        }
        let act = act.to_string();
        self.journal.append(Entry::new(Kind::Act, &*act).by(&operator.who, &operator.reason));
        match operator.reply {
            Waits::Here(reply) => {
                let written = self.disk.written(ACT_LIMIT);
                host::spawn(async move {
                    let kept = written.await;
                    let _ = reply.send(match kept {
                        true => Ok(act),
                        false => Err(format!("{act}: done, but it is not on the disk: a restart forgets it")),
                    });
                });
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

fn tell(asker: oneshot::Sender<Answer>, answer: Answer) {
    #[cfg(test)]
    crate::node::played::answers(&answer);
    // Whoever is gone asks again.
    let _ = asker.send(answer);
}
