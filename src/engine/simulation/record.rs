//! What happened, as an observer saw it from outside, and whether each promise held.

mod nodes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use failover::Side;
use failover::health::Status;

use self::nodes::{Nodes, Whose};
use super::LONGEST_STATUS;
use super::site::Truth;
use super::world::{Condition, Plate};
use crate::admin::api::{self, SwitchoverState};

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
    /// The loop turns again and again at one instant.
    Spins,
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
        rows: Vec<Row>,
        switchover: Option<Seen>,
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
        /// Of a switch of the whole site: whether it has begun.
        switchover: Option<SwitchoverState>,
    },
    /// What a node is, at its place.
    Truth(usize, Truth),
    /// A node that speaks another version of the protocol dials, or does not any longer.
    OtherVersion(bool),
    /// A report of a node leaves; the Edge has taken in one that was young.
    Sent(usize),
    Taken(usize),
    /// What a node is told to wish, and that it begins to follow.
    Wish {
        place: usize,
        to: Side,
        why: String,
    },
    Followed(usize),
    Reload,
    /// The file that was read anew did not load.
    Broken,
    /// What is on the disk in the end.
    Kept {
        live: Option<Word>,
        entries: Vec<Entry>,
        reports: BTreeSet<u64>,
    },
}

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) event: api::Event,
    pub(super) epoch: u64,
    pub(super) by: Option<String>,
    pub(super) why: Option<String>,
    pub(super) sentence: String,
}

/// A node as operators see it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) place: usize,
    pub(super) fresh: bool,
    pub(super) status: Status,
}

/// A switch of the whole site as operators see it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) to: Side,
    pub(super) state: SwitchoverState,
    pub(super) sentence: String,
    /// Which step runs, or failed; how many are done.
    pub(super) step: Option<usize>,
    pub(super) done: usize,
    /// What does not hold before it begins.
    pub(super) failing: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) switches: usize,
    pub(super) planned: usize,
    /// The most probes of one check in a second.
    pub(super) probes: usize,
    pub(super) longest_status: Duration,
    pub(super) alarms: usize,
    /// Switches of the whole site that ended: done, undone, and not all undone.
    pub(super) switchovers: [usize; 3],
}

impl Told {
    pub(super) fn add(&mut self, other: &Self) {
        self.switches += other.switches;
        self.planned += other.planned;
        self.probes = self.probes.max(other.probes);
        self.longest_status = self.longest_status.max(other.longest_status);
        self.alarms += other.alarms;
        for (sum, more) in self.switchovers.iter_mut().zip(other.switchovers) {
            *sum += more;
        }
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
/// Probes have not judged for so long what is new.
const UNJUDGED: Duration = Duration::from_secs(5);
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
    to: Side,
    whose: Whose,
}

/// The Edge's process.
#[derive(Default)]
struct Process {
    alive: bool,
    stands_still: bool,
    booted: Duration,
}

/// What the request path was told last.
#[derive(Default)]
struct Shown {
    live: Option<(Side, u64)>,
    serving: bool,
    /// The page is shown instead.
    waiting: bool,
}

#[derive(Default)]
struct Switches {
    all: Vec<Switched>,
    automatic: Vec<(Duration, u64)>,
    /// Which order the journal of the end names for each.
    booked: BTreeMap<u64, Option<usize>>,
}

#[derive(Default)]
struct Disk {
    /// What was last said to be on it.
    kept: Option<Word>,
    failing: Option<Duration>,
    failed: Duration,
    was_ill: bool,
}

/// The configuration's.
#[derive(Default)]
struct File {
    broken: Option<Duration>,
    reloaded: Duration,
}

struct Judge {
    halves: [Half; 2],
    cut: bool,
    /// When the Edge itself last had trouble: its network, its loop, its start.
    own: Duration,
    /// When anything was done, or went wrong, before what did so last.
    disturbed: [Duration; 2],
    process: Process,
    shown: Shown,
    /// Whether automatic switches are forbidden; none: it is not certain.
    frozen: Option<bool>,
    orders: BTreeMap<usize, Given>,
    switches: Switches,
    disk: Disk,
    file: File,
    alarms: Vec<String>,
    probes: BTreeMap<usize, VecDeque<Duration>>,
    nodes: Nodes,
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
        process: Process::default(),
        shown: Shown::default(),
        frozen: Some(false),
        orders: BTreeMap::new(),
        switches: Switches { booked: booked(events), ..Switches::default() },
        disk: Disk::default(),
        file: File::default(),
        alarms: Vec::new(),
        probes: BTreeMap::new(),
        nodes: Nodes::default(),
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
                | Event::Truth(..)
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
            Event::Frozen(frozen) => (self.process.stands_still, self.own) = (*frozen, at),
            Event::Disk(plate) => self.disk.was_ill |= *plate != Plate::Well,
            Event::Boots(found, switches) => self.boots(at, *found, switches)?,
            Event::Spins => return Err("the loop turns without end, and no time passes".into()),
            Event::Dies => {
                (self.process.alive, self.process.stands_still, self.shown.live) = (false, false, None);
                self.nodes.dies();
            }
            Event::Live { side, serving, waiting, epoch } => {
                (self.shown.serving, self.shown.waiting) = (*serving, *waiting);
                self.moved(at, *side, *epoch)?;
            }
            Event::Probe(check) => self.probed(at, *check)?,
            Event::Probed(_) => {}
            Event::Written(true) => self.disk.failing = None,
            Event::Written(false) => (self.disk.failing, self.disk.failed) = (self.disk.failing.or(Some(at)), at),
            Event::Status { alive, took, said, kept, damped, alarms, rows, switchover } => {
                self.says(at, *alive, *took, *said, *kept)?;
                self.says_damped(at, *damped)?;
                self.alarmed(at, alarms)?;
                self.nodes.own = self.own;
                self.nodes.rows(at, rows)?;
                if !self.process.stands_still && !self.cut {
                    self.nodes.misses(at, alarms)?;
                }
                if let Some(switchover) = switchover {
                    self.nodes.switchovers(at, switchover, &mut self.told.switchovers)?;
                    self.wished(switchover);
                }
            }
            Event::Ordered { number, order, by } => {
                self.frozen = self.frozen.filter(|_| matches!(order, Order::Switch(_, false)));
                let given = Given { at, order: *order, by: by.clone(), answered: None, refused: false, done: false };
                self.orders.insert(*number, given);
            }
            Event::Reload => (self.file.reloaded, self.file.broken) = (at, None),
            Event::Broken => self.file.broken = self.file.broken.or(Some(at)),
            Event::Kept { live, entries, reports } => self.kept(at, *live, entries, reports)?,
            event => self.of_nodes(at, event)?,
        }
        Ok(())
    }

    /// What nodes do, and what an order came to, which may be a switch of the site.
    fn of_nodes(&mut self, at: Duration, event: &Event) -> Result<(), String> {
        match event {
            Event::Answered { number, done, refused, switchover } => {
                self.answered(at, *number, *done, *refused);
                if let (Some(state), Some(Order::Switch(to, _))) =
                    (switchover, self.orders.get(number).map(|given| given.order))
                {
                    let given_at = self.orders[number].at;
                    self.nodes.answered(at, given_at, *number, to, *state);
                }
            }
            Event::Truth(place, truth) => self.nodes.is(at, *place, truth),
            Event::OtherVersion(dials) => self.nodes.dials(at, *dials),
            Event::Sent(place) => self.nodes.sent(at, *place),
            Event::Taken(place) => self.nodes.taken(at, *place),
            Event::Wish { place, to, why } => self.nodes.told(at, *place, *to, why)?,
            Event::Followed(place) => self.nodes.followed(at, *place),
            _ => {}
        }
        Ok(())
    }

    /// What was on the disk counts, and nothing that was said to be there is forgotten (E4).
    fn boots(&mut self, at: Duration, found: Option<Word>, switches: &BTreeSet<u64>) -> Result<(), String> {
        (self.process.alive, self.process.stands_still, self.process.booted, self.own) = (true, false, at, at);
        (self.alarms, self.disk.failing, self.file.broken) = (Vec::new(), None, None);
        self.nodes.boots(at);
        if let Some(kept) = self.disk.kept {
            let Some(found) = found.filter(|found| found.1 >= kept.1) else {
                return Err(format!("E4: {kept:?} was said to be on the disk, and {found:?} is found"));
            };
            if found.1 == kept.1 && found.0 != kept.0 {
                return Err(format!("E4: {kept:?} was said to be on the disk, and {found:?} is found"));
            }
        }
        // What was not on the disk yet is forgotten; of that nothing was said.
        self.switches.automatic.retain(|(_, epoch)| switches.contains(epoch));
        self.frozen = found.map_or(Some(false), |found| Some(found.2));
        for given in self.orders.values_mut() {
            given.answered = given.answered.or(Some(at));
        }
        Ok(())
    }

    /// The live side changes by an order, or because it does not work and the other does.
    fn moved(&mut self, at: Duration, to: Side, epoch: u64) -> Result<(), String> {
        if self.nodes.live.1 != to {
            (self.nodes.was_live, self.nodes.live) = (self.nodes.live, (at, to));
        }
        let Some((from, before)) = self.shown.live.replace((to, epoch)) else { return Ok(()) };
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
        let used = |number: &usize| self.switches.all.iter().any(|switched| switched.whose == Whose::Order(*number));
        let order = self.orders.iter().find(|(number, given)| {
            // Who ordered may hear of it a disk's patience before the request path does.
            let open = given.answered.is_none_or(|answered| answered + DONE >= at) && !given.refused;
            open && matches!(given.order, Order::Switch(side, _) if side == to) && !used(number)
        });
        let whose = match (order, self.nodes.whose(at, to), self.switches.booked.get(&epoch)) {
            // An order that is about to be refused was given meanwhile.
            (_, Some(switchover), Some(Some(booked))) if switchover == *booked => Whose::Switchover(Some(switchover)),
            (Some((number, _)), _, _) => Whose::Order(*number),
            // It was begun when somebody switched the whole site, and the journal says whether it is part of that.
            (None, Some(switchover), booked) if booked.is_none_or(|by| *by == Some(switchover)) => {
                Whose::Switchover(Some(switchover))
            }
            (None, None, Some(Some(booked))) => {
                return Err(format!("E8: {to} is live by order {booked}, which is over"));
            }
            (None, ..) if self.nodes.chosen(at, to) => Whose::Switchover(None),
            (None, ..) => Whose::Edge,
        };
        self.switches.all.push(Switched { at, epoch, to, whose });
        if whose != Whose::Edge {
            self.told.planned += 1;
        }
        if matches!(whose, Whose::Order(_)) {
            return Ok(());
        }
        let (left, taken) = (self.halves[from as usize], self.halves[to as usize]);
        if self.frozen == Some(true) && whose == Whose::Edge {
            return Err(format!("{to} becomes live by itself though that is frozen"));
        }
        let lately = |then: Option<Duration>| then.is_some_and(|then| then + SEEN >= at);
        // A switch of the site may be undone while both sides work.
        if !lately(left.failed) && !matches!(whose, Whose::Switchover(Some(_))) {
            return Err(format!("E1: {from} is left, and works: {:?} since {:?}", left.condition, left.since));
        }
        // A side that fails before its nodes have started was well as far as probes could see.
        let judged = !self.nodes.there || taken.since + UNJUDGED < at;
        if taken.worked + SEEN < at && judged {
            return Err(format!("E1: {to} becomes live, and does not work: {:?}", taken.condition));
        }
        if whose != Whose::Edge {
            return Ok(());
        }
        self.switches.automatic.retain(|(then, _)| *then + HOUR > at);
        if self.switches.automatic.len() >= BUDGET && !lately(left.dead) && self.own + SEEN < at {
            return Err(format!(
                "E9: the {}th switch of an hour leaves a side that is not dead",
                self.switches.automatic.len() + 1
            ));
        }
        self.switches.automatic.push((at, epoch));
        Ok(())
    }

    /// While a switch of the site goes on, a move to its side is part of it.
    fn wished(&mut self, seen: &Seen) {
        let Some((number, began, ended)) = self.nodes.under_way() else { return };
        let forward = matches!(seen.state, SwitchoverState::Running | SwitchoverState::Done);
        let meanwhile = |switched: &&mut Switched| switched.at > began && ended.is_none_or(|ended| switched.at < ended);
        for switched in self.switches.all.iter_mut().filter(meanwhile).filter(|switched| switched.to == seen.to) {
            if forward && switched.whose == Whose::Edge {
                switched.whose = Whose::Switchover(Some(number));
            }
        }
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
        if !self.process.stands_still && self.own < asked {
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
            self.disk.kept = Some(said);
        }
        Ok(())
    }

    fn says_damped(&self, at: Duration, damped: bool) -> Result<(), String> {
        let used = self.switches.automatic.iter().filter(|(then, _)| *then + HOUR > at).count();
        // A switch of this very instant may be counted, or not yet.
        let newest = self.switches.automatic.last().is_some_and(|(then, _)| *then + Duration::from_secs(1) > at);
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
                at < self.disk.failed + SEEN && self.disk.was_ill
            } else if alarm.starts_with("The journal knows") || alarm.contains("is gone") {
                self.disk.was_ill
            } else if alarm.starts_with("the configuration on the disk does not load") {
                self.file.broken.is_some() || at < self.file.reloaded.max(self.own) + ALARMED
            } else {
                self.nodes.is_true(at, alarm)
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
        if self.cut || self.process.stands_still || !self.process.alive {
            self.own = until;
            self.nodes.troubled.push(until);
            return Ok(());
        }
        let shows = |words: &str| self.alarms.iter().any(|alarm| alarm.contains(words));
        if self.disk.failing.is_some_and(|since| until > since.max(self.own) + ALARMED) && !shows("cannot write") {
            return Err("it tells nobody that its disk does not take anything".into());
        }
        if self.file.broken.is_some_and(|since| until > since.max(self.own) + ALARMED) && !shows("does not load") {
            return Err("it tells nobody that its configuration does not load".into());
        }
        let Some((live, _)) = self.shown.live else { return Ok(()) };
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
        let left =
            live.condition.is_dead() || live.condition == Condition::Wrong && self.switches.automatic.len() < BUDGET;
        if left && quick(&other) && self.frozen == Some(false) {
            return Err(format!("E2: the live side is {:?} for {limit:?}, and the other works", live.condition));
        }
        if quick(&live) && !self.shown.serving {
            return Err(format!("E3: the live side works for {limit:?}, and requests are not sent to it"));
        }
        if live.condition.is_dead() && other.condition.is_dead() && !self.shown.waiting {
            return Err(format!("E3: no side works for {limit:?}, and users do not get the page"));
        }
        Ok(())
    }

    /// The journal has each switch and each order of the last process, and says who and why; nothing was lost.
    fn kept(&self, at: Duration, live: Option<Word>, entries: &[Entry], reports: &BTreeSet<u64>) -> Result<(), String> {
        if live.map(|live| (live.0, live.1)) != self.shown.live {
            return Err(format!("E4: {live:?} is on the disk in the end, and {:?} is live", self.shown.live));
        }
        let named = |number: usize| Some(format!("number {number}"));
        for switched in self.switches.all.iter().filter(|switched| switched.at > self.process.booted) {
            let of_epoch = |entry: &&Entry| entry.event == api::Event::Switched && entry.epoch == switched.epoch;
            let found: Vec<_> = entries.iter().filter(of_epoch).collect();
            let [Entry { by, why, .. }] = found[..] else {
                return Err(format!("E8: the journal has {} switches to epoch {}", found.len(), switched.epoch));
            };
            let wanted = match switched.whose {
                Whose::Order(number) | Whose::Switchover(Some(number)) => {
                    (Some(self.orders[&number].by.clone()), named(number))
                }
                Whose::Switchover(None) | Whose::Edge => (None, None),
            };
            let at_a_node = switched.whose == Whose::Switchover(None) && by.as_deref() == Some("eve");
            if (by.clone(), why.clone()) != wanted && !at_a_node {
                return Err(format!("E8: epoch {} by {by:?}, {why:?}; it was {wanted:?}", switched.epoch));
            }
            if !reports.contains(&switched.epoch) {
                return Err(format!("E8: there is no report of epoch {}", switched.epoch));
            }
        }
        for (number, given) in self.orders.iter().filter(|(_, given)| given.at > self.process.booted && given.at < at) {
            let what = match given.order {
                _ if given.refused => api::Event::Refused,
                Order::Freeze => api::Event::Frozen,
                Order::Resume => api::Event::Resumed,
                Order::Switch(..) if self.nodes.is_switchover(*number) => api::Event::Switchover,
                Order::Switch(..) => api::Event::Switched,
            };
            let wanted = (Some(given.by.clone()), named(*number));
            let is_told =
                entries.iter().any(|entry| entry.event == what && (&entry.by, &entry.why) == (&wanted.0, &wanted.1));
            if (given.done || given.refused) && !is_told {
                return Err(format!("E8: the journal does not tell of {:?} by {} ({what:?})", given.order, given.by));
            }
        }
        self.nodes.kept(at, entries)
    }
}

/// Which order the journal of the end names for each switch.
fn booked(events: &[(Duration, Event)]) -> BTreeMap<u64, Option<usize>> {
    let kept = events.iter().rev().find_map(|(_, event)| match event {
        Event::Kept { entries, .. } => Some(entries),
        _ => None,
    });
    let switches = kept.into_iter().flatten().filter(|entry| entry.event == api::Event::Switched);
    switches.map(|entry| (entry.epoch, entry.why.as_deref().and_then(number_of))).collect()
}

/// The number of an order, as its reason tells it.
fn number_of(why: &str) -> Option<usize> {
    why.strip_prefix("number ")?.parse().ok()
}
