//! Plays many seeds, and tells how it went; one that fails is played again, with its trace.

use std::time::Duration;

use super::super::mistakes::{Mistake, making};
use super::faults::Kind;
use super::record::Told;
use super::{Run, run};

/// Each mistake is shown by one of so many.
const MISTAKEN: u64 = 3_000;

/// Runs one seed again, and returns what happened in it.
fn trace(kind: Kind, seed: u64) -> String {
    let machine = || format!("{:8}", host::played::current().as_ref().map_or("", |host| host.name()));
    seeds::trace(machine, || run(kind, seed).map(|run| run.told))
}

/// A seed that failed says so with the end of its trace.
fn fail(kind: Kind, seed: u64, why: &str) -> ! {
    let end = seeds::end_of(&trace(kind, seed));
    panic!("{end}\n{why}\nBASCULE_SEED={}:{seed} plays it again, with its whole trace", kind.name());
}

#[derive(Default)]
pub(super) struct Sum {
    pub(super) seeds: u64,
    time: Duration,
    told: Told,
    longest_turn: Duration,
}

impl Sum {
    fn add(&mut self, run: &Run) {
        self.seeds += 1;
        self.time += run.time;
        self.told.add(&run.told);
        self.longest_turn = self.longest_turn.max(run.longest_turn);
    }

    /// For how much of the worst windows in which a node could serve one did.
    fn least(&self) -> String {
        let windows = ["minute", "ten minutes"].iter().zip(self.told.least);
        let told = windows.filter_map(|(window, least)| Some(format!(", {:.1} % of any {window} at least", least?)));
        told.collect()
    }

    /// For how much of the time in which a node could serve one did, in percent.
    pub(super) fn served(&self) -> f64 {
        100.0 * self.told.served.as_secs_f64() / self.told.could.as_secs_f64()
    }
}

/// Plays seeds of a kind; the first that fails ends it.
fn play(kind: Kind) -> Sum {
    let wanted = seeds::wanted(kind.of_thousand(), 1_000);
    let played = seeds::play(wanted, |seed| run(kind, seed), |sum: &mut Sum, run| sum.add(&run));
    played.unwrap_or_else(|(seed, why)| fail(kind, seed, &why))
}

/// Plays the one seed that is asked for, and shows what happens in it. Tells whether one is.
fn replay(kind: Kind) -> bool {
    let Ok(asked) = std::env::var("BASCULE_SEED") else { return false };
    let parts = asked.split_once(':').and_then(|(kind, seed)| Some((kind, seed.parse().ok()?)));
    let (wanted, seed) = parts.unwrap_or_else(|| panic!("BASCULE_SEED={asked}: KIND:NUMBER, as in days:4711"));
    if wanted == kind.name() {
        println!("{}", trace(kind, seed));
        run(kind, seed).unwrap_or_else(|why| panic!("{why}"));
    }
    true
}

/// Plays seeds of a kind, and tells how it went.
pub(super) fn holds(kind: Kind) {
    if replay(kind) {
        return;
    }
    let began = std::time::Instant::now();
    let sum = play(kind);
    let (name, minutes, took, served) = (kind.name(), sum.time.as_secs() / 60, began.elapsed(), sum.served());
    let how = format!(
        "{} seeds of whole drivers, {} activations, {} starts an hour at most, served {served:.1} % of the time in which \
         one could{}, {} alarms shown and judged",
        sum.seeds,
        sum.told.activations,
        sum.told.most_starts,
        sum.least(),
        sum.told.alarms
    );
    println!("{name}: {minutes} simulated minutes, {took:.1?}: {how}; longest turn {:?}", sum.longest_turn);
    seeds::report(&format!("minutes\tdrivers, {name}\t{minutes}\t{:.1}\t{how}\n", took.as_secs_f64()));
    seeds::report(&format!("seeds\t{name}\t{}\t{:.1}\t\n", sum.seeds, took.as_secs_f64()));
    assert!(served >= kind.share(), "{name}: {how}");
}

/// Makes a mistake in seeds of a kind until one shows it, and returns how. `likely` is one that did.
pub(super) fn shows(mistake: Mistake, kind: Kind, likely: u64) -> Option<String> {
    seeds::show(&format!("{mistake:?}"), likely, MISTAKEN, |seed| making(Some(mistake), || run(kind, seed)).map(drop))
}
