//! What a side is and what it has seen.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;
use http::uri::Scheme;
use serde_json::{Map, Value, json};

use super::SideName;
use super::ledger::Ledger;
use super::mode::ModeSwitch;

/// Methods that are counted by name; the rest together.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A side as all of its connections share it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) name: SideName,
    pub(super) address: SocketAddr,
    /// How the side is spoken to.
    pub(super) scheme: Scheme,
    pub(super) mode: ModeSwitch,
    pub(super) ledger: Option<Ledger>,
    /// How many numbers were posted here since it began.
    pub(super) counted: AtomicU64,
    requests: [AtomicU64; METHODS.len() + 1],
    websockets: AtomicU64,
}

impl State {
    pub(super) fn new(name: SideName, address: SocketAddr, scheme: Scheme, ledger: Option<Ledger>) -> Self {
        Self {
            name,
            address,
            scheme,
            mode: ModeSwitch::new(),
            ledger,
            counted: AtomicU64::new(0),
            requests: Default::default(),
            websockets: AtomicU64::new(0),
        }
    }

    pub(super) fn note_request(&self, method: &Method) {
        let index = METHODS.iter().position(|known| method == known).unwrap_or(METHODS.len());
        self.requests[index].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> Value {
        let counts = self.requests.each_ref().map(|count| count.load(Ordering::Relaxed));
        let names = METHODS.iter().copied().chain(["other"]);
        let by_method: Map<String, Value> =
            names.zip(counts).filter(|(_, count)| *count > 0).map(|(name, n)| (name.to_owned(), n.into())).collect();
        json!({
            "side": self.name.word(),
            "requests": counts.iter().sum::<u64>(),
            "by_method": by_method,
            "websockets": self.websockets.load(Ordering::Relaxed),
        })
    }
}

/// Counts an open WebSocket as long as it is held.
pub(super) struct Open<'a>(&'a State);

impl<'a> Open<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        state.websockets.fetch_add(1, Ordering::Relaxed);
        Self(state)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.websockets.fetch_sub(1, Ordering::Relaxed);
    }
}
