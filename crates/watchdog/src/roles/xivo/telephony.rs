//! What a XiVO node's watchdog has of telephony: its services' worker, whether they work, what is registered and copied.

use std::collections::BTreeMap;

use failover::Instant;
use failover::duty::Outcome;
use failover::health::{self, Status};
use failover::register::Service;
use protocol::wire::{MediaServer, ServiceState};
use tokio::sync::{mpsc, watch};

use super::registrations::Registrations;
use super::replication::{Replicates, Replication};
use super::telling::Telling;
use crate::node::liveness::{Liveness, Observed, Watching};
use crate::node::services::{self, Doing, Order, Worker};
use crate::roles::alarms::Alarm;
use crate::roles::serving::Serving;
use crate::roles::status::{ended, note_start, running};
use crate::state::Kind;

/// Telephony, and whoever acts on it.
pub(super) struct Telephony {
    /// What lets the service manager start services.
    pub(super) serving: Serving,
    pub(super) worker: Worker,
    pub(super) done: mpsc::Receiver<services::Event>,
    pub(super) doing_since: Option<(Doing, Instant)>,
    pub(super) liveness: Liveness,
    pub(super) observed: watch::Receiver<Observed>,
    pub(super) registrations: Option<Registrations>,
    pub(super) replication: Option<Replication>,
}

impl Telephony {
    /// Gives an order to the worker. Tells whether it took it: one that it cannot take has failed.
    pub(super) fn order(&self, order: Order, telling: &Telling) -> bool {
        let taken = self.worker.order(order);
        if let Err(error) = &taken {
            telling.tell(Kind::Alarm, &error.to_string());
        }
        taken.is_ok()
    }

    /// Stops the services; before that, registrations are taken back: Asterisk is gone afterwards.
    pub(super) fn stop(&self, telling: &Telling) -> bool {
        let before = self.registrations.as_ref().map(Registrations::unregistering).unwrap_or_default();
        self.order(Order::Stop { before }, telling)
    }

    /// Takes in that the start command ended.
    pub(super) fn started(&self, report: &services::Report, telling: &mut Telling) {
        telling.metrics.command("start", ended(report.outcome), report.took);
        telling.tell(Kind::Command, &report.text);
        note_start(&telling.journal, &mut telling.alarms, report);
    }

    /// Takes in that the stop command ended.
    pub(super) fn stopped(&self, report: &services::Report, telling: &mut Telling) {
        telling.metrics.command("stop", ended(report.outcome), report.took);
        telling.tell(Kind::Command, &report.text);
        let failed = (report.outcome == Outcome::Failed).then(|| {
            format!(
                "the stop could not be verified and is tried again; once no phone reaches the node, its vote is given all \
                 the same: {}",
                report.text
            )
        });
        telling.raise(Alarm::Stop, failed);
    }

    /// Watches whether it works while the node is active, and keeps an active node registered.
    pub(super) fn follow(&self, status: Status) {
        let active = status == Status::Active;
        self.liveness.watch(if active { Watching::On } else { Watching::Off });
        if active {
            // Only a node whose start was verified registers: media servers would else send calls to one that still
            // starts (W6).
            self.register(Service::Serves);
        }
    }

    /// Looks no more whether it works, and asks for no registration any more: the node is being fenced.
    pub(super) fn leave(&self) {
        self.liveness.watch(Watching::Off);
        self.register(Service::Stops);
    }

    fn register(&self, service: Service) {
        if let Some(registrations) = &self.registrations {
            registrations.tell(service);
        }
    }

    /// Lets the replication run on a node that serves, and shows what its command failed with.
    pub(super) fn replicate(&self, status: Status, telling: &mut Telling) {
        if let Some(replication) = &self.replication {
            replication.tell(if status == Status::Active { Replicates::Yes } else { Replicates::No });
            telling.alarms.set(Alarm::Replication, replication.failed());
        }
    }

    /// Whether it works, if that is watched.
    pub(super) fn state(&self) -> Option<ServiceState> {
        let observed = self.observed.borrow();
        let works = observed.works == health::State::Working;
        (observed.works != health::State::Unknown).then(|| ServiceState { works, detail: observed.detail.clone() })
    }

    /// The command that runs, if one does.
    pub(super) fn running(&mut self) -> Option<crate::control::api::Running> {
        running(&self.worker, &mut self.doing_since)
    }

    /// What is registered with the media servers.
    pub(super) fn media_servers(&self) -> BTreeMap<String, MediaServer> {
        self.registrations.as_ref().map(|all| all.state().borrow().clone()).unwrap_or_default()
    }
}
