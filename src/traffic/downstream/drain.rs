//! How the Edge goes away: what it still takes on, whom it waits for, and whom it gives up.
//!
//! The listeners stay open meanwhile: whoever comes is told to come again (the waiting page), and is not waited for. What
//! was there before is waited for until `limits.drain`, but not while nothing moves on its connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::admission::Admission;

/// A connection on which nothing has moved for so long holds up the end no longer: a client that is slow but alive sends
/// or takes something more often.
pub const STILL: Duration = Duration::from_secs(5);
/// How often connections are looked at meanwhile.
const LOOK: Duration = Duration::from_millis(500);
/// For requests to be answered once their upstreams are cut: pages of our own, written at once.
const ANSWERING: Duration = Duration::from_millis(500);
/// What a connection that is given up may take to say its last words.
pub const LAST_WORDS: Duration = Duration::from_secs(1);

/// How far the Edge has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The Edge serves.
    Serving,
    /// The Edge finishes what it began.
    Draining,
    /// Nothing more is waited for.
    Over,
}

/// The Edge's way to its end.
#[derive(Debug)]
pub struct Drain {
    /// The stage as a number: each request reads it, and takes no lock for that.
    now: AtomicU8,
    changed: watch::Sender<Stage>,
    /// Connections that came after it began.
    pub late: Arc<Admission>,
}

impl Default for Drain {
    fn default() -> Self {
        let (now, changed) = (AtomicU8::new(Stage::Serving as u8), watch::Sender::new(Stage::Serving));
        Self { now, changed, late: Arc::default() }
    }
}

impl Drain {
    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.now.load(Ordering::Acquire) >= Stage::Draining as u8
    }

    /// Whether nothing more is waited for.
    pub fn is_over(&self) -> bool {
        self.now.load(Ordering::Acquire) >= Stage::Over as u8
    }

    /// Goes on to `stage`, and wakes whoever waits for it; never back.
    pub fn enter(&self, stage: Stage) {
        // Never back: a late word must not have a draining Edge take on connections as if it served.
        self.now.fetch_max(stage as u8, Ordering::AcqRel);
        self.changed.send_if_modified(|present| std::mem::replace(present, stage.max(*present)) < stage);
    }

    /// Waits until nothing more is waited for.
    pub async fn over(&self) {
        // The sender lives as long as `self`.
        let _ = self.changed.subscribe().wait_for(|stage| *stage == Stage::Over).await;
    }
}

/// Waits until no connection is open, giving up those on which nothing moves. Counts whom it gave up.
pub async fn emptied(admission: &Admission, given_up: &mut usize) {
    // Looked at while it waits, not once at the end: a single stalled upload would hold up each restart for the whole
    // limit.
    while timeout(LOOK, admission.emptied()).await.is_err() {
        admission.each(|activity| {
            if activity.still_looks() * LOOK >= STILL && activity.give_up() {
                *given_up += 1;
            }
        });
    }
}

/// Ends what is left: `cut` ends the requests' upstreams, so that each is answered with a page; then connections are given
/// up.
pub async fn end(admission: &Admission, cut: impl Fn()) {
    let answered = async {
        loop {
            // Again and again: a request may have been about to connect.
            cut();
            if timeout(ANSWERING / 10, admission.emptied()).await.is_ok() {
                return;
            }
        }
    };
    if timeout(ANSWERING, answered).await.is_ok() {
        return;
    }
    admission.each(|activity| {
        activity.give_up();
    });
    // Theirs, and what the client needs to read them.
    let _ = timeout(LAST_WORDS * 2, admission.emptied()).await;
}

/// Lets those who came late read their page; there may be new ones all the time.
pub async fn answer_last(late: &Admission) {
    let _ = timeout(ANSWERING, late.emptied()).await;
}
