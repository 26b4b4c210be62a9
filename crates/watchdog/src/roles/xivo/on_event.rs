//! Takes in what happens around a XiVO node, and queues what the duty must know.

use super::{Input, Operator, Waits, Xivo};
use crate::control::api::{Order, Outside};
use crate::node::clock;
use crate::node::echo::Answering;
use crate::node::liveness::Works;
use crate::node::services;
use crate::roles::mistakes::{Mistake, made};
use crate::roles::status::{ended, note_start};
use crate::roles::xivo::fitness::ByHand;
use crate::roles::xivo::outside::Seen;
use crate::roles::xivo::voters::Answered;
use crate::state::Kind;
use doors::clean;
use failover::duty::{self, Act, Event, Outcome, Refusal, Requests, Surroundings};
use failover::health::Status;
use protocol::wire::{Wish, WishOutcome, Wished};

/// Acts of others that are shown.
const ACTS_OF_OTHERS: usize = 5;

impl Xivo {
    /// Takes in that a command of the worker ended.
    pub(super) fn worked(&mut self, done: services::Event) {
        match done {
            services::Event::Started(report) => {
                self.metrics.command("start", ended(report.outcome), report.took);
                self.tell(Kind::Command, &report.text);
                note_start(&self.journal, &mut self.alarms, &report);
                self.queue.push_back(Event::Started(report.outcome).into());
                if report.outcome == Outcome::Failed && made(Mistake::StartsAgain) {
                    self.queue.push_back(Event::Act(Act::Resume).into());
                }
            }
            services::Event::Stopped(report) => {
                self.metrics.command("stop", ended(report.outcome), report.took);
                self.tell(Kind::Command, &report.text);
                let failed = (report.outcome == Outcome::Failed).then(|| {
                    format!(
                        "the stop could not be verified and is tried again; once no phone reaches the node, its vote is \
                         given all the same: {}",
                        report.text
                    )
                });
                if self.alarms.stop(failed.clone())
                    && let Some(failed) = failed
                {
                    self.tell(Kind::Alarm, &failed);
                }
                if report.outcome == Outcome::Done {
                    self.fitness.stopped(clock::now());
                    if std::mem::take(&mut self.fenced_when_stopped) {
                        self.queue.push_back(Event::Fenced.into());
                    }
                }
                self.queue.push_back(Event::Stopped(report.outcome).into());
            }
        }
    }

    /// A voter answered, or did not.
    pub(super) fn answered(&mut self, answered: Answered) {
        match &answered.told {
            Ok(answer) => self.metrics.answered(answered.by, answer.ruling, clock::now().since(answered.sent)),
            Err(_) => self.metrics.unanswered(answered.by),
        }
        if let Some((by, sent, answer)) = self.voters.note(answered) {
            self.peer_report = answer.report.or(self.peer_report);
            self.queue.push_back(Event::Answered { by, sent, answer }.into());
        }
    }

    /// An operator at the socket acts.
    pub(super) fn ordered(&mut self, order: Order) {
        let Order { act, who, reason, reply } = order;
        if matches!(act, Act::Activate | Act::ForceActivate | Act::Resume) {
            self.fitness.by_hand(None);
            // Who says so has mended the cause, or wants to see it fail again.
            self.alarms.start_is_well();
            self.judge_fitness();
        }
        self.queue.push_back(Input::Act(act, Operator { who, reason, reply: Waits::Here(reply) }));
    }

    /// The Edge hands an operator's wish over. Each is looked at once.
    pub(super) fn wish(&mut self, wish: Wish) {
        if self.wished.as_ref().is_some_and(|wished| wished.id >= wish.id) {
            return;
        }
        let Wish { id, to, who, reason } = wish;
        // Who may not order the node does not fill its journal either.
        if self.settings.requests == Requests::Refuse {
            tracing::debug!(id, "a wish of the Edge's is refused");
            let reason = Refusal::NotAccepted.to_string();
            self.wished = Some(Wished { id, outcome: WishOutcome::Refused { reason } });
            return;
        }
        let (who, reason) = (format!("{}, at the Edge", clean(&who)), clean(&reason));
        self.queue.push_back(Input::Act(Act::HandOver { to }, Operator { who, reason, reply: Waits::Edge(id) }));
    }

    /// Telephony began or ceased to work.
    pub(super) fn liveness_changed(&mut self) {
        let observed = self.observed.borrow_and_update().clone();
        if observed.works == Works::No && self.duty.status() == Status::Active {
            self.outside.look_into(observed.detail);
        }
    }

    /// Somebody else was at work on the node, or is done.
    pub(super) fn saw_outside(&mut self, seen: Seen) {
        match seen {
            Seen::Death { outside, detail } => self.mourn(outside, &detail),
            Seen::Idle { running, upgrade, unready } => {
                let running = running && self.duty.status() == Status::Inactive;
                if self.alarms.outside(running) && running {
                    self.saw_others("somebody else started the services of this inactive node; they are left alone");
                }
                if running {
                    self.fitness.by_hand(None);
                }
                if !upgrade {
                    self.fitness.upgrade_is_over();
                }
                self.fitness.unready(unready);
            }
        }
    }

    /// Telephony of a serving node died, and by whom is known as far as can be.
    fn mourn(&mut self, outside: crate::node::outside::Outside, detail: &str) {
        if self.duty.status() != Status::Active {
            return;
        }
        for sentence in outside.sentences() {
            self.saw_others(sentence);
        }
        let by_hand = outside.by_hand.map(ByHand::Person).or(outside.upgrade.map(ByHand::Upgrade));
        self.fitness.by_hand(by_hand);
        self.tell(Kind::Alarm, &format!("telephony is dead: {detail}"));
        self.fitness.died(detail);
    }

    fn saw_others(&mut self, sentence: &str) {
        self.tell(Kind::Outside, sentence);
        self.acts_of_others.push_front(Outside { at: clock::wall(), sentence: sentence.to_owned() });
        self.acts_of_others.truncate(ACTS_OF_OTHERS);
    }

    /// Looks at what costs nothing to look at.
    pub(super) fn look_around(&mut self) {
        let within = self.settings.timing.promise;
        // Who cannot be asked may be there: Standby does not start beside a Main that it cannot ask for.
        let peer_host = self.echo.answering(self.peer_host, within) != Answering::No;
        let anchors = self.anchors.iter().any(|anchor| self.echo.answering(*anchor, within) == Answering::Yes);
        let surroundings = Surroundings { peer_host, anchors };
        if self.surroundings.replace(surroundings) != Some(surroundings) {
            self.queue.push_back(Event::Surroundings(surroundings).into());
        }
        let window = self.window.as_ref().map_or(duty::Window::Closed, crate::config::Window::now);
        if self.in_window.replace(window) != Some(window) {
            self.queue.push_back(Event::Window(window).into());
        }
        self.disk_trouble();
        let unfenced = self.unfenced.as_ref().and_then(|seen| seen.borrow().clone());
        if self.alarms.unfenced(unfenced.clone())
            && let Some(unfenced) = unfenced
        {
            self.tell(Kind::Alarm, &unfenced);
        }
        let active = self.legacy_failover.as_deref().and_then(crate::legacy_failover::present);
        if self.alarms.legacy_failover(active.clone())
            && let Some(active) = active
        {
            self.tell(Kind::Alarm, &active);
        }
    }

    fn disk_trouble(&mut self) {
        let trouble = self.disk.trouble();
        self.fitness.disk(trouble.is_none());
        if self.alarms.disk(trouble.clone())
            && let Some(trouble) = trouble
        {
            self.tell(Kind::Alarm, &trouble);
        }
    }

    /// Tells the duty when the node's fitness changed.
    pub(super) fn judge_fitness(&mut self) {
        let unfit = self.fitness.unfit(clock::now(), self.serves());
        let fit = unfit.is_none();
        if self.told_fit.replace(fit) == Some(fit) {
            return;
        }
        self.queue.push_back(if fit { Event::Fit } else { Event::Unfit }.into());
        match unfit {
            Some(why) => self.tell(Kind::Changed, &format!("cannot serve: {why}")),
            None if self.alarms.failed_starts().is_some() => self.tell(Kind::Changed, "may try to start again"),
            None => self.tell(Kind::Changed, "can serve"),
        }
    }
}
