//! In what condition a XiVO node is: whether it could serve, and what others do on it.

use std::collections::VecDeque;
use std::path::PathBuf;

use failover::duty::Event;
use failover::health::Status;
use tokio::sync::watch;

use super::fitness::{ByHand, Fitness};
use super::outside::{Seen, Watch};
use super::telling::Telling;
use crate::control::api::Outside;
use crate::node::clock;
use crate::roles::alarms::Alarm;
use crate::state::Kind;

/// Acts of others that are shown.
const ACTS_OF_OTHERS: usize = 5;

/// Whether the node could serve, and what others do on it.
pub(super) struct Condition {
    pub(super) fitness: Fitness,
    /// What the duty was told of it last.
    told: Option<bool>,
    pub(super) outside: Watch,
    /// What others did to the services, newest first.
    acts_of_others: VecDeque<Outside>,
    /// Where Asterisk listens beyond the fence, in a sentence.
    unfenced: Option<watch::Receiver<Option<String>>>,
    /// The cron table that must not act beside this.
    legacy_failover: Option<PathBuf>,
}

impl Condition {
    pub(super) fn new(
        fitness: Fitness,
        outside: Watch,
        unfenced: Option<watch::Receiver<Option<String>>>,
        legacy_failover: Option<PathBuf>,
    ) -> Self {
        Self { fitness, told: None, outside, acts_of_others: VecDeque::new(), unfenced, legacy_failover }
    }

    /// Returns what the duty is to know, if the node's fitness changed.
    pub(super) fn judge(&mut self, serves: bool, telling: &Telling) -> Option<Event> {
        let unfit = self.fitness.unfit(clock::now(), serves);
        let fit = unfit.is_none();
        if self.told.replace(fit) == Some(fit) {
            return None;
        }
        match unfit {
            Some(why) => telling.tell(Kind::Changed, &format!("cannot serve: {why}")),
            None if telling.alarms.failed_starts().is_some() => telling.tell(Kind::Changed, "may try to start again"),
            None => telling.tell(Kind::Changed, "can serve"),
        }
        Some(if fit { Event::Fit } else { Event::Unfit })
    }

    /// Shows why the node cannot serve, and returns whether it can.
    pub(super) fn show(&self, serves: bool, telling: &mut Telling) -> bool {
        let unfit = self.fitness.unfit(clock::now(), serves);
        telling.alarms.unfit(unfit.as_ref().map(|why| (why.kind(), format!("cannot serve: {why}"))));
        unfit.is_none()
    }

    /// Who gives an order by hand has mended the cause, or wants to see it fail again.
    pub(super) fn mended_by_hand(&mut self, telling: &mut Telling) {
        self.fitness.by_hand(None);
        telling.alarms.start_is_well();
    }

    /// Somebody else was at work on the node, or is done.
    pub(super) fn saw(&mut self, seen: Seen, status: Status, telling: &mut Telling) {
        match seen {
            Seen::Death { outside, detail } => {
                // The look took its time: by now the node may have been stopped by order.
                if status == Status::Active {
                    self.died(outside, &detail, telling);
                }
            }
            Seen::Idle { running, upgrade, unready } => {
                let running = running && status == Status::Inactive;
                // The fence keeps phones out of them; a stop would fight a person who may be at work on the node.
                if telling.alarms.outside(running) && running {
                    let sentence = "somebody else started the services of this inactive node; they are left alone";
                    self.acted(sentence, telling);
                }
                // Whoever has them run again is done with what they were stopped for.
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
    fn died(&mut self, outside: crate::node::outside::Outside, detail: &str, telling: &Telling) {
        for sentence in outside.sentences() {
            self.acted(sentence, telling);
        }
        let by_hand = outside.by_hand.map(ByHand::Person).or(outside.upgrade.map(ByHand::Upgrade));
        self.fitness.by_hand(by_hand);
        telling.tell(Kind::Alarm, &format!("telephony is dead: {detail}"));
        self.fitness.died(detail);
    }

    fn acted(&mut self, sentence: &str, telling: &Telling) {
        telling.tell(Kind::Outside, sentence);
        self.acts_of_others.push_front(Outside { at: clock::wall(), sentence: sentence.to_owned() });
        self.acts_of_others.truncate(ACTS_OF_OTHERS);
    }

    /// What others did to the services, newest first.
    pub(super) fn acts_of_others(&self) -> Vec<Outside> {
        self.acts_of_others.iter().cloned().collect()
    }

    /// Looks at what of the node itself needs a person, and costs nothing to look at.
    pub(super) fn look(&mut self, disk_trouble: Option<String>, telling: &mut Telling) {
        self.fitness.disk(disk_trouble.is_none());
        telling.raise(Alarm::Disk, disk_trouble);
        telling.raise(Alarm::Unfenced, self.unfenced.as_ref().and_then(|seen| seen.borrow().clone()));
        let acts = self.legacy_failover.as_deref().and_then(crate::legacy_failover::present);
        telling.raise(Alarm::LegacyFailover, acts);
    }
}
