//! What goes wrong, and what operators do meanwhile.

use std::sync::Arc;
use std::time::Duration;

use failover::Side;
use failover::verdict::Sign;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::record::{Event, Order};
use super::site::{BOOT, Mind, PLACES, Truth};
use super::world::{Condition, Plate, World, config};
use crate::admin::api::{FreezeRequest, ResumeRequest, SwitchRequest, SwitchoverState};
use crate::admin::{EngineApi as _, EngineError};

/// Plays until everything is well again, and some.
pub(super) async fn play(world: &Arc<World>) {
    world.boot();
    sleep(Duration::from_millis(world.below(6_000))).await;
    let with_nodes = world.inner().site.is_some();
    // A flapping site, or one of many faults.
    match world.below(4) {
        0 if !with_nodes => flap(world).await,
        _ => {
            for _ in 0..3 + world.below(8) {
                match world.below(4) {
                    0 | 1 if with_nodes => strike_nodes(world),
                    2 if with_nodes => {
                        let side = world.pick(&[Side::Main, Side::Standby, Side::Standby]);
                        drop(order(world, Order::Switch(side, false)));
                    }
                    _ => strike(world),
                }
                let calm = world.pick(&[30, 500, 3_000, 15_000]);
                sleep(Duration::from_millis(1 + world.below(calm))).await;
            }
        }
    }
    heal(world);
    sleep(Duration::from_secs(25)).await;
    until_it_is_over(world).await;
}

/// A switch of the site may take its time; it has limits, and the record holds it to them.
async fn until_it_is_over(world: &Arc<World>) {
    for _ in 0..700 {
        let Some(handle) = world.handle() else { return };
        match handle.switchover().await {
            Ok(switchover) if !switchover.state.is_over() => sleep(Duration::from_secs(1)).await,
            _ => return,
        }
    }
}

/// The live side works and does not, again and again: more often than it may be left.
async fn flap(world: &Arc<World>) {
    let how = world.pick(&[Condition::Wrong, Condition::Wrong, Condition::Refuses]);
    for turn in 0..8 {
        let live = world.edge().map_or(0, |edge| edge.live.view().side as usize);
        world.set(live, how);
        sleep(Duration::from_millis(6_000 + world.below(6_000))).await;
        world.set(live, Condition::Works(5));
        sleep(Duration::from_millis(3_000 + world.below(4_000))).await;
        if turn == 4 {
            reload(world);
        }
    }
}

fn strike(world: &Arc<World>) {
    let takes = Duration::from_millis(world.pick(&[200, 1_000, 4_000, 12_000]));
    let side = world.below(2) as usize;
    match world.below(20) {
        0..6 => strike_side(world, side, takes),
        6 => {
            world.inner().cut = true;
            world.note(Event::Cut(true));
            then(world, takes, |world| {
                world.inner().cut = false;
                world.note(Event::Cut(false));
            });
        }
        7 => world.freeze(Duration::from_millis(300 + world.below(4_000))),
        8 => {
            world.kill();
            then(world, takes.min(Duration::from_secs(3)), |world| world.boot());
        }
        9 | 10 => {
            let plate = world.pick(&[Plate::Full, Plate::Slow(150), Plate::Slow(1_500)]);
            world.inner().plate = plate;
            world.note(Event::Disk(plate));
            then(world, takes, |world| {
                world.inner().plate = Plate::Well;
                world.note(Event::Disk(Plate::Well));
            });
        }
        11..14 => drop(order(world, Order::Switch(Side::BOTH[side], world.below(6) == 0))),
        14 => drop(order(world, Order::Freeze)),
        15 => drop(order(world, Order::Resume)),
        16 | 17 => reload(world),
        18 => {
            if let Some(handle) = world.handle() {
                world.note(Event::Broken);
                tokio::spawn(async move { handle.broken("edge.yaml:1: no".into(), 0).await });
            }
        }
        19 if world.below(2) == 0 => {
            for side in 0..2 {
                world.set(side, Condition::Refuses);
            }
            then(world, Duration::from_secs(16), |world| {
                for side in 0..2 {
                    world.set(side, Condition::Works(5));
                }
            });
        }
        _ => {
            // More questions at once than may wait.
            for _ in 0..150 {
                let Some(handle) = world.handle() else { return };
                tokio::spawn(async move { handle.status().await.map(drop) });
            }
        }
    }
}

/// A side fares badly for some time.
fn strike_side(world: &Arc<World>, side: usize, takes: Duration) {
    let how = [
        Condition::Refuses,
        Condition::Refuses,
        Condition::Silent,
        Condition::Wrong,
        Condition::Never,
        Condition::Works(700),
        Condition::Works(2_000),
    ];
    let how = world.pick(&how);
    world.set(side, how);
    then(world, takes, move |world| world.set(side, Condition::Works(5)));
    if how.is_dead() && world.below(2) == 0 {
        // Live traffic meets it before a probe does, as at a real Edge: its signals bring the probe.
        for backend in 0..4 {
            if let Some(edge) = world.edge() {
                let sign = if how == Condition::Refuses { Sign::Refused } else { Sign::TimedOut };
                let of_side = edge
                    .site()
                    .upstreams
                    .all()
                    .any(|one| one.index == backend && one.side.is_some_and(|its| its as usize == side));
                if of_side {
                    edge.site().upstreams.signs.raise(backend, sign);
                }
            }
        }
    }
}

/// What befalls nodes: most of it while a switch is under way, if one is.
fn strike_nodes(world: &Arc<World>) {
    let takes = Duration::from_millis(world.pick(&[800, 3_000, 8_000, 20_000]));
    let (place, xivo) = (world.below(PLACES as u64) as usize, world.below(2) as usize);
    let now = Instant::now();
    match world.below(16) {
        0 | 1 => {
            let place = if world.below(3) == 0 { place } else { xivo };
            world.change(|site, _| site.power(place, false));
            let takes = takes.max(BOOT);
            then(world, takes, move |world| world.change(|site, _| site.power(place, true)));
        }
        2 | 3 => with(world, place, takes, |truth| truth.cut = true, |truth| truth.cut = false),
        4..7 => {
            let mind = world.pick(&[Mind::Refuses, Mind::Mute, Mind::NeverStops, Mind::NeverStarts, Mind::Dies]);
            // Some are mended when the switch has long been given up.
            let takes = if world.below(4) == 0 { Duration::from_secs(130) } else { takes };
            world.change(|site, _| site.nodes[xivo].mind = mind);
            then(world, takes, move |world| world.change(|site, _| site.nodes[xivo].mind = Mind::Follows));
        }
        7 => {
            world.change(|site, _| site.nodes[xivo + 2].mind = Mind::NeverStarts);
            then(world, takes, move |world| world.change(|site, _| site.nodes[xivo + 2].mind = Mind::Follows));
        }
        8 => world.change(|site, _| site.split(now, takes)),
        9 => with(world, place, takes, |truth| truth.twin = true, |truth| truth.twin = false),
        10 => with(world, xivo, takes, |truth| truth.frozen = true, |truth| truth.frozen = false),
        11 => with(world, place, takes, |truth| truth.alarm = Some("it is hot"), |truth| truth.alarm = None),
        12 => with(world, place, takes, |truth| truth.days = Some(5), |truth| truth.days = Some(300)),
        13 => with(world, xivo, takes, |truth| truth.version = "0.2.0", |truth| truth.version = "0.1.0"),
        14 => {
            world.change(|site, _| site.other_version = true);
            then(world, takes, |world| world.change(|site, _| site.other_version = false));
        }
        _ => match world.below(2) {
            0 => world.change(|site, _| site.yield_by_hand(now)),
            _ => world.change(|site, _| site.fail(place, now)),
        },
    }
}

fn with(world: &Arc<World>, place: usize, time: Duration, begin: fn(&mut Truth), end: fn(&mut Truth)) {
    world.change(|site, _| begin(&mut site.nodes[place].truth));
    then(world, time, move |world| world.change(|site, _| end(&mut site.nodes[place].truth)));
}

/// An operator's order; what comes of it may be waited for.
pub(super) fn order(world: &Arc<World>, order: Order) -> Option<JoinHandle<Result<(), EngineError>>> {
    let handle = world.handle()?;
    let number = {
        let inner = world.inner();
        inner.events.len()
    };
    let (by, why) = (world.pick(&["ann", "bob"]).to_owned(), format!("number {number}"));
    world.note(Event::Ordered { number, order, by: by.clone() });
    let world = Arc::clone(world);
    Some(tokio::spawn(async move {
        let mut switchover = None;
        let done = match order {
            Order::Switch(to, force) => {
                let request = SwitchRequest { to, dry_run: false, force, reason: why, by };
                let answer = handle.switch(request).await;
                switchover = answer
                    .as_ref()
                    .ok()
                    .and_then(|answer| answer.switchover.as_ref())
                    .map(|switchover| switchover.state);
                answer.map(drop)
            }
            Order::Freeze => handle.freeze(FreezeRequest { reason: why, by }).await.map(drop),
            Order::Resume => handle.resume(ResumeRequest { reason: why, by }).await.map(drop),
        };
        let refused = matches!(done, Err(EngineError::Refused(_)));
        let refused = refused || switchover == Some(SwitchoverState::Refused);
        world.note(Event::Answered { number, done: done.is_ok() && !refused, refused, switchover });
        done
    }))
}

/// The file is read anew, with one service more or less.
pub(super) fn reload(world: &Arc<World>) {
    let (Some(handle), Some(edge)) = (world.handle(), world.edge()) else { return };
    let (archive, nodes) = {
        let mut inner = world.inner();
        inner.archive = !inner.archive;
        (inner.archive, inner.site.is_some())
    };
    world.note(Event::Reload);
    let prepared = edge.prepare(config(archive, nodes)).unwrap();
    tokio::spawn(async move {
        if handle.reload(Arc::clone(&prepared.site)).await.is_ok() {
            edge.adopt(prepared);
        }
    });
}

fn then(world: &Arc<World>, after: Duration, what: impl FnOnce(&Arc<World>) + Send + 'static) {
    let world = Arc::clone(world);
    tokio::spawn(async move {
        sleep(after).await;
        what(&world);
    });
}

fn heal(world: &Arc<World>) {
    for side in 0..2 {
        world.set(side, Condition::Works(5));
    }
    world.inner().cut = false;
    world.note(Event::Cut(false));
    world.inner().plate = Plate::Well;
    world.note(Event::Disk(Plate::Well));
    world.boot();
    world.change(|site, _| site.heal());
    drop(order(world, Order::Resume));
}
