//! Plays simulations by numbered seeds on all processors; for the one that fails there is its trace.
//!
//! `BASCULE_SEEDS` says how many are played of all simulations together, `BASCULE_GO_ON` that a failure ends nothing.
#![forbid(unsafe_code)]

use std::fmt::{self, Debug};
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Seeds of all simulations together, unless told: what CI has time for.
const SEEDS: u64 = 10_000;
/// Lines of a trace that a failure shows: what led to it. The whole of it can be asked for.
const LAST_LINES: usize = 150;
/// Characters told of what showed a mistake.
const WHY: usize = 160;

/// How many seeds are played by a simulation whose share of all is `share` of `of`.
///
/// # Panics
/// If `BASCULE_SEEDS` is no number.
pub fn wanted(share: u64, of: u64) -> u64 {
    let all = match std::env::var("BASCULE_SEEDS").unwrap_or_default().as_str() {
        "" => SEEDS,
        all => all.parse().unwrap_or_else(|error| panic!("BASCULE_SEEDS={all}: {error}")),
    };
    (all * share).div_ceil(of)
}

/// Plays that many seeds, and sums up what each tells; the first that fails ends it, with its number and why.
///
/// # Errors
/// The seed that failed, unless failures are to be passed over.
pub fn play<T, S: Default + Send>(
    count: u64,
    run: impl Fn(u64) -> Result<T, String> + Sync,
    add: impl Fn(&mut S, T) + Sync,
) -> Result<S, (u64, String)> {
    let go_on = std::env::var_os("BASCULE_GO_ON").is_some();
    let (sum, failed) = (Mutex::new(S::default()), Mutex::new(None));
    each(count, &failed, |seed| match run(seed) {
        Ok(told) => add(&mut lock(&sum), told),
        Err(why) if go_on => println!("{why}"),
        Err(why) => *lock(&failed) = Some((seed, why)),
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(failed) => Err(failed),
        None => Ok(sum.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

/// Plays seeds with a mistake in them until one shows it, and returns how; tells so in the report.
///
/// `likely` is one that showed it before. It is played first and the others behind it, so a change of what seeds draw makes
/// this take longer and nothing else.
pub fn show(mistake: &str, likely: u64, most: u64, run: impl Fn(u64) -> Result<(), String> + Sync) -> Option<String> {
    let how = first_failure(likely, most, run);
    let (verdict, why) = (if how.is_some() { "caught" } else { "missed" }, how.as_deref().unwrap_or_default());
    let why: String = why.chars().take(WHY).collect();
    println!("{verdict}: {mistake}: {why}");
    report(&format!("mistake\ta driver: {mistake}\t{verdict}\t\t{why}\n"));
    how
}

/// Why the first seed that fails does. Apart from the report, which counts every mistake that it is told of: this crate's
/// own tests have made-up ones.
fn first_failure(likely: u64, most: u64, run: impl Fn(u64) -> Result<(), String> + Sync) -> Option<String> {
    let shown = Mutex::new(None);
    each(most, &shown, |number| {
        if let Err(why) = run((likely + number) % most) {
            lock(&shown).get_or_insert(why);
        }
    });
    shown.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Does `work` for each seed below `count` on all processors, until something is `found`.
///
/// Behind everything else that wants them: other tests run beside, and some have real clocks.
fn each<T: Send>(count: u64, found: &Mutex<Option<T>>, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // Of this thread alone, on Linux. Where it cannot be had, it is not needed for the outcome.
                let _ = rustix::process::nice(5);
                while lock(found).is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    work(seed);
                }
            });
        }
    });
}

/// Runs one seed, and returns what happened in it: a line for each event, with the simulation's time and whatever `whose`
/// says, then what came of it.
pub fn trace<T: Debug + Send>(whose: fn() -> String, run: impl FnOnce() -> T + Send) -> String {
    let lines = Lines::default();
    let written = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || written.clone())
        .with_timer(Stamp(whose))
        .with_ansi(false)
        .with_target(false)
        .with_max_level(tracing::Level::DEBUG)
        .finish();
    // With one subscriber alone, tracing asks whichever thread comes first to a line whether anybody wants it, and keeps the
    // answer for all; the threads of other tests have none, and want nothing.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    // A thread of its own: the clock of the trace begins with it.
    let result = std::thread::scope(|scope| {
        let running = scope.spawn(|| tracing::subscriber::with_default(subscriber, run));
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    format!("{}{result:?}\n", String::from_utf8_lossy(&lock(&lines.0)))
}

/// The last lines of a trace.
pub fn end_of(trace: &str) -> String {
    let lines: Vec<_> = trace.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

/// Tells how far it went, as the walks of the machines do: in the report of `make test`, as cargo hides what passing tests
/// print.
///
/// # Panics
/// If the file of the report cannot be written.
pub fn report(line: &str) {
    let Ok(path) = std::env::var("BASCULE_WALK_REPORT") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// A seed that panics has failed its test; what others have told is as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines of a trace, kept until somebody wants them.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Seconds since the first line of this thread, by the simulation's clock, and whose line it is.
struct Stamp(fn() -> String);

impl FormatTime for Stamp {
    fn format_time(&self, to: &mut Writer<'_>) -> fmt::Result {
        std::thread_local! {
            static BEGAN: std::cell::Cell<Option<Instant>> = const { std::cell::Cell::new(None) };
        }
        let now = Instant::now();
        let began = BEGAN.get().unwrap_or(now);
        BEGAN.set(Some(began));
        write!(to, "{:9.3} {}", (now - began).as_secs_f64(), (self.0)())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_seed_is_played_once_and_the_first_that_fails_is_told() {
        assert_eq!(play(100, Ok, |sum: &mut u64, seed| *sum += seed), Ok(4950));
        let failed = play(100, |seed| if seed == 70 { Err("so".into()) } else { Ok(seed) }, |_: &mut u64, _| ());
        assert_eq!(failed, Err((70, "so".into())));
    }

    #[test]
    fn a_mistake_is_shown_by_the_first_seed_that_fails_or_by_none() {
        for likely in [0, 9, 10, 99, 100, 250] {
            let played = Mutex::new(std::collections::BTreeSet::new());
            let passes = |seed| {
                lock(&played).insert(seed);
                Ok(())
            };
            assert_eq!(first_failure(likely, 100, passes), None);
            assert!(lock(&played).iter().copied().eq(0..100), "each is played, behind {likely}");
            let fails = |seed| if seed == 9 { Err("so".into()) } else { Ok(()) };
            assert_eq!(first_failure(likely, 100, fails), Some("so".into()));
        }
    }

    #[test]
    fn a_trace_has_what_was_logged_and_what_came_of_it_and_its_end_is_short() {
        let text = trace(|| "here".into(), || (0..200).for_each(|line| tracing::debug!("line {line}")));
        assert!(text.contains("    0.000 here DEBUG line 0\n") && text.ends_with("line 199\n()\n"), "{text}");
        assert_eq!(end_of(&text).lines().count(), LAST_LINES);
    }
}
