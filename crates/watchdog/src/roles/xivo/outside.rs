//! Watches for the acts of others on this node: services that somebody else started, packages being installed; runs the
//! check of fitness of an inactive node.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::node::command::CommandSpec;
use crate::node::outside::{Outside, OutsideSpec};
use crate::node::services::{Found, Services};

/// How often it looks. XiVO's status command takes a second of a processor.
const EVERY: Duration = Duration::from_secs(10);
/// A look into a death takes so long at most: the node steps down when it has ended.
const LOOK_LIMIT: Duration = Duration::from_millis(500);

/// The way to the task that watches.
#[derive(Debug)]
pub(super) struct Watch {
    spec: OutsideSpec,
    inactive: watch::Sender<bool>,
    sender: mpsc::Sender<Seen>,
    seen: mpsc::Receiver<Seen>,
}

/// What others were seen to do on the node.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    /// Seen on a node that is not active.
    Idle {
        /// Whether its services run all the same.
        running: bool,
        /// Packages are being installed or removed.
        upgrade: bool,
        /// The check of fitness says no.
        unready: Option<String>,
    },
    /// After telephony of a serving node died.
    Death {
        /// Who did that, if anybody.
        outside: Outside,
        /// How it died, in the liveness's words.
        detail: String,
    },
}

impl Watch {
    pub(super) fn start(spec: OutsideSpec, services: Services, fit: Option<CommandSpec>) -> Self {
        let (inactive, told) = watch::channel(false);
        let (sender, seen) = mpsc::channel(4);
        host::spawn(watch_over(spec.clone(), services, fit, told, sender.clone()));
        Self { spec, inactive, sender, seen }
    }

    /// Tells whether the node is inactive: only then is there something to see.
    pub(super) fn inactive(&self, inactive: bool) {
        self.inactive.send_if_modified(|before| std::mem::replace(before, inactive) != inactive);
    }

    /// Returns what is seen next.
    pub(super) async fn seen(&mut self) -> Option<Seen> {
        self.seen.recv().await
    }

    /// Looks, shortly, into why telephony ended; what is seen comes by [`Watch::seen`].
    pub(super) fn look_into(&self, detail: String) {
        let (spec, sender) = (self.spec.clone(), self.sender.clone());
        host::spawn(async move {
            // A look that takes longer has seen nobody: who did it is good to know, the death must not wait for it.
            let outside = timeout(LOOK_LIMIT, spec.look()).await.unwrap_or_default();
            let _ = sender.send(Seen::Death { outside, detail }).await;
        });
    }
}

async fn watch_over(
    spec: OutsideSpec,
    services: Services,
    fit: Option<CommandSpec>,
    mut inactive: watch::Receiver<bool>,
    seen: mpsc::Sender<Seen>,
) {
    loop {
        if inactive.wait_for(|inactive| *inactive).await.is_err() {
            return;
        }
        let running = services.look().await == Found::Running;
        let upgrade = spec.look().await.upgrade.is_some();
        let unready = match &fit {
            Some(command) => {
                let ran = command.run().await;
                (!ran.is_done()).then(|| ran.summary())
            }
            None => None,
        };
        // What was seen while it began to serve is of no meaning any more.
        if *inactive.borrow() && seen.send(Seen::Idle { running, upgrade, unready }).await.is_err() {
            return;
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep(EVERY) => {}
            gone = seen.closed() => return gone,
        }
    }
}
