//! The engine under one clock: whole, on tokio's paused time. Its probes, its disk and its operators are played; sides die,
//! hang, answer late, wrongly or never, the disk is slow or fails, orders and reloads come in the middle of it, the Edge's
//! own network is cut, its loop stands still, its process is killed. In every other seed nodes report as well, fall silent,
//! say old things, follow the wishes of a switch of the whole site or do not. What the machines decide is walked elsewhere
//! (`failover`): here is shown that the engine does it.
//!
//! A seed is the same run each time. `BASCULE_SEED=engine:4711` plays one with its trace; `BASCULE_SEEDS=N` plays the
//! engine's part of N; `BASCULE_GO_ON=1` tells all that fail.

mod faults;
mod record;
mod scripts;
mod seeds;
mod site;
mod world;

use std::sync::Arc;
use std::time::Duration;

use self::record::{Told, judge};
use self::seeds::{holds, shows};
use self::world::World;
pub(super) use self::world::{prober, turned};
use super::mistakes::Mistake;

/// Plays a seed, and judges it.
fn run(seed: u64) -> Result<Told, String> {
    play(seed, async |world| {
        site::begin(&world);
        faults::play(&world).await;
    })
}

/// Plays what is to happen in a world whose chance is that of the seed, and judges it.
fn play(seed: u64, happens: impl AsyncFnOnce(Arc<World>)) -> Result<Told, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    // The engine draws from the thread's chance, and so does what makes files: those are made before.
    drop(world::config(false, false));
    fastrand::seed(seed);
    let (events, end) = runtime.block_on(async {
        let world = World::new(seed);
        world::play(Some(world.clone()));
        happens(world.clone()).await;
        (world.end(), world.began.elapsed())
    });
    drop(runtime);
    world::play(None);
    judge(&events, end).map_err(|why| format!("engine:{seed}: {why}"))
}

#[test]
fn a_seed_of_the_engine_is_the_same_run_each_time() {
    for seed in 0..6 {
        let [once, again] = [(); 2].map(|()| run(seed).map(|told| format!("{told:?}")));
        assert_eq!(once, again);
    }
}

#[test]
fn e1_to_e9_hold_and_every_alarm_is_true_whatever_sides_disks_operators_and_reloads_do() {
    holds();
}

#[test]
fn the_simulation_shows_each_mistake_of_the_engine() {
    // With the seed that showed it before.
    let mistakes = [
        (Mistake::WaitsForDisk, 15),
        (Mistake::LeavesUnwritten, 10),
        (Mistake::AskerStays, 186),
        (Mistake::ProbesEachTurn, 155),
        (Mistake::RefusalUntold, 0),
        (Mistake::ReloadForgets, 7),
        (Mistake::ReloadForgetsBudget, 7),
        (Mistake::Unpublished, 1),
        (Mistake::AlwaysServing, 176),
        (Mistake::SwitchUnwritten, 2),
        (Mistake::ChecksMixedUp, 0),
        (Mistake::ReportUnheard, 145),
        (Mistake::AgeIgnored, 146),
        (Mistake::SilenceUntold, 12),
        (Mistake::WishUntold, 5),
        (Mistake::WishKept, 5),
        (Mistake::WishMisplaced, 5),
        (Mistake::EndUntold, 5),
        (Mistake::WaitsForNodes, 124),
        (Mistake::Silent("cannot write"), 19),
        (Mistake::Silent("TWO ACTIVES"), 110),
        (Mistake::Silent("another version"), 74),
    ];
    let missed: Vec<_> = mistakes.into_iter().filter(|(mistake, likely)| shows(*mistake, *likely).is_none()).collect();
    assert_eq!(missed, []);
}

/// An operator is answered within so long: the loop waits for the disk for a tenth of a second at most, for each of a few
/// orders.
const LONGEST_STATUS: Duration = Duration::from_millis(600);
