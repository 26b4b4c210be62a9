//! Sets a node up by its configuration: who it is, what it keeps, its endpoints and connections; then hands it to its
//! role's loop.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use daemon::{MetricsEndpoint, MetricsEndpointError, SocketError};
use failover::duty::Found;
use failover::follow::Follower;
use failover::health::Status;
use failover::register::Holder;
use prometheus::IntCounter;
use protocol::identity::{Expected, IdentityError, Keyring};
use protocol::link::{Limits, Link};
use protocol::wire::Wish;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::alarms::Alarms;
use super::cc::{Cc, ContactCentre, Leader, Said, Way, ask_xivo, watch_xivo};
use super::mds::Mds;
use super::reporter;
use super::serving::Serving;
use super::specs::{self, ReadyError};
use super::status::{self, Doings, Line, Shown, Who, note};
use super::xivo::endpoint::WATCH_HOLD;
use crate::config::{CcConfig, Config, MdsConfig, Role, Source};
use crate::control::api::Order;
use crate::control::{Control, Operators};
use crate::node::clock;
use crate::node::fence::FenceError;
use crate::node::liveness::{Liveness, POLICY};
use crate::node::services::{Found as Looked, Services, reap};
use crate::state::{self, Journal, Kind, State, StateError};
use crate::telemetry::metrics::Metrics;

/// Both nodes may be registered with a media server for so long, while one takes over from the other.
const SETTLE: Duration = Duration::from_secs(5);
/// The file beside the control socket that names the command that runs.
pub(super) const RUNNING: &str = "command";

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
    /// The metrics endpoint cannot be had.
    #[error(transparent)]
    Metrics(#[from] MetricsEndpointError),
    /// The nodes' endpoint cannot be had.
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
    // A node that asks with another's certificate would be given, and refused, the other's votes.
    if !identity.who().is_node(config.kind(), config.side()) {
        let side = config.side().map(|side| format!(" of {side}")).unwrap_or_default();
        let wanted = format!("a {} node{side}", config.kind());
        return Err(RunError::NotOurs { path: config.identity.clone(), who: identity.who().to_string(), wanted });
    }
    let name = specs::name(config, identity.who().name());
    let instance = state::instance::of(&config.runtime("instance.json"))?;
    let who = Who { role: config.kind(), side: config.side(), name, instance };
    // The state's lock keeps out a second watchdog, which would hold the same vote twice.
    let (kept, memory) = State::open(&config.state)?;
    let journal = Journal::open(&config.state)?;
    let metrics = Arc::new(Metrics::new().map_err(io::Error::other)?);
    metrics.registry().register(Box::new(log_lines_dropped.clone())).map_err(io::Error::other)?;
    let end = signals(Arc::clone(&keyring), journal.clone())?;
    if let Some(address) = config.metrics {
        tokio::spawn(MetricsEndpoint::open(address).await?.serve(metrics.registry(), Arc::clone(&metrics)));
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

/// Ends on SIGTERM and SIGINT; reads the certificate anew on SIGHUP, and when its files have changed.
fn signals(keyring: Arc<Keyring>, journal: Journal) -> io::Result<watch::Receiver<bool>> {
    let (end, told) = watch::channel(false);
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hup = signal(SignalKind::hangup())?;
    let watched = Arc::clone(&keyring);
    let mut changed = daemon::changes(move || watched.files());
    tokio::spawn(async move {
        loop {
            let taken = tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = hup.recv() => None,
                Some(taken) = changed.recv() => Some(taken),
            };
            let fresh = Arc::clone(&keyring);
            // Beside the one thread, which votes: a disk may hang.
            let read = tokio::task::spawn_blocking(move || fresh.reload().map_err(|error| error.to_string()));
            let read = read.await.unwrap_or_else(|error| Err(error.to_string()));
            match &read {
                Ok(()) => note(&journal, Kind::Run, "the certificate was read anew"),
                Err(error) => note(&journal, Kind::Alarm, &format!("the certificate stays as it was: {error}")),
            }
            // Who looks at the files is gone only with the runtime.
            let _ = taken.map(|taken| taken.send(read.is_ok()));
        }
        end.send_replace(true);
    });
    Ok(told)
}

impl Base {
    pub(super) fn line(&self, address: SocketAddr, expected: Expected, limits: Limits) -> Line {
        Line { link: Link::new(address, expected, Arc::clone(&self.keyring), limits), address: address.to_string() }
    }

    /// Shows the node at its socket and to the Edge.
    pub(super) fn show(
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

    pub(super) async fn cc(self, config: &Config, cc: &CcConfig, control: impl Operators) -> Result<(), RunError> {
        let probe = cc.ready.as_ref().map(specs::ready).transpose()?;
        let services = Services::new(specs::services(&cc.services, probe.clone(), config.runtime(RUNNING)));
        // What is not clear is taken to run: a CC's services go on until its XiVO says that it is inactive (W5).
        let found = if services.look().await == Looked::Stopped { Found::Stopped } else { Found::Running };
        let follower = Follower::new(cc.follow, found, clock::now());
        let (worker, done) = services.work();
        let liveness = Liveness::start(specs::liveness(&cc.services, probe, POLICY));
        let observed = liveness.observed();
        // The XiVO holds a watch for `WATCH_HOLD` before it answers: a connection is silent only after that.
        let limits = Limits {
            dial: cc.heartbeat,
            patience: WATCH_HOLD + cc.heartbeat,
            silence: WATCH_HOLD + cc.heartbeat * 2,
            // Reports and watches have time: one connection is enough where no vote is asked for.
            lanes: NonZeroU8::MIN,
        };
        let (heard, xivo) = mpsc::channel(4);
        let way = match &cc.xivo {
            Source::Watchdog(address) => {
                let line = self.line(*address, Expected::Xivo(cc.side), limits);
                host::spawn(watch_xivo(line.link.clone(), heard));
                Way::Watchdog(line)
            }
            Source::Command(asked) => {
                let (tell, said) = watch::channel(Said::nothing());
                host::spawn(ask_xivo(asked.clone(), tell, heard));
                Way::Command { text: asked.command.to_string(), said }
            }
        };
        let edge = cc.edge.map(|address| self.line(address, Expected::Edge, limits));
        let doings = Doings::new(follower.status(), "the watchdog began");
        let shown = self.show(&doings, edge, cc.heartbeat, None, control, None);
        let serving = Serving::new(config.runtime("serve"));
        let mut node = Cc {
            who: self.who,
            follower,
            centre: ContactCentre {
                worker,
                done,
                doing_since: None,
                liveness,
                observed,
                serving,
                idle: cc.follow.idle,
            },
            leader: Leader { way, words: xivo, newest: None },
            journal: self.journal,
            metrics: self.metrics,
            keyring: self.keyring,
            shown,
            doings,
            alarms: Alarms::default(),
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
