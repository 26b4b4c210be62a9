//! `bascule run`: configuration, state, engine, endpoints, listeners; then signals until the end.

mod nodes;
mod reload;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use daemon::MetricsEndpoint;
use pingora::apps::HttpServerOptions;
use pingora::proxy::{HttpProxy, ProcessCustomSession, ProxyServiceBuilder};
use pingora::server::configuration::ServerConf;
use prometheus::Registry;
use protocol::identity::{IdentityError, Keyring};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use self::nodes::NodesEndpoint;
use self::reload::Loader;
use crate::admin::EngineApi;
use crate::admin::api::Event;
use crate::admin::socket::AdminEndpoint;
use crate::config::{Config, Errors, Limits, Network};
use crate::engine::{Engine, Handle, Means, PlanError};
use crate::live::endpoint::LiveEndpoint;
use crate::live::state::{OpenError, State};
use crate::live::{self, Live, Mode, View};
use crate::telemetry::logging::access::AccessLog;
use crate::telemetry::metrics::{Metrics, Reload, ZonesCollector, live_strangers};
use crate::traffic::downstream::connection::ConnectionHandler;
use crate::traffic::downstream::drain::{self, Stage};
use crate::traffic::downstream::h2::resets_at_once;
use crate::traffic::downstream::tickets::{self, Tickets};
use crate::traffic::downstream::tls::ServerTls;
use crate::traffic::downstream::{listener, plain};
use crate::traffic::edge::{Edge, SiteError};
use crate::traffic::http::Proxy;
use crate::traffic::upstream::Registers;
use crate::traffic::upstream::dial::Dialing;

/// A PEM file without a certificate.
const NO_ROOTS: &str = "/dev/null";
/// Bytes of a stream's answer that wait in the h2 connection for its client. As many are written at once; a stream
/// whose client keeps up has them replaced as fast as they leave.
const H2_UNSENT: usize = 8 * 1024;
/// Connections kept open to upstreams, all together.
const POOL: usize = 1024;
/// Attempts of one request; `park_limit` ends them first.
const ATTEMPTS: usize = 256;
/// For the last journal entries to reach the disk.
const FLUSH: Duration = Duration::from_secs(2);

/// Why the Edge does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(Errors),
    /// A part of it cannot be put to work.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// A check cannot be run.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The state directory is unusable.
    #[error(transparent)]
    State(#[from] OpenError),
    /// The Edge cannot show nodes who it is.
    #[error("nodes.identity: {0}")]
    Identity(#[from] IdentityError),
    /// The Edge's certificate for nodes is somebody else's.
    #[error("nodes.identity: {directory} is the identity of {who}, not of an Edge; make one with: bascule certs edge")]
    NotAnEdge {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        who: String,
    },
    /// A fault of our own; the log says which.
    #[error("the engine has died; the log says why, and a restart goes on where it was")]
    EngineDied,
    /// Anything else that is needed to start; the text names it.
    #[error("{what}: {cause}")]
    Start {
        /// What was to be done.
        what: String,
        /// What went wrong.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl RunError {
    fn start<E: std::error::Error + Send + Sync + 'static>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |cause| Self::Start { what, cause: Box::new(cause) }
    }
}

/// Runs the Edge until it is told to end.
///
/// # Errors
/// The configuration is wrong, or something it names cannot be had: an address, a file, the state directory.
pub fn run(path: &Path) -> Result<(), RunError> {
    let runtime = runtime()?;
    let _entered = runtime.enter();
    // Before all else: for systemd a unit of this type is started as soon as it is there, so that a reload may come at
    // once, and a SIGHUP that nobody takes ends the process.
    let signals = Signals::new().map_err(RunError::start("signals"))?;
    let (text, config, warnings) = reload::load(path).map_err(RunError::Config)?;
    let registry = Registry::new();
    let metrics = Arc::new(Metrics::new(&registry).map_err(RunError::start("metrics"))?);
    // Behind the configuration, which says how to log: its own mistakes are told on standard error alone.
    let _guard = crate::telemetry::logging::start(&config.log, metrics.access_lines_dropped.clone())
        .map_err(RunError::start("logging"))?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit();
    forgo_huge_pages();
    let config = Arc::new(config);
    // Locked before an address is bound: of two Edges on one machine the second ends here, before it has taken a
    // connection.
    let (state, beginning) = State::open(&config.state, metrics.journal_write_errors.clone())?;
    let state = Arc::new(state);
    // Until the engine has judged: requests wait, and no side is believed.
    let first = View { side: failover::Side::Main, mode: Mode::Deciding, epoch: 0 };
    let access = AccessLog::start(&config.log, metrics.access_lines_dropped.clone())
        .map_err(RunError::start("cannot start the access log"))?;
    let edge = Arc::new(Edge::new(config.clone(), Arc::new(Live::new(first)), metrics.clone(), access.clone())?);
    reload::count_certificates(&edge);
    count_zones(&registry, &edge).map_err(RunError::start("metrics"))?;
    let means = Means { edge: edge.clone(), state: state.clone(), metrics: metrics.clone() };
    let (engine, handle) = Engine::new(means, beginning)?;
    metrics.reloaded(Reload::Taken);
    let mut control = Control::open(&config, registry, handle.clone())?;
    let engine = control.open_nodes(&config, engine)?;
    control.open_live(&config, &edge.live)?;
    let keyring = control.keyring();
    // Before the engine starts: an Edge that cannot listen has neither probed nor moved anything.
    let listeners = Listeners::bind(&config)?;
    let incoming = Incoming { listeners, signals, renewals: Renewals::watch(&edge, keyring.clone()) };
    let engine = control.start(engine)?;
    if let Some(path) = &config.live_file {
        tokio::spawn(live::file::follow(path.clone(), edge.live.clone()));
    }
    let told = Told { loader: Loader::new(path, text, edge.clone(), handle.clone()), keyring };
    let served = runtime.block_on(serve(told, edge, handle, incoming, engine));
    runtime.block_on(async {
        // What is not written by then is lost, and was said to be.
        let _ = tokio::time::timeout(FLUSH, state.flushed()).await;
    });
    // Bounded: a disk that hangs holds a thread of the blocking pool, and must not hold the end of the process.
    runtime.shutdown_timeout(Duration::from_millis(500));
    access.flush();
    served
}

fn runtime() -> Result<Runtime, RunError> {
    Builder::new_multi_thread()
        .enable_all()
        .thread_name("edge")
        .build()
        .map_err(RunError::start("cannot start the worker threads"))
}

/// Has each scrape look at the zones.
fn count_zones(registry: &Registry, edge: &Arc<Edge>) -> prometheus::Result<()> {
    let edge = Arc::downgrade(edge);
    registry.register(Box::new(ZonesCollector::new(move || {
        let standing = |edge: Arc<Edge>| edge.site().zones.standing(Instant::now()).collect();
        edge.upgrade().map(standing).unwrap_or_default()
    })?))
}

/// Endpoints for operators, on the engine's own thread: they answer whatever the load.
struct Control {
    runtime: Runtime,
    admin: AdminEndpoint,
    metrics: Option<MetricsEndpoint>,
    nodes: Option<NodesEndpoint>,
    live: Option<(LiveEndpoint, Arc<Live>)>,
    registry: Registry,
    handle: Handle,
}

impl Control {
    fn open(config: &Config, registry: Registry, handle: Handle) -> Result<Self, RunError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(RunError::start("cannot start the engine's thread"))?;
        let admin = runtime
            .block_on(AdminEndpoint::open(&config.admin))
            .map_err(RunError::start("cannot open the admin socket"))?;
        let metrics = match config.metrics {
            Some(address) => {
                Some(runtime.block_on(MetricsEndpoint::open(address)).map_err(RunError::start("metrics"))?)
            }
            None => None,
        };
        Ok(Self { runtime, admin, metrics, nodes: None, live: None, registry, handle })
    }

    /// Opens the nodes' endpoint, if there is to be one, and tells the engine.
    fn open_nodes(&mut self, config: &Config, engine: Engine) -> Result<Engine, RunError> {
        let Some(nodes) = &config.nodes else { return Ok(engine) };
        let services = config.services.iter();
        let backends = services.flat_map(|one| failover::Side::BOTH.into_iter().flat_map(|side| one.backends(side)));
        let backends = backends.map(|backend| backend.address.ip());
        let opened = NodesEndpoint::open(nodes, backends, &config.state, &self.registry, &self.handle);
        let (endpoint, means) = self.runtime.block_on(opened)?;
        self.nodes = Some(endpoint);
        Ok(engine.with_nodes(means))
    }

    /// Opens the endpoint that tells the live side to other machines, if there is to be one.
    fn open_live(&mut self, config: &Config, live: &Arc<Live>) -> Result<(), RunError> {
        let Some(told) = &config.live else { return Ok(()) };
        let strangers = live_strangers(&self.registry).map_err(RunError::start("metrics"))?;
        let what = format!("live: cannot listen on {}; give another `live.listen`", told.listen);
        let opened = self.runtime.block_on(LiveEndpoint::open(told, strangers)).map_err(RunError::start(what))?;
        self.live = Some((opened, live.clone()));
        Ok(())
    }

    fn keyring(&self) -> Option<Arc<Keyring>> {
        self.nodes.as_ref().map(NodesEndpoint::keyring)
    }

    /// Starts the thread; what is returned resolves when it dies, which it does not while all is well.
    fn start(self, engine: Engine) -> Result<oneshot::Receiver<()>, RunError> {
        let Self { runtime, admin, metrics, nodes, live, registry, handle } = self;
        let (alive, died) = oneshot::channel();
        let turn = move || {
            let _alive: oneshot::Sender<()> = alive;
            let handle: Arc<dyn EngineApi> = Arc::new(handle);
            let endpoints = async {
                tokio::spawn(admin.serve(Arc::clone(&handle)));
                if let Some(metrics) = metrics {
                    tokio::spawn(metrics.serve(registry, handle));
                }
                if let Some(nodes) = nodes {
                    tokio::spawn(nodes.serve());
                }
                if let Some((endpoint, live)) = live {
                    tokio::spawn(endpoint.serve(live));
                }
                // The endpoints hold handles: it ends with the process.
                engine.run().await;
            };
            runtime.block_on(endpoints);
        };
        std::thread::Builder::new().name("engine".into()).spawn(turn).map_err(RunError::start("engine"))?;
        Ok(died)
    }
}

/// The public sockets, bound before anything is served.
struct Listeners {
    https: Vec<Listener>,
    http: Vec<Listener>,
}

/// A socket, and who says there whose connections are.
type Listener = (TcpListener, Arc<[Network]>);

impl Listeners {
    fn bind(config: &Config) -> Result<Self, RunError> {
        let all = |addresses: &[SocketAddr]| {
            let one = |address: &SocketAddr| Ok((bind(*address)?, config.listen.believed(*address).into()));
            addresses.iter().map(one).collect::<Result<Vec<_>, RunError>>()
        };
        Ok(Self { https: all(&config.listen.https)?, http: all(&config.listen.http)? })
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, RunError> {
    let remedy = |cause: &io::Error| match cause.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: stop it, or change `listen`",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; this host has no such address",
        _ => "",
    };
    listener::bind(address).map_err(|cause| RunError::Start {
        what: format!("cannot listen on {address}{}", remedy(&cause)),
        cause: Box::new(cause),
    })
}

/// What reaches the process from outside: opened before anybody is told that it is there.
struct Incoming {
    listeners: Listeners,
    signals: Signals,
    renewals: Renewals,
}

/// Tells of certificates whose files have changed. Begun before anybody is told that the Edge is there: files that change
/// earlier are taken to be those that were read, and nobody would look at them again.
struct Renewals {
    of_site: Renewed,
    of_nodes: Renewed,
}

/// Files were changed; whoever takes them says whether they could be used.
type Renewed = mpsc::Receiver<oneshot::Sender<bool>>;

impl Renewals {
    fn watch(edge: &Arc<Edge>, keyring: Option<Arc<Keyring>>) -> Self {
        let watched = edge.clone();
        // Asked each time, as a reload may turn it off, or name other files.
        let of_site = daemon::changes(move || {
            let config = &watched.site().config;
            if config.watch_certificates { config.certificate_files() } else { Vec::new() }
        });
        let of_nodes = daemon::changes(move || keyring.as_ref().map_or_else(Vec::new, |keyring| keyring.files()));
        Self { of_site, of_nodes }
    }
}

/// What is loaded anew while the Edge runs.
struct Told {
    loader: Loader,
    keyring: Option<Arc<Keyring>>,
}

async fn serve(
    mut told: Told,
    edge: Arc<Edge>,
    handle: Handle,
    Incoming { listeners, mut signals, mut renewals }: Incoming,
    mut engine: oneshot::Receiver<()>,
) -> Result<(), RunError> {
    let (going, shutdown) = watch::channel(false);
    let handler = Arc::new(connection_handler(&edge, shutdown.clone())?);
    for (listener, believed) in listeners.https {
        let handler = handler.clone();
        let serve = move |tcp, peer, admitted| {
            let handler = handler.clone();
            async move { handler.admit(tcp, peer, admitted).await }
        };
        tokio::spawn(listener::accept(listener, edge.clone(), believed, serve));
    }
    for (listener, believed) in listeners.http {
        let for_each = edge.clone();
        let serve = move |tcp, peer, admitted| plain::serve(for_each.clone(), tcp, peer, admitted);
        tokio::spawn(listener::accept(listener, edge.clone(), believed, serve));
    }
    let sessions = edge.sessions.clone();
    tokio::spawn(async move { sessions.pace().await });
    // Behind the sockets, the state and the signals: a start that fails is then a `systemctl start` that fails.
    daemon::systemd::ready("listening");
    tokio::spawn(live::systemd::follow(edge.live.clone()));
    loop {
        tokio::select! {
            _ = signals.hang_up.recv() => {
                // Each by itself: a bad configuration must not keep a renewed certificate from the nodes.
                nodes::reload(told.keyring.as_ref(), &handle).await;
                told.loader.reload().await;
            }
            // Certificates alone: a configuration is loaded when somebody says that it is finished. Who looks at the
            // files is gone only with the runtime, so that the answer always arrives.
            Some(taken) = renewals.of_site.recv() => {
                let _ = taken.send(told.loader.renew().await);
            }
            Some(taken) = renewals.of_nodes.recv() => {
                let _ = taken.send(nodes::reload(told.keyring.as_ref(), &handle).await);
            }
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            () = handle.drain_ordered() => break,
            // Nobody decides any more: another process will.
            _ = &mut engine => return Err(RunError::EngineDied),
        }
    }
    go_away(&edge, &handle, going, &mut signals).await;
    Ok(())
}

fn connection_handler(edge: &Arc<Edge>, shutdown: watch::Receiver<bool>) -> Result<ConnectionHandler, RunError> {
    let config = edge.site().config.clone();
    let conf = ServerConf {
        max_retries: ATTEMPTS,
        upstream_keepalive_pool_size: POOL,
        // Pingora makes a TLS client that nobody uses (see `upstream::dial`), and panics when it cannot read its roots:
        // no file that people write, and not the system's store, which a host may lack.
        ca_file: Some(NO_ROOTS.to_owned()),
        ..ServerConf::default()
    };
    std::fs::File::open(NO_ROOTS).map_err(RunError::start(NO_ROOTS))?;
    let mut proxy = proxy(edge, &Arc::new(conf))?;
    let mut options = HttpServerOptions::default();
    // It would be refused with a page of Pingora's; the router refuses it with ours.
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    let tickets = tickets(&config.state)?;
    let tls = ServerTls::new(edge.certificates.clone(), config.tls_min, tickets).map_err(RunError::start("TLS"))?;
    let h2 = h2_options(&config.limits);
    Ok(ConnectionHandler { edge: edge.clone(), tls, h2, proxy: Arc::new(proxy), shutdown })
}

/// Session tickets by the keys of the state directory, which are turned and written from now on.
fn tickets(directory: &Path) -> Result<Arc<Tickets>, RunError> {
    let (tickets, unusable) = Tickets::open(directory).map_err(RunError::start("TLS"))?;
    if let Some(why) = unusable {
        tracing::warn!("{why}; it is replaced, and clients shake hands anew");
    }
    let tickets = Arc::new(tickets);
    tokio::spawn(tickets::keep(tickets.clone(), directory.to_owned()));
    Ok(tickets)
}

/// What one h2 connection may use up, as far as the library bounds it.
fn h2_options(limits: &Limits) -> h2::server::Builder {
    let mut options = h2::server::Builder::new();
    let streams = limits.h2_streams.get();
    options.max_concurrent_streams(streams);
    // The connection of a browser that leaves a page must not end for it: a POST under way would be sent again.
    options.max_pending_accept_reset_streams(resets_at_once(streams) as usize);
    // Of what HPACK unpacks (RFC 9113 section 6.5.2): a small frame may hold a large head.
    options.max_header_list_size(u32::try_from(limits.head_bytes.get()).unwrap_or(u32::MAX));
    // Of each stream; what is held of its answer beyond that is `budget`'s.
    options.max_send_buffer_size(H2_UNSENT);
    options
}

/// Pingora's proxy around our logic, with connections to TLS backends opened by us.
fn proxy(edge: &Arc<Edge>, conf: &Arc<ServerConf>) -> Result<HttpProxy<Proxy, Dialing>, RunError> {
    // Of protocols of one's own towards clients: none is ever offered.
    let nothing: ProcessCustomSession<Proxy, Dialing> = Arc::new(|_, _, _| Box::pin(std::future::ready(None)));
    let service = ProxyServiceBuilder::new(conf, Proxy { edge: edge.clone() })
        .custom(Dialing(edge.registers.dialer.clone()), nothing)
        .build();
    takeout::application(service).ok_or_else(|| RunError::Start {
        what: "cannot set up the proxy".to_owned(),
        cause: "its service was started already".into(),
    })
}

struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// New clients are told to come again; requests finish, WebSockets are closed with 1001; bounded.
async fn go_away(edge: &Arc<Edge>, handle: &Handle, going: watch::Sender<bool>, signals: &mut Signals) {
    let limit = edge.site().config.limits.drain;
    tracing::info!(connections = edge.admission.open(), sessions = edge.sessions.len(), "draining");
    edge.metrics.draining.set(1);
    daemon::systemd::stopping("draining: requests finish, sessions are closed");
    // Before anybody is told: whoever comes between the two must count as late, as nothing waits for them.
    edge.drain.enter(Stage::Draining);
    // The receivers live as long as the listeners.
    let _ = going.send(true);
    edge.sessions.close_all();
    let mut given_up = 0;
    let over = async {
        edge.sessions.emptied().await;
        drain::emptied(&edge.admission, &mut given_up).await;
    };
    let how = tokio::select! {
        () = over => "all connections have ended",
        () = tokio::time::sleep(limit) => "the drain limit is over",
        _ = signals.terminate.recv() => "told again to end",
        _ = signals.interrupt.recv() => "told again to end",
    };
    tracing::info!(connections = edge.admission.open(), given_up, "{how}");
    edge.drain.enter(Stage::Over);
    let Registers { main, standby, shared, dialer: _ } = &edge.registers;
    let cut = || {
        // Those of shared services, too: here it is the Edge that goes, not a side.
        for register in [main, standby, shared] {
            register.present().cut();
        }
    };
    drain::end(&edge.admission, cut).await;
    drain::answer_last(&edge.drain.late).await;
    handle.note(Event::Stopped, format!("The Edge ended: {how}.")).await;
}

/// The allocator asks for huge pages: then of buffers that are mostly empty all is resident, twice as much for each
/// client that stalls.
fn forgo_huge_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::warn!(%error, "huge pages stay: the Edge needs more memory");
    }
}

/// A connection is two descriptors: as many as the system lets us have.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
