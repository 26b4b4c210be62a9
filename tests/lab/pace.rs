//! How steadily this machine runs what is played on it. A machine that stands still, or has other things to do, is late
//! with everything; what a scenario finds too late there says nothing about the site.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Sleeps between two looks.
const NAP: Duration = Duration::from_millis(10);
/// A machine that wakes a sleeper later than this once has stood still: a third of the vote's `pause`.
const STOOD_STILL: Duration = Duration::from_millis(100);
/// A machine on which programs waited for a processor in more of the time than this is busy; the lab alone has them wait in
/// a tenth of it.
const BUSY: f64 = 0.7;

/// Watches the machine until it is dropped.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Microseconds by which the sleeper was woken too late at worst.
    worst: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    sleeper: Option<JoinHandle<()>>,
    since: Instant,
    waited: Option<Duration>,
}

impl Pace {
    pub(crate) fn watch() -> Self {
        let (worst, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (late, ended) = (Arc::clone(&worst), Arc::clone(&over));
        let sleeper = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let begun = Instant::now();
                thread::sleep(NAP);
                let by = begun.elapsed().saturating_sub(NAP).as_micros();
                late.fetch_max(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self { worst, over, sleeper: Some(sleeper), since: Instant::now(), waited: waited() }
    }

    /// Why nothing that was late since then counts; none on a machine that was quiet enough.
    pub(crate) fn excuse(&self) -> Option<String> {
        let worst = Duration::from_micros(self.worst.load(Ordering::Relaxed));
        let busy = self.waited.zip(waited()).map_or(0.0, |(before, now)| {
            now.saturating_sub(before).as_secs_f64() / self.since.elapsed().as_secs_f64().max(f64::EPSILON)
        });
        (worst > STOOD_STILL || busy > BUSY).then(|| {
            let (worst, busy) = (worst.as_secs_f64(), busy * 100.0);
            format!("this machine stood still for {worst:.2} s, and programs waited for it in {busy:.0} % of the time")
        })
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(sleeper) = self.sleeper.take() {
            let _ = sleeper.join();
        }
    }
}

/// How long some program has waited for a processor since the boot, if the kernel tells (`Documentation/accounting/psi.rst`).
fn waited() -> Option<Duration> {
    let text = fs::read_to_string("/proc/pressure/cpu").ok()?;
    let some = text.lines().find(|line| line.starts_with("some "))?;
    let total = some.split_whitespace().find_map(|word| word.strip_prefix("total="))?;
    total.parse().ok().map(Duration::from_micros)
}
