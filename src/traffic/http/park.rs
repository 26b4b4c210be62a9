//! Parking: a request that cannot be sent now waits for the decision instead of failing. Bounded in number and in time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::live::{Live, View};

/// How soon a parked request tries again by itself, without a decision: a backend that restarts is back before a switch.
const RETRY: [Duration; 4] =
    [Duration::from_millis(25), Duration::from_millis(50), Duration::from_millis(100), Duration::from_millis(250)];

/// Counts parked requests, of all sides and routes together.
#[derive(Debug, Default)]
pub struct Parking {
    parked: AtomicUsize,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// Something changed, or it is time to try again.
    Again,
    /// No decision came in time.
    TimedOut,
    /// Too many wait already: the waiting page, at once.
    Full,
}

struct Place<'a>(&'a Parking);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.parked.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Parking {
    /// Requests that wait now.
    pub fn parked(&self) -> usize {
        self.parked.load(Ordering::Acquire)
    }

    /// Waits until the view is no longer `seen`, a retry is due (the `attempt`th; none: only a decision helps), or the
    /// `deadline` is over.
    pub async fn wait(
        &self,
        live: &Live,
        seen: View,
        attempt: Option<usize>,
        deadline: Instant,
        most: usize,
    ) -> Released {
        // The limit is for all waits of a request together: one that comes back with nothing left is not let wait
        // again.
        if Instant::now() >= deadline {
            return Released::TimedOut;
        }
        // Bounded, as all of a site's users may wait at once: each holds a connection, a task and its head.
        if self.parked.fetch_add(1, Ordering::AcqRel) >= most {
            self.parked.fetch_sub(1, Ordering::AcqRel);
            return Released::Full;
        }
        let _place = Place(self);
        let retry = attempt.map_or(deadline, |attempt| Instant::now() + RETRY[attempt.min(RETRY.len() - 1)]);
        tokio::select! {
            biased;
            // First: a decision that comes in the last instant still saves the request.
            _ = live.changed_from(seen) => Released::Again,
            () = sleep_until(retry.min(deadline)) => if retry < deadline { Released::Again } else { Released::TimedOut },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use failover::Side;

    use super::*;
    use crate::live::Mode;

    const SEEN: View = View { side: Side::Main, mode: Mode::Deciding, epoch: 1 };

    #[tokio::test(start_paused = true)]
    async fn a_parked_request_is_released_by_the_decision() {
        let (parking, live) = (Arc::new(Parking::default()), Arc::new(Live::new(SEEN)));
        let waiting = tokio::spawn({
            let (parking, live) = (parking.clone(), live.clone());
            async move { parking.wait(&live, SEEN, None, Instant::now() + Duration::from_secs(5), 10).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(parking.parked(), 1);
        live.publish(View { side: Side::Standby, mode: Mode::Serving, epoch: 2 });
        assert_eq!(waiting.await.unwrap(), Released::Again);
        assert_eq!(parking.parked(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn parking_is_bounded_in_number_and_time() {
        let (parking, live) = (Parking::default(), Live::new(SEEN));
        let deadline = Instant::now() + Duration::from_secs(5);
        assert_eq!(parking.wait(&live, SEEN, None, deadline, 0).await, Released::Full);
        assert_eq!(parking.wait(&live, SEEN, None, deadline, 1).await, Released::TimedOut);
        assert_eq!(Instant::now(), deadline);
        assert_eq!(parking.parked(), 0);
    }
}
