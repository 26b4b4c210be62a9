//! What happened, as an observer saw it from outside, and whether each promise held. The alarms are judged beside it.

mod alarms;
mod followers;
mod windows;

use std::time::Duration;

use failover::health::Status;

use self::alarms::Alarms;
use self::followers::Followers;
use self::windows::Windows;
use super::world::{EDGE, HOSTS, Plate, Sick, Telephony, Tool, name};

/// As it is noted, in order: the judge sees nothing else of a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Fault(String),
    Healed,
    /// A process begins on a machine, or ends.
    Boots(usize),
    Dies(usize),
    Frozen(usize, bool),
    Sick(usize, Sick),
    /// Somebody removes the fence of a node.
    FenceRemoved(usize),
    /// A watchdog is told to end: its journal is written, and nothing is shown any more.
    HandsOver(usize),
    /// An operator acts at a node.
    Ordered(usize),
    /// A start command begins on a node; one ends, and has failed.
    Starts(usize),
    StartFails(usize),
    /// A stop command begins; one ends, and telephony goes on.
    Stops(usize),
    StopFails(usize),
    /// A write of a node's state begins, and ends well or not.
    Writes(usize),
    Written(usize, bool),
    /// Whether phones are served by each node, whether anything keeps it from that, and whether it can ask somebody.
    Seen {
        seen: [Seen; 2],
        able: [bool; 2],
        company: [Company; 2],
        /// Whether the two nodes hear each other.
        peers: Company,
    },
    Shown {
        side: usize,
        status: Status,
        unguarded: bool,
        alarms: Vec<String>,
    },
    /// What a node showed last, it shows still.
    ShowsStill(usize),
    /// What runs on a machine dies or hangs, or it forgets.
    Struck(usize),
    /// What runs on the CCs, how well each hears its XiVO, and each XiVO reaches the media server; until when each is
    /// registered there, and whether it answers.
    Followers {
        services: [Telephony; 2],
        hears: [Company; 2],
        reaches: [bool; 2],
        contacts: [Option<Duration>; 2],
        answers: [bool; 2],
    },
    /// The newest word of a CC, or of a media server: `present` is whom it has registered.
    Follows {
        host: usize,
        status: Status,
        present: Option<[bool; 2]>,
        alarms: Vec<String>,
    },
    /// Words for the trace, which judge nothing.
    Said(usize, String),
    /// A promise was broken before everybody's eyes.
    Broken(String),
}

/// How a node is to phones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Silent { runs: bool, fence_gone: bool },
    ServesUntil(Duration),
    Serves { fence_gone: bool },
}

/// Whether a node has somebody to ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Company {
    /// No answer can come: nobody else is within reach.
    #[default]
    None,
    /// Answers are late, or may be.
    Slow,
    Good,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) activations: usize,
    /// The most start commands on one node within an hour.
    pub(super) most_starts: usize,
    /// For how long nothing kept a node from serving, and for how long of that one did.
    pub(super) could: Duration,
    pub(super) served: Duration,
    pub(super) alarms: usize,
    /// The least part of a minute, and of ten, in which somebody served though one node could all the time, in percent.
    pub(super) least: [Option<f64>; 2],
}

impl Told {
    pub(super) fn add(&mut self, other: &Self) {
        self.activations += other.activations;
        self.most_starts = self.most_starts.max(other.most_starts);
        self.could += other.could;
        self.served += other.served;
        self.alarms += other.alarms;
        for (least, other) in self.least.iter_mut().zip(other.least) {
            *least = least.map_or(other, |least| Some(other.map_or(least, |other| least.min(other))));
        }
    }
}

/// A fence that somebody removed is back within so long: a look each second, and a busy machine's nft.
const LOOKED_AT: Duration = Duration::from_millis(1_500);
/// Who stood still shows within so long what it was at.
const WAKES: Duration = Duration::from_millis(100);
/// The same tick of a timer.
const TICK: Duration = Duration::from_millis(2);
const HOUR: Duration = Duration::from_secs(3_600);

struct Judge<'a> {
    seen: [Seen; 2],
    able: [Option<Duration>; 2],
    /// Whether the two nodes hear each other.
    peers: Company,
    nobody: Option<Duration>,
    unguarded: [bool; 2],
    known: Known,
    /// When the tools of a node were last not as they should be.
    gone: [Option<Duration>; 2],
    starts: [Vec<Duration>; 2],
    alarms: Alarms<'a>,
    followers: Followers<'a>,
    windows: Windows,
    told: Told,
    limits: Limits,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long nobody may serve while somebody could.
    pub(super) patience: Duration,
    /// Start commands on one node within an hour.
    pub(super) starts: usize,
    /// The least part of any minute, and of any ten, in which somebody serves while one node can, in percent.
    pub(super) windows: [f64; 2],
}

/// How machines are, and since when.
struct Known {
    status: [Option<Status>; 2],
    /// Since when it has this status.
    since: [Duration; 2],
    alive: [bool; HOSTS],
    frozen: [bool; HOSTS],
    sick: [Sick; HOSTS],
    /// When the process, and the tools, of a node were last not as they should be.
    ill: [Duration; 2],
    disk_ill: [Duration; 2],
    nft_ill: [Duration; 2],
    /// When it last did not run, or stood still.
    halted: [Duration; 2],
    /// When a node was last kept from serving, and when it had nobody to ask.
    unable: [Duration; 2],
    lonely: [Duration; 2],
    /// When the two nodes last did not hear each other.
    apart: Duration,
}

pub(super) fn judge(events: &[(Duration, Event)], end: Duration, limits: Limits) -> Result<Told, String> {
    let zero = Duration::ZERO;
    let silent = Seen::Silent { runs: false, fence_gone: false };
    let known = Known {
        status: [None; 2],
        since: [zero; 2],
        alive: [false; HOSTS],
        frozen: [false; HOSTS],
        sick: [Sick::default(); HOSTS],
        ill: [zero; 2],
        disk_ill: [zero; 2],
        nft_ill: [zero; 2],
        halted: [zero; 2],
        unable: [zero; 2],
        lonely: [zero; 2],
        apart: zero,
    };
    let mut judge = Judge {
        seen: [silent; 2],
        able: [None; 2],
        peers: Company::None,
        nobody: Some(zero),
        unguarded: [false; 2],
        known,
        gone: [None; 2],
        starts: [Vec::new(), Vec::new()],
        alarms: Alarms::default(),
        followers: Followers::default(),
        windows: Windows::default(),
        told: Told::default(),
        limits,
    };
    for (number, (at, event)) in events.iter().enumerate() {
        judge.take(*at, event).map_err(|why| format!("{why} at {at:.3?}"))?;
        let until = events.get(number + 1).map_or(end, |(next, _)| *next);
        judge.pass(*at, until).map_err(|why| format!("{why} after {at:.3?}"))?;
    }
    judge.told.least = judge.windows.least(end);
    for (least, limit) in judge.told.least.iter().zip(limits.windows) {
        if let Some(least) = least.filter(|least| *least < limit) {
            return Err(format!(
                "W2: in one window somebody serves for {least:.1} % of the time, and could for all of it"
            ));
        }
    }
    Ok(judge.told)
}

impl Event {
    /// Whether it happens on a machine that only follows.
    const fn follower(&self) -> bool {
        match self {
            Self::Boots(host)
            | Self::Dies(host)
            | Self::Frozen(host, _)
            | Self::Sick(host, _)
            | Self::Starts(host)
            | Self::StartFails(host)
            | Self::StopFails(host)
            | Self::Writes(host)
            | Self::Written(host, _)
            | Self::Said(host, _) => *host > EDGE,
            Self::Stops(_) | Self::Struck(_) | Self::Followers { .. } | Self::Follows { .. } => true,
            _ => false,
        }
    }
}

impl<'a> Judge<'a> {
    fn take(&mut self, at: Duration, event: &'a Event) -> Result<(), String> {
        self.followers.take(at, event)?;
        if event.follower() {
            return Ok(());
        }
        match event {
            Event::Broken(why) => return Err(why.clone()),
            Event::Boots(host) => self.known.process(at, *host, true),
            Event::Dies(host) => self.known.process(at, *host, false),
            Event::Frozen(host, frozen) => {
                self.known.frozen[*host] = *frozen;
                self.known.is_ill(at, *host);
            }
            Event::Sick(host, sick) => {
                self.known.is_ill(at, *host);
                self.known.sick[*host] = *sick;
                self.known.is_ill(at, *host);
            }
            Event::Starts(side) => self.starts(at, *side)?,
            Event::Seen { seen, able, company, peers } => {
                for side in 0..2 {
                    let gone =
                        matches!(seen[side], Seen::Serves { fence_gone: true } | Seen::Silent { fence_gone: true, .. });
                    self.gone[side] = if gone { self.gone[side].or(Some(at)) } else { None };
                    self.able[side] = if able[side] { self.able[side].or(Some(at)) } else { None };
                }
                self.seen = *seen;
                self.alarms.company = *company;
                self.peers = *peers;
            }
            Event::Shown { side, status, unguarded, alarms } => {
                if self.known.status[*side] != Some(*status) {
                    self.told.activations += usize::from(*status == Status::Active);
                    self.known.since[*side] = at;
                }
                (self.known.status[*side], self.unguarded[*side]) = (Some(*status), *unguarded);
                self.told.alarms += alarms.len();
            }
            Event::ShowsStill(side) => self.told.alarms += self.alarms.shown(*side),
            _ => {}
        }
        self.alarms.take(at, event, &self.known)
    }

    fn starts(&mut self, at: Duration, side: usize) -> Result<(), String> {
        let starts = &mut self.starts[side];
        starts.push(at);
        let lately = starts.iter().rev().take_while(|start| **start + HOUR > at).count();
        self.told.most_starts = self.told.most_starts.max(lately);
        match lately > self.limits.starts {
            true => Err(format!("{} is started for the {lately}th time within an hour", name(side))),
            false => Ok(()),
        }
    }

    /// What is over time is judged between two events, as it may hold for too long with no event at all.
    fn pass(&mut self, at: Duration, until: Duration) -> Result<(), String> {
        let ends = self.seen.map(|seen| match seen {
            Seen::Silent { .. } => at,
            Seen::ServesUntil(end) => end.clamp(at, until),
            Seen::Serves { .. } => until,
        });
        let both = ends[0].min(ends[1]).saturating_sub(at);
        if both > TICK && !self.two_are_excused(at) {
            let how = format!("{:?}, {:?}", self.seen, self.known.status);
            return Err(format!("W1: both nodes serve for {both:.3?} or longer: {how}"));
        }
        for side in 0..2 {
            self.known.is_ill(until, side);
            if self.able[side].is_none() {
                self.known.unable[side] = until;
            }
            if self.alarms.company[side] != Company::Good {
                self.known.lonely[side] = until;
            }
        }
        if self.peers != Company::Good {
            self.known.apart = until;
        }
        self.alarms.pass(at, until, &self.known, &self.seen)?;
        self.followers.pass(at, until)?;
        let served = ends[0].max(ends[1]);
        self.windows.pass(at, served, until, self.able.map(|able| able.is_some()));
        self.somebody_serves(at, ends[0].max(ends[1]), until)
    }

    fn somebody_serves(&mut self, at: Duration, served: Duration, until: Duration) -> Result<(), String> {
        if served > at {
            self.nobody = None;
        }
        if served < until {
            self.nobody = self.nobody.or(Some(served));
        }
        let able = self.able.iter().flatten().min();
        if able.is_some() {
            self.told.could += until - at;
            self.told.served += served - at;
        }
        // Each node for itself: two that can serve by turns are none.
        for (side, able) in self.able.iter().enumerate() {
            let (Some(able), Some(nobody)) = (able, self.nobody) else { continue };
            let long = until.saturating_sub(*able.max(&nobody));
            if long > self.limits.patience {
                let how = format!("nothing keeps {} from it; {:?}", name(side), self.known.status);
                return Err(format!("W2: nobody serves for {long:.1?}: {how}"));
            }
        }
        Ok(())
    }

    /// Two may serve while one shows that it is unguarded, and for a moment while somebody removes a fence.
    fn two_are_excused(&self, at: Duration) -> bool {
        let alive = &self.known.alive;
        (0..2).any(|side| match self.seen[side] {
            Seen::Serves { fence_gone: true } => {
                let since = self.gone[side].unwrap_or(at).max(self.known.nft_ill[side]);
                !alive[side] || at < since + LOOKED_AT
            }
            // A permit without an end is an unguarded node's; one that died or stands still cannot show it.
            Seen::Serves { fence_gone: false } => self.unguarded[side] || at < self.known.halted[side] + WAKES,
            _ => self.unguarded[side],
        })
    }
}

impl Known {
    fn process(&mut self, at: Duration, host: usize, alive: bool) {
        (self.alive[host], self.frozen[host]) = (alive, false);
        if host != EDGE {
            (self.status[host], self.since[host]) = (None, at);
        }
        self.is_ill(at, host);
    }

    fn is_ill(&mut self, at: Duration, host: usize) {
        let sick = self.sick[host];
        if host == EDGE {
            return;
        }
        if sick != Sick::default() || !self.alive[host] || self.frozen[host] {
            self.ill[host] = at;
        }
        if !self.alive[host] || self.frozen[host] {
            self.halted[host] = at;
        }
        if sick.disk != Plate::Well {
            self.disk_ill[host] = at;
        }
        if sick.nft != Tool::Well || !self.alive[host] || self.frozen[host] {
            self.nft_ill[host] = at;
        }
    }

    /// Whether a node is meant to serve, or does.
    fn is_meant(&self, side: usize, seen: &[Seen; 2]) -> bool {
        let says = matches!(self.status[side], Some(Status::Starting | Status::Active));
        let serves = !matches!(seen[side], Seen::Silent { .. });
        says && self.alive[side] && !self.frozen[side] || serves
    }
}
