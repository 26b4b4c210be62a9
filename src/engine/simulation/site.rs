//! The nodes of both sides, as an Edge meets them: each reports what it does and follows wishes by rules of its own, or
//! does not. What they do is the truth that the Edge's word is held against; how real nodes come to do it is played in
//! the watchdog's own simulation.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use failover::Side;
use failover::health::Status;
use protocol::endpoint::Handler as _;
use protocol::who::Who;
use protocol::wire::{Ask, Chosen, FailedStarts, Guard, NodeReport, Role, Told, Vote, Wish, WishOutcome, Wished};
use tokio::time::{Instant, sleep, timeout};

use super::record::Event;
use super::world::{Condition, World};
use crate::site::nodes::fake;

/// A node reports so often when nothing changes: the watchdog's default heartbeat.
pub(super) const BEAT: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(100);
/// A node gives up a report that is not answered within so long.
const ANSWERED: Duration = Duration::from_millis(400);
/// No machine boots in less; until then its last word counts.
pub(super) const BOOT: Duration = Duration::from_secs(3);
/// Reports that a cut of the network holds up arrive with its end; older ones are lost.
const HELD: usize = 6;
/// XiVO of Main and Standby, CC of Main and Standby.
pub(super) const PLACES: usize = 4;
/// The XiVO nodes' places, by side.
pub(super) const XIVO: [usize; 2] = [0, 1];

/// What a node makes of wishes, and of its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mind {
    Follows,
    Refuses,
    /// It takes wishes in and says nothing of them.
    Mute,
    NeverStops,
    NeverStarts,
    /// Its machine dies while it stops or starts.
    Dies,
}

/// All that an observer at the node sees of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Truth {
    pub(super) status: Status,
    /// Its machine is off.
    pub(super) off: bool,
    /// What it reports is held up.
    pub(super) cut: bool,
    /// It serves beside another one, without a majority.
    pub(super) rogue: bool,
    /// A copy of its machine reports, too.
    pub(super) twin: bool,
    pub(super) alarm: Option<&'static str>,
    pub(super) days: Option<i64>,
    pub(super) frozen: bool,
    pub(super) version: &'static str,
    /// An operator at the node chose that side.
    pub(super) chosen: Option<Side>,
    /// Its newest start failed.
    pub(super) failed: bool,
}

impl Truth {
    pub(super) fn serves(&self) -> bool {
        !self.off && matches!(self.status, Status::Active | Status::Starting)
    }

    fn runs(&self) -> bool {
        self.serves() || !self.off && self.status == Status::Stopping
    }
}

pub(super) struct Played {
    pub(super) truth: Truth,
    pub(super) mind: Mind,
    /// When it has stopped, started, or ceased to be faulty.
    until: Option<Instant>,
    instance: u64,
    newest: u64,
    wished: Option<Wished>,
    /// The other node stopped so that this one serves.
    handed: bool,
    off_since: Option<Instant>,
    held: Vec<NodeReport>,
}

/// The nodes by place.
pub(super) struct Site {
    pub(super) nodes: [Played; PLACES],
    /// Web servers answer though telephony behind them does not serve.
    pub(super) web_survives: bool,
    /// Since when no XiVO runs.
    idle: Option<Instant>,
    instances: u64,
    pub(super) other_version: bool,
    healed: bool,
}

pub(super) fn side_of(place: usize) -> Side {
    Side::BOTH[place % 2]
}

pub(super) fn role_of(place: usize) -> Role {
    if place < 2 { Role::Xivo } else { Role::Cc }
}

pub(super) fn name_of(place: usize) -> &'static str {
    ["xivo-a", "xivo-b", "cc-a", "cc-b"][place]
}

impl Site {
    pub(super) fn new(web_survives: bool) -> Self {
        let node = |place: usize| Played {
            truth: Truth {
                status: if place.is_multiple_of(2) { Status::Active } else { Status::Inactive },
                off: false,
                cut: false,
                rogue: false,
                twin: false,
                alarm: None,
                days: Some(300),
                frozen: false,
                version: "0.1.0",
                chosen: None,
                failed: false,
            },
            mind: Mind::Follows,
            until: None,
            instance: place as u64 + 1,
            newest: 0,
            wished: None,
            handed: false,
            off_since: None,
            held: Vec::new(),
        };
        let nodes = [0, 1, 2, 3].map(node);
        Self { nodes, web_survives, idle: None, instances: PLACES as u64, other_version: false, healed: false }
    }

    /// How a web server of a side answers while the side is otherwise well: CC's, or XiVO's.
    pub(super) fn answers(&self, side: usize, service: u8, ms: u64) -> Condition {
        let truth = &self.nodes[if service == 1 { side + 2 } else { side }].truth;
        // Of a node that is not heard of the web server must tell, or nobody could know.
        let survives = self.web_survives && !truth.cut;
        match truth.status {
            _ if truth.off => Condition::Silent,
            Status::Active => Condition::Works(ms),
            _ if survives => Condition::Works(ms),
            _ => Condition::Refuses,
        }
    }

    /// Switches a machine off, or on again: then it is another boot, and serves nothing.
    pub(super) fn power(&mut self, place: usize, on: bool) {
        if self.nodes[place].truth.off != on {
            return;
        }
        self.instances += 1;
        let node = &mut self.nodes[place];
        (node.truth.off, node.truth.status, node.truth.rogue) = (!on, Status::Inactive, false);
        (node.until, node.instance, node.wished, node.handed) = (None, self.instances, None, false);
        (node.truth.chosen, node.truth.failed) = (None, false);
        node.off_since = (!on).then(Instant::now);
        node.held.clear();
    }

    /// Everything is well from now on.
    pub(super) fn heal(&mut self) {
        (self.other_version, self.healed) = (false, true);
        for place in 0..PLACES {
            let node = &mut self.nodes[place];
            node.mind = Mind::Follows;
            (node.truth.cut, node.truth.twin, node.truth.frozen) = (false, false, false);
            (node.truth.alarm, node.truth.days, node.truth.version) = (None, Some(300), "0.1.0");
        }
    }

    /// Has the second XiVO serve beside the first.
    pub(super) fn split(&mut self, now: Instant, time: Duration) {
        let Some(place) = XIVO.into_iter().find(|place| self.nodes[*place].truth.status == Status::Inactive) else {
            return;
        };
        let node = &mut self.nodes[place];
        if !node.truth.off && !node.truth.frozen {
            (node.truth.status, node.truth.rogue, node.until) = (Status::Active, true, Some(now + time));
        }
    }

    /// Has an operator at the XiVO node that serves hand its duty to the other.
    pub(super) fn yield_by_hand(&mut self, now: Instant) {
        let Some(place) = XIVO.into_iter().find(|place| self.nodes[*place].truth.status == Status::Active) else {
            return;
        };
        self.nodes[place].truth.chosen = Some(side_of(place).other());
        self.hand_over(place, now);
    }

    pub(super) fn fail(&mut self, place: usize, now: Instant) {
        let node = &mut self.nodes[place];
        if !node.truth.off && node.truth.status == Status::Active {
            (node.truth.status, node.truth.rogue) = (Status::Faulty, false);
            node.until = Some(now + Duration::from_secs(3));
        }
    }

    fn hand_over(&mut self, place: usize, now: Instant) {
        self.stop(place, now + Duration::from_millis(600));
        self.nodes[place ^ 1].handed = true;
    }

    fn stop(&mut self, place: usize, until: Instant) {
        let node = &mut self.nodes[place];
        (node.truth.status, node.truth.rogue, node.until, node.handed) = (Status::Stopping, false, Some(until), false);
    }

    fn start(&mut self, place: usize, until: Instant) {
        let node = &mut self.nodes[place];
        (node.truth.status, node.until) = (Status::Starting, Some(until));
    }

    fn wish(&mut self, place: usize, wish: &Wish, now: Instant) {
        let (mine, peer_runs) = (side_of(place), self.nodes[place ^ 1].truth.runs());
        let node = &mut self.nodes[place];
        if node.truth.off || wish.id <= node.newest {
            return;
        }
        node.newest = wish.id;
        let refused = |reason: &str| WishOutcome::Refused { reason: reason.to_owned() };
        let outcome = match (node.mind, node.truth.status) {
            (Mind::Mute, _) => return,
            (Mind::Refuses, _) => refused("I will not"),
            _ if node.truth.frozen => refused("I am frozen"),
            (_, Status::Active) if wish.to != mine => {
                self.hand_over(place, now);
                WishOutcome::Followed
            }
            (_, Status::Starting) if wish.to != mine => {
                self.stop(place, now + Duration::from_millis(300));
                WishOutcome::Followed
            }
            (_, Status::Inactive) if wish.to == mine && peer_runs => refused("the other still runs"),
            (_, Status::Inactive) if wish.to == mine => {
                self.start(place, now + Duration::from_millis(1_200));
                WishOutcome::Followed
            }
            (_, Status::Stopping | Status::Faulty) if wish.to == mine => refused("I am not through"),
            _ => WishOutcome::Followed,
        };
        self.nodes[place].wished = Some(Wished { id: wish.id, outcome });
    }

    /// Carries out what is due by now: boots, starts, stops, reports that a cut held up.
    fn tick(&mut self, now: Instant, chance: &mut fastrand::Rng) {
        for place in 0..PLACES {
            if self.healed && self.nodes[place].off_since.is_some_and(|since| since + BOOT <= now) {
                self.power(place, true);
            }
            let due = self.nodes[place].until.is_some_and(|until| until <= now);
            let node = &mut self.nodes[place];
            if node.truth.off || !due {
                continue;
            }
            let to = match (node.truth.status, node.mind) {
                (Status::Stopping, Mind::NeverStops) => continue,
                (Status::Stopping | Status::Starting, Mind::Dies) => {
                    self.power(place, false);
                    continue;
                }
                (Status::Starting, Mind::NeverStarts) => {
                    node.truth.failed = true;
                    node.until = Some(now + Duration::from_secs(3));
                    node.truth.status = Status::Faulty;
                    continue;
                }
                (Status::Starting, _) => {
                    node.truth.failed = false;
                    Status::Active
                }
                (Status::Active, _) => Status::Stopping,
                (Status::Stopping | Status::Faulty | Status::Inactive, _) => Status::Inactive,
            };
            (node.truth.status, node.truth.rogue, node.until) = (to, false, None);
            if to == Status::Stopping {
                node.until = Some(now + Duration::from_millis(200));
            }
            if to == Status::Active && place < 2 {
                (node.handed, self.nodes[place ^ 1].handed) = (false, false);
                XIVO.into_iter().for_each(|xivo| self.nodes[xivo].truth.chosen = None);
            }
        }
        let runs = XIVO.into_iter().any(|place| self.nodes[place].truth.runs());
        self.idle = if runs { None } else { self.idle.or(Some(now)) };
        for place in XIVO {
            self.take_up(place, now, chance);
        }
        for place in XIVO {
            self.follow(place + 2, now, chance);
        }
    }

    /// Nobody serves: whoever was handed the duty takes it up, else whoever could, Main first.
    fn take_up(&mut self, place: usize, now: Instant, chance: &mut fastrand::Rng) {
        let Some(idle) = self.idle else { return };
        let node = &self.nodes[place];
        if node.truth.off || node.truth.frozen || node.truth.status != Status::Inactive {
            return;
        }
        let wait = match (node.handed, node.truth.failed, side_of(place)) {
            (true, false, _) => 800,
            (_, true, _) => 15_000,
            (_, _, Side::Main) => 4_000,
            (_, _, Side::Standby) => 5_000,
        };
        if idle + Duration::from_millis(wait) <= now {
            self.idle = None;
            self.start(place, now + Duration::from_millis(300 + chance.u64(0..2_500)));
        }
    }

    /// A CC does what the XiVO of its side does; one that is out of sight is no reason to stop (W5).
    fn follow(&mut self, place: usize, now: Instant, chance: &mut fastrand::Rng) {
        let xivo = &self.nodes[place - 2].truth;
        let (out_of_sight, wanted) = (xivo.off, xivo.status == Status::Active);
        let node = &mut self.nodes[place];
        if node.truth.off || out_of_sight {
            return;
        }
        let (status, takes) = match node.truth.status {
            Status::Inactive if wanted && node.mind != Mind::NeverStarts => (Status::Starting, chance.u64(300..2_000)),
            Status::Active | Status::Starting if !wanted => (Status::Stopping, 300),
            _ => return,
        };
        (node.truth.status, node.until) = (status, Some(now + Duration::from_millis(takes)));
    }

    fn report(&self, place: usize, made: Duration) -> NodeReport {
        let node = &self.nodes[place];
        let truth = &node.truth;
        let guard = match (truth.status, truth.rogue) {
            (Status::Active, true) => Some(Guard::Unguarded { why: "nobody is heard".into() }),
            (Status::Active, false) => Some(Guard::Guarded),
            _ => None,
        };
        let vote = Vote { frozen: truth.frozen, guard, ..fake::vote() };
        let failed = FailedStarts { count: 1, since: 0, newest: 0, words: "exit code 3".into() };
        let chosen = |serves| Chosen { serves, who: "eve".into(), reason: "at the node".into() };
        NodeReport {
            version: truth.version.into(),
            alarms: truth.alarm.iter().map(|alarm| (*alarm).to_owned()).collect(),
            certificate_days: truth.days,
            failed_starts: truth.failed.then_some(failed),
            vote: (place < 2).then_some(vote),
            wished: node.wished.clone(),
            chosen: truth.chosen.map(chosen),
            instance: Some(node.instance),
            made_us: Some(u64::try_from(made.as_micros()).unwrap()),
            ..fake::report(truth.status)
        }
    }
}

/// Lets the nodes live until the simulation ends.
pub(super) fn begin(world: &Arc<World>) {
    if world.inner().site.is_none() {
        return;
    }
    world.introduce();
    tokio::spawn(live(Arc::clone(world)));
    for place in 0..PLACES {
        tokio::spawn(report_on(Arc::clone(world), place));
        tokio::spawn(copy(Arc::clone(world), place));
    }
}

async fn live(world: Arc<World>) {
    let mut since = Instant::now();
    loop {
        world.change(|site, chance| site.tick(Instant::now(), chance));
        sleep(TICK).await;
        // Who speaks another version tries again as often as anybody reports.
        if since.elapsed() >= BEAT && world.inner().site.as_ref().is_some_and(|site| site.other_version) {
            since = Instant::now();
            if let Some(desk) = world.desk() {
                desk.speaks_another_version(([10, 0, 1, 2], 4711).into(), "bascule/9");
            }
        }
    }
}

async fn report_on(world: Arc<World>, place: usize) {
    sleep(Duration::from_millis(world.below(500))).await;
    loop {
        sleep(BEAT).await;
        let reports = {
            let made = world.began.elapsed();
            let mut inner = world.inner();
            let cut = inner.cut;
            let Some(site) = &mut inner.site else { return };
            let report = site.report(place, made);
            let node = &mut site.nodes[place];
            if node.truth.off {
                continue;
            }
            if cut || node.truth.cut {
                node.held.push(report);
                node.held.truncate(HELD);
                continue;
            }
            let mut reports = mem::take(&mut node.held);
            reports.push(report);
            reports
        };
        for report in reports {
            deliver(&world, place, report).await;
        }
    }
}

async fn deliver(world: &Arc<World>, place: usize, report: NodeReport) {
    let Some(desk) = world.desk() else { return };
    let timely = report.made_us.is_some_and(|made| world.began.elapsed() - Duration::from_micros(made) < ANSWERED);
    sleep(Duration::from_millis(1 + world.below(30))).await;
    world.note(Event::Sent(place));
    let who = Who::of_side(role_of(place), side_of(place), name_of(place));
    let Ok(told) = timeout(ANSWERED, desk.told(&who, Ask::Report(Box::new(report)))).await else { return };
    let Told::Report { wish } = told else { return };
    if timely {
        world.note(Event::Taken(place));
    }
    if let Some(wish) = wish {
        world.note(Event::Wish { place, to: wish.to, why: wish.reason.clone() });
        let before = world.inner().site.as_ref().map(|site| site.nodes[place].wished.clone());
        world.change(|site, _| site.wish(place, &wish, Instant::now()));
        let after = world.inner().site.as_ref().map(|site| site.nodes[place].wished.clone());
        if before != after && matches!(after, Some(Some(Wished { outcome: WishOutcome::Followed, .. }))) {
            world.note(Event::Followed(place));
        }
    }
}

/// The same machine once more, restored from a copy: it says that it does not serve.
async fn copy(world: Arc<World>, place: usize) {
    loop {
        sleep(BEAT).await;
        let report = {
            let made = world.began.elapsed();
            let inner = world.inner();
            let Some(site) = inner.site.as_ref().filter(|_| !inner.cut) else { continue };
            let truth = &site.nodes[place].truth;
            // Where nothing is heard of the machine itself, its copy is believed.
            if !truth.twin || truth.cut || truth.off {
                continue;
            }
            let (instance, alarms) = (Some(1_000 + place as u64), Vec::new());
            let report = site.report(place, made);
            NodeReport { status: Status::Inactive, instance, alarms, vote: report.vote.map(|_| fake::vote()), ..report }
        };
        let Some(desk) = world.desk() else { continue };
        let who = Who::of_side(role_of(place), side_of(place), name_of(place));
        world.note(Event::Sent(place));
        let _ = timeout(ANSWERED, desk.told(&who, Ask::Report(Box::new(report)))).await;
    }
}
