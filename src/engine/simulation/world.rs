//! The sides, the disk, and the Edge between them. What happens is noted; what is to be made of it is left to the
//! record.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use failover::Side;
use failover::health::Status;
use failover::lease::{Record, Timing};
use host::played::{self as machine, Boxed, Clock, Host};
use probe::{Failure, FailureKind, Phase, Report, Timings};
use prometheus::{IntCounter, Registry};
use protocol::identity::Keyring;
use protocol::issue::{Authority, Validity};
use protocol::who::Who;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::super::mistakes::silent_about;
use super::super::{Engine, Handle, Means, NodesMeans};
use super::record::{Entry, Event, Row, Seen};
use super::site::{self, PLACES, Site};
use crate::admin::EngineApi as _;
use crate::admin::api::{NodeStatus, SwitchoverStatus, SwitchoverStep, SwitchoverStepState, Time};
use crate::config::Config;
use crate::live::state::Beginning;
use crate::live::state::played::{PlayedDisk, Step};
use crate::live::{Live, Mode, View};
use crate::site::nodes::{NodeRequests, Versions};
use crate::site::witness::{self, Witness};
use crate::telemetry::logging::access::AccessLog;
use crate::telemetry::metrics::{Metrics, NodesMetrics, WitnessMetrics};
use crate::traffic::edge::Edge;

std::thread_local! {
    static WORLD: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

/// Has this thread's engine probe a world, or the network again.
pub(super) fn play(world: Option<Arc<World>>) {
    WORLD.set(world);
}

/// How a probe comes out, where it is played.
pub(in super::super) fn prober(check: &probe::Check) -> Option<Boxed<Report>> {
    let world = WORLD.with_borrow(Clone::clone)?;
    Some(Box::pin(world.ask(check.target)))
}

/// Records what the engine shows behind each turn of its loop.
pub(in super::super) fn turned() {
    if let Some(world) = WORLD.with_borrow(Clone::clone) {
        world.observe();
    }
}

/// At one instant the loop turns for each order and result that waits, and once for the time: never so often.
const MOST_TURNS: u32 = 10_000;

/// All backends of a side answer alike, as those of one machine do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Well, within this many milliseconds.
    Works(u64),
    Refuses,
    Silent,
    /// With an error of their own.
    Wrong,
    /// A probe ends only when that is over.
    Never,
}

impl Condition {
    /// Nothing answers: such a side is left whatever was switched before.
    pub(super) const fn is_dead(self) -> bool {
        matches!(self, Self::Refuses | Self::Silent)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plate {
    Well,
    /// Each step takes up to so many milliseconds.
    Slow(u64),
    Full,
}

pub(super) struct Inner {
    pub(super) chance: fastrand::Rng,
    pub(super) sides: [Condition; 2],
    /// Nobody is reached: the fault is the Edge's own, and no side may be blamed (E7).
    pub(super) cut: bool,
    pub(super) plate: Plate,
    pub(super) events: Vec<(Duration, Event)>,
    process: Option<Process>,
    pub(super) frozen: bool,
    epochs: BTreeMap<u64, Instant>,
    /// When the engine's loop turned last, and how often at that instant.
    turns: (Instant, u32),
    shown: Option<Event>,
    /// Whether the service that nothing depends on is configured.
    pub(super) archive: bool,
    /// Its nodes; none: an Edge alone.
    pub(super) site: Option<Site>,
}

struct Process {
    host: Host,
    edge: Arc<Edge>,
    handle: Handle,
    desk: Option<Arc<NodeRequests<Handle>>>,
    tasks: Vec<AbortHandle>,
    // Is removed with this: held as long as the Edge runs.
    _directory: tempfile::TempDir,
}

pub(super) struct World {
    pub(super) began: Instant,
    inner: Mutex<Inner>,
    disk: PlayedDisk,
}

/// Its two sides, with or without a service beside, whose checks come first; with nodes or without.
pub(super) fn config(archive: bool, nodes: bool) -> Arc<Config> {
    let (_, read) = made();
    Arc::clone(&read[usize::from(archive) + 2 * usize::from(nodes)])
}

/// Where the Edge's certificate for nodes is.
fn identity() -> PathBuf {
    made().0.path().join("node")
}

fn made() -> &'static (tempfile::TempDir, [Arc<Config>; 4]) {
    static MADE: OnceLock<(tempfile::TempDir, [Arc<Config>; 4])> = OnceLock::new();
    MADE.get_or_init(|| {
        let files = tempfile::tempdir().unwrap();
        let paths: [PathBuf; 2] = ["chain.pem", "key.pem"].map(|name| files.path().join(name));
        let made = rcgen::generate_simple_self_signed(["edge.example.org".to_owned()]).unwrap();
        std::fs::write(&paths[0], made.cert.pem()).unwrap();
        std::fs::write(&paths[1], made.signing_key.serialize_pem()).unwrap();
        let identity = files.path().join("node");
        let authority = Authority::create(&files.path().join("ca"), "played").unwrap();
        authority.issue(&Who::edge("edge"), &identity, Validity::days(800)).unwrap();
        let read = [0, 1, 2, 3].map(|which| {
            let side = |side: u8| {
                let beside =
                    if which % 2 == 1 { format!("archive: http://10.0.{side}.3:8080, ") } else { String::new() };
                format!("{{ {beside}cc: http://10.0.{side}.1:8080, xivo: http://10.0.{side}.2:8080 }}")
            };
            let nodes = if which < 2 {
                String::new()
            } else {
                format!("nodes: {{ listen: 10.0.9.1:9601, identity: {} }}\n", identity.display())
            };
            let text = format!(
                "fqdn: edge.example.org\ncertificate: {{ chain: {}, key: {} }}\nsides:\n  main: {}\n  standby: {}\n\
                 required: [cc, xivo]\nroutes:\n  - {{ path: /, service: cc }}\nlog: {{ access: false }}\n{nodes}",
                paths[0].display(),
                paths[1].display(),
                side(0),
                side(1),
            );
            Arc::new(Config::parse(&text, "edge.yaml").unwrap_or_else(|errors| panic!("{errors}\n{text}")).0)
        });
        (files, read)
    })
}

/// What an engine is given where there is an endpoint for nodes. The vote is played elsewhere: its view is always well.
fn nodes_means() -> NodesMeans {
    let view =
        witness::View { record: Record::Free, epoch: 3, left: Duration::ZERO, trouble: None, alarms: Vec::new() };
    let counted = Registry::new();
    NodesMeans {
        witness: Witness::showing(view, Arc::new(WitnessMetrics::new(&counted).unwrap())),
        keyring: Arc::new(Keyring::open(&identity()).unwrap()),
        metrics: Arc::new(NodesMetrics::new(&counted).unwrap()),
        timing: Timing::DEFAULT,
        versions: Arc::new(Versions::of([[10, 0, 1, 2].into()])),
    }
}

/// The Edge's machine: its tasks are late, and stand still, as the world says.
struct Machine(Arc<World>);

impl machine::World for Machine {
    fn keeps_waiting(&self) -> Duration {
        let mut inner = self.0.inner();
        if inner.chance.u32(0..1_000) < 10 {
            Duration::from_micros(inner.chance.u64(0..15_000))
        } else {
            Duration::ZERO
        }
    }

    fn goes_first(&self, of: usize) -> usize {
        self.0.inner().chance.usize(0..of)
    }

    fn disk(&self, _: machine::Disk) -> Boxed<io::Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        let mut chance = fastrand::Rng::with_seed(seed);
        let site = chance.bool().then(|| Site::new(chance.bool()));
        let inner = Inner {
            chance,
            site,
            sides: [Condition::Works(5); 2],
            cut: false,
            plate: Plate::Well,
            events: Vec::new(),
            process: None,
            frozen: false,
            epochs: BTreeMap::new(),
            turns: (Instant::now(), 0),
            shown: None,
            archive: false,
        };
        Arc::new(Self { began: Instant::now(), inner: Mutex::new(inner), disk: PlayedDisk::default() })
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, event: Event) {
        tracing::info!("~ {event:?}");
        let at = self.began.elapsed();
        self.inner().events.push((at, event));
    }

    pub(super) fn below(&self, limit: u64) -> u64 {
        self.inner().chance.u64(0..limit)
    }

    pub(super) fn pick<T: Copy>(&self, of: &[T]) -> T {
        of[self.inner().chance.usize(0..of.len())]
    }

    /// Notes what the nodes are at first, and how the sides fare with them.
    pub(super) fn introduce(&self) {
        let mut inner = self.inner();
        let sides = self.sides(&inner);
        let truths: Vec<_> =
            inner.site.iter().flat_map(|site| site.nodes.iter().map(|node| node.truth.clone())).collect();
        let truths = truths.into_iter().enumerate().map(|(place, truth)| Event::Truth(place, truth));
        let sides = sides.into_iter().enumerate().map(|(side, condition)| Event::Condition(side, condition));
        inner.events.extend(truths.chain(sides).map(|event| (Duration::ZERO, event)));
    }

    /// Changes the nodes, and notes what an observer sees of that.
    pub(super) fn change(&self, change: impl FnOnce(&mut Site, &mut fastrand::Rng)) {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let before = self.sides(inner);
        let Some(site) = &mut inner.site else { return };
        let were = site.nodes.each_ref().map(|node| node.truth.clone());
        let other_version = site.other_version;
        change(site, &mut inner.chance);
        let at = self.began.elapsed();
        for (place, were) in were.iter().enumerate() {
            let truth = &site.nodes[place].truth;
            if were != truth {
                tracing::info!("~ {place}: {truth:?}");
                inner.events.push((at, Event::Truth(place, truth.clone())));
            }
        }
        if site.other_version != other_version {
            inner.events.push((at, Event::OtherVersion(site.other_version)));
        }
        self.show(inner, before);
    }

    /// Has a side fare otherwise.
    pub(super) fn set(&self, side: usize, condition: Condition) {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let before = self.sides(inner);
        inner.sides[side] = condition;
        self.show(inner, before);
    }

    /// How each side fares, with what its nodes do.
    fn sides(&self, inner: &Inner) -> [Condition; 2] {
        [0, 1].map(|side| match (&inner.site, inner.sides[side]) {
            (Some(site), Condition::Works(ms)) => {
                let nodes = [&site.nodes[side].truth, &site.nodes[side + 2].truth];
                if nodes.iter().any(|truth| truth.off) {
                    Condition::Silent
                } else if nodes.iter().any(|truth| truth.status != Status::Active) {
                    Condition::Refuses
                } else {
                    Condition::Works(ms)
                }
            }
            (_, condition) => condition,
        })
    }

    fn show(&self, inner: &mut Inner, before: [Condition; 2]) {
        let (at, now) = (self.began.elapsed(), self.sides(inner));
        for side in 0..2 {
            if before[side] != now[side] || inner.site.is_none() {
                tracing::info!("~ side {side}: {:?}", now[side]);
                inner.events.push((at, Event::Condition(side, now[side])));
            }
        }
    }

    /// Notes what the request path is told, if that changed.
    pub(super) fn observe(&self) {
        let mut inner = self.inner();
        let now = Instant::now();
        inner.turns = if inner.turns.0 == now { (now, inner.turns.1 + 1) } else { (now, 0) };
        if inner.turns.1 == MOST_TURNS {
            let at = self.began.elapsed();
            inner.events.push((at, Event::Spins));
            drop(inner);
            // Nothing else would ever go on.
            panic!("the loop turns without end, and no time passes");
        }
        let Some(process) = &inner.process else { return };
        let View { side, mode, epoch } = process.edge.live.view();
        let event = Event::Live { side, serving: mode == Mode::Serving, waiting: mode == Mode::Waiting, epoch };
        if inner.shown.as_ref() != Some(&event) {
            inner.epochs.entry(epoch).or_insert_with(Instant::now);
            inner.shown = Some(event.clone());
            let at = self.began.elapsed();
            tracing::info!("~ {event:?}");
            inner.events.push((at, event));
        }
    }

    async fn ask(self: Arc<Self>, target: std::net::SocketAddr) -> Report {
        let std::net::IpAddr::V4(ip) = target.ip() else { panic!("{target}") };
        let (side, service) = (usize::from(ip.octets()[2]), ip.octets()[3]);
        self.note(Event::Probe(side * 10 + usize::from(service)));
        let limit = config(false, false).probe.time_limit;
        let began = Instant::now();
        let (condition, cut, frozen) = {
            let inner = self.inner();
            // What nothing depends on is always dead.
            let condition = if service == 3 { Condition::Refuses } else { inner.sides[side] };
            let condition = match (&inner.site, condition) {
                (Some(site), Condition::Works(ms)) if service != 3 => site.answers(side, service, ms),
                _ => condition,
            };
            (condition, inner.cut, inner.frozen)
        };
        let silent = || Err((FailureKind::Silent, "no answer"));
        let (takes, mut result) = match condition {
            _ if cut => (limit, silent()),
            Condition::Works(ms) if Duration::from_millis(ms) < limit => {
                (Duration::from_millis(1 + self.below(ms.max(1))), Ok("HTTP 200".to_owned()))
            }
            Condition::Works(_) | Condition::Silent => (limit, silent()),
            Condition::Refuses => (Duration::from_millis(1), Err((FailureKind::Refused, "refused"))),
            Condition::Wrong => (Duration::from_millis(4), Err((FailureKind::Status(500), "HTTP 500"))),
            Condition::Never => {
                while self.inner().sides[side] == Condition::Never {
                    sleep(Duration::from_millis(50)).await;
                }
                (Duration::from_millis(1), silent())
            }
        };
        sleep(takes).await;
        // Whose process stood still has not seen the answer in time.
        if frozen || self.inner().frozen {
            while self.inner().frozen {
                sleep(Duration::from_millis(20)).await;
            }
            if began.elapsed() > limit {
                result = silent();
            }
        }
        let result = result.map_err(|(kind, detail)| Failure { kind, phase: Phase::Answer, detail: detail.to_owned() });
        self.note(Event::Probed(side * 10 + usize::from(service)));
        Report { result, timings: Timings { total: began.elapsed(), ..Timings::default() }, certificate: None }
    }

    /// Each step of a write waits or fails by itself, as a real disk's do.
    fn step(self: Arc<Self>, step: Step) -> Boxed<io::Result<()>> {
        Box::pin(async move {
            let (most, plate) = match self.inner().plate {
                Plate::Slow(most) => (most, Plate::Well),
                plate => (4, plate),
            };
            sleep(Duration::from_micros(100 + self.below(1 + most * 1_000))).await;
            let written = if plate == Plate::Full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) };
            if step == Step::Taking {
                self.note(Event::Written(written.is_ok()));
            }
            written
        })
    }

    /// Starts the Edge, where its disk says.
    pub(super) fn boot(self: &Arc<Self>) {
        if self.inner().process.is_some() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        self.age();
        let world = Arc::clone(self);
        let (state, beginning, writing) = self.disk.open(directory.path(), move |step| Arc::clone(&world).step(step));
        let found = match &beginning {
            Beginning::Known { live, .. } => Some((live.live, live.epoch, live.frozen.is_some())),
            Beginning::First | Beginning::Lost { .. } => None,
        };
        let switches = self
            .disk
            .platter()
            .live
            .as_ref()
            .map_or_else(BTreeSet::new, |live| live.switches.iter().map(|past| past.epoch).collect());
        self.note(Event::Boots(found, switches));
        let (archive, nodes) = {
            let inner = self.inner();
            (inner.archive, inner.site.is_some())
        };
        let config = config(archive, nodes);
        let live = Arc::new(Live::new(View { side: Side::Main, mode: Mode::Deciding, epoch: 0 }));
        let access = AccessLog::start(&config.log, IntCounter::new("dropped", "Lines.").unwrap()).unwrap();
        let metrics = Arc::new(Metrics::new(&Registry::new()).unwrap());
        let edge = Arc::new(Edge::new(config, live, Arc::clone(&metrics), access).unwrap());
        let means = Means { edge: Arc::clone(&edge), state: Arc::new(state), metrics };
        let (mut engine, handle) = Engine::new(means, beginning).unwrap();
        let mut desk = None;
        if nodes {
            let means = nodes_means();
            let (metrics, versions) = (Arc::clone(&means.metrics), Arc::clone(&means.versions));
            desk = Some(Arc::new(NodeRequests::new(handle.clone(), means.witness.clone(), metrics, versions)));
            engine = engine.with_nodes(means);
        }
        let clock = Clock { origin: 0, fast: 0 };
        let host = Host::boot("edge", self.began, clock, Arc::new(Machine(Arc::clone(self))));
        let engine = host.spawn(Box::pin(engine.run())).abort_handle();
        let writing = tokio::spawn(writing).abort_handle();
        let asking = tokio::spawn(look(Arc::clone(self), handle.clone())).abort_handle();
        let tasks = vec![engine, writing, asking];
        self.inner().shown = None;
        self.inner().process = Some(Process { host, edge, handle, desk, tasks, _directory: directory });
    }

    /// Machines go by the wall clock over a restart, and that stands still here: what is remembered is as old as it is.
    fn age(&self) {
        let inner = self.inner();
        let mut platter = self.disk.platter();
        for past in platter.live.iter_mut().flat_map(|live| &mut live.switches) {
            if let Some(at) = inner.epochs.get(&past.epoch) {
                let ago = i64::try_from(at.elapsed().as_millis()).unwrap();
                past.at = Time::from_unix_ms(Time::now().unix_ms() - ago);
            }
        }
    }

    /// The process is killed, whatever it was at.
    pub(super) fn kill(&self) {
        let Some(process) = self.inner().process.take() else { return };
        process.tasks.iter().for_each(AbortHandle::abort);
        process.host.kill();
        self.inner().frozen = false;
        self.note(Event::Dies);
    }

    pub(super) fn freeze(self: &Arc<Self>, time: Duration) {
        let Some(host) = self.inner().process.as_ref().map(|process| process.host.clone()) else { return };
        if std::mem::replace(&mut self.inner().frozen, true) {
            return;
        }
        host.freeze();
        self.note(Event::Frozen(true));
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(time).await;
            host.thaw();
            if std::mem::replace(&mut world.inner().frozen, false) {
                world.note(Event::Frozen(false));
            }
        });
    }

    pub(super) fn handle(&self) -> Option<Handle> {
        self.inner().process.as_ref().map(|process| process.handle.clone())
    }

    pub(super) fn edge(&self) -> Option<Arc<Edge>> {
        self.inner().process.as_ref().map(|process| Arc::clone(&process.edge))
    }

    /// The nodes' endpoint, while the Edge runs.
    pub(super) fn desk(&self) -> Option<Arc<NodeRequests<Handle>>> {
        self.inner().process.as_ref()?.desk.clone()
    }

    /// What happened, and at last what is on the disk.
    pub(super) fn end(&self) -> Vec<(Duration, Event)> {
        let platter = self.disk.platter();
        let at = self.began.elapsed();
        let mut inner = self.inner();
        let entries = platter.entries.iter().map(|entry| Entry {
            event: entry.event,
            epoch: entry.epoch,
            by: entry.by.clone(),
            why: entry.why.clone(),
            sentence: entry.explain.sentence.clone(),
        });
        let live = platter.live.as_ref().map(|live| (live.live, live.epoch, live.frozen.is_some()));
        let kept = Event::Kept { live, entries: entries.collect(), reports: platter.reports.clone() };
        inner.events.push((at, kept));
        std::mem::take(&mut inner.events)
    }
}

/// Looks at the status again and again, as operators do.
async fn look(world: Arc<World>, handle: Handle) {
    loop {
        let asked = Instant::now();
        let alive = handle.alive().is_ok();
        let Ok(status) = handle.status().await else { return };
        let platter = world.disk.platter().live.as_ref().map(|live| (live.live, live.epoch, live.frozen.is_some()));
        let mut alarms = status.alarms;
        alarms.retain(|alarm| !silent_about(alarm));
        world.note(Event::Status {
            alive,
            took: asked.elapsed(),
            said: (status.live, status.epoch, status.frozen.is_some()),
            kept: status.persisted.then_some(platter),
            damped: status.damped,
            alarms,
            rows: status.nodes.iter().filter_map(row).collect(),
            switchover: status.switchover.as_ref().map(seen),
        });
        sleep(Duration::from_millis(400)).await;
    }
}

fn row(node: &NodeStatus) -> Option<Row> {
    let place =
        (0..PLACES).find(|place| (site::role_of(*place), Some(site::side_of(*place))) == (node.role, node.side))?;
    Some(Row { place, fresh: node.fresh, status: node.report.status })
}

fn seen(switchover: &SwitchoverStatus) -> Seen {
    let running =
        |step: &SwitchoverStep| matches!(step.state, SwitchoverStepState::Running | SwitchoverStepState::Failed);
    Seen {
        to: switchover.to,
        state: switchover.state,
        sentence: switchover.sentence.clone(),
        step: switchover.steps.iter().position(running),
        done: switchover.steps.iter().filter(|step| step.state == SwitchoverStepState::Done).count(),
        failing: switchover.checks.iter().filter(|check| !check.passed).map(|check| check.check.clone()).collect(),
    }
}
