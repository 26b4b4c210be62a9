//! Takes in what happens around a XiVO node, and queues what the duty must know.

use failover::duty::{Act, Event, Outcome};
use failover::health::{self, Status};
use protocol::wire::Wish;

use super::fencing::Serving;
use super::operators::{Operator, Reply};
use super::{Input, Xivo};
use crate::control::api::Order;
use crate::node::clock;
use crate::node::fence::{FenceError, Kept};
use crate::node::services;
use crate::roles::mistakes::{Mistake, made};
use crate::roles::xivo::outside::Seen;
use crate::roles::xivo::voters::Answered;

impl Xivo {
    /// Takes in that a command of the worker ended.
    pub(super) fn worked(&mut self, done: services::Event) {
        match done {
            services::Event::Started(report) => {
                self.telephony.started(&report, &mut self.telling);
                self.queue.push_back(Event::Started(report.outcome).into());
                if report.outcome == Outcome::Failed && made(Mistake::StartsAgain) {
                    self.queue.push_back(Event::Act(Act::Resume).into());
                }
            }
            services::Event::Stopped(report) => {
                self.telephony.stopped(&report, &mut self.telling);
                if report.outcome == Outcome::Done {
                    self.condition.fitness.stopped(clock::now());
                    // With `fence: none` the stop is the fence: the duty hears of that first, while it still waits for
                    // it.
                    if self.fencing.services_stopped() {
                        self.queue.push_back(Event::Fenced.into());
                    }
                }
                self.queue.push_back(Event::Stopped(report.outcome).into());
            }
        }
    }

    /// A voter answered, or did not.
    pub(super) fn answered(&mut self, answered: Answered) {
        let event = self.others.answered(answered, &self.telling);
        self.queue.extend(event.map(Input::Event));
    }

    /// An operator at the socket acts.
    pub(super) fn ordered(&mut self, order: Order) {
        let Order { act, who, reason, reply } = order;
        // The node's fitness is judged before the act: it would be refused for what the operator has just mended.
        if matches!(act, Act::Activate | Act::ForceActivate | Act::Resume) {
            self.condition.mended_by_hand(&mut self.telling);
            self.judge_fitness();
        }
        self.queue.push_back(Input::Act(act, Operator { who, reason, reply: Reply::Here(reply) }));
    }

    /// The Edge hands an operator's wish over.
    pub(super) fn wish(&mut self, wish: Wish) {
        let order = self.operators.wish(wish);
        self.queue.extend(order.map(|(act, operator)| Input::Act(act, operator)));
    }

    /// Telephony began or ceased to work.
    pub(super) fn liveness_changed(&mut self) {
        let observed = self.telephony.observed.borrow_and_update().clone();
        // While the services start or stop they come and go; that is for the worker to judge.
        if observed.works == health::State::NotWorking && self.duty.status() == Status::Active {
            self.condition.outside.look_into(observed.detail);
        }
    }

    /// Somebody else was at work on the node, or is done.
    pub(super) fn saw_outside(&mut self, seen: Seen) {
        self.condition.saw(seen, self.duty.status(), &mut self.telling);
    }

    /// A look at the fence ended.
    pub(super) fn saw_fence(&mut self, looked: Result<Kept, FenceError>) {
        let node = Serving { serves: self.serves(), unguarded: self.duty.report().unguarded };
        if let Some(works) = self.fencing.saw_kept(looked, node, &mut self.telling) {
            self.condition.fitness.fence(works.err());
        }
    }

    /// Looks at what costs nothing to look at.
    pub(super) fn look_around(&mut self) {
        self.queue.extend(self.surroundings.look().map(Input::Event));
        self.condition.look(self.disk.trouble(), &mut self.telling);
    }

    /// Tells the duty when the node's fitness changed.
    pub(super) fn judge_fitness(&mut self) {
        let event = self.condition.judge(self.serves(), &self.telling);
        self.queue.extend(event.map(Input::Event));
    }
}
