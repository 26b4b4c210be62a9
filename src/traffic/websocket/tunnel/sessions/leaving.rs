//! How far one demotion has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use failover::Side;
use tokio::sync::Notify;

/// The sessions that one demotion makes leave, for the report of the switch. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leaving(Arc<Progress>);

#[derive(Debug)]
struct Progress {
    side: Side,
    users: AtomicUsize,
    sessions: AtomicUsize,
    told: AtomicUsize,
    left: AtomicUsize,
    truncated: AtomicUsize,
    finished: Notify,
}

impl Leaving {
    pub(super) fn new(side: Side) -> Self {
        Self(Arc::new(Progress {
            side,
            users: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            told: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            truncated: AtomicUsize::new(0),
            finished: Notify::new(),
        }))
    }

    /// The side that is left.
    pub fn side(&self) -> Side {
        self.0.side
    }

    /// Users concerned.
    pub fn users(&self) -> usize {
        self.0.users.load(Ordering::Acquire)
    }

    /// Sessions concerned.
    pub fn sessions(&self) -> usize {
        self.0.sessions.load(Ordering::Acquire)
    }

    /// Sessions whose turn has come so far; a session that ended by itself while it waited never has one.
    pub fn told(&self) -> usize {
        self.0.told.load(Ordering::Acquire)
    }

    /// Sessions that are gone.
    pub fn left(&self) -> usize {
        self.0.left.load(Ordering::Acquire)
    }

    /// Sessions that could not be given a Close frame: cut inside a frame, or the client did not read.
    pub fn truncated(&self) -> usize {
        self.0.truncated.load(Ordering::Acquire)
    }

    /// Waits until the last session is gone.
    pub async fn finished(&self) {
        loop {
            // Before the look: the last to leave in between would wake nobody.
            let finished = self.0.finished.notified();
            if self.left() == self.sessions() {
                return;
            }
            finished.await;
        }
    }

    pub(super) fn count_user(&self) {
        self.0.users.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn count_session(&self) {
        self.0.sessions.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn count_told(&self) {
        self.0.told.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn count_truncated(&self) {
        self.0.truncated.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn count_left(&self) {
        let left = self.0.left.fetch_add(1, Ordering::AcqRel) + 1;
        if left == self.sessions() {
            self.0.finished.notify_waiters();
        }
    }
}
