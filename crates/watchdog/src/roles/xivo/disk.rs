//! Writes the state to the disk beside the driver's loop: a slow disk delays what hangs on it, and nothing else.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use failover::Instant;
use failover::duty::Memory;
use failover::lease::{Campaign, Record};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::node::clock;
use crate::state::Keep;
use crate::telemetry::metrics::Metrics;

/// What could not be written is tried again after so long.
const AGAIN: Duration = Duration::from_secs(1);
/// A write that takes longer is trouble.
const SLOW: Duration = Duration::from_secs(2);

/// The way to the task that writes. The newest state counts; one that is overtaken while it waits is never written.
#[derive(Debug)]
pub(super) struct Disk {
    wanted: watch::Sender<Option<Wanted>>,
    done: watch::Receiver<Done>,
    /// The newest state whose time was told.
    told: u64,
}

#[derive(Debug, Clone, Copy)]
struct Wanted {
    number: u64,
    memory: Memory,
    since: Instant,
}

/// How far the disk is.
#[derive(Debug, Clone, Default)]
struct Done {
    /// The newest state that is on the disk.
    number: u64,
    /// The campaign to which that promises the node's vote.
    promised: Option<Campaign>,
    /// How long its write took.
    took: Duration,
    /// The newest that could not be written, and why.
    failed: Option<(u64, String)>,
}

/// The campaign to which a state promises the node's vote.
fn promised(memory: &Memory) -> Option<Campaign> {
    match memory.vote.record {
        Record::Promised(promise) => Some(promise.campaign),
        Record::Free | Record::Unknown => None,
    }
}

impl Done {
    /// Whether it is decided what became of a state.
    fn is_decided(&self, number: u64) -> bool {
        // A state that was overtaken is never written: what became of a newer one decides of it, too.
        self.number >= number || self.failed.as_ref().is_some_and(|(failed, _)| *failed >= number)
    }
}

impl Disk {
    pub(super) fn start(state: impl Keep, metrics: Arc<Metrics>) -> Self {
        let state = Arc::new(state);
        Self::with(metrics, move |memory| {
            let state = Arc::clone(&state);
            move || state.persist(&memory)
        })
    }

    fn with<W>(metrics: Arc<Metrics>, write: impl Fn(Memory) -> W + Send + 'static) -> Self
    where
        W: FnOnce() -> io::Result<()> + Send + 'static,
    {
        let (wanted, told) = watch::channel(None);
        let (publish, done) = watch::channel(Done::default());
        host::spawn(keep(told, publish, metrics, write));
        Self { wanted, done, told: 0 }
    }

    /// Has a state written. Never waits.
    pub(super) fn write(&self, memory: Memory) {
        let written = self.done.borrow().number;
        self.wanted.send_modify(|wanted| {
            let number = wanted.map_or(0, |wanted| wanted.number) + 1;
            // A write that is overtaken has been waited for all the same.
            let since = wanted.filter(|wanted| wanted.number > written).map_or_else(clock::now, |wanted| wanted.since);
            *wanted = Some(Wanted { number, memory, since });
        });
    }

    /// Waits until a state is on the disk, and tells how long its write took: each once, of those written since the last
    /// call the newest.
    pub(super) async fn wrote(&mut self) -> Duration {
        let told = self.told;
        // Nothing borrowed is held across the wait below: the loop could not run beside others then.
        let written = self.done.wait_for(|done| done.number > told).await.map(|done| (done.number, done.took));
        match written {
            Ok((number, took)) => {
                self.told = number;
                took
            }
            // The task is gone: nothing is written any more.
            Err(_) => std::future::pending().await,
        }
    }

    fn newest(&self) -> u64 {
        self.wanted.borrow().map_or(0, |wanted| wanted.number)
    }

    /// Waits until the newest state is on the disk, `limit` at most, and tells whether it is. What could not be written
    /// before is not waited for.
    pub(super) fn written(&self, limit: Duration) -> impl Future<Output = bool> + Send + 'static {
        let (number, mut done) = (self.newest(), self.done.clone());
        async move {
            let decided = timeout(limit, done.wait_for(|done| done.is_decided(number))).await;
            matches!(decided, Ok(Ok(done)) if done.number >= number)
        }
    }

    /// Waits until the node's promise for a campaign is on the disk, `limit` at most, and tells whether it is, and holds still:
    /// one that is over by then is told to nobody. A promise that was released meanwhile and given again, as a request that
    /// came late has it, is not on the disk because the release is: whoever asked for the newer one hears of it.
    pub(super) fn promised(&self, campaign: Campaign, limit: Duration) -> impl Future<Output = bool> + Send + 'static {
        let (number, mut done, newest) = (self.newest(), self.done.clone(), self.wanted.subscribe());
        async move {
            let decided = timeout(limit, done.wait_for(|done| done.is_decided(number))).await;
            let kept = matches!(decided, Ok(Ok(done)) if done.number >= number && done.promised == Some(campaign));
            kept && newest.borrow().is_some_and(|wanted| promised(&wanted.memory) == Some(campaign))
        }
    }

    /// Why the newest state is not on the disk, if that is trouble.
    pub(super) fn trouble(&self) -> Option<String> {
        let wanted = (*self.wanted.borrow())?;
        let done = self.done.borrow();
        if done.number >= wanted.number {
            return None;
        }
        match &done.failed {
            Some((_, why)) => Some(format!("the state cannot be written: {why}")),
            None if clock::now().since(wanted.since) >= SLOW => {
                Some(format!("the state has not been written for {} s: the disk is slow", SLOW.as_secs()))
            }
            None => None,
        }
    }
}

async fn keep<W>(
    mut told: watch::Receiver<Option<Wanted>>,
    publish: watch::Sender<Done>,
    metrics: Arc<Metrics>,
    write: impl Fn(Memory) -> W,
) where
    W: FnOnce() -> io::Result<()> + Send + 'static,
{
    while told.changed().await.is_ok() {
        loop {
            let Some(wanted) = *told.borrow_and_update() else { break };
            let began = clock::now();
            // The write has a thread of its own: a disk that hangs must not hold up the loop, and with it the lease.
            let written = host::blocking(write(wanted.memory)).await;
            let took = clock::now().since(began);
            metrics.persisted(&written, took);
            let Err(error) = written else {
                let promised = promised(&wanted.memory);
                publish.send_replace(Done { number: wanted.number, promised, took, failed: None });
                break;
            };
            publish.send_modify(|done| done.failed = Some((wanted.number, error.to_string())));
            // A newer state is tried at once.
            let _ = timeout(AGAIN, told.wait_for(|now| now.is_some_and(|now| now.number > wanted.number))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use failover::Side;
    use failover::duty::Settings;
    use failover::lease::{self, Promise};

    use super::*;

    fn memory(campaign: u64) -> Memory {
        let vote = lease::Memory { record: Record::Free, epoch: 1 };
        Memory { vote, campaign, wishes: Settings::new(Side::Main).wishes, relapses: 0 }
    }

    /// A disk that is as the test says: fails, hangs, or takes it.
    #[derive(Default)]
    struct Played {
        kept: Vec<u64>,
        full: bool,
        hangs: bool,
    }

    fn played() -> (Disk, Arc<Mutex<Played>>) {
        let played: Arc<Mutex<Played>> = Arc::default();
        let disk = Arc::clone(&played);
        let write = move |memory: Memory| {
            let disk = Arc::clone(&disk);
            move || {
                while disk.lock().unwrap().hangs {
                    std::thread::sleep(Duration::from_millis(5));
                }
                let mut disk = disk.lock().unwrap();
                if disk.full {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                disk.kept.push(memory.campaign);
                Ok(())
            }
        };
        (Disk::with(Arc::new(Metrics::new().unwrap()), write), played)
    }

    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn what_is_written_is_on_the_disk_and_stays_so() {
        let (disk, played) = played();
        assert!(disk.written(Duration::ZERO).await || disk.written(LONG).await, "nothing is wanted yet");
        disk.write(memory(1));
        assert!(disk.written(LONG).await);
        assert!(disk.written(LONG).await, "nothing new");
        assert_eq!(played.lock().unwrap().kept, [1]);
        assert_eq!(disk.trouble(), None);
    }

    #[tokio::test]
    async fn nothing_counts_as_written_while_the_disk_is_full_and_it_is_tried_again_by_itself() {
        let (disk, played) = played();
        played.lock().unwrap().full = true;
        disk.write(memory(1));
        assert!(!disk.written(LONG).await);
        assert!(!disk.written(LONG).await, "the second time no more than the first");
        assert!(disk.trouble().unwrap().contains("cannot be written"));
        played.lock().unwrap().full = false;
        let over = async {
            while disk.trouble().is_some() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, over).await.unwrap();
        assert!(disk.written(LONG).await);
        assert_eq!(played.lock().unwrap().kept, [1]);
    }

    #[tokio::test]
    async fn each_write_tells_how_long_it_took_once() {
        const HANGS: Duration = Duration::from_millis(60);
        let (mut disk, played) = played();
        disk.write(memory(1));
        disk.wrote().await;
        assert!(timeout(HANGS, disk.wrote()).await.is_err(), "told already");
        played.lock().unwrap().hangs = true;
        disk.write(memory(2));
        assert!(timeout(HANGS, disk.wrote()).await.is_err(), "not on the disk yet");
        played.lock().unwrap().hangs = false;
        let took = timeout(LONG, disk.wrote()).await.unwrap();
        assert!(took >= HANGS, "{took:?}");
    }

    #[tokio::test]
    async fn a_disk_that_hangs_is_trouble_however_often_it_is_written_to() {
        let (disk, played) = played();
        played.lock().unwrap().hangs = true;
        disk.write(memory(1));
        let since = disk.wanted.borrow().unwrap().since;
        disk.write(memory(2));
        assert_eq!(disk.wanted.borrow().unwrap().since, since, "the first is still waited for");
        played.lock().unwrap().hangs = false;
        assert!(disk.written(LONG).await);
        disk.write(memory(3));
        assert!(disk.wanted.borrow().unwrap().since > since);
        assert!(disk.written(LONG).await);
    }

    #[tokio::test]
    async fn a_disk_that_hangs_delays_nobody_for_longer_than_the_limit() {
        let (disk, played) = played();
        played.lock().unwrap().hangs = true;
        disk.write(memory(1));
        assert!(!disk.written(Duration::from_millis(50)).await);
        disk.write(memory(2));
        disk.write(memory(3));
        played.lock().unwrap().hangs = false;
        assert!(disk.written(LONG).await);
        let kept = played.lock().unwrap().kept.clone();
        assert_eq!(kept.last(), Some(&3), "the newest counts: {kept:?}");
    }

    fn promising(campaign: u64) -> Memory {
        let length = Duration::from_secs(2);
        let promise = Promise { holder: Side::Standby, campaign, epoch: 1, length, instance: None };
        let mut memory = memory(campaign);
        memory.vote.record = Record::Promised(promise);
        memory
    }

    #[tokio::test]
    async fn a_promise_is_told_when_it_is_on_the_disk_and_not_if_it_is_over_by_then() {
        let (disk, played) = played();
        disk.write(promising(7));
        assert!(disk.promised(7, LONG).await);
        played.lock().unwrap().hangs = true;
        disk.write(promising(8));
        let over = disk.promised(8, LONG);
        disk.write(promising(9));
        let holds = disk.promised(9, LONG);
        played.lock().unwrap().hangs = false;
        assert!(holds.await);
        assert!(!over.await, "the peer has released it since");
        played.lock().unwrap().full = true;
        disk.write(promising(10));
        assert!(!disk.promised(10, LONG).await);
    }

    #[tokio::test]
    async fn w1_a_promise_that_was_released_and_given_again_is_not_told_before_it_is_on_the_disk_again() {
        // Each write says that it began, and ends when it is let.
        let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let (end, ends) = std::sync::mpsc::channel();
        let ends = Arc::new(Mutex::new(ends));
        let disk = Disk::with(Arc::new(Metrics::new().unwrap()), move |memory: Memory| {
            let (began, ends) = (began.clone(), Arc::clone(&ends));
            move || {
                let _ = began.send(memory);
                ends.lock().unwrap().recv().map_err(io::Error::other)
            }
        });
        disk.write(memory(1));
        begun.recv().await.unwrap();
        disk.write(promising(8));
        let first = disk.promised(8, LONG);
        disk.write(memory(8));
        end.send(()).unwrap();
        let released = begun.recv().await.unwrap();
        assert_eq!(promised(&released), None, "the promise was overtaken by its release");
        disk.write(promising(8));
        let again = disk.promised(8, LONG);
        end.send(()).unwrap();
        assert!(!first.await, "on the disk it is released");
        end.send(()).unwrap();
        assert!(again.await);
    }
}
