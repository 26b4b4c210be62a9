//! Plays many seeds, and tells how it went; one that fails is played again, with its trace.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::super::mistakes::{Mistake, making};
use super::record::Told;
use super::run;

/// Of ten thousand seeds so many are the engine's.
const SEEDS: u64 = 600;
const OF: u64 = 10_000;
/// Each mistake is shown by one of so many.
const MISTAKEN: u64 = 600;

fn wanted() -> u64 {
    let all = std::env::var("BASCULE_SEEDS").unwrap_or_default();
    let all: u64 = match all.as_str() {
        "" => OF,
        all => all.parse().unwrap_or_else(|error| panic!("BASCULE_SEEDS={all}: {error}")),
    };
    (all * SEEDS).div_ceil(OF)
}

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

struct Stamp;

impl tracing_subscriber::fmt::time::FormatTime for Stamp {
    fn format_time(&self, to: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        std::thread_local! {
            static BEGAN: std::cell::Cell<Option<tokio::time::Instant>> = const { std::cell::Cell::new(None) };
        }
        let now = tokio::time::Instant::now();
        let began = BEGAN.get().unwrap_or(now);
        BEGAN.set(Some(began));
        write!(to, "{:9.3}", (now - began).as_secs_f64())
    }
}

/// Runs one seed again, and returns what happened in it.
fn trace(seed: u64) -> String {
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
    // answer for all.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    // A thread of its own: the clock of the trace begins with it.
    let result = std::thread::scope(|scope| {
        scope.spawn(|| tracing::subscriber::with_default(subscriber, || run(seed))).join().unwrap()
    });
    let text = String::from_utf8_lossy(&trace.0.lock().unwrap()).into_owned();
    format!("{text}{result:?}\n")
}

/// Works on all processors, behind everything else that wants them: other tests run beside, and some have real clocks.
fn on_all_processors(work: impl Fn() + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(&work);
        }
    });
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
    let go_on = std::env::var_os("BASCULE_GO_ON").is_some();
    let (next, sum, failed) = (AtomicU64::new(0), Mutex::new(Told::default()), Mutex::new(None));
    on_all_processors(|| {
        while failed.lock().unwrap().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= wanted() {
                return;
            }
            match run(seed) {
                Ok(told) => sum.lock().unwrap().add(&told),
                Err(why) if go_on => println!("{why}"),
                Err(why) => *failed.lock().unwrap() = Some((seed, why)),
            }
        }
    });
    if let Some((seed, why)) = failed.into_inner().unwrap() {
        let trace = trace(seed);
        let lines: Vec<_> = trace.lines().collect();
        let tail = lines[lines.len().saturating_sub(150)..].join("\n");
        panic!("{tail}\n{why}\nBASCULE_SEED=engine:{seed} plays it again, with its whole trace");
    }
    let told = sum.into_inner().unwrap();
    let how = format!(
        "{} seeds of the whole engine, {} switches, {} of them ordered, {} probes of a check in a second at most, an answer \
         after {:?} at most, {} alarms shown and judged",
        wanted(),
        told.switches,
        told.planned,
        told.probes,
        told.longest_status,
        told.alarms
    );
    let took = began.elapsed().as_secs_f64();
    println!("engine: {took:.1} s: {how}");
    report(&format!("worlds\tengine\t{}\t{took:.1}\t{how}\n", wanted()));
}

/// Makes a mistake in seeds until one shows it, and returns how.
pub(super) fn shows(mistake: Mistake) -> Option<String> {
    let (next, shown) = (AtomicU64::new(0), Mutex::new(None));
    on_all_processors(|| {
        while shown.lock().unwrap().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= MISTAKEN {
                return;
            }
            if let Err(why) = making(Some(mistake), || run(seed)) {
                shown.lock().unwrap().get_or_insert(why);
            }
        }
    });
    let how = shown.into_inner().unwrap();
    let (verdict, why) = (if how.is_some() { "caught" } else { "missed" }, how.as_deref().unwrap_or_default());
    let why: String = why.chars().take(160).collect();
    println!("{verdict}: {mistake:?}: {why}");
    report(&format!("mistake\ta driver: the engine: {mistake:?}\t{verdict}\t\t{why}\n"));
    how
}

/// Tells how far it went, as the walks of the machines do: in the report of `make test`, as cargo hides what passing tests
/// print.
fn report(line: &str) {
    let Ok(path) = std::env::var("BASCULE_WALK_REPORT") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap_or_else(|error| panic!("{path}: {error}"));
}
