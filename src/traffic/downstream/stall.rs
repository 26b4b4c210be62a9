//! A time limit between two steps of something that goes on in many: a body that is read or written part by part.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How long the next step may take.
///
/// Most steps take no time, so that the timer is set only once for all that are taken while it runs: setting it is what
/// costs.
#[derive(Debug, Default)]
pub struct Stall {
    limit: Option<Duration>,
    /// When the present step has taken too long; none: it has not been waited for.
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// Sets how long a step may take, from the next one on.
    pub fn set_limit(&mut self, limit: Option<Duration>) {
        self.limit = limit;
        self.deadline = None;
    }

    /// How long a step may take.
    pub fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// A step was taken: the next one has the whole limit, from when it is waited for.
    pub fn moved(&mut self) {
        self.deadline = None;
    }

    /// The next step is waited for: ready once it takes too long.
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.limit else { return Poll::Pending };
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + limit);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            ready!(timer.as_mut().poll(cx));
            // The timer may still be one of an earlier step: it is set to the present deadline only when it fires.
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{sleep, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn each_step_has_the_whole_limit() {
        let mut stall = Stall::default();
        assert!(timeout(LIMIT * 9, poll_fn(|cx| stall.poll_over(cx))).await.is_err(), "no limit, no end");
        stall.set_limit(Some(LIMIT));
        for step in [29, 1, 29, 15, 29] {
            let waited = timeout(Duration::from_secs(step), poll_fn(|cx| stall.poll_over(cx))).await;
            assert!(waited.is_err(), "after {step} s");
            stall.moved();
            // Nobody waits for the client meanwhile.
            sleep(LIMIT * 3).await;
        }
        let began = Instant::now();
        poll_fn(|cx| stall.poll_over(cx)).await;
        assert_eq!(began.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_taken_up_again_is_the_same_one() {
        let mut stall = Stall::default();
        stall.set_limit(Some(LIMIT));
        let began = Instant::now();
        while timeout(LIMIT / 7, poll_fn(|cx| stall.poll_over(cx))).await.is_err() {}
        assert_eq!(began.elapsed(), LIMIT);
    }
}
