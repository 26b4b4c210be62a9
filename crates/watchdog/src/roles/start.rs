//! Sets a node up by its configuration: who it is, what it keeps, its doors and connections; then hands it to its role's loop.

use super::alarms::Alarms;
use super::cc::{Cc, watch_xivo};
use super::mds::Mds;
use super::reporter;
use super::serving::Serving;
use super::specs::{self, ReadyError};
use super::status::{self, Doings, Line, Shown, Who, note};
use super::xivo::disk::Disk;
use super::xivo::endpoint::{self, RequestHandler, WATCH_HOLD};
use super::xivo::fitness::Fitness;
use super::xivo::outside::Watch as OutsideWatch;
use super::xivo::registrations::Registrations;
use super::xivo::replication::Replication;
use super::xivo::unfenced;
use super::xivo::voters::Voters;
use super::xivo::{Xivo, status::fence_state};
use crate::config::{self, CcConfig, Config, MdsConfig, Role, XivoConfig};
use crate::control::api::Order;
use crate::control::{Control, ORDERS, Operators};
use crate::node::clock;
use crate::node::echo::{Echo, EchoSpec};
use crate::node::fence::{Fence, FenceError, Install};
use crate::node::liveness::{Liveness, POLICY, patient};
use crate::node::services::{Found as Looked, Services, reap};
use crate::state::{self, Journal, Keep, Kind, State, StateError};
use crate::telemetry::metrics::{Metrics, MetricsDoor, MetricsDoorError};
use doors::SocketError;
use failover::duty::{Duty, Found, Life, PerVoter};
use failover::follow::Follower;
use failover::health::Status;
use failover::lease::Namesakes;
use failover::register::Holder;
use prometheus::IntCounter;
use protocol::door::Door;
use protocol::identity::{Expected, IdentityError, Keyring};
use protocol::link::{Limits, Link};
use protocol::wire::{Watched, Wish};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// The pause between two echo requests to a host.
const ECHO: Duration = Duration::from_millis(500);
/// Both nodes may be registered with a media server for so long, while one takes over from the other.
const SETTLE: Duration = Duration::from_secs(5);
/// The file beside the control socket that names the command that runs.
const RUNNING: &str = "command";
/// Connections to each of the other voters.
const LANES: NonZeroU8 = NonZeroU8::MIN.saturating_add(2);
/// Wishes that may wait for the driver.
const WISHES: usize = 4;

/// Why the watchdog could not begin, or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The node has no usable identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The certificate is somebody else's.
    #[error(
        "{path}: this is the certificate of {who}, and the configuration is that of {wanted}; give another `identity`"
    )]
    NotOurs {
        /// The directory that must be root's alone.
        path: PathBuf,
        /// The user that owns it now.
        who: String,
        /// The user that should own it.
        wanted: String,
    },
    /// The state is of no use.
    #[error(transparent)]
    State(#[from] StateError),
    /// The control socket cannot be had.
    #[error(transparent)]
    Control(#[from] SocketError),
    /// The metrics door cannot be had.
    #[error(transparent)]
    Metrics(#[from] MetricsDoorError),
    /// The nodes' door cannot be had.
    #[error("listen: cannot listen on {address}: {source}")]
    Listen {
        /// The address that cannot be listened on.
        address: SocketAddr,
        /// What the system says of it.
        #[source]
        source: io::Error,
    },
    /// The fence cannot be put up: without it nothing may be started here.
    #[error("fence: {0}")]
    Fence(#[from] FenceError),
    /// The readiness check makes no sense.
    #[error("{0}")]
    Ready(String),
    /// The system refused something else.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl From<ReadyError> for RunError {
    fn from(error: ReadyError) -> Self {
        Self::Ready(error.to_string())
    }
}

/// What a node of any role needs to begin.
pub(super) struct Base {
    pub(super) who: Who,
    pub(super) keyring: Arc<Keyring>,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<Metrics>,
    pub(super) end: watch::Receiver<bool>,
}

/// Runs the node's watchdog until it is told to end.
///
/// # Errors
/// Why it could not begin.
pub async fn run(config: &Config, config_path: &Path, log_lines_dropped: &IntCounter) -> Result<(), RunError> {
    let keyring = Arc::new(Keyring::open(&config.identity)?);
    let identity = keyring.current();
    if !identity.who().is_node(config.kind(), config.side()) {
        let side = config.side().map(|side| format!(" of {side}")).unwrap_or_default();
        let wanted = format!("a {} node{side}", config.kind());
        return Err(RunError::NotOurs { path: config.identity.clone(), who: identity.who().to_string(), wanted });
    }
    let name = specs::name(config, identity.who().name());
    let instance = state::instance::of(&config.runtime("instance.json"))?;
    let who = Who { role: config.kind(), side: config.side(), name, instance };
    let (kept, memory) = State::open(&config.state)?;
    let journal = Journal::open(&config.state)?;
    let metrics = Arc::new(Metrics::new().map_err(io::Error::other)?);
    metrics.registry().register(Box::new(log_lines_dropped.clone())).map_err(io::Error::other)?;
    let end = signals(Arc::clone(&keyring), journal.clone())?;
    if let Some(address) = config.metrics {
        tokio::spawn(MetricsDoor::open(address).await?.serve(metrics.registry()));
    }
    let control = Control::open(&config.control).await?;
    note(&journal, Kind::Run, &format!("the watchdog of {} begins, by {}", who.name, config_path.display()));
    // What a watchdog that was killed left running would overlap with what this one starts (W4).
    if let Some(found) = reap(&config.runtime(RUNNING)).await {
        note(&journal, Kind::Outside, &found);
    }
    let base = Base { who, keyring, journal, metrics, end };
    match &config.role {
        Role::Xivo(xivo) => Box::pin(base.xivo(config, xivo, kept, memory, control)).await,
        Role::Cc(cc) => base.cc(config, cc, control).await,
        Role::Mds(mds) => base.mds(mds, control).await,
    }
}

/// Ends on SIGTERM and SIGINT; reads the certificate anew on SIGHUP.
fn signals(keyring: Arc<Keyring>, journal: Journal) -> io::Result<watch::Receiver<bool>> {
    let (end, told) = watch::channel(false);
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = hup.recv() => match keyring.reload() {
                    Ok(()) => note(&journal, Kind::Run, "the certificate was read anew"),
                    Err(error) => note(&journal, Kind::Alarm, &format!("the certificate stays as it was: {error}")),
                },
            }
        }
        end.send_replace(true);
    });
    Ok(told)
}

impl Base {
    fn line(&self, address: SocketAddr, expected: Expected, limits: Limits) -> Line {
        Line { link: Link::new(address, expected, Arc::clone(&self.keyring), limits), address }
    }

    /// Shows the node at its socket and to the Edge.
    fn show(
        &self,
        doings: &Doings,
        edge: Option<Line>,
        heartbeat: Duration,
        wishes: Option<mpsc::Sender<Wish>>,
        control: impl Operators,
        orders: Option<mpsc::Sender<Order>>,
    ) -> Shown {
        let first = self.who.view(doings, &Alarms::default(), Vec::new());
        let (reports, reported) = watch::channel(Arc::new(status::report(&first, status::Requested::default())));
        let (view, seen) = watch::channel(Arc::new(first));
        if let Some(edge) = &edge {
            host::spawn(reporter::report(edge.link.clone(), reported, heartbeat, wishes));
        }
        host::spawn(control.serve(seen, self.journal.clone(), orders));
        Shown { view, reports, edge, metrics: Arc::clone(&self.metrics) }
    }

    pub(super) async fn xivo(
        self,
        config: &Config,
        xivo: &XivoConfig,
        kept: impl Keep,
        memory: Option<failover::duty::Memory>,
        control: impl Operators,
    ) -> Result<(), RunError> {
        let (settings, timing) = (xivo.duty, xivo.duty.timing);
        let (handover, left) =
            (config.runtime("handover.json"), state::handover::take(&config.runtime("handover.json")));
        let left = left.unwrap_or_else(|error| {
            tracing::warn!(%error, "the hand-over cannot be taken");
            None
        });
        // Before anything else: nobody reaches a node that may not serve.
        let fence = Arc::new(Fence::new(specs::fence(xivo)));
        fence.install(if left.is_some() { Install::Keeping } else { Install::Closed }).await?;
        let (fence_state, fence_detail) = fence_state(&fence.look().await);

        let probe = specs::sip(xivo);
        let services = Services::new(specs::services(&xivo.services, probe.clone(), config.runtime(RUNNING)));
        // A lease that was handed over does not wait for a check command: whether telephony works is seen soon.
        let found = match left {
            Some(handover) => Found::HandedOver(handover),
            None => self.look(&services).await,
        };
        if memory.is_none() {
            let text = "nothing is remembered: this node's vote is not given for the quiet time";
            note(&self.journal, Kind::Alarm, text);
        }
        let campaign_base = state::campaigns::base(&config.runtime("campaigns.json"), host::unix_ms(), clock::now());
        let life = Life { instance: self.who.instance, campaign_base };
        let (duty, first) = Duty::new(settings, memory.as_ref(), life, found, clock::now());
        let (worker, done) = services.work();
        let liveness = Liveness::start(specs::liveness(&xivo.services, probe, patient(xivo.sip.time_limit)));
        let observed = liveness.observed();

        // A connection is given up when no lease could come of it any more.
        // One lost request ends no lease, so a fresh one is dialled as soon as one may be lost.
        let patience = timing.request_limit;
        let limits = Limits { dial: timing.lease / 2, patience, silence: timing.lease, lanes: LANES };
        let peer = self.line(xivo.peer, Expected::Xivo(settings.side.other()), limits);
        let witness = xivo.witness.map(|address| self.line(address, Expected::Edge, limits));
        let lines = PerVoter { peer: Some(peer), witness: witness.clone() };
        let (voters, answers) = Voters::new(lines, timing.lease);

        // Whoever follows has seen a lower one from the watchdog before.
        let (watched, seen) =
            watch::channel(Watched { serial: campaign_base, status: duty.status(), epoch: duty.epoch() });
        let (asked, requests) = mpsc::channel(endpoint::REQUESTS);
        let handler = RequestHandler { side: settings.side, asked, watched: seen, turned_away: 0.into() };
        let address = xivo.listen;
        let door = Door::open(address, Arc::clone(&self.keyring)).await;
        let door = door.map_err(|source| RunError::Listen { address, source })?;
        let door = door.with_places_for([xivo.peer.ip()]);
        let serving = host::spawn(door.serve(Arc::new(handler)));

        let anchors = specs::anchors(xivo);
        let peer_host = xivo.peer.ip();
        let targets: Vec<IpAddr> = std::iter::once(peer_host).chain(anchors.iter().copied()).collect();
        let echo = Echo::start(EchoSpec { targets, interval: ECHO });
        let (wishes, wished) = mpsc::channel(WISHES);
        let (orders, ordered) = mpsc::channel(ORDERS);
        let doings = Doings::new(duty.status(), "the watchdog began");
        let shown = self.show(&doings, witness, timing.heartbeat, Some(wishes), control, Some(orders));
        let fit = xivo.services.fit.clone();
        let outside = OutsideWatch::start(specs::outside(&xivo.services), services.clone(), fit);
        let names =
            xivo.media_servers.iter().map(|server| (server.name.clone(), xivo.asterisk.registration(&server.name)));
        let registrations = (!xivo.media_servers.is_empty()).then(|| {
            Registrations::start(specs::asterisk(&xivo.asterisk), names.collect(), settings.retry, settings.retry_limit)
        });
        let replication = xivo.replication.as_ref();
        let unfenced = (xivo.fence == config::Fence::Nft)
            .then(|| unfenced::watch(specs::asterisk(&xivo.asterisk), xivo.sip.ports.clone()));
        let mut node = Xivo {
            who: self.who,
            settings,
            start_limit: xivo.services.start.time_limit,
            duty,
            queue: VecDeque::new(),
            disk: Disk::start(kept, Arc::clone(&self.metrics)),
            handover,
            left: None,
            journal: self.journal,
            metrics: self.metrics,
            keyring: self.keyring,
            fence,
            fence_look: None,
            fence_state,
            fence_detail,
            fenced_when_stopped: false,
            permit_again: false,
            serving: Serving::new(config.runtime("serve")),
            worker,
            done,
            doing_since: None,
            liveness,
            observed,
            fitness: Fitness::new(xivo.services.recover),
            told_fit: None,
            outside,
            acts_of_others: VecDeque::new(),
            began: clock::now(),
            voters,
            answers,
            asked: requests,
            peer_report: None,
            peer_needs: None,
            peer_machines: Namesakes::default(),
            asker: None,
            orders: ordered,
            operator: None,
            wishes: wished,
            wished: None,
            chosen: None,
            echo,
            peer_host,
            anchors,
            surroundings: None,
            window: xivo.window,
            in_window: None,
            registrations,
            unfenced,
            replication: replication.map(|own| Replication::start(own.hold.clone(), own.resume.clone())),
            legacy_failover: config.legacy_failover.clone(),
            watched,
            shown,
            doings,
            alarms: Alarms::default(),
        };
        node.begin(first).await;
        crate::telemetry::systemd::ready("watching");
        node.run(self.end).await;
        serving.abort();
        Ok(())
    }

    async fn look(&self, services: &Services) -> Found {
        match services.look().await {
            Looked::Stopped => Found::Stopped,
            Looked::Running => Found::Running,
            Looked::Unclear(why) => {
                let text = format!("whether the services run is not clear, so they are stopped: {why}");
                note(&self.journal, Kind::Outside, &text);
                Found::Running
            }
        }
    }

    pub(super) async fn cc(self, config: &Config, cc: &CcConfig, control: impl Operators) -> Result<(), RunError> {
        let probe = cc.ready.as_ref().map(specs::ready).transpose()?;
        let services = Services::new(specs::services(&cc.services, probe.clone(), config.runtime(RUNNING)));
        let found = if services.look().await == Looked::Stopped { Found::Stopped } else { Found::Running };
        let follower = Follower::new(cc.follow, found, clock::now());
        let (worker, done) = services.work();
        let liveness = Liveness::start(specs::liveness(&cc.services, probe, POLICY));
        let observed = liveness.observed();
        let limits = Limits {
            dial: cc.heartbeat,
            patience: WATCH_HOLD + cc.heartbeat,
            silence: WATCH_HOLD + cc.heartbeat * 2,
            lanes: NonZeroU8::MIN,
        };
        let line = self.line(cc.xivo, Expected::Xivo(cc.side), limits);
        let (heard, xivo) = mpsc::channel(4);
        host::spawn(watch_xivo(line.link.clone(), heard));
        let edge = cc.edge.map(|address| self.line(address, Expected::Edge, limits));
        let doings = Doings::new(follower.status(), "the watchdog began");
        let shown = self.show(&doings, edge, cc.heartbeat, None, control, None);
        let mut node = Cc {
            who: self.who,
            follower,
            worker,
            done,
            liveness,
            observed,
            xivo,
            journal: self.journal,
            metrics: self.metrics,
            keyring: self.keyring,
            shown,
            doings,
            doing_since: None,
            alarms: Alarms::default(),
            line,
            heard: None,
            serving: Serving::new(config.runtime("serve")),
        };
        node.begin();
        crate::telemetry::systemd::ready("watching");
        node.run(self.end).await;
        Ok(())
    }

    pub(super) async fn mds(self, config: &MdsConfig, control: impl Operators) -> Result<(), RunError> {
        let limits = Limits {
            dial: config.heartbeat,
            patience: config.heartbeat * 2,
            silence: config.heartbeat * 4,
            lanes: NonZeroU8::MIN,
        };
        let edge = config.edge.map(|address| self.line(address, Expected::Edge, limits));
        let doings = Doings::new(Status::Active, "the watchdog began");
        let shown = self.show(&doings, edge, config.heartbeat, None, control, None);
        let node = Mds {
            who: self.who,
            asterisk: specs::asterisk(&config.asterisk),
            main: config.xivo.main,
            standby: config.xivo.standby,
            holder: Holder::new(SETTLE, clock::now()),
            mute: None,
            every: config.heartbeat,
            journal: self.journal,
            keyring: self.keyring,
            shown,
            doings,
            alarms: Alarms::default(),
        };
        crate::telemetry::systemd::ready("watching");
        node.run(self.end).await;
        Ok(())
    }
}
