//! Machines of a simulation, on tokio's paused time and one thread.
//!
//! Whatever runs on such a machine is polled through it: so it sees the machine's clock, waits while that is frozen, is
//! late at an await when the machine is busy, and is dropped where it stands when the machine dies. All chance is the
//! simulation's: the same seed gives the same run, if no `select!` chooses by itself. Tasks of a machine that are woken at
//! once go on in an order that the simulation draws, too: tokio's `watch` wakes whoever waits for it in a random one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use failover::Instant;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Sleep, sleep};

/// A future of which nothing but its output is known.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

std::thread_local! {
    static CURRENT: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// What a simulation decides for a machine.
pub trait World: Send + Sync {
    /// How long a task that could go on is kept waiting; mostly not at all.
    fn keeps_waiting(&self) -> Duration;

    /// Which of so many tasks that were woken at once goes on first, then second: less than `of`, which is two at least.
    fn goes_first(&self, of: usize) -> usize;

    /// Waits as the disk does before, and after, it has taken what is written; an error keeps it from that.
    fn disk(&self, when: Disk) -> Boxed<io::Result<()>>;
}

/// Which part of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Until the disk holds it.
    Taking,
    /// Until the program hears of it.
    Answering,
}

/// A machine's clock: it has its own pace, and stands still while the machine does.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What it showed when the simulation began, in microseconds.
    pub origin: u64,
    /// Parts per million that it is fast.
    pub fast: i64,
}

/// A machine, from its boot to its death. Clones are the same one.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    name: String,
    began: tokio::time::Instant,
    clock: Clock,
    world: Arc<dyn World>,
    life: Mutex<Life>,
    turns: Arc<Mutex<Turns>>,
}

#[derive(Default)]
struct Life {
    frozen: bool,
    dead: bool,
    asleep: Vec<Waker>,
    tasks: Vec<AbortHandle>,
    pruned: usize,
}

/// Tasks that were woken and wait for their turn, by number, and who gives it to them.
#[derive(Default)]
struct Turns {
    tasks: u64,
    woken: BTreeMap<u64, Waker>,
    giver: Option<Waker>,
}

/// Returns the machine on which the present task runs, if it is a played one.
pub fn current() -> Option<Host> {
    CURRENT.with_borrow(Clone::clone)
}

impl Host {
    /// Boots a machine. `began` is the instant at which the simulation began: clocks count from it.
    pub fn boot(name: &str, began: tokio::time::Instant, clock: Clock, world: Arc<dyn World>) -> Self {
        let (life, turns) = (Mutex::default(), Arc::default());
        let giver = give_turns(Arc::clone(&turns), Arc::clone(&world));
        let host = Self(Arc::new(Inner { name: name.to_owned(), began, clock, world, life, turns }));
        let giver = tokio::spawn(giver);
        host.life().tasks.push(giver.abort_handle());
        host
    }

    /// Returns the name that traces call it by.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns what its clock shows.
    pub fn now(&self) -> Instant {
        let passed = i128::try_from(self.0.began.elapsed().as_micros()).unwrap_or(i128::MAX);
        let shown = passed + passed * i128::from(self.0.clock.fast) / 1_000_000 + i128::from(self.0.clock.origin);
        Instant::from_micros(u64::try_from(shown).unwrap_or_default())
    }

    /// Returns what its wall clock shows.
    pub fn unix_ms(&self) -> u64 {
        1_800_000_000_000 + self.now().as_micros() / 1_000
    }

    /// Runs a future on it.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let task = tokio::spawn(self.task(future));
        let mut life = self.life();
        life.tasks.push(task.abort_handle());
        if life.tasks.len() >= 2 * life.pruned.max(32) {
            life.tasks.retain(|task| !task.is_finished());
            life.pruned = life.tasks.len();
        }
        drop(life);
        task
    }

    /// Makes a future one of this machine's, for whoever spawns it.
    pub fn task<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let turns = Arc::clone(&self.0.turns);
        let number = {
            let mut turns = locked(&turns);
            turns.tasks += 1;
            turns.tasks
        };
        let turn = Arc::new(Turn { number, turns, task: Mutex::new(Waker::noop().clone()) });
        Task { host: self.clone(), late: None, turn, future: Box::pin(future) }
    }

    pub(crate) async fn blocking<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.0.world.disk(Disk::Taking).await?;
        let done = work()?;
        self.0.world.disk(Disk::Answering).await?;
        Ok(done)
    }

    /// Nothing on it goes on before it thaws; time does.
    pub fn freeze(&self) {
        self.life().frozen = true;
    }

    /// Lets everything go on that stood still.
    pub fn thaw(&self) {
        let mut life = self.life();
        life.frozen = false;
        let asleep = std::mem::take(&mut life.asleep);
        drop(life);
        asleep.into_iter().for_each(Waker::wake);
    }

    /// Tells whether the machine stands still.
    pub fn is_frozen(&self) -> bool {
        self.life().frozen
    }

    /// All that runs on it is dropped where it stands.
    pub fn kill(&self) {
        let mut life = self.life();
        life.dead = true;
        let tasks = std::mem::take(&mut life.tasks);
        life.asleep.clear();
        drop(life);
        tasks.iter().for_each(AbortHandle::abort);
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        locked(&self.0.life)
    }

    /// Whether a task may go on now; else it is woken when it may, or never.
    fn lets_go_on(&self, waker: &Waker) -> bool {
        let mut life = self.life();
        if life.frozen && !life.dead {
            life.asleep.push(waker.clone());
        }
        !life.frozen && !life.dead
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.0.name).finish()
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the tasks of a machine go on that were woken since the last time, in the order that its world draws. All that one
/// call wakes is there by then, whichever it woke first.
async fn give_turns(turns: Arc<Mutex<Turns>>, world: Arc<dyn World>) {
    poll_fn(|context| {
        let woken = {
            let mut turns = locked(&turns);
            turns.giver = Some(context.waker().clone());
            std::mem::take(&mut turns.woken)
        };
        let mut woken: Vec<Waker> = woken.into_values().collect();
        while woken.len() > 1 {
            let first = world.goes_first(woken.len());
            woken.remove(first.min(woken.len() - 1)).wake();
        }
        woken.into_iter().for_each(Waker::wake);
        Poll::<()>::Pending
    })
    .await;
}

/// Wakes a task of a machine when its turn comes.
struct Turn {
    number: u64,
    turns: Arc<Mutex<Turns>>,
    task: Mutex<Waker>,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let task = locked(&self.task).clone();
        let giver = {
            let mut turns = locked(&self.turns);
            turns.woken.insert(self.number, task);
            turns.giver.take()
        };
        if let Some(giver) = giver {
            giver.wake();
        }
    }
}

/// A future that runs on a machine.
struct Task<F> {
    host: Host,
    late: Option<Pin<Box<Sleep>>>,
    turn: Arc<Turn>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Task<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        match &mut this.late {
            Some(late) => ready!(late.as_mut().poll(context)),
            None => {
                let late = this.host.0.world.keeps_waiting();
                if !late.is_zero() {
                    let late = this.late.insert(Box::pin(sleep(late)));
                    ready!(late.as_mut().poll(context));
                }
            }
        }
        if !this.host.lets_go_on(context.waker()) {
            return Poll::Pending;
        }
        this.late = None;
        let _here = Here::enter(this.host.clone());
        locked(&this.turn.task).clone_from(context.waker());
        let waker = Waker::from(Arc::clone(&this.turn));
        this.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

/// What is done until this is dropped is done on the machine.
struct Here(Option<Host>);

impl Here {
    fn enter(host: Host) -> Self {
        Self(CURRENT.replace(Some(host)))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Keeps every task waiting for so long, and takes so long for half a write.
    struct Slow(Duration, Duration);

    impl World for Slow {
        fn keeps_waiting(&self) -> Duration {
            self.0
        }

        fn goes_first(&self, of: usize) -> usize {
            of - 1
        }

        fn disk(&self, _: Disk) -> Boxed<io::Result<()>> {
            let time = self.1;
            Box::pin(async move {
                sleep(time).await;
                Ok(())
            })
        }
    }

    fn host(name: &str, fast: i64, late: u64) -> Host {
        let world = Slow(Duration::from_millis(late), Duration::from_secs(1));
        Host::boot(name, tokio::time::Instant::now(), Clock { origin: 1_000_000, fast }, Arc::new(world))
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_has_its_own_clock_and_what_it_spawns_has_it_too() {
        let host = host("main", 1_000, 0);
        let shown = host.spawn(async {
            sleep(Duration::from_secs(1000)).await;
            (crate::now(), crate::spawn(async { crate::now() }).await.unwrap())
        });
        let expected = Instant::from_micros(1_000_000 + 1_001_000_000);
        assert_eq!(shown.await.unwrap(), (expected, expected));
        assert!(current().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_machine_stands_still_and_a_dead_one_drops_what_it_was_at() {
        let host = host("main", 0, 0);
        let steps = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&steps);
        let task = host.spawn(async move {
            loop {
                sleep(Duration::from_secs(1)).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        sleep(Duration::from_millis(3_500)).await;
        host.freeze();
        sleep(Duration::from_millis(3_000)).await;
        assert_eq!(steps.load(Ordering::Relaxed), 3);
        host.thaw();
        sleep(Duration::from_millis(100)).await;
        assert_eq!(steps.load(Ordering::Relaxed), 4, "what was due happens once");
        host.kill();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(Arc::strong_count(&steps), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_that_wait_for_one_value_go_on_in_the_order_of_the_simulation() {
        for _ in 0..20 {
            let (tell, _) = tokio::sync::watch::channel(false);
            let order: Arc<Mutex<Vec<usize>>> = Arc::default();
            let host = host("main", 0, 0);
            let tasks = [0, 1, 2, 3, 4, 5].map(|number| {
                let (mut told, order) = (tell.subscribe(), Arc::clone(&order));
                host.spawn(async move {
                    told.changed().await.unwrap();
                    order.lock().unwrap().push(number);
                })
            });
            sleep(Duration::from_secs(1)).await;
            tell.send_replace(true);
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(*order.lock().unwrap(), [5, 4, 3, 2, 1, 0]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_machine_is_late_and_a_slow_disk_takes_its_time() {
        let host = host("main", 0, 200);
        let began = tokio::time::Instant::now();
        let took = host.spawn(async move {
            let at_once = began.elapsed();
            crate::blocking(|| Ok(())).await.unwrap();
            (at_once, began.elapsed())
        });
        let (at_once, written) = took.await.unwrap();
        assert_eq!(at_once.as_millis(), 200);
        assert_eq!(written.as_millis(), 200 + 1_200 * 2);
    }
}
