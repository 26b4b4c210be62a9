//! Plays many seeds, and tells how it went; one that fails is played again, with its trace.

use super::super::mistakes::{Mistake, making};
use super::faults::Kind;
use super::record::Told;
use super::{Run, run};
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Seeds of all kinds together.
const SEEDS: u64 = 10_000;
/// Each mistake is shown by one of so many.
const MISTAKEN: u64 = 3_000;

/// Lines of a trace, kept until somebody wants them.
#[derive(Clone, Default)]
struct Trace(Arc<Mutex<Vec<u8>>>);

impl io::Write for Trace {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The simulation's time, and the machine.
struct Stamp;

impl tracing_subscriber::fmt::time::FormatTime for Stamp {
    fn format_time(&self, to: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        std::thread_local! {
            static BEGAN: std::cell::Cell<Option<(std::thread::ThreadId, tokio::time::Instant)>> =
                const { std::cell::Cell::new(None) };
        }
        let now = tokio::time::Instant::now();
        let (_, began) = BEGAN.get().unwrap_or((std::thread::current().id(), now));
        BEGAN.set(Some((std::thread::current().id(), began)));
        let host = host::played::current();
        write!(to, "{:9.3} {:8}", (now - began).as_secs_f64(), host.as_ref().map_or("", |host| host.name()))
    }
}

/// Runs one seed again, and returns what happened in it.
fn trace(kind: Kind, seed: u64, mistake: Option<Mistake>) -> String {
    let trace = Trace::default();
    let lines = trace.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || lines.clone())
        .with_timer(Stamp)
        .with_ansi(false)
        .with_target(false)
        .with_max_level(tracing::Level::DEBUG)
        .finish();
    // With one subscriber alone, tracing asks whichever thread comes first to a line whether anybody wants it, and keeps the
    // answer for all; the threads of other tests have none, and want nothing.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    // A thread of its own: the clock of the trace begins with it.
    let result = std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            tracing::subscriber::with_default(subscriber, || making(mistake, || run(kind, seed).map(|run| run.told)))
        });
        running.join().unwrap()
    });
    let text = String::from_utf8_lossy(&trace.0.lock().unwrap()).into_owned();
    format!("{text}{result:?}\n")
}

/// A seed that failed says so with the end of its trace.
fn fail(kind: Kind, seed: u64, why: &str) -> ! {
    let trace = trace(kind, seed, None);
    let lines: Vec<_> = trace.lines().collect();
    let tail = lines[lines.len().saturating_sub(150)..].join("\n");
    panic!("{tail}\n{why}\nBASCULE_SEED={}:{seed} plays it again, with its whole trace", kind.name());
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

/// How many seeds are played of a kind.
fn wanted(kind: Kind) -> u64 {
    let all = std::env::var("BASCULE_SEEDS").unwrap_or_default();
    let all = match all.as_str() {
        "" => SEEDS,
        all => all.parse().unwrap_or_else(|error| panic!("BASCULE_SEEDS={all}: {error}")),
    };
    (all * kind.of_thousand()).div_ceil(1_000)
}

/// Works on all processors, behind everything else that wants them: other tests run beside, and some have real clocks.
fn on_all_processors(work: impl Fn() + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // Of this thread alone, on Linux. Where it cannot be had, it is not needed for the outcome.
                let _ = rustix::process::nice(5);
                work();
            });
        }
    });
}

/// Plays seeds of a kind; the first that fails ends it.
fn play(kind: Kind) -> Sum {
    let (next, sum, failed) = (AtomicU64::new(0), Mutex::new(Sum::default()), Mutex::new(None));
    let go_on = std::env::var_os("BASCULE_GO_ON").is_some();
    on_all_processors(|| {
        while failed.lock().unwrap().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= wanted(kind) {
                return;
            }
            match run(kind, seed) {
                Ok(run) => sum.lock().unwrap().add(&run),
                Err(why) if go_on => println!("{why}"),
                Err(why) => *failed.lock().unwrap() = Some((seed, why)),
            }
        }
    });
    if let Some((seed, why)) = failed.into_inner().unwrap() {
        fail(kind, seed, &why);
    }
    sum.into_inner().unwrap()
}

/// Plays the one seed that is asked for, and shows what happens in it. Tells whether one is.
fn replay(kind: Kind) -> bool {
    let Ok(asked) = std::env::var("BASCULE_SEED") else { return false };
    let parts = asked.split_once(':').and_then(|(kind, seed)| Some((kind, seed.parse().ok()?)));
    let (wanted, seed) = parts.unwrap_or_else(|| panic!("BASCULE_SEED={asked}: KIND:NUMBER, as in days:4711"));
    if wanted == kind.name() {
        println!("{}", trace(kind, seed, None));
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
    report(&format!("minutes\tdrivers, {name}\t{minutes}\t{:.1}\t{how}\n", took.as_secs_f64()));
    report(&format!("seeds\t{name}\t{}\t{:.1}\t\n", sum.seeds, took.as_secs_f64()));
    assert!(served >= kind.share(), "{name}: {how}");
}

/// Makes a mistake in seeds of a kind until one shows it, and returns how.
pub(super) fn shows(mistake: Mistake, kind: Kind) -> Option<String> {
    let (next, shown) = (AtomicU64::new(0), Mutex::new(None));
    on_all_processors(|| {
        while shown.lock().unwrap().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= MISTAKEN {
                return;
            }
            if let Err(why) = making(Some(mistake), || run(kind, seed)) {
                shown.lock().unwrap().get_or_insert(why);
            }
        }
    });
    let how = shown.into_inner().unwrap();
    let (verdict, why) = (if how.is_some() { "caught" } else { "missed" }, how.as_deref().unwrap_or_default());
    let why: String = why.chars().take(160).collect();
    println!("{verdict}: {mistake:?}: {why}");
    report(&format!("mistake\ta driver: {mistake:?}\t{verdict}\t\t{why}\n"));
    how
}

/// Tells how far it went, as the walks of the machines do: in the report of `make test`, as cargo hides what passing tests
/// print.
fn report(line: &str) {
    let Ok(path) = std::env::var("BASCULE_WALK_REPORT") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap_or_else(|error| panic!("{path}: {error}"));
}
