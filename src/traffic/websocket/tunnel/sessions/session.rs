//! One open session: its entry in the registry, and the guard that keeps it there.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::{Leaving, Listed, Opening, Pin, Sessions};
use crate::traffic::websocket::tunnel::{Close, User};

const NONE: u8 = 0;
const MOVE: u8 = 1;
const DRAIN: u8 = 2;

/// What a session is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Leave, and come back to the new side.
    Move,
    /// Leave: this Edge goes away.
    Drain,
}

/// What the registry knows of a session. The relay writes the counters, the registry the command.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) user: User,
    pub(super) route: Arc<str>,
    pub(super) pin: Pin,
    pub(super) epoch: u64,
    client: IpAddr,
    backend: Arc<str>,
    close: Close,
    opened: Instant,
    to_client: AtomicU64,
    to_upstream: AtomicU64,
    command: AtomicU8,
    waker: AtomicWaker,
    leaving: OnceLock<Leaving>,
}

impl Entry {
    pub(super) fn new(id: u64, opening: Opening) -> Self {
        Self {
            id,
            user: opening.user,
            route: opening.route,
            pin: opening.pin,
            epoch: opening.epoch,
            client: opening.client,
            backend: opening.backend,
            close: opening.close,
            opened: Instant::now(),
            to_client: AtomicU64::new(0),
            to_upstream: AtomicU64::new(0),
            command: AtomicU8::new(NONE),
            waker: AtomicWaker::new(),
            leaving: OnceLock::new(),
        }
    }

    /// Makes the session part of a demotion; false if an earlier one has it already. Call under the shard's lock.
    pub(super) fn join(&self, leaving: &Leaving, first_of_user: bool) -> bool {
        // Once: a session that waits for its turn since the last switch must not begin to wait anew.
        if self.leaving.set(leaving.clone()).is_err() {
            return false;
        }
        leaving.count_session();
        if first_of_user {
            leaving.count_user();
        }
        true
    }

    pub(super) fn must_leave(&self) -> bool {
        self.leaving.get().is_some()
    }

    /// Gives the command unless one was given before; true if it was the first.
    pub(super) fn tell(&self, command: Command) -> bool {
        let command = match command {
            Command::Move => MOVE,
            Command::Drain => DRAIN,
        };
        // The first command stands: a client that was told 1012 must not be told 1001 as well.
        let first = self.command.compare_exchange(NONE, command, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if first {
            if let Some(leaving) = self.leaving.get() {
                leaving.count_told();
            }
            self.waker.wake();
        }
        first
    }

    pub(super) fn listed(&self) -> Listed {
        Listed {
            id: self.id,
            user: self.user.clone(),
            client: self.client,
            route: Arc::clone(&self.route),
            backend: Arc::clone(&self.backend),
            pin: self.pin,
            age: self.opened.elapsed(),
            to_client: self.to_client.load(Ordering::Relaxed),
            to_upstream: self.to_upstream.load(Ordering::Relaxed),
            leaving: self.must_leave() || self.command().is_some(),
        }
    }

    fn command(&self) -> Option<Command> {
        match self.command.load(Ordering::Acquire) {
            MOVE => Some(Command::Move),
            DRAIN => Some(Command::Drain),
            _ => None,
        }
    }
}

/// Keeps a session in the registry; dropping it takes the session out.
#[derive(Debug)]
pub struct Session {
    sessions: Arc<Sessions>,
    entry: Arc<Entry>,
}

impl Session {
    pub(super) fn new(sessions: Arc<Sessions>, entry: Arc<Entry>) -> Self {
        Self { sessions, entry }
    }

    /// Unique in this process.
    pub fn id(&self) -> u64 {
        self.entry.id
    }

    /// Whose it is.
    pub fn user(&self) -> &User {
        &self.entry.user
    }

    /// What it was told, if anything.
    pub fn command(&self) -> Option<Command> {
        self.entry.command()
    }

    /// Waits until it is told to leave: for the time before the relay runs, when a request can still be routed anew.
    pub async fn told(&self) -> Command {
        poll_fn(|cx| self.poll_told(cx)).await
    }

    /// The latest caller is woken.
    pub(in crate::traffic::websocket::tunnel) fn poll_told(&self, cx: &mut Context<'_>) -> Poll<Command> {
        // Before the look: a command in between would wake nobody.
        self.entry.waker.register(cx.waker());
        self.command().map_or(Poll::Pending, Poll::Ready)
    }

    /// Whether a switch decides about its upstream.
    pub(in crate::traffic::websocket::tunnel) fn belongs_to_a_side(&self) -> bool {
        matches!(self.entry.pin, Pin::Side(_))
    }

    /// Whether it was told to leave on a switch, or will be at its user's turn.
    pub(in crate::traffic::websocket::tunnel) fn must_leave(&self) -> bool {
        self.entry.must_leave()
    }

    /// What its route says on a switch.
    pub(in crate::traffic::websocket::tunnel) fn close(&self) -> &Close {
        &self.entry.close
    }

    /// Publishes how many bytes were carried since it opened.
    pub(in crate::traffic::websocket::tunnel) fn record(&self, to_client: u64, to_upstream: u64) {
        // For the list of sessions alone: nothing is decided by them.
        self.entry.to_client.store(to_client, Ordering::Relaxed);
        self.entry.to_upstream.store(to_upstream, Ordering::Relaxed);
    }

    /// Notes that the client could not be given a Close frame.
    pub(in crate::traffic::websocket::tunnel) fn record_truncated(&self) {
        if let Some(leaving) = self.entry.leaving.get() {
            leaving.count_truncated();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // First: whoever waits for the last to have left must not find it in the registry.
        self.sessions.remove(&self.entry);
        if let Some(leaving) = self.entry.leaving.get() {
            leaving.count_left();
        }
    }
}
