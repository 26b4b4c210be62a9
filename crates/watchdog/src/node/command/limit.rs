//! A time limit that counts only while the watchdog itself runs.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Time is counted in steps: one that took longer by more than [`LATE`] counts as this.
const STEP: Duration = Duration::from_millis(100);
/// A loop that turns is late by no more than this, on a busy machine.
const LATE: Duration = Duration::from_millis(100);

/// Waits until so much time has passed in which this process ran. One that was stopped, or whose machine was, has not
/// waited: what it waits for may have stood still with it, and had no chance to be seen.
pub(super) async fn passed(limit: Duration) {
    let mut left = limit;
    while !left.is_zero() {
        let step = left.min(STEP);
        let began = Instant::now();
        sleep(step).await;
        let took = began.elapsed();
        left = left.saturating_sub(if took > step + LATE { step } else { took });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nothing_turns_does_not_count() {
        let began = Instant::now();
        passed(Duration::from_secs(2)).await;
        assert!(began.elapsed() < Duration::from_millis(2_100), "{:?}", began.elapsed());
        let mut limit = Box::pin(passed(Duration::from_secs(2)));
        assert!(timeout(Duration::from_secs(1), &mut limit).await.is_err());
        advance(Duration::from_secs(600)).await;
        assert!(timeout(Duration::from_millis(700), &mut limit).await.is_err(), "it stood still for ten minutes");
        assert!(timeout(Duration::from_millis(400), &mut limit).await.is_ok());
    }
}
