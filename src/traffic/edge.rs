//! What all parts of a running Edge share: the site of the present configuration, and what outlives it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::admin::api::Time;
use crate::config::Config;
use crate::live::Live;
use crate::telemetry::logging::access::AccessLog;
use crate::telemetry::metrics::{Configured, ConnectionRefusal, Metrics};
use crate::traffic::downstream::admission::{Admission, TurnedAway};
use crate::traffic::downstream::drain::Drain;
use crate::traffic::downstream::tickets::{NoKey, Tickets};
use crate::traffic::downstream::tls::{CertificateError, Certificates, ServerTls};
use crate::traffic::http::park::Parking;
use crate::traffic::http::rewrite::UpstreamNames;
use crate::traffic::pages::{ErrorPages, WaitingPage};
use crate::traffic::pass::names::Names;
use crate::traffic::route::Router;
use crate::traffic::upstream::{Registers, SetUpError, Upstreams};
use crate::traffic::websocket::tunnel::{Close, Sessions};
use crate::traffic::zones::Zones;

/// What the waiting page tells programs to wait.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// From the verdict on the last required backend to the order that sessions leave.
const DECISION: Duration = Duration::from_millis(500);

/// Everything made of one configuration; replaced as a whole on a reload.
pub struct Site {
    /// What it is all made of; the rest of this holds what is looked up per request.
    pub config: Arc<Config>,
    /// Whose connections are, by the name they ask for.
    pub names: Names,
    /// Its routes.
    pub router: Router,
    /// Its upstreams.
    pub upstreams: Upstreams,
    /// Names of upstreams that no answer may show to a browser.
    pub insiders: UpstreamNames,
    /// By position of the route in [`Router::routes`].
    pub manners: Vec<Manner>,
    /// How fast its clients may ask.
    pub zones: Zones,
    /// What is counted of its routes, services and zones.
    pub counted: Configured,
    /// How long a WebSocket whose upstream is lost waits to be told of a switch: as long as it takes to find a side dead.
    pub orphan_limit: Duration,
}

/// How a route's WebSockets are known and closed.
pub struct Manner {
    /// The route's name.
    pub name: Arc<str>,
    /// What a client is told on a switch.
    pub close: Close,
}

/// Pages of our own.
pub struct Pages {
    /// Shown while no side works, and while the Edge goes away.
    pub waiting: WaitingPage,
    /// Refusals and failures.
    pub errors: ErrorPages,
}

/// A running Edge: lives as long as the process, whatever configurations come and go.
pub struct Edge {
    site: ArcSwap<Site>,
    generation: AtomicU32,
    /// The live side.
    pub live: Arc<Live>,
    /// Open connections to backends: of every configuration, so that a switch cuts those of the last one, too.
    pub registers: Registers,
    /// Open WebSockets; they outlive the configuration they were opened under.
    pub sessions: Arc<Sessions>,
    /// Counts the requests that wait for a decision.
    pub parking: Parking,
    /// Open connections of clients that came before the drain; the later ones are in `drain.late`.
    pub admission: Arc<Admission>,
    /// How far the Edge has gone away, if it does.
    pub drain: Drain,
    /// Certificates of the public listener.
    pub certificates: Arc<Certificates>,
    /// Pages of our own.
    pub pages: Pages,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// One line for each request and session.
    pub access: AccessLog,
    /// What the present switch is reported with.
    pub tally: Tally,
}

/// Counts for the report of a switch: never reset, read as differences.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests sent a second time.
    pub replayed: AtomicU64,
    /// Requests that waited.
    pub parked: AtomicU64,
    /// Requests that failed for want of an upstream.
    pub failed: AtomicU64,
    /// The newest epoch in which a request was served, plus one.
    first_served: AtomicU64,
    /// When that was, wall time in milliseconds since 1970.
    first_served_at: AtomicI64,
}

impl Tally {
    /// Notes that a side answered a request in `epoch`.
    #[inline]
    pub fn served(&self, epoch: u64) {
        let mark = epoch.saturating_add(1);
        // Read first: nearly each request finds the mark set, and a write by each would have all cores fight for it.
        if self.first_served.load(Ordering::Relaxed) < mark
            && self.first_served.fetch_max(mark, Ordering::AcqRel) < mark
        {
            self.first_served_at.store(Time::now().unix_ms(), Ordering::Release);
        }
    }

    /// When `epoch` first served a request.
    pub fn first_served(&self, epoch: u64) -> Option<Time> {
        let marked = self.first_served.load(Ordering::Acquire) == epoch.saturating_add(1);
        let at = self.first_served_at.load(Ordering::Acquire);
        (marked && at > 0).then(|| Time::from_unix_ms(at))
    }
}

/// Why a configuration cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// Certificates of the public listener.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Upstreams.
    #[error(transparent)]
    Upstreams(#[from] SetUpError),
    /// TLS of the public listener.
    #[error("TLS of the public listener: {0}")]
    Listener(rustls::Error),
    /// Tickets of its sessions.
    #[error(transparent)]
    Tickets(#[from] NoKey),
}

/// Builds everything a start or a reload makes of `config`, by the same functions, and puts none of it to work.
///
/// # Errors
/// What a start or reload of `config` would fail on.
pub fn rehearse(config: &Config) -> Result<(), SiteError> {
    let certificates = Arc::new(Certificates::load(&config.certificates)?);
    let tickets = Arc::new(Tickets::alone()?);
    ServerTls::new(certificates, config.tls_min, tickets).map_err(SiteError::Listener)?;
    let view = crate::live::View { side: failover::Side::Main, mode: crate::live::Mode::Deciding, epoch: 0 };
    let _router = Router::new(config);
    Upstreams::new(config, 0, &Arc::new(Live::new(view)), &Registers::default())?;
    Ok(())
}

impl Edge {
    /// Puts `config` to work.
    ///
    /// # Errors
    /// A certificate, or what an upstream's is verified by, is of no use.
    pub fn new(
        config: Arc<Config>,
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        access: AccessLog,
    ) -> Result<Self, SiteError> {
        let registers = Registers::default();
        let certificates = Arc::new(Certificates::load(&config.certificates)?);
        let site = Site::new(config, 0, None, &live, &registers, &metrics)?;
        let admission = Arc::<Admission>::default();
        admission.budget.set_most(site.config.limits.memory.get());
        Ok(Self {
            site: ArcSwap::from_pointee(site),
            generation: AtomicU32::new(0),
            live,
            registers,
            sessions: Arc::default(),
            parking: Parking::default(),
            admission,
            drain: Drain::default(),
            certificates,
            pages: Pages { waiting: WaitingPage::new(RETRY_AFTER), errors: ErrorPages::new() },
            metrics,
            access,
            tally: Tally::default(),
        })
    }

    /// The site of the present configuration.
    pub fn site(&self) -> Arc<Site> {
        self.site.load_full()
    }

    /// Prepares another configuration without putting it to work.
    ///
    /// # Errors
    /// A certificate, or what an upstream's is verified by, is of no use; the old configuration goes on.
    pub fn prepare(&self, config: Arc<Config>) -> Result<Prepared, SiteError> {
        // Pooled connections are told apart by it: one that was verified by the old rules must not carry what the new
        // ones would refuse.
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let certificates = Certificates::load(&config.certificates)?;
        let site = Site::new(config, generation, Some(&self.site().zones), &self.live, &self.registers, &self.metrics)?;
        Ok(Prepared { site: Arc::new(site), certificates })
    }

    /// Puts a prepared configuration to work; requests under way end under the old one.
    pub fn adopt(&self, prepared: Prepared) {
        // Nothing here can fail: all that may has been tried by `prepare`, so no reload is ever half done.
        self.certificates.replace(prepared.certificates);
        self.admission.budget.set_most(prepared.site.config.limits.memory.get());
        self.site.store(prepared.site);
    }
}

/// A configuration ready to be put to work.
pub struct Prepared {
    /// Its site.
    pub site: Arc<Site>,
    certificates: Certificates,
}

impl Site {
    fn new(
        config: Arc<Config>,
        generation: u32,
        zones_before: Option<&Zones>,
        live: &Arc<Live>,
        registers: &Registers,
        metrics: &Metrics,
    ) -> Result<Self, SetUpError> {
        let router = Router::new(&config);
        let manner = |route: &Arc<crate::config::Route>| Manner {
            name: route.name.as_str().into(),
            // The configuration has checked the code.
            close: Close::new(route.close.code, &route.close.reason).unwrap_or_else(|_| Close::service_restart()),
        };
        Ok(Self {
            names: Names::new(std::iter::once(&config.fqdn).chain(&config.aliases), &config.pass, config.unknown_name),
            manners: router.routes().iter().map(manner).collect(),
            router,
            upstreams: Upstreams::new(&config, generation, live, registers)?,
            insiders: UpstreamNames::new(&config),
            zones: Zones::new(
                &config.zones,
                config.routes.iter().map(|route| route.zone),
                &config.rate_limits,
                zones_before,
            ),
            counted: metrics.configure(&config),
            // As long as a silent side may take to be found: an orphan that is told earlier would come back alone,
            // before its user's other sockets end.
            orphan_limit: config.probe.policy().detection_bound_silent() + DECISION,
            config,
        })
    }
}

impl Edge {
    /// Notes an accept that failed, as a rule for want of descriptors.
    pub fn note_accept_error(&self, error: &std::io::Error) {
        self.metrics.connections_refused.of(ConnectionRefusal::Descriptors).inc();
        tracing::warn!(%error, "accepting a connection failed");
    }

    /// Notes a connection on which a proxy did not say whose it is, as it must.
    pub fn note_no_header<T>(&self, proxy: std::net::SocketAddr, why: &dyn std::fmt::Display) -> Option<T> {
        self.metrics.connections_refused.of(ConnectionRefusal::ProxyHeader).inc();
        tracing::debug!(proxy = %proxy.ip(), "no header of the PROXY protocol: {why}");
        None
    }

    /// Notes a connection turned away by a cap.
    pub fn note_turned_away(&self, turned_away: TurnedAway) {
        let why = match turned_away {
            TurnedAway::Full => ConnectionRefusal::Limit,
            TurnedAway::Greedy => ConnectionRefusal::ClientLimit,
        };
        self.metrics.connections_refused.of(why).inc();
    }
}
