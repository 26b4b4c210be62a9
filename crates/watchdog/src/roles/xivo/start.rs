//! Sets a XiVO node up: its fence before anything else, then its duty, and the ways to all it hears and tells.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use failover::duty::{Duty, Found, Handover, Life, Memory, PerVoter};
use protocol::endpoint::Endpoint;
use protocol::identity::Expected;
use protocol::link::Limits;
use protocol::wire::Watched;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::condition::Condition;
use super::disk::Disk;
use super::endpoint::{REQUESTS, RequestHandler};
use super::fencing::Fencing;
use super::fitness::Fitness;
use super::left_lease::LeftLease;
use super::operators::Operators;
use super::others::Others;
use super::outside::Watch;
use super::registrations::Registrations;
use super::replication::Replication;
use super::surroundings::SurroundingsMonitor;
use super::telephony::Telephony;
use super::telling::Telling;
use super::voters::Voters;
use super::{Xivo, unfenced};
use crate::config::{self, Config, XivoConfig};
use crate::control::{self, ORDERS};
use crate::node::clock;
use crate::node::echo::{Echo, EchoSpec};
use crate::node::fence::{Fence, FenceError, Install};
use crate::node::liveness::{Liveness, patient};
use crate::node::services::{Found as Looked, Services};
use crate::roles::alarms::Alarms;
use crate::roles::serving::Serving;
use crate::roles::specs;
use crate::roles::start::{Base, RUNNING, RunError};
use crate::roles::status::{Doings, Line, note};
use crate::state::{self, Keep, Kind};

/// The pause between two echo requests to a host.
const ECHO: Duration = Duration::from_millis(500);
/// Connections to each of the other voters: on a wire that loses packets one stands still for seconds, and with it the
/// lease, so three take turns.
const LANES: NonZeroU8 = NonZeroU8::MIN.saturating_add(2);
/// Wishes that may wait for the driver.
const WISHES: usize = 4;

impl Base {
    /// Runs a XiVO node until told to end.
    ///
    /// # Errors
    /// The fence cannot be put up, or the endpoint cannot be had.
    pub(in crate::roles) async fn xivo(
        self,
        config: &Config,
        xivo: &XivoConfig,
        kept: impl Keep,
        memory: Option<Memory>,
        control: impl control::Operators,
    ) -> Result<(), RunError> {
        let settings = xivo.duty;
        let left = config.runtime("handover.json");
        let handover = taken(&left);
        // Before anything else: nobody reaches a node that may not serve.
        // A closing would cut off the phones of a node that goes on serving.
        let install = if handover.is_some() { Install::Keeping } else { Install::Closed };
        let fencing = fence(xivo, install).await?;
        let probe = specs::sip(xivo);
        let services = Services::new(specs::services(&xivo.services, probe.clone(), config.runtime(RUNNING)));
        // A lease that was handed over does not wait for a check command: whether telephony works is seen soon.
        let found = match handover {
            Some(handover) => Found::HandedOver(handover),
            None => self.look(&services).await,
        };
        self.note_what_is_remembered(memory.as_ref());
        let campaign_base = state::campaigns::base(&config.runtime("campaigns.json"), host::unix_ms(), clock::now());
        let life = Life { instance: self.who.instance, campaign_base };
        let (duty, first) = Duty::new(settings, memory.as_ref(), life, found, clock::now());
        let liveness = Liveness::start(specs::liveness(&xivo.services, probe, patient(xivo.sip.time_limit)));
        let telephony = telephony(config, xivo, &services, liveness);

        // Whoever follows has seen a lower one from the watchdog before.
        let (watched, seen) =
            watch::channel(Watched { serial: campaign_base, status: duty.status(), epoch: duty.epoch() });
        let witness = xivo.witness.map(|address| self.line(address, Expected::Edge, limits(xivo)));
        let (others, endpoint) = self.others(xivo, witness.clone(), seen).await?;
        let (wishes, wished) = mpsc::channel(WISHES);
        let (orders, ordered) = mpsc::channel(ORDERS);
        let doings = Doings::new(duty.status(), "the watchdog began");
        let heartbeat = settings.timing.heartbeat;
        let shown = self.show(&doings, witness, heartbeat, Some(wishes), control, Some(orders));
        let mut node = Xivo {
            settings,
            start_limit: xivo.services.start.time_limit,
            duty,
            queue: VecDeque::new(),
            disk: Disk::start(kept, Arc::clone(&self.metrics)),
            left: LeftLease::new(left),
            fencing,
            telephony,
            condition: condition(config, xivo, services),
            others,
            operators: Operators::new(settings.side, settings.requests, ordered, wished),
            surroundings: surroundings(xivo),
            telling: Telling {
                who: self.who,
                journal: self.journal,
                metrics: self.metrics,
                keyring: self.keyring,
                watched,
                shown,
                doings,
                alarms: Alarms::default(),
            },
        };
        node.begin(first).await;
        // Ready is a watchdog that has carried out what the duty said first: the fence stands as it should by then.
        crate::telemetry::systemd::ready("watching");
        node.run(self.end).await;
        endpoint.abort();
        Ok(())
    }

    /// Says it when there is no vote of before: without its alarm, nobody knows why the node does not vote at first.
    fn note_what_is_remembered(&self, memory: Option<&Memory>) {
        if memory.is_none() {
            let text = "nothing is remembered: this node's vote is not given for the quiet time";
            note(&self.journal, Kind::Alarm, text);
        }
    }

    async fn look(&self, services: &Services) -> Found {
        match services.look().await {
            Looked::Stopped => Found::Stopped,
            Looked::Running => Found::Running,
            // What may run could serve beside the other node: it is taken to run, and stopped (W1).
            Looked::Unclear(why) => {
                let text = format!("whether the services run is not clear, so they are stopped: {why}");
                note(&self.journal, Kind::Outside, &text);
                Found::Running
            }
        }
    }

    /// The ways to and from the other voters; and the endpoint, which is served until it is aborted.
    async fn others(
        &self,
        xivo: &XivoConfig,
        witness: Option<Line>,
        watched: watch::Receiver<Watched>,
    ) -> Result<(Others, JoinHandle<()>), RunError> {
        let settings = xivo.duty;
        let peer = self.line(xivo.peer, Expected::Xivo(settings.side.other()), limits(xivo));
        let (voters, answers) = Voters::new(PerVoter { peer: Some(peer), witness }, settings.timing.lease);
        let (asked, requests) = mpsc::channel(REQUESTS);
        let handler = RequestHandler { side: settings.side, asked, watched, turned_away: 0.into() };
        let address = xivo.listen;
        let endpoint = Endpoint::open(address, Arc::clone(&self.keyring)).await;
        let endpoint = endpoint.map_err(|source| RunError::Listen { address, source })?;
        // The peer's address has places of its own, so that strangers who connect cannot keep its votes out.
        let serving = host::spawn(endpoint.with_places_for([xivo.peer.ip()]).serve(Arc::new(handler)));
        Ok((Others::new(settings, voters, answers, requests), serving))
    }
}

/// What the watchdog before this one left, if it left anything that can be read.
fn taken(left: &Path) -> Option<Handover> {
    state::handover::take(left).unwrap_or_else(|error| {
        tracing::warn!(%error, "the hand-over cannot be taken");
        None
    })
}

/// A connection is given up when no lease could come of it any more. One lost request ends no lease, so a fresh one
/// is dialled as soon as one may be lost.
fn limits(xivo: &XivoConfig) -> Limits {
    let timing = &xivo.duty.timing;

    Limits { dial: timing.lease / 2, patience: timing.request_limit, silence: timing.lease, lanes: LANES }
}

async fn fence(xivo: &XivoConfig, install: Install) -> Result<Fencing, FenceError> {
    let fence = Arc::new(Fence::new(specs::fence(xivo)));
    fence.install(install).await?;
    Ok(Fencing::new(fence).await)
}

fn telephony(config: &Config, xivo: &XivoConfig, services: &Services, liveness: Liveness) -> Telephony {
    let (worker, done) = services.work();
    let names = xivo.media_servers.iter().map(|server| (server.name.clone(), xivo.asterisk.registration(&server.name)));
    let duty = &xivo.duty;
    let registrations = (!xivo.media_servers.is_empty())
        .then(|| Registrations::start(specs::asterisk(&xivo.asterisk), names.collect(), duty.retry, duty.retry_limit));
    let replication = xivo.replication.as_ref().map(|own| Replication::start(own.hold.clone(), own.resume.clone()));
    let observed = liveness.observed();
    let serving = Serving::new(config.runtime("serve"));
    Telephony { serving, worker, done, doing_since: None, liveness, observed, registrations, replication }
}

fn condition(config: &Config, xivo: &XivoConfig, services: Services) -> Condition {
    let outside = Watch::start(specs::outside(&xivo.services), services, xivo.services.fit.clone());
    // Nobody knows which ports another fence holds.
    let unfenced = (xivo.fence == config::Fence::Nft)
        .then(|| unfenced::watch(specs::asterisk(&xivo.asterisk), xivo.sip.ports.clone()));
    Condition::new(Fitness::new(xivo.services.recover), outside, unfenced, config.legacy_failover.clone())
}

fn surroundings(xivo: &XivoConfig) -> SurroundingsMonitor {
    let anchors = specs::anchors(xivo);
    let peer_host = xivo.peer.ip();
    let targets: Vec<IpAddr> = std::iter::once(peer_host).chain(anchors.iter().copied()).collect();
    let echo = Echo::start(EchoSpec { targets, interval: ECHO });
    SurroundingsMonitor::new(echo, peer_host, anchors, xivo.duty.timing.promise, xivo.window)
}
