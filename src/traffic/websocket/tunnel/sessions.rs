//! Every open tunnel, whom it belongs to and which side holds it. Says who must leave; how to leave is the relay's (E6).

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use failover::Side;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::pacing::Queue;
use super::{Close, Pacing, User};

mod leaving;
mod session;

pub use leaving::Leaving;
use session::Entry;
pub use session::{Command, Session};

/// Enough that two cores rarely want the same lock, few enough that a visit to each is cheap.
const SHARDS: usize = 64;

/// Holds the open sessions. A user's sessions share a shard, so one lock suffices to close them together.
///
/// A session is opened under the switch epoch its side was chosen with. A demotion raises the side's fence to the new
/// epoch before it visits the shards; a session that comes later finds the fence under the same lock. So each session of
/// an older epoch is either told to leave or refused, and none of a newer one is touched.
#[derive(Debug)]
pub struct Sessions {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    next_id: AtomicU64,
    open: AtomicUsize,
    emptied: Notify,
    draining: AtomicBool,
    fences: [AtomicU64; 2],
    turns: Mutex<Turns>,
    turns_changed: Notify,
}

type Shard = BTreeMap<(User, u64), Arc<Entry>>;

#[derive(Debug, Default)]
struct Turns {
    queue: Queue,
    pacers: usize,
}

/// What a session is, as its route knows it.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The upstream's ties to a side.
    pub pin: Pin,
    /// The switch epoch read together with the live side.
    pub epoch: u64,
    /// Whose session it is.
    pub user: User,
    /// Where the client's connection comes from.
    pub client: IpAddr,
    /// The route's name.
    pub route: Arc<str>,
    /// The name of the backend that was chosen.
    pub backend: Arc<str>,
    /// What the client is told on a switch.
    pub close: Close,
}

/// Which switch ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pin {
    /// The upstream belongs to this side.
    Side(Side),
    /// The upstream is shared, but the session leaves with its user (`follow: live`); this side was live.
    Follows(Side),
    /// The upstream is shared; no switch concerns it.
    Stays,
}

impl Pin {
    /// The side whose demotion ends the session.
    pub fn side(self) -> Option<Side> {
        match self {
            Self::Side(side) | Self::Follows(side) => Some(side),
            Self::Stays => None,
        }
    }
}

/// Why a session may not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    /// The session's side was demoted since it was chosen: choose again.
    #[error("{0} was demoted meanwhile")]
    Demoted(Side),
    /// This Edge is going away.
    #[error("the Edge is draining")]
    Draining,
}

/// One session, as operators see it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Unique in this process.
    pub id: u64,
    /// Whose it is.
    pub user: User,
    /// Where the client's connection comes from.
    pub client: IpAddr,
    /// Its route.
    pub route: Arc<str>,
    /// The name of its backend.
    pub backend: Arc<str>,
    /// Its ties to a side.
    pub pin: Pin,
    /// How long it has been open.
    pub age: Duration,
    /// Bytes carried to the client.
    pub to_client: u64,
    /// Bytes carried to the upstream.
    pub to_upstream: u64,
    /// The session was told to leave, or waits for its turn to be told.
    pub leaving: bool,
}

/// How many sessions of one route are tied to one side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    /// Their ties to a side.
    pub pin: Pin,
    /// Their route.
    pub route: Arc<str>,
    /// How many.
    pub sessions: usize,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            // Keyed by chance: logins are the clients' to choose, and one shard could be filled with them.
            hasher: RandomState::new(),
            next_id: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            emptied: Notify::new(),
            draining: AtomicBool::new(false),
            fences: [AtomicU64::new(0), AtomicU64::new(0)],
            turns: Mutex::default(),
            turns_changed: Notify::new(),
        }
    }
}

impl Sessions {
    /// Enters a session; best before the upstream is connected, so that a refusal can still be routed anew.
    ///
    /// # Errors
    /// The side was demoted since it was chosen, or the Edge is draining.
    pub fn open(self: &Arc<Self>, opening: Opening) -> Result<Session, Refused> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry::new(id, opening));
        let mut shard = self.shard(&entry.user);
        // Both looks are made under the lock that the walks of `demote` and `close_all` take: a session is seen by
        // them, or refused here.
        if self.draining.load(Ordering::Acquire) {
            return Err(Refused::Draining);
        }
        if let Some(side) = entry.pin.side()
            && entry.epoch < self.fence(side).load(Ordering::Acquire)
        {
            return Err(Refused::Demoted(side));
        }
        shard.insert((entry.user.clone(), id), Arc::clone(&entry));
        self.open.fetch_add(1, Ordering::AcqRel);
        drop(shard);
        Ok(Session::new(Arc::clone(self), entry))
    }

    /// Makes every session tied to `side` and opened before switch epoch `epoch` leave, at the pace given. Paced turns
    /// are carried out by [`pace`](Self::pace); where that does not run, everybody leaves at once.
    pub fn demote(&self, side: Side, epoch: u64, pacing: Pacing) -> Leaving {
        // Held to the end: a pacer that goes away meanwhile would leave a queue that nobody runs.
        let mut turns = lock(&self.turns);
        self.fence(side).fetch_max(epoch, Ordering::AcqRel);
        let interval = pacing.interval().filter(|_| turns.pacers > 0 && !pacing.drain_limit.is_zero());
        let leaving = Leaving::new(side);
        let mut waiting = Vec::new();
        for shard in &self.shards {
            let mut last: Option<&User> = None;
            for entry in lock(shard).values().filter(|entry| entry.pin.side() == Some(side) && entry.epoch < epoch) {
                // A shard is in the order of its users, so that the sessions of one stand together. Those of an earlier
                // demotion keep their place in it.
                if !entry.join(&leaving, last != Some(&entry.user)) {
                    continue;
                }
                if interval.is_none() {
                    entry.tell(Command::Move);
                } else if last != Some(&entry.user) {
                    waiting.push(entry.user.clone());
                }
                last = Some(&entry.user);
            }
        }
        if let Some(interval) = interval {
            turns.queue.push(waiting, interval, pacing.drain_limit, Instant::now());
            self.turns_changed.notify_one();
        }
        leaving
    }

    /// Carries out paced demotions for ever. Run it once beside the listener; when it is dropped nobody waits any longer.
    pub async fn pace(&self) {
        let _pacer = Pacer::new(self);
        loop {
            let next = lock(&self.turns).queue.run(Instant::now(), |user| self.dismiss(user));
            // A demotion between the two lines is not missed: `notify_one` keeps a permit.
            let changed = self.turns_changed.notified();
            match next {
                Some(at) => drop(tokio::time::timeout_at(at, changed).await),
                None => changed.await,
            }
        }
    }

    /// Closes every session with 1001 and refuses new ones: this Edge goes away.
    pub fn close_all(&self) {
        // Before the walk: whoever opens behind it finds this under its shard's lock.
        self.draining.store(true, Ordering::Release);
        for shard in &self.shards {
            for entry in lock(shard).values() {
                entry.tell(Command::Drain);
            }
        }
    }

    /// Waits until no session is open.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// How many sessions are open.
    pub fn len(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// At most `limit` sessions, in no order; [`len`](Self::len) tells whether there are more.
    pub fn list(&self, limit: usize) -> Vec<Listed> {
        let mut listed = Vec::with_capacity(limit.min(self.len()));
        for shard in &self.shards {
            listed.extend(lock(shard).values().take(limit - listed.len()).map(|entry| entry.listed()));
        }
        listed
    }

    /// Open sessions by side and route, ordered.
    pub fn tally(&self) -> Vec<Tally> {
        let mut counts = BTreeMap::<(Pin, Arc<str>), usize>::new();
        for shard in &self.shards {
            for entry in lock(shard).values() {
                *counts.entry((entry.pin, Arc::clone(&entry.route))).or_default() += 1;
            }
        }
        counts.into_iter().map(|((pin, route), sessions)| Tally { pin, route, sessions }).collect()
    }

    /// Tells all sessions of one user that must leave, in the same instant. Returns how many there were.
    fn dismiss(&self, user: &User) -> usize {
        let shard = self.shard(user);
        let sessions = shard.range((user.clone(), 0)..=(user.clone(), u64::MAX));
        sessions.filter(|(_, entry)| entry.must_leave() && entry.tell(Command::Move)).count()
    }

    fn remove(&self, entry: &Entry) {
        self.shard(&entry.user).remove(&(entry.user.clone(), entry.id));
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.emptied.notify_waiters();
        }
    }

    fn shard(&self, user: &User) -> MutexGuard<'_, Shard> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
        let index = self.hasher.hash_one(user) as usize % SHARDS;
        lock(&self.shards[index])
    }

    fn fence(&self, side: Side) -> &AtomicU64 {
        match side {
            Side::Main => &self.fences[0],
            Side::Standby => &self.fences[1],
        }
    }
}

/// Counts a running [`Sessions::pace`]; when the last is dropped, whoever still waits leaves at once.
struct Pacer<'a>(&'a Sessions);

impl<'a> Pacer<'a> {
    fn new(sessions: &'a Sessions) -> Self {
        lock(&sessions.turns).pacers += 1;
        Self(sessions)
    }
}

impl Drop for Pacer<'_> {
    fn drop(&mut self) {
        let mut turns = lock(&self.0.turns);
        turns.pacers -= 1;
        if turns.pacers == 0 {
            turns.queue.run_out(|user| self.0.dismiss(user));
        }
    }
}

/// No code panics while it holds one of these locks half-way through a change, so a poisoned one is as good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
