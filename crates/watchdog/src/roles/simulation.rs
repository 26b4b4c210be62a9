//! The drivers under one clock: both XiVO nodes' watchdogs and the witness, those of a CC on each side and of a media
//! server, whole, on tokio's paused time. Their kernel's packet filter, disks, commands, telephony and network are
//! played; they delay, fail, freeze and die at any await. What the machines decide is walked elsewhere (`failover`):
//! here is shown that the drivers do it.
//!
//! A seed draws what goes wrong, how long each thing takes, and which of several tasks that wait for one value goes on
//! first: it is the same run each time. `BASCULE_SEED=days:4711` plays one with its trace; `BASCULE_SEEDS=N` plays N in
//! all; `BASCULE_GO_ON=1` tells all that fail.

mod edge;
mod faults;
mod followers;
mod net;
mod nft;
mod record;
mod scripts;
mod seeds;
mod world;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use failover::Side;
use failover::health::Status;
use failover::lease::Timing;
use host::played::Host;
use protocol::identity::Keyring;
use protocol::issue::{Authority, Validity};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use self::faults::Kind;
use self::record::{Event, Limits, Told};
use self::seeds::{holds, shows};
use self::world::{EDGE, HOSTS, Hands, Kept, MDS, Machinery, World, address, edge_at, name};
use super::mistakes::{Mistake, silent_about};
use super::start::Base;
use super::status::Who;
use crate::config::{Config, Role};
use crate::control::Operators;
use crate::control::api::{Order, StatusView};
use crate::node::played;
use crate::state::Journal;
use crate::telemetry::metrics::Metrics;

/// The loop turns at least every 250 ms, and is kept waiting for `pause` at most, by hands that are well.
const LONGEST_TURN: Duration = Duration::from_millis(450);
/// A CC's loop turns at least every 500 ms, a media server's as well, and asks Asterisk in between.
const FOLLOWERS_TURN: Duration = Duration::from_millis(800);
/// A write whose every step took as long as it may.
const LONGEST_WRITE: Duration = Duration::from_secs(31);
/// Somebody serves when nothing keeps a node from it for so long: its longest pause after failures, a takeover, a
/// start.
const PATIENCE: Duration = Duration::from_secs(55);

/// Certificates of everybody, made once: nobody shows them here.
fn keyring(host: usize) -> Arc<Keyring> {
    static MADE: OnceLock<(tempfile::TempDir, Vec<Arc<Keyring>>)> = OnceLock::new();
    let (_, keyrings) = MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(&dir.path().join("ca"), "simulation").unwrap();
        let keyrings = (0..HOSTS).map(|host| {
            let path = dir.path().join(name(host));
            authority.issue(&net::who(host), &path, Validity::days(3_000)).unwrap();
            Arc::new(Keyring::open(&path).unwrap())
        });
        let keyrings = keyrings.collect();
        (dir, keyrings)
    });
    Arc::clone(&keyrings[host])
}

fn config(side: Side, followed: bool) -> Arc<Config> {
    static READ: OnceLock<[Arc<Config>; 4]> = OnceLock::new();
    let read = |(side, followed): (Side, bool)| {
        let [own, peer] = [side, side.other()].map(|side| address(side as usize));
        // A runtime directory for each: the permission to serve is a file.
        let runtime = std::env::temp_dir().join(format!("bascule-simulation-{}-{side}", std::process::id()));
        std::fs::create_dir_all(&runtime).unwrap();
        let text = format!(
            "role: xivo\nside: {side}\nlisten: {own}:9602\npeer: {peer}:9602\nwitness: {edge}\nanchors: [{anchor}]\n\
             hold_down: 10s\naccept_requests: true\nmetrics: off\nfence: nft\nname: {side}\nidentity: /nowhere\n\
             state: /nowhere\ncontrol: {runtime}/watchdog.sock\nlegacy_failover: /nonexistent\n\
             sip: {{ address: {own}, ports: [5060], check: udp }}\nservices:\n\
             \x20 start: {{ command: [sim, start], time_limit: 8s }}\n\
             \x20 stop: {{ command: [sim, stop], time_limit: 8s }}\n\
             \x20 check: {{ command: [sim, check], time_limit: 1s, interval: 5s }}\n\
             \x20 verify_limit: 3s\n{mds}",
            edge = edge_at(),
            anchor = address(HOSTS),
            runtime = runtime.display(),
            mds = if followed {
                format!("mds: {{ {}: {} }}\nretry_limit: 8s\n", name(MDS), address(MDS))
            } else {
                String::new()
            },
        );
        let mut config = Config::parse(&text, "simulation.yaml").unwrap_or_else(|errors| panic!("{errors}\n{text}")).0;
        config.legacy_failover = None;
        Arc::new(config)
    };
    let [main, standby] = Side::BOTH;
    let all = READ.get_or_init(|| [(main, false), (standby, false), (main, true), (standby, true)].map(read));
    Arc::clone(&all[side as usize + if followed { 2 } else { 0 }])
}

/// The operators of one node: they look all the time, and act when the simulation does.
struct Console {
    world: Arc<World>,
    side: usize,
}

impl Operators for Console {
    async fn serve(
        self,
        mut status: watch::Receiver<Arc<StatusView>>,
        _: Journal,
        orders: Option<mpsc::Sender<Order>>,
    ) {
        self.world.inner().machines[self.side].orders = orders;
        let Self { world, side } = self;
        let mut before = None;
        loop {
            let view = Arc::clone(&status.borrow_and_update());
            let guard = view.duty.as_ref().and_then(|duty| duty.guard.clone());
            let unguarded = matches!(guard, Some(protocol::wire::Guard::Unguarded { .. }));
            let active = view.status == Status::Active;
            {
                let machine = &mut world.inner().machines[side];
                let since = machine.active.unwrap_or_else(tokio::time::Instant::now);
                machine.active = active.then_some(since);
            }
            let mut alarms = view.alarms.clone();
            alarms.retain(|alarm| !silent_about(alarm));
            let shown = Event::Shown { side, status: view.status, unguarded, alarms };
            if before.as_ref() != Some(&shown) {
                world.note(shown.clone());
                before = Some(shown);
            } else if !view.alarms.is_empty() {
                // Still shown: it must still be true.
                world.inner().note(world.began.elapsed(), Event::ShowsStill(side));
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    }
}

impl World {
    /// One whose process lives is left alone; one that is off is switched on.
    fn boot(self: &Arc<Self>, index: usize) {
        let host = {
            let mut inner = self.inner();
            let machine = &mut inner.machines[index];
            if machine.host.is_some() {
                return;
            }
            machine.powered = true;
            machine.life += 1;
            // `reap`: what a killed watchdog left running is ended.
            if let Some((_, task)) = machine.busy.take() {
                task.abort();
            }
            let world = Arc::new(Machinery(Arc::clone(self)));
            let host = Host::boot(name(index), self.began, machine.clock, world);
            machine.host = Some(host.clone());
            host
        };
        self.excuse(index);
        self.note(Event::Boots(index));
        let world = Arc::clone(self);
        if index == EDGE {
            host.spawn(edge::run(world, Timing::DEFAULT, keyring(EDGE)));
        } else {
            self.power_of_mds(index);
            let (end, told) = watch::channel(false);
            self.inner().machines[index].end = Some(end);
            let task = match Side::BOTH.get(index) {
                Some(side) => host.spawn(Box::pin(watch_over(Arc::clone(self), *side, told))),
                None => host.spawn(Box::pin(followers::watch_over(Arc::clone(self), index, told))),
            };
            let life = self.inner().machines[index].life;
            tokio::spawn(async move {
                let ended = task.await;
                if let Err(error) = &ended
                    && error.is_panic()
                {
                    world.note(Event::Broken(format!("the watchdog of {} panicked: {error}", name(index))));
                }
                // The service manager starts it again.
                if world.inner().machines[index].life == life && !ended.is_err_and(|error| error.is_cancelled()) {
                    world.end_process(index);
                    sleep(Duration::from_millis(300)).await;
                    if world.inner().machines[index].powered {
                        world.boot(index);
                    }
                }
            });
        }
        self.observe();
    }

    /// A process is no more, whatever it was at.
    fn end_process(&self, index: usize) {
        let (host, endpoint) = {
            let mut inner = self.inner();
            let machine = &mut inner.machines[index];
            (machine.orders, machine.end) = (None, None);
            (machine.host.take(), if index == EDGE { edge_at() } else { (address(index), 9602).into() })
        };
        if let Some(host) = host {
            host.kill();
            self.inner().endpoints.remove(&endpoint);
            self.note(Event::Dies(index));
        }
        self.observe();
    }
}

/// A watchdog, from its start to its end.
async fn watch_over(world: Arc<World>, side: Side, end: watch::Receiver<bool>) {
    let config = config(side, world.hosts == HOSTS);
    let Role::Xivo(xivo) = &config.role else { panic!("{config:?}") };
    let instance = world.inner().machine(side).boots * 2 + side as u64;
    let base = Base {
        who: Who { role: protocol::wire::Role::Xivo, side: Some(side), name: side.label().to_owned(), instance },
        keyring: keyring(side as usize),
        journal: Journal::in_memory(),
        metrics: Arc::new(Metrics::new().unwrap()),
        end,
    };
    let memory = world.inner().machine(side).memory;
    let kept = Kept(Arc::clone(&world));
    let console = Console { world: Arc::clone(&world), side: side as usize };
    if let Err(error) = Box::pin(base.xivo(&config, xivo, kept, memory, console)).await {
        world.note(Event::Said(side as usize, format!("the watchdog cannot begin: {error}")));
    }
}

struct Run {
    told: Told,
    time: Duration,
    longest_turn: Duration,
}

/// What happened in a run, when it ended, and the longest turn of a loop that was well.
type Played = (Vec<(Duration, Event)>, Duration, Duration);

fn events(kind: Kind, seed: u64) -> Played {
    play(seed, kind.hosts(), async |world| kind.play(&world).await)
}

/// Plays what is to happen in a world whose chance is that of the seed.
fn play(seed: u64, hosts: usize, happens: impl AsyncFnOnce(Arc<World>)) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let played = runtime.block_on(async {
        let world = World::new(seed, hosts);
        played::play(Some(Arc::new(Hands(Arc::clone(&world)))));
        protocol::played::play(Some(Arc::new(net::Carrier(Arc::clone(&world)))));
        happens(Arc::clone(&world)).await;
        let mut inner = world.inner();
        (std::mem::take(&mut inner.events), world.began.elapsed(), inner.longest_turn)
    });
    drop(runtime);
    played::play(None);
    protocol::played::play(None);
    played
}

fn run(kind: Kind, seed: u64) -> Result<Run, String> {
    let (events, end, longest_turn) = events(kind, seed);
    let told =
        record::judge(&events, end, Limits { patience: PATIENCE, starts: kind.starts(), windows: kind.windows() })
            .map_err(|why| format!("{}:{seed}: {why}", kind.name()))?;
    Ok(Run { told, time: end, longest_turn })
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for (kind, seeds) in [(Kind::Days, 20), (Kind::Fences, 8), (Kind::Disks, 8), (Kind::Followers, 8)] {
        for seed in 0..seeds {
            let [once, again] = [(); 2].map(|()| events(kind, seed));
            let other = once.0.iter().zip(&again.0).position(|(once, again)| once != again);
            if let Some(at) = other {
                panic!("{}:{seed}: {:?}, then {:?}", kind.name(), once.0[at], again.0[at]);
            }
            assert_eq!((once.0.len(), once.1), (again.0.len(), again.1), "{}:{seed}", kind.name());
        }
    }
}

#[test]
fn w1_w2_w4_hold_and_every_alarm_is_true_on_days_of_many_faults() {
    holds(Kind::Days);
}

#[test]
fn w1_holds_and_every_alarm_is_true_whatever_is_done_to_a_fence() {
    holds(Kind::Fences);
}

#[test]
fn w1_w2_hold_and_every_alarm_is_true_on_slow_and_full_disks_through_failovers() {
    holds(Kind::Disks);
}

#[test]
fn w2_a_main_that_cannot_start_is_started_ever_more_rarely_and_standby_serves() {
    holds(Kind::Starts);
}

#[test]
fn w5_w6_hold_and_every_alarm_of_those_who_follow_is_true() {
    holds(Kind::Followers);
}

#[test]
fn the_simulation_shows_each_mistake_of_a_driver() {
    // Of which kind of seeds, and which of them showed it before.
    let mistakes = [
        (Mistake::PermitsForever, Kind::Days, 1863),
        (Mistake::AnswersUnwritten, Kind::Days, 1),
        (Mistake::FenceTrusted, Kind::Fences, 0),
        (Mistake::LostStart, Kind::Disks, 1),
        (Mistake::WaitsForDisk, Kind::Disks, 2),
        (Mistake::StartsAgain, Kind::Starts, 0),
        (Mistake::AlarmStays, Kind::Fences, 6),
        (Mistake::Silent("TWO ACTIVES"), Kind::Days, 289),
        (Mistake::Silent("UNGUARDED"), Kind::Days, 23),
        (Mistake::Silent("answers: this node"), Kind::Disks, 4),
        (Mistake::Silent("removes the fence"), Kind::Fences, 6),
        (Mistake::Silent("let phones in"), Kind::Fences, 228),
        (Mistake::Silent("the state"), Kind::Disks, 1),
        (Mistake::Silent("does not start"), Kind::Starts, 0),
        (Mistake::NeverAsksAgain, Kind::Followers, 1),
        (Mistake::SilenceIsInactive, Kind::Followers, 6),
        (Mistake::DeathUnnoticed, Kind::Followers, 0),
        (Mistake::WaitsForCommand, Kind::Followers, 1),
        (Mistake::OutOfSightStays, Kind::Followers, 10),
        (Mistake::RegisteredOnce, Kind::Followers, 10),
        (Mistake::RegistrationLeft, Kind::Followers, 18),
        (Mistake::MuteStays, Kind::Followers, 9),
        (Mistake::Silent("out of sight"), Kind::Followers, 10),
        (Mistake::Silent("CONFLICT"), Kind::Followers, 96),
    ];
    let missed: Vec<_> =
        mistakes.into_iter().filter(|(mistake, kind, likely)| shows(*mistake, *kind, *likely).is_none()).collect();
    assert_eq!(missed, []);
}
