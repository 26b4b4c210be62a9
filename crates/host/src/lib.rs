//! What a program takes from the machine it runs on: the clock that promises are kept by, tasks, the disk's time.
//!
//! Whoever takes these here, and nothing elsewhere, can be simulated: with the feature `played` a test makes machines of
//! its own, whose clocks differ, whose tasks are kept waiting at any await, frozen and killed, and whose disks are slow.
//! Without it each of these is the system's own, and costs no more.

#[cfg(feature = "played")]
pub mod played;

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use failover::Instant;
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinHandle;

/// Returns the time since the machine's boot, suspension included, as the promises of others go on meanwhile: the same in
/// every process of one boot.
pub fn now() -> Instant {
    #[cfg(feature = "played")]
    if let Some(host) = played::current() {
        return host.now();
    }
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let micros = u64::try_from(time.tv_nsec).unwrap_or_default() / 1_000;
    Instant::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}

/// Returns the wall clock's milliseconds since 1970; zero for a clock that is before.
pub fn unix_ms() -> u64 {
    #[cfg(feature = "played")]
    if let Some(host) = played::current() {
        return host.unix_ms();
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Runs a future beside the caller. It belongs to the caller's machine.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    #[cfg(feature = "played")]
    if let Some(host) = played::current() {
        return host.spawn(future);
    }
    tokio::spawn(future)
}

/// Runs what waits for the disk on a thread where it may.
///
/// # Errors
/// What it says; that it panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    #[cfg(feature = "played")]
    if let Some(host) = played::current() {
        return host.blocking(work).await;
    }
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
