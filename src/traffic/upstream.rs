//! Backends of services as the request path uses them: which one, how to connect, what its trouble tells the engine.

pub mod connect;
pub mod connections;
pub mod dial;
pub mod signs;
pub mod stream;
pub mod traffic;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use failover::Side;
use failover::verdict::Sign;
use futures_util::FutureExt;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora_load_balancing::discovery::Static;
use pingora_load_balancing::selection::RoundRobin;
use pingora_load_balancing::{Backend as Candidate, Backends, LoadBalancer};
use probe::tls::{ALPN_HTTP1, TlsTrust};
use rustls::pki_types::ServerName;

use crate::config::{Backend, Config, Place, ServiceIndex, UpstreamTls, Verify};
use crate::live::Live;
use connect::{Connector, Trouble};
use connections::Connections;
use dial::Dialer;
use signs::Signs;
use traffic::Traffic;

/// For how long an idle connection to a backend is kept.
const POOLED: Duration = Duration::from_secs(60);

/// Position of a backend among all backends of a configuration: services in order; Main's, then Standby's.
pub type BackendIndex = usize;

/// A backend and where it belongs.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// Its service.
    pub service: ServiceIndex,
    /// Its side; none when shared.
    pub side: Option<Side>,
    /// The backend.
    pub backend: &'a Backend,
}

/// All backends of a configuration; positions are [`BackendIndex`].
pub fn placed(config: &Config) -> Vec<Placed<'_>> {
    let mut all = Vec::new();
    for (index, service) in config.services.iter().enumerate() {
        let service_index = ServiceIndex(index);
        match &service.place {
            Place::Sides { main, standby } => {
                for (side, backends) in [(Side::Main, main), (Side::Standby, standby)] {
                    all.extend(backends.iter().map(|backend| Placed {
                        service: service_index,
                        side: Some(side),
                        backend,
                    }));
                }
            }
            Place::Shared(backends) => {
                all.extend(backends.iter().map(|backend| Placed { service: service_index, side: None, backend }));
            }
        }
    }
    all
}

/// Why upstreams could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// A service's trust is unusable.
    #[error("service {service}: {cause}")]
    Trust {
        /// Its name.
        service: String,
        /// What is wrong.
        #[source]
        cause: TrustError,
    },
}

/// Why a service's trust is unusable.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The CA file cannot be read.
    #[error("{path} {problem}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The trust is refused.
    #[error(transparent)]
    Trust(#[from] probe::tls::TrustError),
    /// Neither a host name nor an address.
    #[error("{0:?} cannot be the name of a certificate")]
    Name(String),
}

/// Resolves how an upstream proves who it is.
///
/// # Errors
/// A certificate that is to be trusted is none.
pub fn trust(tls: &UpstreamTls) -> Result<TlsTrust, TrustError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let verify = match &tls.verify {
        Verify::System => probe::tls::Verify::System,
        Verify::Off => probe::tls::Verify::Off,
        Verify::Pin(pins) => probe::tls::Verify::Pin(pins.iter().copied().map(probe::tls::Pin::new).collect()),
        Verify::Ca(path) => {
            let failed = |problem| TrustError::File { path: path.clone(), problem };
            let pem = settings::read_bytes(path).map_err(|error| failed(settings::in_words(&error).0))?;
            let read = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>();
            probe::tls::Verify::Ca(read.map_err(|error| failed(format!("is not PEM: {error}")))?)
        }
    };
    Ok(TlsTrust::new(verify)?)
}

/// The name a backend's certificate must bear.
///
/// # Errors
/// The name, or the backend's host, is none that a certificate can bear.
pub fn server_name(tls: &UpstreamTls, backend: &Backend) -> Result<ServerName<'static>, TrustError> {
    match &tls.name {
        Some(name) => ServerName::try_from(name.clone()).map_err(|_| TrustError::Name(name.clone())),
        // The address is what is checked then. No SNI is sent with it: RFC 6066 section 3 allows none.
        None => Ok(ServerName::from(backend.address.ip())),
    }
}

/// A backend, ready to be sent to.
#[derive(Debug)]
pub struct Upstream {
    /// Its position.
    pub index: BackendIndex,
    /// Its side; none when shared.
    pub side: Option<Side>,
    /// Its name in the file.
    pub name: Arc<str>,
    /// Opens connections to it, for requests and WebSockets alike.
    pub connector: Arc<Connector>,
    /// The backend's probes say that it is down.
    pub down: AtomicBool,
    /// Requests it has not answered yet.
    pub traffic: Arc<Traffic>,
    peer: HttpPeer,
}

impl Upstream {
    /// What Pingora needs to send a request there.
    pub fn peer(&self, response_limit: Duration) -> HttpPeer {
        let mut peer = self.peer.clone();
        // Both ways: an upstream that takes nothing of a request holds it as long as one that answers nothing.
        peer.options.read_timeout = Some(response_limit);
        peer.options.write_timeout = Some(response_limit);
        peer
    }
}

/// The backends of one service on one side.
#[derive(Default)]
pub struct Pool {
    backends: Vec<Arc<Upstream>>,
    /// Chooses among several; a single one needs no choice.
    balancer: Option<LoadBalancer<RoundRobin>>,
}

/// Position in a [`Pool`], carried through the balancer.
#[derive(Clone, Copy)]
struct Slot(usize);

impl Pool {
    fn new(backends: Vec<Arc<Upstream>>, weights: &[usize]) -> Self {
        if backends.len() < 2 {
            return Self { backends, balancer: None };
        }
        let candidates: BTreeSet<Candidate> = backends
            .iter()
            .zip(weights)
            .enumerate()
            .map(|(slot, (upstream, weight))| {
                let mut candidate = Candidate {
                    addr: PingoraAddr::Inet(upstream.connector.address),
                    weight: *weight,
                    ext: Default::default(),
                };
                // By it the candidate that is chosen leads back to its upstream.
                candidate.ext.insert(Slot(slot));
                candidate
            })
            .collect();
        let balancer = LoadBalancer::from_backends(Backends::new(Static::new(candidates)));
        // A static discovery is ready at once and cannot fail.
        let updated = balancer.update().now_or_never();
        debug_assert!(matches!(updated, Some(Ok(()))));
        Self { backends, balancer: Some(balancer) }
    }

    /// Chooses a backend: one that is up and not `tried`, else any that is not `tried`, else any.
    pub fn choose(&self, tried: &[BackendIndex]) -> Option<&Arc<Upstream>> {
        let Some(balancer) = &self.balancer else { return self.backends.first() };
        let most = self.backends.len() * 2;
        let slot = |candidate: &Candidate| candidate.ext.get::<Slot>().and_then(|slot| self.backends.get(slot.0));
        let fresh = |candidate: &Candidate| slot(candidate).is_some_and(|u| !tried.contains(&u.index));
        balancer
            // What is down is tried last, not never: a check may be wrong, and a request has nothing to lose.
            .select_with(b"", most, |candidate, up| up && fresh(candidate))
            .or_else(|| balancer.select_with(b"", most, |candidate, _| fresh(candidate)))
            .or_else(|| balancer.select_with(b"", most, |_, _| true))
            .and_then(|candidate| slot(&candidate))
    }

    /// Whether a backend is left that was not `tried`.
    pub fn untried(&self, tried: &[BackendIndex]) -> bool {
        self.backends.iter().any(|upstream| !tried.contains(&upstream.index))
    }

    /// Whether every backend is known to be down.
    pub fn is_down(&self) -> bool {
        self.backends.iter().all(|upstream| upstream.down.load(Ordering::Acquire))
    }

    /// Tells whether a backend is up.
    fn set_up(&self, index: BackendIndex, up: bool) {
        for upstream in self.backends.iter().filter(|upstream| upstream.index == index) {
            // Kept beside the balancer's own flag, which a pool of one backend does not have.
            upstream.down.store(!up, Ordering::Release);
        }
        let Some(balancer) = &self.balancer else { return };
        let Some(slot) = self.backends.iter().position(|upstream| upstream.index == index) else { return };
        for candidate in balancer.backends().get_backend().iter() {
            if candidate.ext.get::<Slot>().is_some_and(|s| s.0 == slot) {
                balancer.backends().set_enable(candidate, up);
            }
        }
    }
}

/// All upstreams of a configuration.
pub struct Upstreams {
    pools: Vec<[Pool; 2]>,
    /// Where live traffic reports trouble.
    pub signs: Signs,
}

/// The registers of open connections: they outlive a configuration.
#[derive(Debug, Default)]
pub struct Registers {
    /// Main's.
    pub main: Arc<Connections>,
    /// Standby's.
    pub standby: Arc<Connections>,
    /// Of shared services: never cut by a switch.
    pub shared: Arc<Connections>,
    /// Opens those of requests.
    pub dialer: Arc<Dialer>,
}

impl Registers {
    /// The register of a side; of shared services for none.
    pub fn of(&self, side: Option<Side>) -> &Arc<Connections> {
        match side {
            Some(Side::Main) => &self.main,
            Some(Side::Standby) => &self.standby,
            None => &self.shared,
        }
    }
}

impl Upstreams {
    /// Sets up all upstreams of `config`. `generation` tells connections of one configuration from those of the next.
    ///
    /// # Errors
    /// What an upstream's certificates are verified by is of no use.
    pub fn new(config: &Config, generation: u32, live: &Arc<Live>, registers: &Registers) -> Result<Self, SetUpError> {
        let mut pools: Vec<[Vec<Arc<Upstream>>; 2]> = config.services.iter().map(|_| Default::default()).collect();
        let mut weights: Vec<[Vec<usize>; 2]> = config.services.iter().map(|_| Default::default()).collect();
        let mut trusts = Vec::new();
        for service in &config.services {
            let failed = |cause| SetUpError::Trust { service: service.name.clone(), cause };
            let config = service.tls.as_ref().map(trust).transpose().map_err(failed)?;
            // One client configuration for each service, made once: Pingora would make one for each connection.
            // HTTP/1.1 alone is offered: a connection carries one request at a time, so that a switch can cut it by
            // itself, and XiVO's servers gain nothing from h2.
            trusts.push(config.map(|trust| trust.client_config(ALPN_HTTP1)));
        }
        let all = placed(config);
        for (index, at) in all.iter().enumerate() {
            let service = &config.services[at.service.0];
            let failed = |cause| SetUpError::Trust { service: service.name.clone(), cause };
            let name = service.tls.as_ref().map(|tls| server_name(tls, at.backend)).transpose().map_err(failed)?;
            let tls = trusts[at.service.0].clone().zip(name);
            let connector = Arc::new(Connector {
                address: at.backend.address,
                tls,
                side: at.side,
                connections: registers.of(at.side).clone(),
                live: live.clone(),
                limit: config.limits.connect,
                trouble: Trouble::default(),
            });
            let mut peer = HttpPeer::new(at.backend.address, service.tls.is_some(), String::new());
            // Pooled connections are found by it: two sides with the same address, or two configurations, must not
            // share any.
            peer.group_key = u64::from(generation) << 32 | index as u64;
            registers.dialer.enlist(&mut peer, &connector);
            peer.options.connection_timeout = Some(config.limits.connect);
            peer.options.idle_timeout = Some(POOLED);
            // WebSockets are `upgrade`'s: nothing may slip by its rules, and by the register of sessions.
            peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
            let upstream = Arc::new(Upstream {
                index,
                side: at.side,
                name: at.backend.name.as_str().into(),
                connector,
                down: AtomicBool::new(false),
                traffic: Arc::default(),
                peer,
            });
            let slot = usize::from(at.side == Some(Side::Standby));
            pools[at.service.0][slot].push(upstream);
            weights[at.service.0][slot].push(at.backend.weight.get());
        }
        let pools = pools
            .into_iter()
            .zip(weights)
            .map(|([main, standby], [main_weights, standby_weights])| {
                [Pool::new(main, &main_weights), Pool::new(standby, &standby_weights)]
            })
            .collect();
        Ok(Self { pools, signs: Signs::new(all.len()) })
    }

    /// The backends that serve `service` while `side` is live.
    pub fn pool(&self, config: &Config, service: ServiceIndex, side: Side) -> &Pool {
        let shared = config.services[service.0].is_shared();
        &self.pools[service.0][usize::from(!shared && side == Side::Standby)]
    }

    /// Whether a request waits for an answer anywhere.
    pub fn await_answers(&self) -> bool {
        self.all().any(|upstream| upstream.traffic.quiet_for().is_some())
    }

    /// Raises a sign for each backend that has answered none of its open requests for `suspicion`.
    pub fn suspect_the_quiet(&self, suspicion: Duration) {
        for upstream in self.all().filter(|upstream| upstream.traffic.quiet_for() >= Some(suspicion)) {
            // Counted anew from here: one silence is one sign, not one for each look.
            upstream.traffic.told();
            self.signs.raise(upstream.index, Sign::TimedOut);
        }
    }

    /// All backends.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.pools.iter().flatten().flat_map(|pool| &pool.backends)
    }

    /// Raises a sign for `upstream`, which may come from an older configuration: nobody, if it is in this one no more.
    pub fn raise(&self, upstream: &Upstream, sign: Sign) {
        // By side and address, which a reload leaves as they are, while positions may move.
        let place = |upstream: &Upstream| (upstream.side, upstream.connector.address);
        for backend in self.all() {
            if place(backend) == place(upstream) {
                self.signs.raise(backend.index, sign);
            }
        }
    }

    /// Tells whether a backend is up.
    pub fn set_up(&self, index: BackendIndex, up: bool) {
        for pool in self.pools.iter().flatten() {
            pool.set_up(index, up);
        }
    }
}
