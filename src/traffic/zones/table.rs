//! The accounts of a zone's clients, in memory of a fixed size: whatever number of addresses comes, nothing grows.
//!
//! A client's account matters only while it is ahead of its rate; from then on it is one that was never seen. So what is
//! forgotten first is the account that is even soonest, and as long as fewer clients are ahead of their rate than a set
//! has places, nothing is lost by it.
//!
//! Several threads may find, change and replace an entry at once, without a lock. What may come of it is told beside the
//! code: one request too many that is let through, never one that is refused for another's sake.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bucket::{Pace, Ruling};

/// Entries that a client's may be among: two cache lines.
const WAYS: usize = 8;

/// Stands for a client while an entry is being given to one. An entry that nobody ever had says 0.
const CHANGING: u64 = 1;

/// One client's account.
#[derive(Debug, Default)]
struct Entry {
    /// Whose it is: a keyed hash of 64 bits, which no client can aim at another's.
    tag: AtomicU64,
    /// See [`Pace::rule`].
    even_at: AtomicU64,
}

/// Entries one of which is looked for.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Set([Entry; WAYS]);

/// The accounts of one zone.
#[derive(Debug)]
pub struct Table {
    sets: Box<[Set]>,
    key: RandomState,
    evictions: AtomicU64,
}

impl Table {
    /// Room for `addresses`, rounded up.
    pub fn new(addresses: usize) -> Self {
        let sets = Self::sets(addresses);
        Self {
            sets: std::iter::repeat_with(Set::default).take(sets).collect(),
            key: RandomState::new(),
            evictions: AtomicU64::new(0),
        }
    }

    fn sets(addresses: usize) -> usize {
        addresses.div_ceil(WAYS).max(1).checked_next_power_of_two().unwrap_or(1)
    }

    /// What room for `addresses` takes, in bytes.
    pub fn bytes(addresses: usize) -> usize {
        Self::sets(addresses).saturating_mul(size_of::<Set>())
    }

    /// Rules on a request at `now` that costs `cost`, and books it if it passes. Accounts of different `era`s know nothing of
    /// each other.
    pub fn ask(&self, client: IpAddr, era: u64, now: u64, cost: u64, pace: Pace) -> Ruling {
        let hash = self.key.hash_one((client, era));
        let tag = hash.max(CHANGING + 1);
        let set = &self.sets[usize::try_from(hash >> 3).unwrap_or(usize::MAX) & (self.sets.len() - 1)].0;
        // Each round that fails was another's success: nobody goes round in circles. The bound is for the reader.
        for _ in 0..64 {
            let ruling = match set.iter().find(|entry| entry.tag.load(Ordering::Acquire) == tag) {
                Some(entry) => entry.book(tag, now, cost, pace),
                None => self.begin(set, tag, now, cost, pace),
            };
            if let Some(ruling) = ruling {
                return ruling;
            }
        }
        // Let through without being booked, rather than refused for nothing it did.
        pace.rule(0, now, cost)
    }

    /// Gives the entry that is even soonest to a client that has none. None: somebody else was faster.
    ///
    /// Two threads may do so for one client at once: then it has two entries, of which the first counts.
    fn begin(&self, set: &[Entry], tag: u64, now: u64, cost: u64, pace: Pace) -> Option<Ruling> {
        let free = |entry: &&Entry| entry.tag.load(Ordering::Acquire) != CHANGING;
        let entry = set.iter().filter(free).min_by_key(|entry| entry.even_at.load(Ordering::Acquire))?;
        let before = entry.tag.load(Ordering::Acquire);
        if before == CHANGING
            || entry.tag.compare_exchange(before, CHANGING, Ordering::AcqRel, Ordering::Acquire).is_err()
        {
            return None;
        }
        let ruling = pace.rule(0, now, cost);
        if let Ruling::Pass { even_at, .. } = ruling {
            // Whoever has just found the old client here fails to book, as what it saw is no longer there.
            let old = entry.even_at.swap(even_at, Ordering::AcqRel);
            if old > now {
                self.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
        entry.tag.store(tag, Ordering::Release);
        Some(ruling)
    }

    /// Clients that are ahead of their rate now. Looks at every entry: not for the request path.
    pub fn ahead(&self, now: u64) -> usize {
        let entries = self.sets.iter().flat_map(|set| &set.0);
        entries.filter(|entry| entry.even_at.load(Ordering::Relaxed) > now).count()
    }

    /// How many accounts that mattered were forgotten for want of room.
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }
}

impl Entry {
    /// Rules on a request of the entry's client. None: the entry is another's by now, or was changed meanwhile.
    ///
    /// The entry may become another's between the look at the tag and the booking, and come by the same `even_at` at that:
    /// then one request is booked with the wrong client, which has one interval less for once.
    fn book(&self, tag: u64, now: u64, cost: u64, pace: Pace) -> Option<Ruling> {
        let seen = self.even_at.load(Ordering::Acquire);
        if self.tag.load(Ordering::Acquire) != tag {
            return None;
        }
        let ruling = pace.rule(seen, now, cost);
        if let Ruling::Pass { even_at, .. } = ruling {
            self.even_at.compare_exchange(seen, even_at, Ordering::AcqRel, Ordering::Acquire).ok()?;
        }
        Some(ruling)
    }
}

#[cfg(test)]
mod tests;
