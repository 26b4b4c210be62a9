//! Plays many seeds, and tells how it went; one that fails is played again, with its trace.

use super::super::mistakes::{Mistake, making};
use super::record::Told;
use super::run;

/// Of ten thousand seeds so many are the engine's.
const SEEDS: (u64, u64) = (600, 10_000);
/// Each mistake is shown by one of so many.
const MISTAKEN: u64 = 600;

/// Runs one seed again, and returns what happened in it.
fn trace(seed: u64) -> String {
    seeds::trace(String::new, || run(seed))
}

/// Plays seeds, and tells how it went; the first that fails ends it.
pub(super) fn holds() {
    if let Ok(asked) = std::env::var("BASCULE_SEED") {
        // One of the watchdogs' is nothing to the engine.
        let Some(seed) = asked.strip_prefix("engine:") else { return };
        let seed = seed.parse().unwrap_or_else(|error| panic!("BASCULE_SEED={asked}: {error}"));
        println!("{}", trace(seed));
        run(seed).unwrap_or_else(|why| panic!("{why}"));
        return;
    }
    let began = std::time::Instant::now();
    let wanted = seeds::wanted(SEEDS.0, SEEDS.1);
    let played = seeds::play(wanted, run, |sum: &mut Told, told| sum.add(&told));
    let told = played.unwrap_or_else(|(seed, why)| {
        let end = seeds::end_of(&trace(seed));
        panic!("{end}\n{why}\nBASCULE_SEED=engine:{seed} plays it again, with its whole trace")
    });
    let how = format!(
        "{wanted} seeds of the whole engine, {} switches, {} of them ordered, {} probes of a check in a second at most, an \
         answer after {:?} at most, {} alarms shown and judged, {} switches of the whole site done, {} undone, {} not all undone",
        told.switches,
        told.planned,
        told.probes,
        told.longest_status,
        told.alarms,
        told.switchovers[0],
        told.switchovers[1],
        told.switchovers[2]
    );
    let took = began.elapsed().as_secs_f64();
    println!("engine: {took:.1} s: {how}");
    seeds::report(&format!("worlds\tengine\t{wanted}\t{took:.1}\t{how}\n"));
}

/// Makes a mistake in seeds until one shows it, and returns how. `likely` is one that did.
pub(super) fn shows(mistake: Mistake, likely: u64) -> Option<String> {
    let name = format!("the engine: {mistake:?}");
    seeds::show(&name, likely, MISTAKEN, |seed| making(Some(mistake), || run(seed)).map(drop))
}
