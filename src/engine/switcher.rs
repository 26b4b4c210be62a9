//! The switch, and what is kept of what it did: on the disk, and for people.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use failover::Instant;
use failover::switch::{self, Policy, Switch};
use tokio::time::timeout;

use super::mistakes::{Mistake, made};
use super::record::{self, Remembered, live_state};
use crate::admin::api::{Frozen, SwitchSummary};
use crate::live::state::{PastSwitch, State};
use crate::site::maintenance::Maintenances;

/// How long users wait for a disk: then traffic moves, and the disk follows.
const DISK_PATIENCE: Duration = Duration::from_millis(100);

/// The machine that decides, and its memory.
pub(super) struct Switcher {
    pub(super) switch: Switch,
    state: Arc<State>,
    pub(super) frozen: Option<Frozen>,
    pub(super) maintenance: Maintenances,
    pub(super) past: Vec<PastSwitch>,
    pub(super) last: Option<SwitchSummary>,
    /// Whether the newest memory is on the disk.
    persisted: Arc<AtomicBool>,
}

impl Switcher {
    /// Goes on where the Edge before this one was.
    pub(super) fn new(policy: Policy, remembered: Remembered, state: Arc<State>, now: Instant) -> Self {
        Self {
            switch: Switch::new(policy, remembered.memory.as_ref(), now),
            frozen: remembered.frozen,
            maintenance: remembered.maintenance,
            last: record::last_switch(&state, &remembered.past),
            past: remembered.past,
            persisted: Arc::new(AtomicBool::new(true)),
            state,
        }
    }

    /// Goes by another policy; what is remembered stays.
    pub(super) fn adopt(&mut self, policy: Policy, now: Instant) {
        // A reload is no way around the budget, a freeze or an operator's choice.
        let mut memory = self.switch.memory(now);
        if made(Mistake::ReloadForgetsBudget) {
            memory.switches.clear();
        }
        self.switch = Switch::new(policy, Some(&memory).filter(|_| !made(Mistake::ReloadForgets)), now);
    }

    /// Writes what the machine wants kept, waiting a little for the disk.
    pub(super) async fn persist(&mut self, memory: switch::Memory) {
        let written = self.state.save(live_state(&memory, self.frozen.as_ref(), &self.maintenance, &self.past));
        // One for each write: an older write that ends late says nothing of the newer memory.
        let persisted = Arc::new(AtomicBool::new(false));
        self.persisted = persisted.clone();
        let writing = tokio::spawn(async move {
            persisted.store(written.await.is_ok(), Ordering::Release);
        });
        let patience = if made(Mistake::WaitsForDisk) { Duration::MAX } else { DISK_PATIENCE };
        // The write goes on when nobody waits for it any longer.
        let _ = timeout(patience, writing).await;
        if !self.is_persisted() {
            tracing::error!(
                epoch = memory.epoch,
                "the live side is not on the disk yet; traffic moves all the same, and a restart now would forget it"
            );
        }
    }

    /// Whether the newest memory is on the disk.
    pub(super) fn is_persisted(&self) -> bool {
        self.persisted.load(Ordering::Acquire)
    }
}
