//! What a XiVO node tells of itself, and where: its journal, its alarms, its metrics, its status.

use std::sync::Arc;

use failover::duty::Output;
use failover::health::Status;
use protocol::identity::Keyring;
use protocol::wire::Watched;
use tokio::sync::watch;

use crate::node::clock;
use crate::roles::alarms::{Alarm, Alarms};
use crate::roles::status::{Doings, Shown, Who, note};
use crate::state::{Journal, Kind};
use crate::telemetry::metrics::Metrics;

/// The ways to all who want to know.
pub(super) struct Telling {
    pub(super) who: Who,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<Metrics>,
    pub(super) keyring: Arc<Keyring>,
    /// The status, to those that follow.
    pub(super) watched: watch::Sender<Watched>,
    pub(super) shown: Shown,
    pub(super) doings: Doings,
    pub(super) alarms: Alarms,
}

impl Telling {
    /// Writes a sentence to the journal and to the log.
    pub(super) fn tell(&self, kind: Kind, text: &str) {
        note(&self.journal, kind, text);
    }

    /// Raises an alarm, or clears it; one that is another than before is told. It is shown while it lasts: told each time it
    /// is looked for, it would fill the journal.
    pub(super) fn raise(&mut self, alarm: Alarm, sentence: Option<String>) {
        if self.alarms.set(alarm, sentence.clone())
            && let Some(sentence) = sentence
        {
            self.tell(Kind::Alarm, &sentence);
        }
    }

    /// Says what the service manager could not be shown; the fence does not hang on it.
    pub(super) fn warn(&self, shown: std::io::Result<()>) {
        if let Err(error) = shown {
            self.tell(Kind::Alarm, &error.to_string());
        }
    }

    /// The duty's status is another one, or has another reason.
    pub(super) fn changed(&mut self, from: Status, status: Status, output: &Output) {
        let text = output.to_string();
        if from != status {
            self.doings.since = clock::wall();
            match status {
                Status::Active => self.metrics.activated(),
                Status::Stopping => self.metrics.stepped_down(),
                _ => {}
            }
        }
        self.doings.status = status;
        self.doings.because.clone_from(&text);
        self.tell(Kind::Changed, &text);
        // Services that run are as they should be from here on, whoever started them.
        if status != Status::Inactive {
            self.alarms.outside(false);
        }
        crate::telemetry::systemd::status(&text);
    }

    /// Tells those that follow, if the status is another one. Whoever follows acts on the status alone.
    pub(super) fn followers(&self, status: Status, epoch: u64) {
        self.watched.send_if_modified(|watched| {
            let changed = watched.status != status;
            if changed {
                *watched = Watched { serial: watched.serial + 1, status, epoch };
            }
            changed
        });
    }
}
