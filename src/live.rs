//! The live side as the request path sees it: one atomic word, and another that says since when it serves. Who decides it is
//! left to the engine.

pub mod endpoint;
pub mod file;
pub mod state;
pub mod systemd;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use failover::Side;
pub use failover::switch::Mode;
use tokio::sync::watch;
use tokio::time::Instant;

/// A consistent view of the live side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The side that receives traffic.
    pub side: Side,
    /// What to do with a request.
    pub mode: Mode,
    /// The switch epoch, which has 56 bits here.
    pub epoch: u64,
}

/// Publishes the live side: read with one load, awaited without polling.
#[derive(Debug)]
pub struct Live {
    word: AtomicU64,
    changed: watch::Sender<u64>,
    made: Instant,
    /// When the present side began to serve, in nanoseconds since it was `made`.
    serving: AtomicU64,
}

const STANDBY: u64 = 1;
const MODE_SHIFT: u32 = 1;
const EPOCH_SHIFT: u32 = 8;

fn pack(view: View) -> u64 {
    // All three in one word: nobody reads the side of one epoch with the number of another.
    let side = if view.side == Side::Standby { STANDBY } else { 0 };
    let mode = match view.mode {
        Mode::Deciding => 0,
        Mode::Serving => 1,
        Mode::Waiting => 2,
    };
    side | mode << MODE_SHIFT | view.epoch << EPOCH_SHIFT
}

fn unpack(word: u64) -> View {
    View {
        side: if word & STANDBY != 0 { Side::Standby } else { Side::Main },
        mode: match word >> MODE_SHIFT & 3 {
            0 => Mode::Deciding,
            1 => Mode::Serving,
            _ => Mode::Waiting,
        },
        epoch: word >> EPOCH_SHIFT,
    }
}

impl Live {
    /// Starts with `view`.
    pub fn new(view: View) -> Self {
        let changed = watch::Sender::new(pack(view));
        Self { word: AtomicU64::new(pack(view)), changed, made: Instant::now(), serving: AtomicU64::new(0) }
    }

    /// The present view.
    #[inline]
    pub fn view(&self) -> View {
        unpack(self.word.load(Ordering::Acquire))
    }

    /// Publishes `view` and wakes all who wait.
    pub fn publish(&self, view: View) {
        let word = pack(view);
        let before = unpack(self.word.load(Ordering::Acquire));
        // Before the view: nobody is sent to a side of which it is not yet known since when it serves.
        if view.mode == Mode::Serving && (before.mode != Mode::Serving || before.side != view.side) {
            let since = u64::try_from(self.made.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.serving.store(since, Ordering::Release);
        }
        // Only a change wakes: a thousand parked requests would look up for nothing.
        if self.word.swap(word, Ordering::AcqRel) != word {
            self.changed.send_replace(word);
        }
    }

    /// When the present side began to serve, or began again: from then on its users come back, all at once.
    #[inline]
    pub fn serving_since(&self) -> Instant {
        self.made + Duration::from_nanos(self.serving.load(Ordering::Acquire))
    }

    /// Returns as soon as the view is not `seen`.
    pub async fn changed_from(&self, seen: View) -> View {
        // `wait_for` looks at the present value first, so that a change before the subscription is not slept through.
        let mut changes = self.changed.subscribe();
        let seen = pack(seen);
        // The sender lives as long as `self`, so waiting cannot fail.
        match changes.wait_for(|word| *word != seen).await {
            Ok(word) => unpack(*word),
            Err(_) => self.view(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_survives_packing() {
        for side in [Side::Main, Side::Standby] {
            for mode in [Mode::Deciding, Mode::Serving, Mode::Waiting] {
                for epoch in [0, 1, 77, (1 << 56) - 1] {
                    let view = View { side, mode, epoch };
                    assert_eq!(unpack(pack(view)), view);
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_serves_since_a_switch_or_since_it_works_again() {
        let began = Instant::now();
        let view = |side, mode, epoch| View { side, mode, epoch };
        let live = Live::new(view(Side::Main, Mode::Deciding, 0));
        let steps = [
            (view(Side::Main, Mode::Serving, 0), 1),
            (view(Side::Main, Mode::Serving, 0), 1),
            (view(Side::Standby, Mode::Serving, 1), 3),
            (view(Side::Standby, Mode::Waiting, 1), 3),
            (view(Side::Standby, Mode::Serving, 1), 5),
            (view(Side::Standby, Mode::Deciding, 1), 5),
            (view(Side::Main, Mode::Serving, 2), 7),
        ];
        for (step, since) in steps {
            tokio::time::advance(Duration::from_secs(1)).await;
            live.publish(step);
            assert_eq!(live.serving_since() - began, Duration::from_secs(since), "{step:?}");
        }
    }

    #[tokio::test]
    async fn a_waiter_wakes_when_the_side_changes() {
        let first = View { side: Side::Main, mode: Mode::Serving, epoch: 1 };
        let live = std::sync::Arc::new(Live::new(first));
        let waiter = tokio::spawn({
            let live = live.clone();
            async move { live.changed_from(first).await }
        });
        let next = View { side: Side::Standby, mode: Mode::Serving, epoch: 2 };
        live.publish(next);
        assert_eq!(waiter.await.unwrap(), next);
    }
}
