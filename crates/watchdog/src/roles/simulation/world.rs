//! The machines, and what they do: commands, disks, telephony. What happens is noted; what is to be made of it is
//! left to the record.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use failover::duty::{self, Handover};
use failover::lease::Timing;
use failover::{Side, lease};
use host::played::{self, Boxed, Clock, Disk, Host, current};
use protocol::who::Who;
use protocol::wire::Wish;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::followers::asterisk::{self, Asterisk};
use super::net::{Forgot, GOOD, Links};
use super::nft::{Gate, Nft};
use super::record::{Company, Event, Seen};
use crate::node::command::Ending;
use crate::node::played::{Process, Stage};
use crate::state::Keep;

/// Main's XiVO, Standby's, the Edge; where there are followers, the CC of each side, and a media server.
pub(super) const HOSTS: usize = 6;
pub(super) const EDGE: usize = 2;
pub(super) const CC: [usize; 2] = [3, 4];
pub(super) const MDS: usize = 5;
/// Machines of a world without followers: they come first, so that their numbers hold in both.
pub(super) const VOTERS: usize = 3;

pub(super) fn name(host: usize) -> &'static str {
    ["main", "standby", "edge", "main-cc", "standby-cc", "mds1"][host]
}

pub(super) fn index(host: &Option<Host>) -> usize {
    let named = |host: &Host| (0..HOSTS).find(|index| name(*index) == host.name());
    host.as_ref().and_then(named).unwrap_or_else(|| panic!("{host:?} is no machine of the simulation"))
}

pub(super) fn address(host: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, host as u8 + 1])
}

pub(super) fn host_at(address: SocketAddr) -> usize {
    match address.ip() {
        IpAddr::V4(ip) => usize::from(ip.octets()[3]) - 1,
        IpAddr::V6(_) => panic!("{address}"),
    }
}

pub(super) fn edge_at() -> SocketAddr {
    SocketAddr::new(address(EDGE), 9601)
}

pub(super) struct Machine {
    /// The process of the watchdog, or of the Edge, if one runs.
    pub(super) host: Option<Host>,
    pub(super) powered: bool,
    pub(super) life: u32,
    /// How often it had power.
    pub(super) boots: u64,
    pub(super) clock: Clock,
    /// What a XiVO node's disk holds, and the witness's.
    pub(super) memory: Option<duty::Memory>,
    pub(super) vote: Option<lease::Memory>,
    /// Every promise that a XiVO node's disk ever held.
    promised: BTreeSet<(Side, lease::Campaign)>,
    pub(super) handover: Option<Handover>,
    pub(super) nft: Nft,
    /// Or what a CC runs, or a media server's Asterisk.
    pub(super) telephony: Telephony,
    pub(super) asterisk: Asterisk,
    pub(super) busy: Option<(&'static str, AbortHandle)>,
    pub(super) sick: Sick,
    pub(super) orders: Option<mpsc::Sender<crate::control::api::Order>>,
    pub(super) end: Option<watch::Sender<bool>>,
    turned: Option<Instant>,
    /// Since when its watchdog shows that it is active.
    pub(super) active: Option<Instant>,
    /// When its tools last were, or may have been, other than they should be: what was begun then ends later.
    ill: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telephony {
    Stopped,
    Works,
    /// It runs, and answers nobody.
    Hangs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sick {
    pub(super) disk: Plate,
    pub(super) nft: Tool,
    pub(super) start: Start,
    pub(super) stop: Stop,
    pub(super) check: Check,
    pub(super) cli: Cli,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Plate {
    #[default]
    Well,
    /// Each of its steps takes up to so many milliseconds.
    Slow(u64),
    /// Of a hundred writes so many fail, before the disk has taken what is written or after.
    Fails(u32),
    Full,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Tool {
    #[default]
    Well,
    /// Each call takes up to so many milliseconds.
    Slow(u64),
    /// The program never ends by itself; the kernel is well.
    Hangs,
    /// The program is not there; the kernel is well.
    Missing,
    /// The kernel refuses every transaction: permits run out, and the node must step down.
    Broken,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Start {
    #[default]
    Well,
    Fails,
    /// The command ends well, and nothing answers.
    Lies,
    /// Telephony dies soon after it works.
    DiesSoon,
    /// The command never ends by itself; telephony works from its first half on.
    Hangs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Stop {
    #[default]
    Well,
    /// The command never ends by itself.
    Hangs,
    /// The command fails, and telephony goes on.
    Fails,
    /// The command ends well, and telephony goes on.
    Lies,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Check {
    #[default]
    Well,
    Hangs,
}

/// Asterisk's command line: it may hang while telephony itself works.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Cli {
    #[default]
    Well,
    Fails,
    Hangs,
}

pub(super) struct Inner {
    pub(super) chance: fastrand::Rng,
    pub(super) links: Links,
    pub(super) forgot: Forgot,
    pub(super) endpoints: BTreeMap<SocketAddr, mpsc::Sender<(Who, DuplexStream)>>,
    pub(super) machines: [Machine; HOSTS],
    pub(super) wish: Option<Wish>,
    /// Whether an operator insisted that a node serves.
    pub(super) forced: bool,
    pub(super) events: Vec<(Duration, Event)>,
    /// How those who follow were seen last.
    pub(super) followed: Option<Event>,
    /// How often of a thousand times a task that could go on is kept waiting, and how long at most, in milliseconds.
    pub(super) busy: (u32, u64),
    pub(super) longest_turn: Duration,
}

pub(super) struct World {
    pub(super) began: Instant,
    pub(super) hosts: usize,
    inner: Mutex<Inner>,
}

pub(super) use super::record::Event as Note;

impl World {
    pub(super) fn new(seed: u64, hosts: usize) -> Arc<Self> {
        let mut chance = fastrand::Rng::with_seed(seed);
        let machine = |chance: &mut fastrand::Rng| Machine {
            host: None,
            powered: true,
            life: 0,
            boots: 1,
            clock: Clock { origin: chance.u64(0..1 << 40), fast: chance.i64(-1_000..1_001) },
            memory: None,
            vote: Some(lease::Memory { record: lease::Record::Free, epoch: 0 }),
            promised: BTreeSet::new(),
            handover: None,
            nft: Nft::default(),
            telephony: Telephony::Stopped,
            asterisk: Asterisk::default(),
            busy: None,
            sick: Sick::default(),
            orders: None,
            end: None,
            turned: None,
            ill: None,
            active: None,
        };
        // Those who follow draw from a chance of their own: a seed without them is the same as before there were any.
        let mut theirs = fastrand::Rng::with_seed(!seed);
        let machines = std::array::from_fn(|host| machine(if host < VOTERS { &mut chance } else { &mut theirs }));
        let inner = Inner {
            chance,
            links: [[GOOD; HOSTS]; HOSTS],
            forgot: [[0; HOSTS]; HOSTS],
            endpoints: BTreeMap::new(),
            machines,
            wish: None,
            forced: false,
            events: Vec::new(),
            followed: None,
            busy: (20, 15),
            longest_turn: Duration::ZERO,
        };
        Arc::new(Self { began: Instant::now(), hosts, inner: Mutex::new(inner) })
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, event: Event) {
        tracing::info!("~ {event:?}");
        self.inner().note(self.began.elapsed(), event);
    }

    /// Notes how a machine is seen from outside, if that changed.
    pub(super) fn observe(&self) {
        let now = self.began.elapsed();
        let mut inner = self.inner();
        let seen = std::array::from_fn(|side| inner.seen(side, self.began));
        let able = [0, 1].map(|side| inner.is_able(side));
        let company = [0, 1].map(|side| inner.company(side, EDGE).max(inner.company(side, 1 - side)));
        let peers = inner.company(0, 1);
        let event = Event::Seen { seen, able, company, peers };
        let before = inner.events.iter().rev().find_map(|(_, event)| match event {
            Event::Seen { .. } => Some(event.clone()),
            _ => None,
        });
        if before.as_ref() != Some(&event) {
            inner.note(now, event);
        }
        if self.hosts == HOSTS {
            let event = inner.followers(self.began);
            if inner.followed.as_ref() != Some(&event) {
                inner.followed = Some(event.clone());
                inner.note(now, event);
            }
        }
    }

    /// Whether a write of the present machine's fails, before its disk has taken it or after.
    pub(super) fn disk_fails(&self, host: usize, when: Disk) -> bool {
        let mut inner = self.inner();
        match inner.machines[host].sick.disk {
            Plate::Full => when == Disk::Taking,
            Plate::Fails(often) => inner.chance.u32(0..200) < often,
            Plate::Well | Plate::Slow(_) => false,
        }
    }

    /// Waits as long as a machine's disk takes.
    pub(super) async fn wait_for_disk(&self, host: usize, _: Disk) {
        let takes = {
            let mut inner = self.inner();
            // Made, filled and synced; renamed, and its directory synced: `store::replace`.
            let steps = 3;
            let most = match inner.machines[host].sick.disk {
                Plate::Slow(most) => most,
                Plate::Well | Plate::Fails(_) | Plate::Full => 8,
            };
            (0..steps).map(|_| Duration::from_micros(100 + inner.chance.u64(0..=most * 1_000))).sum()
        };
        sleep(takes).await;
    }
}

impl Inner {
    pub(super) fn note(&mut self, now: Duration, event: Event) {
        self.events.push((now, event));
    }

    pub(super) fn machine(&mut self, side: Side) -> &mut Machine {
        &mut self.machines[side as usize]
    }

    fn seen(&self, side: usize, began: Instant) -> Seen {
        let machine = &self.machines[side];
        let runs = machine.powered && machine.telephony == Telephony::Works;
        match (runs, machine.nft.gate("5060")) {
            (false, gate) => {
                let fence_gone = machine.powered && machine.life > 0 && gate == Gate::Gone;
                Seen::Silent { runs: machine.telephony != Telephony::Stopped, fence_gone }
            }
            (true, Gate::Closed) => Seen::Silent { runs, fence_gone: false },
            (true, Gate::Until(end)) => Seen::ServesUntil(end - began),
            (true, Gate::Open) => Seen::Serves { fence_gone: false },
            (true, Gate::Gone) => Seen::Serves { fence_gone: true },
        }
    }

    pub(super) fn runs(&self, host: usize) -> bool {
        let machine = &self.machines[host];
        machine.powered && machine.host.as_ref().is_some_and(|host| !host.is_frozen())
    }

    /// Whether a node is answered by another machine.
    fn company(&self, side: usize, other: usize) -> Company {
        let links = [self.links[side][other], self.links[other][side]];
        if !self.runs(side) || !self.runs(other) || links.iter().any(|link| link.cut) {
            return Company::None;
        }
        let near = links.iter().all(|link| link.loss <= 5 && link.delay <= 50);
        if near && self.machines[other].sick.disk == Plate::Well { Company::Good } else { Company::Slow }
    }

    /// Whether nothing keeps a node from serving: it is well, and one other voter is and can be asked.
    fn is_able(&self, side: usize) -> bool {
        let votes = |host: usize| self.company(side, host) == Company::Good;
        let peer = 1 - side;
        self.runs(side)
            && self.machines[side].sick == Sick::default()
            && (votes(EDGE) || votes(peer) && self.machines[peer].sick.stop == Stop::Well)
    }
}

/// What the machines' processes are polled through.
pub(super) struct Machinery(pub(super) Arc<World>);

impl played::World for Machinery {
    fn keeps_waiting(&self) -> Duration {
        let mut inner = self.0.inner();
        let (often, most) = inner.busy;
        let drawn = inner.chance.u32(0..1_000);
        if most > 0 && drawn < often {
            return Duration::from_micros(inner.chance.u64(0..most * 1_000));
        }
        Duration::ZERO
    }

    fn goes_first(&self, of: usize) -> usize {
        self.0.inner().chance.usize(0..of)
    }

    fn disk(&self, when: Disk) -> Boxed<io::Result<()>> {
        let host = index(&current());
        let world = Arc::clone(&self.0);
        Box::pin(async move {
            if when == Disk::Taking && host != EDGE {
                world.note(Event::Writes(host));
            }
            world.wait_for_disk(host, when).await;
            let fails = world.disk_fails(host, when);
            if (fails || when == Disk::Answering) && host != EDGE {
                world.note(Event::Written(host, !fails));
            }
            if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }
}

pub(super) struct Kept(pub(super) Arc<World>);

impl Keep for Kept {
    fn persist(&self, memory: &duty::Memory) -> io::Result<()> {
        let mut inner = self.0.inner();
        let machine = &mut inner.machines[index(&current())];
        machine.memory = Some(*memory);
        if let lease::Record::Promised(promise) = memory.vote.record {
            machine.promised.insert((promise.holder, promise.campaign));
        }
        Ok(())
    }
}

/// The machines' commands and telephony.
pub(super) struct Hands(pub(super) Arc<World>);

impl Stage for Hands {
    fn command(&self, argv: &[String], input: Option<&str>) -> Process {
        let host = index(&current());
        let world = Arc::clone(&self.0);
        let words: Vec<_> = argv.iter().map(String::as_str).collect();
        let (tell, ended) = oneshot::channel();
        let effect: Boxed<(Ending, String)> = match words[..] {
            ["sim", "start"] => Box::pin(start(world, host)),
            ["sim", "stop"] => Box::pin(stop(world, host)),
            ["sim", "check"] => Box::pin(check(world, host)),
            ["asterisk", "-rx", asked] => Box::pin(asterisk::ask(world, host, asked.to_owned())),
            ["nft", ..] => Box::pin(nft(world, host, argv.to_vec(), input.unwrap_or_default().to_owned())),
            // A program that is not there.
            _ => Box::pin(async move { (Ending::NotFound, String::new()) }),
        };
        let task = tokio::spawn(async move {
            let _ = tell.send(effect.await);
        });
        let task = task.abort_handle();
        if let ["sim", what @ ("start" | "stop")] = words[..] {
            let what = if what == "start" { "start" } else { "stop" };
            let mut inner = self.0.inner();
            let now = self.0.began.elapsed();
            let before = inner.machines[host].busy.replace((what, task.clone()));
            if let Some((other, before)) = before.filter(|(_, task)| !task.is_finished()) {
                drop(before);
                inner.note(now, Event::Broken(format!("W4: on {} {what} runs beside {other}", name(host))));
            }
        }
        Process { ended, task }
    }

    fn change(&self, script: &str, sets: &[&str]) -> io::Result<()> {
        let host = index(&current());
        if self.0.inner().machines[host].sick.nft == Tool::Broken {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let changed = {
            let nft = &mut self.0.inner().machines[host].nft;
            let missing = sets.iter().find(|set| !nft.has("bascule", set));
            missing.map_or_else(|| nft.run(script, Instant::now()), |set| Err(format!("no set {set}")))
        };
        self.0.observe();
        changed.map_err(|why| io::Error::new(io::ErrorKind::NotFound, why))
    }

    fn ask(&self, check: &probe::Check) -> Boxed<probe::Report> {
        let host = index(&current());
        let (world, limit) = (Arc::clone(&self.0), check.time_limit);
        Box::pin(async move {
            let telephony = world.inner().machines[host].telephony;
            let ms = 1 + world.inner().chance.u64(0..4);
            let (takes, result) = match telephony {
                Telephony::Works => (Duration::from_millis(ms), Ok("SIP 200".to_owned())),
                Telephony::Stopped => (Duration::from_millis(1), Err((probe::FailureKind::Refused, "refused"))),
                Telephony::Hangs => (limit, Err((probe::FailureKind::Silent, "no answer"))),
            };
            sleep(takes).await;
            let result = result.map_err(|(kind, detail)| probe::Failure {
                kind,
                phase: probe::Phase::Answer,
                detail: detail.to_owned(),
            });
            probe::Report { result, timings: probe::Timings { total: takes, ..Default::default() }, certificate: None }
        })
    }

    fn echoes(&self, target: IpAddr) -> bool {
        let from = index(&current());
        let inner = self.0.inner();
        // The anchor is beside the Edge, and always there.
        let to = host_at(SocketAddr::new(target, 0)).min(EDGE);
        let there = target == address(HOSTS) || inner.machines[to].powered;
        there && !inner.links[from][to].cut && !inner.links[to][from].cut
    }

    fn leave(&self, handover: Option<Handover>) {
        self.0.inner().machines[index(&current())].handover = handover;
    }

    fn take(&self) -> Option<Handover> {
        self.0.inner().machines[index(&current())].handover.take()
    }

    fn answers(&self, answer: &lease::Answer) {
        let host = index(&current());
        let mut inner = self.0.inner();
        let promise = (Side::BOTH[1 - host], answer.campaign);
        if answer.ruling == lease::VoteReply::Grant && !inner.machines[host].promised.contains(&promise) {
            let now = self.0.began.elapsed();
            inner.note(now, Event::Broken(format!("W1: {} tells of a vote that is not on its disk", name(host))));
        }
    }

    fn turned(&self) {
        let host = index(&current());
        let mut inner = self.0.inner();
        let last = inner.machines[host].turned.replace(Instant::now());
        if host > EDGE {
            let is_well = inner.machines[host].sick == Sick::default();
            let took = last.map_or(Duration::ZERO, |last| last.elapsed());
            if is_well && took > super::FOLLOWERS_TURN {
                let now = self.0.began.elapsed();
                inner.note(now, Event::Broken(format!("the loop of {} stood still for {took:?}", name(host))));
            }
            return;
        }
        let (sick, ill) = (inner.machines[host].sick, inner.machines[host].ill);
        let is_well = |sick: Sick| sick == Sick::default();
        // Who serves waits for no disk: it neither grants nor starts.
        let active = inner.machines[host].active.zip(last).is_some_and(|(since, last)| since <= last);
        // What was begun while its tools were slow ends later.
        let late = !active && ill.is_some_and(|at| at.elapsed() <= super::LONGEST_WRITE);
        let limit = if !is_well(Sick { disk: Plate::Well, ..sick }) {
            return;
        } else if active || is_well(sick) && !late {
            super::LONGEST_TURN
        } else {
            // A start waits for the disk for as long as its lease may last.
            super::LONGEST_TURN + Timing::DEFAULT.lease
        };
        let Some(took) = last.map(|last| last.elapsed()) else { return };
        if is_well(sick) && limit == super::LONGEST_TURN {
            inner.longest_turn = inner.longest_turn.max(took);
        }
        if took > limit {
            let now = self.0.began.elapsed();
            inner.note(now, Event::Broken(format!("the loop of {} stood still for {took:?}", name(host))));
        }
    }
}

impl World {
    /// A machine that stood still, or whose tools were slow, is not blamed for a late turn.
    pub(super) fn excuse(&self, host: usize) {
        let mut inner = self.inner();
        let machine = &mut inner.machines[host];
        machine.turned = None;
        if machine.sick != Sick::default() {
            machine.ill = Some(Instant::now());
        }
    }

    async fn pause(&self, least: u64, most: u64) {
        let takes = self.inner().chance.u64(least..most);
        sleep(Duration::from_millis(takes)).await;
    }

    pub(super) fn set_telephony(&self, host: usize, telephony: Telephony) {
        self.inner().machines[host].telephony = telephony;
        self.observe();
    }
}

async fn start(world: Arc<World>, host: usize) -> (Ending, String) {
    let how = world.inner().machines[host].sick.start;
    world.note(Event::Starts(host));
    world.pause(200, 900).await;
    if how == Start::Fails {
        world.note(Event::StartFails(host));
        return (Ending::ExitCode(1), "it cannot".into());
    }
    if how != Start::Lies {
        world.inner().machines[host].asterisk.lives += 1;
        world.set_telephony(host, Telephony::Works);
    }
    while world.inner().machines[host].sick.start == Start::Hangs {
        sleep(Duration::from_millis(100)).await;
    }
    if how == Start::DiesSoon {
        let (world, after) = (Arc::clone(&world), world.inner().chance.u64(500..4_000));
        tokio::spawn(async move {
            sleep(Duration::from_millis(after)).await;
            let telephony = world.inner().machines[host].telephony;
            if telephony == Telephony::Works && world.inner().machines[host].sick.start == Start::DiesSoon {
                world.note(Event::Said(host, "telephony dies".into()));
                world.set_telephony(host, Telephony::Stopped);
            }
        });
    }
    world.pause(50, 300).await;
    (Ending::Done, String::new())
}

async fn stop(world: Arc<World>, host: usize) -> (Ending, String) {
    world.note(Event::Stops(host));
    world.pause(100, 800).await;
    while world.inner().machines[host].sick.stop == Stop::Hangs {
        sleep(Duration::from_millis(100)).await;
    }
    let how = world.inner().machines[host].sick.stop;
    if matches!(how, Stop::Fails | Stop::Lies) && world.inner().machines[host].telephony != Telephony::Stopped {
        world.note(Event::StopFails(host));
    }
    match how {
        Stop::Fails => return (Ending::ExitCode(1), "it cannot".into()),
        Stop::Lies => return (Ending::Done, String::new()),
        Stop::Well | Stop::Hangs => world.set_telephony(host, Telephony::Stopped),
    }
    world.pause(10, 200).await;
    (Ending::Done, String::new())
}

async fn check(world: Arc<World>, host: usize) -> (Ending, String) {
    world.pause(20, 100).await;
    while world.inner().machines[host].sick.check == Check::Hangs {
        sleep(Duration::from_millis(100)).await;
    }
    let telephony = world.inner().machines[host].telephony;
    match telephony {
        Telephony::Stopped => (Ending::ExitCode(3), "not running".into()),
        Telephony::Works | Telephony::Hangs => (Ending::Done, String::new()),
    }
}

async fn nft(world: Arc<World>, host: usize, argv: Vec<String>, script: String) -> (Ending, String) {
    let sick = world.inner().machines[host].sick.nft;
    let most = match sick {
        Tool::Slow(most) => most,
        Tool::Well | Tool::Hangs | Tool::Missing | Tool::Broken => 12,
    };
    if sick == Tool::Missing {
        return (Ending::NotFound, String::new());
    }
    world.pause(2, most.max(3)).await;
    while world.inner().machines[host].sick.nft == Tool::Hangs {
        sleep(Duration::from_millis(20)).await;
    }
    if world.inner().machines[host].sick.nft == Tool::Broken {
        return (Ending::ExitCode(1), "Error: Could not process rule: Operation not permitted".into());
    }
    let now = Instant::now();
    let said = {
        let nft = &mut world.inner().machines[host].nft;
        match argv.last().map(String::as_str) {
            Some("-") => nft.run(&script, now).map(|()| String::new()),
            Some(table) => nft.list(table, now).ok_or_else(|| "Error: No such file or directory".to_owned()),
            None => Err("usage".into()),
        }
    };
    world.observe();
    world.pause(1, most.max(2)).await;
    match said {
        Ok(said) => (Ending::Done, said),
        Err(said) => (Ending::ExitCode(1), said),
    }
}
