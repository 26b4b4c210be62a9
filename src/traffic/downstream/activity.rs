//! One client connection, as seen by those who carry its requests and by the drain: whether anything moves on it, whether it
//! was given up, and what becomes of it after an answer.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;

use bytes::BytesMut;
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use super::client::ClientStream;
use crate::traffic::budget::Account;

tokio::task_local! {
    /// The connection whose request a task carries. Pingora makes a request's context of nothing but the application.
    pub static CURRENT: Arc<Activity>;
}

/// One client connection.
#[derive(Debug, Default)]
pub struct Activity {
    /// Reads and writes that moved something.
    moved: AtomicU64,
    /// Requests the client has sent whole and got nothing for yet.
    awaiting: AtomicUsize,
    /// What [`Self::still_looks`] saw last, and how often in a row.
    seen: AtomicU64,
    still: AtomicU32,
    late: AtomicBool,
    given_up: AtomicBool,
    /// Wakes the one task that serves the connection.
    server: AtomicWaker,
    /// Tasks that carry its requests over h2.
    streams: Notify,
    account: Arc<Account>,
    last_words: OnceLock<Vec<u8>>,
    after: AtomicU8,
    last: AtomicBool,
    returned: Mutex<Option<(Box<ClientStream>, BytesMut)>>,
}

/// What becomes of a connection whose stream is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The connection ends in the middle of an answer, or without one.
    Broken,
    /// The connection ends behind a whole answer.
    Ends,
}

/// A request that waits for the beginning of its answer, until dropped.
#[derive(Debug)]
pub struct Awaiting(Arc<Activity>);

impl Drop for Awaiting {
    fn drop(&mut self) {
        self.0.awaiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Activity {
    /// One that came when the Edge had begun to go away, or not.
    pub fn new(late: bool, account: Arc<Account>) -> Self {
        Self { late: AtomicBool::new(late), account, ..Self::default() }
    }

    /// What its requests hold.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Whether the Edge had begun to go away when the connection came: its requests get the waiting page.
    pub fn is_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }

    /// Counts the connection as one that came late: it has asked nothing yet, and the Edge goes away.
    pub fn set_late(&self) {
        self.late.store(true, Ordering::Relaxed);
    }

    /// Notes that bytes came or went.
    #[inline]
    pub fn note_moved(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the client has sent a request whole: now it is for others to move.
    pub fn await_answer(self: &Arc<Self>) -> Awaiting {
        self.awaiting.fetch_add(1, Ordering::Relaxed);
        Awaiting(self.clone())
    }

    /// How many looks in a row, this one included, have found nothing moved though it was for the client to move.
    pub fn still_looks(&self) -> u32 {
        let moved = self.moved.load(Ordering::Relaxed);
        // While a request waits for its answer it is not the client who holds things up: its upstream has a limit of
        // its own.
        if self.seen.swap(moved, Ordering::Relaxed) != moved || self.awaiting.load(Ordering::Relaxed) > 0 {
            self.still.store(0, Ordering::Relaxed);
            return 0;
        }
        self.still.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Gives it up: nothing is waited for on it any more. Returns whether it was not before.
    pub fn give_up(&self) -> bool {
        let first = !self.given_up.swap(true, Ordering::AcqRel);
        self.server.wake();
        self.streams.notify_waiters();
        first
    }

    /// Whether it is given up.
    #[inline]
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Waits until it is given up; for the one task that serves it.
    pub async fn given_up(&self) {
        poll_fn(|cx| {
            // Before the look: a give-up in between would wake nobody.
            self.server.register(cx.waker());
            if self.is_given_up() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits until it is given up; for tasks that carry its requests.
    pub async fn streams_given_up(&self) {
        // Asked for before the look, since it wakes only those who wait by then.
        let notified = self.streams.notified();
        if !self.is_given_up() {
            notified.await;
        }
    }

    /// Says what a client of HTTP/1 is told whose request nobody answers any more.
    pub fn set_last_words(&self, answer: Vec<u8>) {
        // Said once is enough.
        let _ = self.last_words.set(answer);
    }

    /// That answer; none before the connection is given up.
    pub fn last_words(&self) -> Option<&[u8]> {
        self.last_words.get().map(Vec::as_slice)
    }

    /// Says what becomes of it behind the present answer.
    pub fn set_after(&self, after: After) {
        self.after.store(after as u8, Ordering::Relaxed);
    }

    /// What becomes of it behind the present answer.
    pub fn after(&self) -> After {
        match self.after.load(Ordering::Relaxed) {
            after if after == After::Ends as u8 => After::Ends,
            _ => After::Broken,
        }
    }

    /// What the request before it left behind is forgotten: its end says nothing of this one.
    pub fn begin_request(&self) {
        self.last.store(false, Ordering::Relaxed);
        self.set_after(After::Broken);
    }

    /// Takes no request behind the one of HTTP/1 that is carried: its answer says so, and ends the connection.
    pub fn set_last(&self) {
        self.last.store(true, Ordering::Relaxed);
    }

    /// Asked when the head of the answer is written: that head says so to the client.
    pub fn is_last(&self) -> bool {
        self.last.load(Ordering::Relaxed)
    }

    /// Hands back a stream that goes on behind a whole answer, and what came of the next requests.
    pub fn hand_back(&self, stream: Box<ClientStream>, came: BytesMut) {
        *self.returned.lock().unwrap_or_else(PoisonError::into_inner) = Some((stream, came));
    }

    /// The stream that was handed back.
    pub fn take_back(&self) -> Option<(Box<ClientStream>, BytesMut)> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
