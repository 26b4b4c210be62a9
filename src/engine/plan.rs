//! What is watched: a site's services, backends and checks in the machines' numbers, and back in the operator's names.

use std::fmt::{self, Display as _};
use std::sync::Arc;

use failover::health::{BackendId, CheckId, Need, NodeId, Scope, ServiceId, Topology};
use failover::{Instant, Names, Side};
use protocol::wire::Role;

use super::certificates::heeds_dates;
use super::clock::Clock;
use super::probes::{CheckError, probe};
use crate::config::{self, Check, CheckKind, Config, ServiceIndex};
use crate::traffic::edge::Site;
use crate::traffic::upstream::{BackendIndex, Placed, placed};

/// All that one configuration has the monitor watch.
pub struct Plan {
    /// The site.
    pub site: Arc<Site>,
    /// In the machines' numbers.
    pub topology: Topology,
    /// By [`CheckId`].
    pub checks: Vec<Planned>,
    /// By [`BackendId`], which is also [`BackendIndex`].
    pub backends: Vec<Place>,
    /// By [`ServiceId`].
    pub services: Vec<(ServiceIndex, Option<Side>)>,
    /// By [`NodeId`]; none without the nodes' endpoint.
    pub(super) voices: Vec<Voice>,
    names: SiteNames,
}

/// Service, side, target and name of a check: what tells it from all others, across configurations.
pub(super) type CheckKey = (String, Option<Side>, String, String);

/// One check of one backend.
pub struct Planned {
    /// The backend.
    pub backend: BackendIndex,
    /// Position among the backend's checks.
    pub position: usize,
    /// The check's name in the file.
    pub name: String,
    /// The port the check asks, where that is not the backend's.
    pub port: Option<u16>,
    /// Whether an expired certificate fails it.
    pub heeds_dates: bool,
    /// How to run it.
    pub probe: Arc<probe::Check>,
}

/// The nodes of a role on a side, which speak with one voice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Voice {
    /// Their role.
    pub(super) role: Role,
    /// Their side.
    pub(super) side: Side,
    /// How many backends the service of that name has there.
    pub(super) backends: usize,
    /// Their number.
    pub(super) node: NodeId,
}

/// Where a backend belongs.
#[derive(Debug, Clone)]
pub struct Place {
    /// The service that the backend is one address of.
    pub service: ServiceIndex,
    /// The side it belongs to; none: its service is shared.
    pub side: Option<Side>,
    /// Position among the service's backends on that side.
    pub position: usize,
    /// The backend's name in the file.
    pub name: String,
    /// The checks of this backend; it works when all of them are up.
    pub checks: Vec<CheckId>,
}

/// A check that could not be planned.
#[derive(Debug, thiserror::Error)]
#[error("service {service}, check {check} of {backend}: {cause}")]
pub struct PlanError {
    service: String,
    check: String,
    backend: String,
    #[source]
    cause: CheckError,
}

/// Prepares the probes of `config`, as a rehearsal: whatever it fails on, a plan would fail on too.
///
/// # Errors
/// A check of the configuration cannot be probed; it is named.
pub fn rehearse(config: &Config) -> Result<(), PlanError> {
    for at in placed(config) {
        let service = &config.services[at.service.0];
        for check in checks_of(service) {
            planned_probe(config, service, &at, &check)?;
        }
    }
    Ok(())
}

fn planned_probe(
    config: &Config,
    service: &config::Service,
    at: &Placed<'_>,
    check: &Check,
) -> Result<probe::Check, PlanError> {
    probe(check, at.backend, config.probe.time_limit).map_err(|cause| PlanError {
        service: service.name.clone(),
        check: check.name.clone(),
        backend: at.backend.name.clone(),
        cause,
    })
}

impl Plan {
    /// Plans what to watch at `site`.
    pub(super) fn new(site: Arc<Site>, clock: Clock) -> Result<Self, PlanError> {
        let config = site.config.clone();
        let mut topology = Topology::new();
        let (mut checks, mut backends, mut services) = (Vec::new(), Vec::<Place>::new(), Vec::new());
        let mut names = SiteNames::new(clock);
        for at in placed(&config) {
            let service = &config.services[at.service.0];
            let last = services.last().copied();
            if last != Some((at.service, at.side)) {
                let scope = at.side.map_or(Scope::Shared, Scope::Of);
                let need = if service.required { Need::Required } else { Need::Optional };
                topology.service(scope, need);
                services.push((at.service, at.side));
                names.services.push(service.name.clone());
            }
            let service_id = ServiceId(number(services.len() - 1));
            let position = backends.iter().filter(|b| (b.service, b.side) == (at.service, at.side)).count();
            let backend_id = topology.backend(service_id);
            names.backends.push(at.backend.address.to_string());
            let mut place = Place {
                service: at.service,
                side: at.side,
                position,
                name: at.backend.name.clone(),
                checks: Vec::new(),
            };
            for (position, check) in checks_of(service).iter().enumerate() {
                let probe = planned_probe(&config, service, &at, check)?;
                place.checks.push(topology.check(backend_id));
                names.checks.push(title(check, at.backend));
                checks.push(Planned {
                    backend: backends.len(),
                    position,
                    name: check.name.clone(),
                    port: own_port(check, at.backend),
                    heeds_dates: heeds_dates(check),
                    probe: Arc::new(probe),
                });
            }
            backends.push(place);
        }
        let voices = if config.nodes.is_some() { voices(&config, &mut topology) } else { Vec::new() };
        names.nodes = voices.iter().map(|voice| format!("{} of {}", voice.role, voice.side)).collect();
        Ok(Self { site, topology, checks, backends, services, voices, names })
    }

    /// The operator's names.
    pub(super) fn names(&self) -> &SiteNames {
        &self.names
    }

    /// What tells a check from all others, across configurations.
    pub(super) fn key(&self, check: usize) -> CheckKey {
        let planned = &self.checks[check];
        let place = &self.backends[planned.backend];
        let service = &self.site.config.services[place.service.0];
        (service.name.clone(), place.side, planned.probe.target.to_string(), planned.name.clone())
    }
}

/// A side without a telephony that serves does not work, whatever is checked. One without a CC that serves does not if
/// the service `cc` is required.
fn voices(config: &Config, topology: &mut Topology) -> Vec<Voice> {
    let mut voices = Vec::new();
    for side in Side::BOTH {
        for role in [Role::Xivo, Role::Cc] {
            let service = config.services.iter().find(|service| service.name == role.label());
            let required = role == Role::Xivo || service.is_some_and(|service| service.required);
            let node = topology.node(side, if required { Need::Required } else { Need::Optional });
            let backends =
                service.filter(|service| !service.is_shared()).map_or(1, |service| service.backends(side).len());
            // One XiVO node serves a side, however many addresses its web server has.
            let backends = if role == Role::Xivo { 1 } else { backends.max(1) };
            voices.push(Voice { role, side, backends, node });
        }
    }
    voices
}

fn number(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

/// A check's name for sentences. The port they name otherwise is the service's: of another one, nobody would look at
/// it.
pub fn title(check: &Check, backend: &config::Backend) -> String {
    match own_port(check, backend) {
        Some(port) => format!("{} on port {port}", check.name),
        None => check.name.clone(),
    }
}

fn own_port(check: &Check, backend: &config::Backend) -> Option<u16> {
    check.port.filter(|port| *port != backend.address.port())
}

/// A service's checks; without any, that it accepts connections. Of a service that speaks TLS this takes a handshake:
/// by TCP alone a side would work whose every request fails on its certificate.
pub fn checks_of(service: &config::Service) -> Vec<Check> {
    let basic = basic(service);
    if service.checks.is_empty() {
        return vec![basic];
    }
    let mut checks = service.checks.clone();
    // A port of its own may speak something else.
    for check in checks.iter_mut().filter(|check| check.port.is_none() && check.kind == CheckKind::Tcp) {
        check.kind = basic.kind.clone();
    }
    checks
}

/// Accepts connections as requests open them.
fn basic(service: &config::Service) -> Check {
    let (name, kind) = match &service.tls {
        Some(tls) => ("tls", CheckKind::Tls(tls.clone())),
        None => ("tcp", CheckKind::Tcp),
    };
    Check { name: name.to_owned(), port: None, kind }
}

/// What carrying a request to this backend needs and none of its checks looks at, if routes lead there: telephony that
/// answers says nothing of the web server beside it.
///
/// This is told, and decides nothing. The administrator chose by what the service is judged, and a site of which
/// neither side works serves a page: a certificate that expired on one route would take all others with it.
pub fn carriage_of(config: &Config, at: &Placed<'_>) -> Option<Check> {
    let service = &config.services[at.service.0];
    let is_led_to = config.routes.iter().any(|route| route.service == at.service);
    let opens = |check: &Check| {
        let speaks_sip = matches!(check.kind, CheckKind::Sip(_));
        !speaks_sip && own_port(check, at.backend).is_none() && check.kind.tls() == service.tls.as_ref()
    };
    (is_led_to && !checks_of(service).iter().any(opens)).then(|| basic(service))
}

/// Names by number, and times on the wall clock.
#[derive(Debug)]
pub(super) struct SiteNames {
    clock: Clock,
    services: Vec<String>,
    backends: Vec<String>,
    checks: Vec<String>,
    nodes: Vec<String>,
}

impl SiteNames {
    fn new(clock: Clock) -> Self {
        Self { clock, services: Vec::new(), backends: Vec::new(), checks: Vec::new(), nodes: Vec::new() }
    }

    fn write(list: &[String], index: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(list.get(index).map_or("?", String::as_str))
    }
}

impl Names for SiteNames {
    fn service(&self, id: ServiceId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::write(&self.services, id.index(), f)
    }

    fn backend(&self, id: BackendId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::write(&self.backends, id.index(), f)
    }

    fn check(&self, id: CheckId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::write(&self.checks, id.index(), f)
    }

    fn instant(&self, at: Instant, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.clock.wall(at).fmt(f)
    }

    fn node(&self, id: NodeId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::write(&self.nodes, id.index(), f)
    }
}
