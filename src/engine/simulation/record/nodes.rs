//! What the Edge says of nodes, and what it does with them, against what they did.

use std::time::Duration;

use failover::Side;
use failover::health::Status;

use super::{Entry, Row, Seen, number_of};
use crate::admin::api::{self, SwitchoverState};
use crate::engine::simulation::site::{PLACES, Truth, XIVO, name_of, side_of};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A report counts for 2.5 s; one more heartbeat, its way, and the next look at the status.
const REPORTED: Duration = ms(4_000);
/// What a node said may have been on its way for as long as it counts then, and is shown for as long.
const OLD: Duration = ms(6_000);
/// What reports is shown as it was within a stale report's time, its way, and the look at it.
const YOUNG: Duration = ms(3_400);
/// Within so long whatever a node reports is shown: a heartbeat, its way, a look at the status.
const SHOWN: Duration = ms(2_000);
/// Two machines, and two that serve, must each be heard again after the other before it is said.
const SHOWN_TWO: Duration = ms(9_000);
/// A node that is not heard of for less is not silent; for more, it is.
const SILENT: [Duration; 2] = [ms(2_200), ms(3_300)];
/// Someone who speaks another version is remembered for 10 s.
const REMEMBERED: Duration = ms(11_000);
/// Between two looks at the status something may have been otherwise.
const LOOK: Duration = ms(1_500);
/// What each step may take, and the undoing of all: hand over, stop, start, register, contact centre, traffic, verify.
const LIMITS: [u64; 7] = [5, 90, 120, 20, 120, 20, 40];
const UNDO: Duration = Duration::from_secs(240);

/// Whose a switch of traffic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// By this order, at once.
    Order(usize),
    /// Part of the switch of the site that was ordered so; none: or of what an operator at a node chose.
    Switchover(Option<usize>),
    Edge,
}

struct Node {
    truths: Vec<(Duration, Truth)>,
    sent: Vec<Duration>,
    taken: Vec<Duration>,
    followed: Option<Duration>,
}

/// A switch of the whole site, from its order on.
struct Switchover {
    number: usize,
    to: Side,
    began: Duration,
    step: (usize, Duration),
    undoing: Option<Duration>,
    looked: Duration,
    ended: Option<(Duration, SwitchoverState, String)>,
}

pub(super) struct Nodes {
    nodes: [Node; PLACES],
    /// A node was ever heard of: there are some.
    pub(super) there: bool,
    dials: Vec<(Duration, bool)>,
    switchovers: Vec<Switchover>,
    /// Of switchovers that did not begin.
    refused: Vec<usize>,
    booted: Duration,
    /// When the Edge itself last had trouble.
    pub(super) own: Duration,
    /// Since when which side is live.
    pub(super) live: (Duration, Side),
    pub(super) was_live: (Duration, Side),
    /// When the Edge itself had trouble.
    pub(super) troubled: Vec<Duration>,
}

impl Default for Nodes {
    fn default() -> Self {
        let node = || Node { truths: Vec::new(), sent: Vec::new(), taken: Vec::new(), followed: None };
        let live = (Duration::ZERO, Side::Main);
        Self {
            nodes: [node(), node(), node(), node()],
            there: false,
            dials: Vec::new(),
            switchovers: Vec::new(),
            refused: Vec::new(),
            booted: Duration::ZERO,
            own: Duration::ZERO,
            live,
            was_live: live,
            troubled: Vec::new(),
        }
    }
}

impl Node {
    /// What held at some time since then.
    fn since(&self, from: Duration) -> &[(Duration, Truth)] {
        let before = self.truths.iter().rposition(|(at, _)| *at <= from).unwrap_or(0);
        &self.truths[before..]
    }

    fn was(&self, from: Duration, such: impl Fn(&Truth) -> bool) -> bool {
        self.since(from).iter().any(|(_, truth)| such(truth))
    }

    /// Held from then on without a break, and was heard of all the time.
    fn has_been(&self, from: Duration, until: Duration, such: impl Fn(&Truth) -> bool) -> bool {
        let such = |truth: &Truth| such(truth) && !truth.off && !truth.cut;
        self.since(from).iter().all(|(_, truth)| such(truth)) && self.is_heard(from, until)
    }

    fn is_heard(&self, from: Duration, until: Duration) -> bool {
        let mut last = from;
        for at in self.taken.iter().filter(|at| **at >= from) {
            if *at > last + ms(900) {
                return false;
            }
            last = *at;
        }
        until <= last + ms(900)
    }

    fn serves_since(&self, from: Duration, until: Duration) -> bool {
        self.has_been(from, until, Truth::serves)
    }
}

impl Nodes {
    pub(super) fn is(&mut self, at: Duration, place: usize, truth: &Truth) {
        self.nodes[place].truths.push((at, truth.clone()));
    }

    pub(super) fn dials(&mut self, at: Duration, dials: bool) {
        self.dials.push((at, dials));
    }

    pub(super) fn sent(&mut self, at: Duration, place: usize) {
        self.there = true;
        let node = &mut self.nodes[place];
        node.sent.push(at);
    }

    pub(super) fn taken(&mut self, at: Duration, place: usize) {
        // What is not in the record yet was before anything was done to it.
        self.nodes[place].taken.push(at);
    }

    pub(super) fn followed(&mut self, at: Duration, place: usize) {
        self.nodes[place].followed = Some(at);
    }

    pub(super) fn boots(&mut self, at: Duration) {
        self.booted = at;
        for node in &mut self.nodes {
            node.sent.clear();
            node.taken.clear();
        }
    }

    /// A switch of the site dies with the Edge that made it.
    pub(super) fn dies(&mut self) {
        self.switchovers.retain(|switchover| switchover.ended.is_some());
    }

    pub(super) fn answered(&mut self, at: Duration, given: Duration, number: usize, to: Side, state: SwitchoverState) {
        if state != SwitchoverState::Running {
            self.refused.push(number);
            return;
        }
        let (step, undoing, looked, ended) = ((0, at), None, at, None);
        self.switchovers.push(Switchover { number, to, began: given, step, undoing, looked, ended });
    }

    pub(super) fn is_switchover(&self, number: usize) -> bool {
        self.switchovers.iter().any(|switchover| switchover.number == number)
    }

    /// The newest switch of the site, and when it began and ended.
    pub(super) fn under_way(&self) -> Option<(usize, Duration, Option<Duration>)> {
        let switchover = self.switchovers.last()?;
        Some((switchover.number, switchover.began, switchover.ended.as_ref().map(|(ended, _, _)| *ended)))
    }

    /// Which switch of the site a move may be part of.
    pub(super) fn whose(&self, at: Duration, to: Side) -> Option<usize> {
        let open =
            |switchover: &&Switchover| switchover.ended.as_ref().is_none_or(|(ended, _, _)| at <= *ended + ms(600));
        let switchover = self.switchovers.last().filter(open)?;
        (switchover.to == to || switchover.undoing.is_some() || switchover.step.0 > 0 || switchover.ended.is_none())
            .then_some(switchover.number)
    }

    /// Whether an operator at a node chose that side, as far as the Edge may know.
    pub(super) fn chosen(&self, at: Duration, to: Side) -> bool {
        XIVO.into_iter().any(|place| {
            self.nodes[place].was(at.saturating_sub(REPORTED), |truth| truth.chosen == Some(to))
                || self.nodes[place].truths.iter().any(|(_, truth)| truth.chosen == Some(to))
                    && self.nodes[place].was(at.saturating_sub(REPORTED), |truth| truth.off || truth.cut)
        })
    }

    /// What a node is told to wish belongs to a switch that goes on.
    pub(super) fn told(&self, at: Duration, place: usize, to: Side, why: &str) -> Result<(), String> {
        let number = number_of(why);
        let switchover = self.switchovers.iter().find(|switchover| Some(switchover.number) == number);
        // Its order may not be answered yet.
        let Some(switchover) = switchover else { return Ok(()) };
        let side = side_of(place);
        if place > 1 {
            return Err("a CC node is told a wish".into());
        }
        if let Some((ended, state, _)) = switchover.ended.as_ref().filter(|(ended, _, _)| *ended + ms(800) < at) {
            return Err(format!("{side} is told a wish of a switch that was {state:?} at {ended:.3?}"));
        }
        // It may start by itself first.
        if side == switchover.to && to == switchover.to && at < switchover.began + ms(1_900) {
            return Err(format!("{side} is asked to serve before it could start by itself"));
        }
        // The source is asked to yield, the target to serve; to undo it, the same the other way round.
        let undone = switchover.undoing.is_some() || switchover.ended.is_some() || to == switchover.to.other();
        if to != switchover.to && !undone {
            return Err(format!("{side} is told a wish for {to}, and {} is to serve", switchover.to));
        }
        Ok(())
    }

    /// A row shows what its node was of late, and whether it is heard of.
    pub(super) fn rows(&self, at: Duration, rows: &[Row]) -> Result<(), String> {
        for Row { place, fresh, status } in rows {
            let node = &self.nodes[*place];
            let what = format!("{} {}", if *place < 2 { "xivo" } else { "cc" }, side_of(*place));
            let calm = self.own + REPORTED < at;
            // A machine that is off is shown as it was until its last word is stale.
            let old = if node.was(at.saturating_sub(OLD), |truth| truth.off) { OLD } else { YOUNG };
            if *fresh && calm && !node.was(at.saturating_sub(old), |truth| truth.status == *status || truth.twin) {
                return Err(format!("{what} is shown as {status}, which it has not been for {old:?}"));
            }
            let lately = |within: Duration| node.sent.iter().rev().any(|sent| *sent + within > at);
            if *fresh && calm && !lately(REPORTED) {
                return Err(format!("{what} is shown as if it reported, and it is silent"));
            }
            let heard = node.taken.last().is_some_and(|taken| *taken + ms(1_800) > at);
            if !*fresh && calm && heard && !node.was(at.saturating_sub(REPORTED), |truth| truth.twin || truth.off) {
                return Err(format!("{what} is shown as silent, and it reports"));
            }
        }
        Ok(())
    }

    pub(super) fn is_true(&self, at: Duration, alarm: &str) -> bool {
        let from = at.saturating_sub(OLD);
        let any = |such: fn(&Truth) -> bool| self.nodes.iter().any(|node| node.was(from, such));
        if alarm.starts_with("TWO ACTIVES") {
            XIVO.into_iter().all(|place| self.nodes[place].was(from, Truth::serves))
        } else if alarm.starts_with("UNGUARDED") {
            any(|truth| truth.rogue)
        } else if alarm.starts_with("TWO MACHINES report") {
            let from = at.saturating_sub(SHOWN_TWO);
            self.nodes.iter().any(|node| node.was(from, |truth| truth.twin))
        } else if alarm.contains("it is hot") {
            any(|truth| truth.alarm.is_some())
        } else if alarm.starts_with("the certificate of") {
            any(|truth| truth.days == Some(5))
        } else if alarm.contains("another version of the protocol") {
            let from = at.saturating_sub(REMEMBERED);
            let before = self.dials.iter().rposition(|(then, _)| *then <= from).unwrap_or(0);
            self.dials.get(before..).is_some_and(|dials| dials.iter().any(|(_, dials)| *dials))
        } else {
            // Nothing of what is played here is a reason for any other.
            false
        }
    }

    /// What needs a person is shown as long as it lasts.
    pub(super) fn misses(&self, at: Duration, alarms: &[String]) -> Result<(), String> {
        let calm = self.own.max(self.booted);
        let shows = |words: &str| alarms.iter().any(|alarm| alarm.contains(words));
        let long = |long: Duration| at.checked_sub(long).filter(|from| *from > calm + REPORTED);
        let miss = |what: &str| Err(format!("it tells nobody that {what}"));
        if let Some(from) = long(SHOWN_TWO) {
            let serve = XIVO.into_iter().all(|place| self.nodes[place].serves_since(from, at));
            if serve && !shows("TWO ACTIVES") {
                return miss("both XiVO nodes serve");
            }
            if self.nodes.iter().any(|node| node.has_been(from, at, |truth| truth.twin)) && !shows("TWO MACHINES") {
                return miss("two machines report as one");
            }
        }
        let Some(from) = long(SHOWN) else { return Ok(()) };
        let any = |such: fn(&Truth) -> bool| {
            // A copy beside it says other things in turns.
            self.nodes.iter().any(|node| node.has_been(from, at, |truth| such(truth) && !truth.twin))
        };
        if any(|truth| truth.rogue) && !shows("UNGUARDED") {
            return miss("a node serves unguarded");
        }
        if any(|truth| truth.alarm.is_some()) && !shows("it is hot") {
            return miss("a node is hot");
        }
        if any(|truth| truth.days == Some(5)) && !shows("the certificate of") {
            return miss("a certificate expires");
        }
        let dials = self.dials.last().is_some_and(|(since, dials)| *dials && *since <= from);
        if dials && !shows("another version of the protocol") {
            return miss("a node speaks another version");
        }
        Ok(())
    }

    /// A switch of the site goes on within the limits of its steps, and ends with the truth.
    pub(super) fn switchovers(&mut self, at: Duration, seen: &Seen, told: &mut [usize; 3]) -> Result<(), String> {
        let own = self.own;
        let Some(switchover) = self.switchovers.last_mut().filter(|switchover| switchover.ended.is_none()) else {
            return Ok(());
        };
        if seen.to != switchover.to || !seen.failing.is_empty() {
            return Ok(());
        }
        let looked = std::mem::replace(&mut switchover.looked, at);
        match seen.state {
            SwitchoverState::Running => {
                let step = seen.done.min(LIMITS.len() - 1);
                if step != switchover.step.0 {
                    switchover.step = (step, at);
                }
                let limit = Duration::from_secs(LIMITS[step]) + LOOK;
                if switchover.step.1.max(own) + limit < at {
                    return Err(format!("step {step} of a switch of the site goes on after {limit:?}"));
                }
            }
            SwitchoverState::Undoing => {
                let since = *switchover.undoing.get_or_insert(at);
                if since.max(own) + UNDO + LOOK < at {
                    return Err(format!("a switch of the site is still being undone after {UNDO:?}"));
                }
            }
            SwitchoverState::Done | SwitchoverState::Failed => {
                switchover.ended = Some((at, seen.state, seen.sentence.clone()));
                return self.ended(at, looked, seen, told);
            }
            SwitchoverState::Planned | SwitchoverState::Refused => {}
        }
        Ok(())
    }

    fn ended(&self, at: Duration, looked: Duration, seen: &Seen, told: &mut [usize; 3]) -> Result<(), String> {
        let Some(switchover) = self.switchovers.last() else { return Ok(()) };
        let from = looked.min(at).saturating_sub(REPORTED);
        let (to, source) = (switchover.to as usize, switchover.to.other() as usize);
        let was = |place: usize, such: fn(&Truth) -> bool| self.nodes[place].was(from, such);
        let active = |place: usize| was(place, |truth| !truth.off && truth.status == Status::Active);
        let idle = |place: usize| was(place, |truth| !truth.serves());
        let live = |side: usize| self.live.1 as usize == side || self.live.0 > from && self.was_live.1 as usize == side;
        let wrong = |what: &str| Err(format!("it is said that {:?}, and {what}", seen.sentence));
        if seen.state == SwitchoverState::Done {
            told[0] += 1;
            return match () {
                () if !active(to) || !active(to + 2) => wrong("the target does not serve"),
                () if !idle(source) => wrong("the source serves"),
                () if !live(to) => wrong("traffic is elsewhere"),
                () => Ok(()),
            };
        }
        if seen.sentence.contains("nothing was changed") {
            told[1] += 1;
            let followed = XIVO.into_iter().filter_map(|place| self.nodes[place].followed);
            return match followed.into_iter().any(|followed| followed > switchover.began) {
                true => wrong("a node has followed"),
                false => Ok(()),
            };
        }
        if seen.sentence.contains("all was undone") {
            told[1] += 1;
            return match () {
                () if !active(source) => wrong("the source does not serve"),
                () if !idle(to) => wrong("the target serves"),
                () if !live(source) => wrong("traffic is elsewhere"),
                () => Ok(()),
            };
        }
        told[2] += 1;
        let Some(undoing) = switchover.undoing else { return wrong("nobody saw it being undone") };
        match undoing + UNDO > at + LOOK {
            true => wrong("there was time left"),
            false => Ok(()),
        }
    }

    /// The journal has one entry for each act, and for each time that a node fell silent.
    pub(super) fn kept(&self, at: Duration, entries: &[Entry]) -> Result<(), String> {
        let started = entries.iter().rposition(|entry| entry.event == api::Event::Started).unwrap_or(0);
        let entries = &entries[started..];
        let of = |number: usize, event: api::Event, words: &str| {
            let mine = |entry: &&Entry| entry.why.as_deref().and_then(number_of) == Some(number);
            entries.iter().filter(mine).filter(|entry| entry.event == event && entry.sentence.contains(words)).count()
        };
        let once = |what: &str, count: usize| match count {
            1 => Ok(()),
            _ => Err(format!("E8: the journal has {count} entries of {what}")),
        };
        for switchover in self.switchovers.iter().filter(|switchover| switchover.began > self.booted) {
            once(
                "the beginning of a switch of the site",
                of(switchover.number, api::Event::Switchover, "is being made to serve"),
            )?;
            if let Some((_, state, sentence)) = &switchover.ended {
                once("the end of a switch of the site", of(switchover.number, api::Event::Switchover, sentence))?;
                let failed = of(switchover.number, api::Event::Switchover, "planned switch: failed: ");
                if failed != usize::from(*state == SwitchoverState::Failed) {
                    return Err(format!("E8: the journal has {failed} failures of a switch that was {state:?}"));
                }
            }
        }
        if !self.there {
            return Ok(());
        }
        for (place, node) in self.nodes.iter().enumerate() {
            let name = format!("{} of {} has stopped reporting", name_of(place), side_of(place));
            let told = |entry: &&Entry| entry.event == api::Event::Node && entry.sentence.contains(&name);
            let told = entries.iter().filter(told).count();
            let [least, most] = self.silences(node, at);
            if !(least..=most).contains(&told) {
                return Err(format!("the journal says {told} times that {name}; it was {least} to {most} times"));
            }
        }
        Ok(())
    }

    /// How often a node was silent for long enough since the Edge booted: for certain, and perhaps.
    fn silences(&self, node: &Node, at: Duration) -> [usize; 2] {
        let first = node.taken.first().copied().unwrap_or(at);
        let gaps = |times: &[Duration], since: Duration, longer: Duration, sure: bool| {
            let known = times.iter().copied().filter(|time| *time >= since);
            let known: Vec<_> = [since].into_iter().chain(known).chain([at]).collect();
            let is_calm = |gap: &[Duration]| {
                self.troubled.iter().all(|time| *time + ms(1_000) < gap[0] || *time > gap[1] + ms(1_000))
            };
            known.windows(2).filter(|gap| gap[1] - gap[0] > longer && (!sure || is_calm(gap))).count()
        };
        // One that was held up counts as well, and nothing tells which of them did.
        [gaps(&node.sent, first, SILENT[1], true), gaps(&node.taken, self.booted, SILENT[0], false)]
    }
}
