//! What happened, as an observer saw it from outside, and whether each promise held.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use failover::Side;

use super::LONGEST_STATUS;
use super::world::{Condition, Plate};
use crate::admin::api;

/// Side, epoch, and whether automatic switches are frozen.
pub(super) type Word = (Side, u64, bool);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// To that side, even if it does not work.
    Switch(Side, bool),
    Freeze,
    Resume,
}

/// As it is noted, in order: the judge sees nothing else of a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Condition(usize, Condition),
    Cut(bool),
    Frozen(bool),
    Disk(Plate),
    /// A process begins, and finds this, and that these switches were made; one dies.
    Boots(Option<Word>, BTreeSet<u64>),
    Dies,
    /// What the request path is told.
    Live {
        side: Side,
        serving: bool,
        waiting: bool,
        epoch: u64,
    },
    /// A probe of a check begins; one ends.
    Probe(usize),
    Probed(usize),
    /// A write is on the disk, or failed.
    Written(bool),
    /// What an operator sees, and what was on the disk if it says that all of it is.
    Status {
        alive: bool,
        took: Duration,
        said: Word,
        kept: Option<Option<Word>>,
        damped: bool,
        alarms: Vec<String>,
    },
    Ordered {
        number: usize,
        order: Order,
        by: String,
    },
    Answered {
        number: usize,
        done: bool,
        refused: bool,
    },
    Reload,
    /// The file that was read anew did not load.
    Broken,
    /// What is on the disk in the end.
    Kept {
        live: Option<Word>,
        entries: Vec<(api::Event, u64, Option<String>, Option<String>)>,
        reports: BTreeSet<u64>,
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) switches: usize,
    pub(super) planned: usize,
    /// The most probes of one check in a second.
    pub(super) probes: usize,
    pub(super) longest_status: Duration,
    pub(super) alarms: usize,
}

impl Told {
    pub(super) fn add(&mut self, other: &Self) {
        self.switches += other.switches;
        self.planned += other.planned;
        self.probes = self.probes.max(other.probes);
        self.longest_status = self.longest_status.max(other.longest_status);
        self.alarms += other.alarms;
    }
}

/// A side that is dead is left within so long when nothing else was wrong: its next probe, those that settle it, the other
/// side's answer, and one more of each.
const PROMPT: Duration = Duration::from_millis(4_500);
/// Within so long otherwise: `doubt_limit` and `settle` may have to pass first.
const LATE: Duration = Duration::from_secs(12);
/// Nothing else was wrong for so long.
const CALM: Duration = Duration::from_secs(20);
/// What was seen so long ago may still be what a switch is made for.
const SEEN: Duration = Duration::from_secs(12);
/// An alarm is shown within so long, and gone.
const ALARMED: Duration = Duration::from_millis(2_500);
/// Between the answer to an order and what it brings: the loop may wait for the disk once more.
const DONE: Duration = Duration::from_millis(300);
/// Automatic switches in an hour; after that only a dead side is left.
const BUDGET: usize = 4;
const HOUR: Duration = Duration::from_secs(3_600);
/// Probes of one check within a second: a burst that settles a verdict, and the calm ones.
const PROBES: usize = 40;

/// How a side is, and was.
#[derive(Clone, Copy)]
struct Half {
    condition: Condition,
    since: Duration,
    worked: Duration,
    failed: Option<Duration>,
    dead: Option<Duration>,
}

struct Given {
    at: Duration,
    order: Order,
    by: String,
    answered: Option<Duration>,
    refused: bool,
    done: bool,
}

struct Switched {
    at: Duration,
    epoch: u64,
    /// By which order, if one was given.
    order: Option<usize>,
}

struct Judge {
    halves: [Half; 2],
    cut: bool,
    /// When the Edge itself last had trouble: its network, its loop, its start.
    own: Duration,
    /// When anything was done, or went wrong, before what did so last.
    disturbed: [Duration; 2],
    alive: bool,
    stands_still: bool,
    booted: Duration,
    live: Option<(Side, u64)>,
    /// Since when requests are served, and since when the page is shown instead.
    serving: bool,
    waiting: bool,
    /// Whether automatic switches are forbidden; none: it is not certain.
    frozen: Option<bool>,
    orders: BTreeMap<usize, Given>,
    switched: Vec<Switched>,
    automatic: Vec<(Duration, u64)>,
    /// What was last said to be on the disk.
    kept: Option<Word>,
    failing: Option<Duration>,
    failed: Duration,
    disk_was_ill: bool,
    broken: Option<Duration>,
    reloaded: Duration,
    alarms: Vec<String>,
    probes: BTreeMap<usize, VecDeque<Duration>>,
    told: Told,
}

pub(super) fn judge(events: &[(Duration, Event)], end: Duration) -> Result<Told, String> {
    let zero = Duration::ZERO;
    let half = Half { condition: Condition::Works(5), since: zero, worked: zero, failed: None, dead: None };
    let mut judge = Judge {
        halves: [half; 2],
        cut: false,
        own: zero,
        disturbed: [zero; 2],
        alive: false,
        stands_still: false,
        booted: zero,
        live: None,
        serving: false,
        waiting: false,
        frozen: Some(false),
        orders: BTreeMap::new(),
        switched: Vec::new(),
        automatic: Vec::new(),
        kept: None,
        failing: None,
        failed: zero,
        disk_was_ill: false,
        broken: None,
        reloaded: zero,
        alarms: Vec::new(),
        probes: BTreeMap::new(),
        told: Told::default(),
    };
    for (number, (at, event)) in events.iter().enumerate() {
        judge.take(*at, event).map_err(|why| format!("{why} at {at:.3?}"))?;
        let until = events.get(number + 1).map_or(end, |(next, _)| *next);
        judge.pass(until).map_err(|why| format!("{why} after {at:.3?}"))?;
    }
    Ok(judge.told)
}

impl Judge {
    fn take(&mut self, at: Duration, event: &Event) -> Result<(), String> {
        let disturbs = matches!(
            event,
            Event::Condition(..)
                | Event::Cut(_)
                | Event::Frozen(_)
                | Event::Disk(_)
                | Event::Boots(..)
                | Event::Ordered { .. }
                | Event::Reload
        );
        if disturbs && self.disturbed[1] != at {
            self.disturbed = [self.disturbed[1], at];
        }
        match event {
            Event::Condition(side, condition) => {
                let half = &mut self.halves[*side];
                if half.condition != *condition {
                    (half.condition, half.since) = (*condition, at);
                }
            }
            Event::Cut(cut) => (self.cut, self.own) = (*cut, at),
            Event::Frozen(frozen) => (self.stands_still, self.own) = (*frozen, at),
            Event::Disk(plate) => self.disk_was_ill |= *plate != Plate::Well,
            Event::Boots(found, switches) => self.boots(at, *found, switches)?,
            Event::Dies => (self.alive, self.stands_still, self.live) = (false, false, None),
            Event::Live { side, serving, waiting, epoch } => {
                (self.serving, self.waiting) = (*serving, *waiting);
                self.moved(at, *side, *epoch)?;
            }
            Event::Probe(check) => self.probed(at, *check)?,
            Event::Probed(_) => {}
            Event::Written(true) => self.failing = None,
            Event::Written(false) => (self.failing, self.failed) = (self.failing.or(Some(at)), at),
            Event::Status { alive, took, said, kept, damped, alarms } => {
                self.says(at, *alive, *took, *said, *kept)?;
                self.says_damped(at, *damped)?;
                self.alarmed(at, alarms)?;
            }
            Event::Ordered { number, order, by } => {
                self.frozen = self.frozen.filter(|_| matches!(order, Order::Switch(_, false)));
                let given = Given { at, order: *order, by: by.clone(), answered: None, refused: false, done: false };
                self.orders.insert(*number, given);
            }
            Event::Answered { number, done, refused } => self.answered(at, *number, *done, *refused),
            Event::Reload => (self.reloaded, self.broken) = (at, None),
            Event::Broken => self.broken = self.broken.or(Some(at)),
            Event::Kept { live, entries, reports } => self.kept(at, *live, entries, reports)?,
        }
        Ok(())
    }

    /// What was on the disk counts, and nothing that was said to be there is forgotten (E4).
    fn boots(&mut self, at: Duration, found: Option<Word>, switches: &BTreeSet<u64>) -> Result<(), String> {
        (self.alive, self.stands_still, self.booted, self.own) = (true, false, at, at);
        (self.alarms, self.failing, self.broken) = (Vec::new(), None, None);
        if let Some(kept) = self.kept {
            let Some(found) = found.filter(|found| found.1 >= kept.1) else {
                return Err(format!("E4: {kept:?} was said to be on the disk, and {found:?} is found"));
            };
            if found.1 == kept.1 && found.0 != kept.0 {
                return Err(format!("E4: {kept:?} was said to be on the disk, and {found:?} is found"));
            }
        }
        // What was not on the disk yet is forgotten; of that nothing was said.
        self.automatic.retain(|(_, epoch)| switches.contains(epoch));
        self.frozen = found.map_or(Some(false), |found| Some(found.2));
        for given in self.orders.values_mut() {
            given.answered = given.answered.or(Some(at));
        }
        Ok(())
    }

    /// The live side changes by an order, or because it does not work and the other does.
    fn moved(&mut self, at: Duration, to: Side, epoch: u64) -> Result<(), String> {
        let Some((from, before)) = self.live.replace((to, epoch)) else { return Ok(()) };
        if epoch < before || from == to && epoch != before {
            return Err(format!("E4: epoch {epoch} comes after {before}"));
        }
        if from == to {
            return Ok(());
        }
        if epoch != before + 1 {
            return Err(format!("E4: {to} is live in epoch {epoch}, after {before}"));
        }
        self.told.switches += 1;
        let used = |number: &usize| self.switched.iter().any(|switched| switched.order == Some(*number));
        let order = self.orders.iter().find(|(number, given)| {
            // Who ordered may hear of it a disk's patience before the request path does.
            let open = given.answered.is_none_or(|answered| answered + DONE >= at) && !given.refused;
            open && matches!(given.order, Order::Switch(side, _) if side == to) && !used(number)
        });
        let order = order.map(|(number, _)| *number);
        self.switched.push(Switched { at, epoch, order });
        if order.is_some() {
            self.told.planned += 1;
            return Ok(());
        }
        let (left, taken) = (self.halves[from as usize], self.halves[to as usize]);
        if self.frozen == Some(true) {
            return Err(format!("{to} becomes live by itself though that is frozen"));
        }
        let lately = |then: Option<Duration>| then.is_some_and(|then| then + SEEN >= at);
        if !lately(left.failed) {
            return Err(format!("E1: {from} is left, and works: {:?} since {:?}", left.condition, left.since));
        }
        if taken.worked + SEEN < at {
            return Err(format!("E1: {to} becomes live, and does not work: {:?}", taken.condition));
        }
        self.automatic.retain(|(then, _)| *then + HOUR > at);
        if self.automatic.len() >= BUDGET && !lately(left.dead) && self.own + SEEN < at {
            return Err(format!(
                "E9: the {}th switch of an hour leaves a side that is not dead",
                self.automatic.len() + 1
            ));
        }
        self.automatic.push((at, epoch));
        Ok(())
    }

    fn probed(&mut self, at: Duration, check: usize) -> Result<(), String> {
        let starts = self.probes.entry(check).or_default();
        starts.push_back(at);
        while starts.front().is_some_and(|start| *start + Duration::from_secs(1) < at) {
            starts.pop_front();
        }
        self.told.probes = self.told.probes.max(starts.len());
        match starts.len() > PROBES {
            true => Err(format!("check {check} is probed {} times in a second", starts.len())),
            false => Ok(()),
        }
    }

    fn says(
        &mut self,
        at: Duration,
        alive: bool,
        took: Duration,
        said: Word,
        kept: Option<Option<Word>>,
    ) -> Result<(), String> {
        let asked = at.saturating_sub(took);
        if !self.stands_still && self.own < asked {
            self.told.longest_status = self.told.longest_status.max(took);
            if took > LONGEST_STATUS || !alive {
                return Err(format!("the loop stands still: it answers after {took:?}"));
            }
        }
        // Who asks at this instant may see it done, or not yet.
        let unsettled = self.orders.values().any(|given| given.answered.is_none_or(|answered| answered >= asked));
        if let Some(frozen) = self.frozen.filter(|frozen| *frozen != said.2 && !unsettled) {
            return Err(format!("it says that it is frozen: {}, and it is: {frozen}", said.2));
        }
        if !unsettled {
            self.frozen = Some(said.2);
        }
        if let Some(found) = kept {
            let fits = |found: Word| found.1 > said.1 || found == said || unsettled && found.1 == said.1;
            if !found.is_some_and(fits) {
                return Err(format!("E4: {said:?} is said to be on the disk, and {found:?} is"));
            }
            self.kept = Some(said);
        }
        Ok(())
    }

    fn says_damped(&self, at: Duration, damped: bool) -> Result<(), String> {
        let used = self.automatic.iter().filter(|(then, _)| *then + HOUR > at).count();
        // A switch of this very instant may be counted, or not yet.
        let newest = self.automatic.last().is_some_and(|(then, _)| *then + Duration::from_secs(1) > at);
        match damped == (used >= BUDGET) || newest {
            true => Ok(()),
            false => Err(format!("E9: it says that it is damped: {damped}, after {used} switches")),
        }
    }

    fn alarmed(&mut self, at: Duration, alarms: &[String]) -> Result<(), String> {
        self.told.alarms += alarms.len();
        self.alarms = alarms.to_vec();
        let is_true = |alarm: &String| {
            if alarm.starts_with("cannot write") {
                at < self.failed + SEEN && self.disk_was_ill
            } else if alarm.starts_with("The journal knows") || alarm.contains("is gone") {
                self.disk_was_ill
            } else if alarm.starts_with("the configuration on the disk does not load") {
                self.broken.is_some() || at < self.reloaded.max(self.own) + ALARMED
            } else {
                // Nothing of what is played here is a reason for any other.
                false
            }
        };
        match alarms.iter().find(|alarm| !is_true(alarm)) {
            Some(alarm) => Err(format!("a false alarm: {alarm:?}")),
            None => Ok(()),
        }
    }

    fn answered(&mut self, at: Duration, number: usize, done: bool, refused: bool) {
        let Some(given) = self.orders.get_mut(&number) else { return };
        (given.answered, given.done, given.refused) = (Some(at), done, refused);
        let order = given.order;
        let others = self
            .orders
            .iter()
            .any(|(other, given)| *other != number && given.answered.is_none_or(|answered| answered == at));
        self.frozen = match order {
            Order::Freeze if done && !others => Some(true),
            Order::Resume if done && !others => Some(false),
            Order::Switch(_, false) => self.frozen,
            _ => None,
        };
    }

    /// What goes on is judged between two events, as it may last too long with no event at all.
    fn pass(&mut self, until: Duration) -> Result<(), String> {
        for half in &mut self.halves {
            match half.condition {
                Condition::Works(ms) if ms < 800 => half.worked = until,
                condition => {
                    half.failed = Some(until);
                    if condition.is_dead() {
                        half.dead = Some(until);
                    }
                }
            }
        }
        if self.cut || self.stands_still || !self.alive {
            self.own = until;
            return Ok(());
        }
        let shows = |words: &str| self.alarms.iter().any(|alarm| alarm.contains(words));
        if self.failing.is_some_and(|since| until > since.max(self.own) + ALARMED) && !shows("cannot write") {
            return Err("it tells nobody that its disk does not take anything".into());
        }
        if self.broken.is_some_and(|since| until > since.max(self.own) + ALARMED) && !shows("does not load") {
            return Err("it tells nobody that its configuration does not load".into());
        }
        let Some((live, _)) = self.live else { return Ok(()) };
        self.somebody_serves(until, self.halves[live as usize], self.halves[live.other() as usize])
    }

    fn somebody_serves(&self, until: Duration, live: Half, other: Half) -> Result<(), String> {
        let quick = |half: &Half| matches!(half.condition, Condition::Works(ms) if ms <= 100);
        // The newest of what happened is what the bound counts from, and before it nothing did for some time.
        let limit = if self.disturbed[0] + CALM < self.disturbed[1] { PROMPT } else { LATE };
        let since = live.since.max(other.since).max(self.own).max(self.disturbed[1]);
        if until <= since + limit {
            return Ok(());
        }
        let left = live.condition.is_dead() || live.condition == Condition::Wrong && self.automatic.len() < BUDGET;
        if left && quick(&other) && self.frozen == Some(false) {
            return Err(format!("E2: the live side is {:?} for {limit:?}, and the other works", live.condition));
        }
        if quick(&live) && !self.serving {
            return Err(format!("E3: the live side works for {limit:?}, and requests are not sent to it"));
        }
        if live.condition.is_dead() && other.condition.is_dead() && !self.waiting {
            return Err(format!("E3: no side works for {limit:?}, and users do not get the page"));
        }
        Ok(())
    }

    /// The journal has each switch and each order of the last process, and says who and why; nothing was lost.
    fn kept(
        &self,
        at: Duration,
        live: Option<Word>,
        entries: &[(api::Event, u64, Option<String>, Option<String>)],
        reports: &BTreeSet<u64>,
    ) -> Result<(), String> {
        if live.map(|live| (live.0, live.1)) != self.live {
            return Err(format!("E4: {live:?} is on the disk in the end, and {:?} is live", self.live));
        }
        let named = |number: usize| Some(format!("number {number}"));
        for switched in self.switched.iter().filter(|switched| switched.at > self.booted) {
            let of_epoch =
                |entry: &&(api::Event, u64, _, _)| entry.0 == api::Event::Switched && entry.1 == switched.epoch;
            let found: Vec<_> = entries.iter().filter(of_epoch).collect();
            let [(_, _, by, why)] = found[..] else {
                return Err(format!("E8: the journal has {} switches to epoch {}", found.len(), switched.epoch));
            };
            let order = switched.order.map(|number| (number, &self.orders[&number]));
            let wanted = order.map_or((None, None), |(number, given)| (Some(given.by.clone()), named(number)));
            if (by.clone(), why.clone()) != wanted {
                return Err(format!("E8: epoch {} by {by:?}, {why:?}; it was {wanted:?}", switched.epoch));
            }
            if !reports.contains(&switched.epoch) {
                return Err(format!("E8: there is no report of epoch {}", switched.epoch));
            }
        }
        for (number, given) in self.orders.iter().filter(|(_, given)| given.at > self.booted && given.at < at) {
            let what = match given.order {
                _ if given.refused => api::Event::Refused,
                Order::Freeze => api::Event::Frozen,
                Order::Resume => api::Event::Resumed,
                Order::Switch(..) => api::Event::Switched,
            };
            let wanted = (Some(given.by.clone()), named(*number));
            let is_told = entries.iter().any(|entry| entry.0 == what && (&entry.2, &entry.3) == (&wanted.0, &wanted.1));
            if (given.done || given.refused) && !is_told {
                return Err(format!("E8: the journal does not tell of {:?} by {} ({what:?})", given.order, given.by));
            }
        }
        Ok(())
    }
}
