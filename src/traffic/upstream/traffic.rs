//! Whether a backend answers the requests that are open to it. Two atomics a request, no timer.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Requests a backend has not answered yet.
#[derive(Debug, Default)]
pub struct Traffic {
    open: AtomicUsize,
    /// When one was last answered, or the first of the open ones was sent: milliseconds since [`ORIGIN`].
    quiet_since: AtomicU64,
}

#[expect(clippy::disallowed_methods, reason = "threads of several runtimes measure by it")]
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

fn now() -> u64 {
    u64::try_from(ORIGIN.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A request that waits for its answer; answered, or given up, when dropped.
#[derive(Debug)]
pub struct Awaiting(Arc<Traffic>);

impl Traffic {
    /// Notes that a request was sent.
    pub fn sent(self: &Arc<Self>) -> Awaiting {
        if self.open.fetch_add(1, Ordering::AcqRel) == 0 {
            self.quiet_since.store(now(), Ordering::Release);
        }
        Awaiting(self.clone())
    }

    /// For how long none of the open requests has been answered; none when nothing is open.
    pub fn quiet_for(&self) -> Option<Duration> {
        if self.open.load(Ordering::Acquire) == 0 {
            return None;
        }
        Some(Duration::from_millis(now().saturating_sub(self.quiet_since.load(Ordering::Acquire))))
    }

    /// Begins to count anew: the silence so far was told.
    pub fn told(&self) {
        self.quiet_since.store(now(), Ordering::Release);
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        // Before the count goes down: between the two, an answer must not look like a silence.
        self.0.quiet_since.store(now(), Ordering::Release);
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_open_requests_make_a_silence_and_an_answer_ends_it() {
        let traffic = Arc::<Traffic>::default();
        assert_eq!(traffic.quiet_for(), None);
        let (first, _second) = (traffic.sent(), traffic.sent());
        traffic.quiet_since.store(0, Ordering::Release);
        std::thread::sleep(Duration::from_millis(2));
        assert!(traffic.quiet_for() >= Some(Duration::from_millis(2)));
        drop(first);
        assert!(traffic.quiet_for() < Some(Duration::from_secs(1)));
    }
}
