//! The budget of automatic switches: at most so many in any hour.

use alloc::vec::Vec;
use core::time::Duration;

use crate::time::Instant;

pub(super) const WINDOW: Duration = Duration::from_secs(3600);

/// The newest automatic switches, each kept until it is an hour old; never more than the limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ledger {
    limit: usize,
    /// When each switch leaves the window, oldest first.
    until: Vec<Instant>,
}

impl Ledger {
    /// Makes a ledger from the ages of past switches.
    pub(super) fn new(limit: u32, ages: &[Duration], now: Instant) -> Self {
        let recent = ages.iter().filter(|age| **age < WINDOW);
        let mut until: Vec<Instant> = recent.map(|age| now + WINDOW.saturating_sub(*age)).collect();
        // The rest of this type counts on the oldest being first; a file may say otherwise.
        until.sort_unstable();
        let mut ledger = Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), until };
        ledger.keep_newest();
        ledger
    }

    pub(super) fn spend(&mut self, now: Instant) {
        self.until.push(now + WINDOW);
        self.keep_newest();
    }

    pub(super) fn forget_old(&mut self, now: Instant) {
        self.until.retain(|until| now < *until);
    }

    pub(super) fn clear(&mut self) {
        self.until.clear();
    }

    pub(super) fn is_spent(&self) -> bool {
        self.until.len() >= self.limit
    }

    /// Returns when a spent budget allows a switch again; none when it never will, or does now.
    pub(super) fn back_at(&self) -> Option<Instant> {
        // A budget is back when the oldest of its switches is an hour old.
        if self.is_spent() { self.until.first().copied() } else { None }
    }

    pub(super) fn used(&self) -> usize {
        self.until.len()
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn ages(&self, now: Instant) -> Vec<Duration> {
        self.until.iter().map(|until| WINDOW.saturating_sub(until.since(now))).collect()
    }

    /// Moves all times by as much as `from` is from `to`.
    #[cfg(test)]
    pub(super) fn moved(&self, from: Instant, to: Instant) -> Self {
        Self { limit: self.limit, until: self.until.iter().map(|until| to + until.since(from)).collect() }
    }

    fn keep_newest(&mut self) {
        // What is older than the newest `limit` cannot decide anything: so the ledger never grows beyond it.
        let surplus = self.until.len().saturating_sub(self.limit);
        self.until.drain(..surplus);
    }
}
