//! The lease that a watchdog leaves for the next one on its machine.

use std::path::PathBuf;

use failover::duty::Handover;

/// Where the lease is left, and what was left there.
pub(super) struct LeftLease {
    path: PathBuf,
    left: Option<Handover>,
}

impl LeftLease {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, left: None }
    }

    /// Leaves the lease of now, or none, however this watchdog ends. A file of the running system: it costs no disk.
    pub(super) fn leave(&mut self, handover: Option<Handover>) {
        if handover == self.left {
            return;
        }
        let written = match handover {
            Some(handover) => crate::state::handover::leave(&self.path, handover),
            None => crate::state::handover::forget(&self.path),
        };
        match written {
            Ok(()) => self.left = handover,
            // Without the file the next watchdog stops and starts the services in order: no promise hangs on it.
            Err(error) => tracing::debug!(%error, "the hand-over cannot be written"),
        }
    }

    /// A lease lies there: the next watchdog goes on with it, and telephony notices nothing.
    pub(super) const fn is_left(&self) -> bool {
        self.left.is_some()
    }
}
