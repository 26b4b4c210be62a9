//! Services: who serves what on which side, and how it is spoken to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use http::header::HeaderValue;
use settings::{Findings, KeyPath, nearest, quoted};

use super::super::file::{BackendsFile, File, Named, Scheme, ServiceFile, Short, SidesFile};
use super::super::load::Files;
use super::super::{Backend, HostHeader, Place, Service, UpstreamTls, address, defaults};
use super::{checks, item, tls};

/// In `services`, settings of every media server.
const MDS: &str = "mds";

/// More backends than a site has, and fewer than the balancer and the machines have numbers for.
const MOST_BACKENDS: usize = 1024;

/// Checks of all backends together: each is asked once in `probe.interval`.
const MOST_CHECKS: usize = 4096;

/// Shares among siblings, as HAProxy's: the balancer keeps an entry for each share.
const MOST_SHARES: u16 = 256;

/// How a service is spoken to.
pub(super) struct Spoken {
    pub(super) scheme: Scheme,
    /// Also of a plain service: a check of it may use TLS. None: an error was noted.
    pub(super) tls: Option<UpstreamTls>,
    pub(super) host: Option<HostHeader>,
    pub(super) fqdn: Option<String>,
}

impl Spoken {
    /// `Host` of its requests, as text.
    pub(super) fn host_name(&self) -> Option<String> {
        match &self.host {
            Some(HostHeader::Fixed(name)) => name.to_str().ok().map(str::to_owned),
            Some(HostHeader::Fqdn) | None => self.fqdn.clone(),
        }
    }
}

/// Services of the sides in the order of Main, then the shared ones, then the media servers.
pub(super) fn resolve(
    user: &File,
    beneath: &File,
    fqdn: Option<&str>,
    files: &dyn Files,
    findings: &mut Findings,
) -> Vec<Service> {
    // Before anything is resolved: a file of 65,536 backends is refused, not worked through.
    if refuse_crowds(user, findings) {
        return Vec::new();
    }
    let written = written(user, findings);
    let known: Vec<&str> = written.iter().map(|service| service.name.as_str()).collect();
    refuse_settings_of_nothing(user, &known, findings);
    let required = required(user, beneath, &written, findings);
    let upstream_tls =
        tls::resolve(&user.upstream_tls.clone().unwrap_or_default(), &KeyPath::top("upstream_tls"), files, findings);
    let site = Site { user, beneath, fqdn, upstream_tls, files };
    let services: Vec<Service> =
        written.iter().map(|service| site.service(service, required.contains(&service.name), findings)).collect();
    let checks: usize = services.iter().map(|service| service.checks.len() * count(&service.place)).sum();
    if checks > MOST_CHECKS {
        let found = format!("{checks} checks of backends are more than {MOST_CHECKS}");
        findings.error(&KeyPath::top("services"), found, "write fewer checks for each service");
    }
    services
}

fn count(place: &Place) -> usize {
    match place {
        Place::Sides { main, standby } => main.len() + standby.len(),
        Place::Shared(backends) => backends.len(),
    }
}

/// Whether there are more backends than anybody has: they are not looked at one by one.
fn refuse_crowds(user: &File, findings: &mut Findings) -> bool {
    let sides = user.sides.iter().flat_map(|sides| [&sides.main, &sides.standby]).flatten().flat_map(|side| &side.0);
    let shared = user.shared.iter().flat_map(|shared| {
        let media_servers = shared.mds.iter().flat_map(|mds| &mds.0);
        shared.services.0.iter().chain(media_servers)
    });
    let backends: usize = sides.chain(shared).map(|(_, backends)| backends.0.len().max(1)).sum();
    let crowded = backends > MOST_BACKENDS;
    if crowded {
        let found = format!("{backends} backends, shared ones among them, are more than {MOST_BACKENDS}");
        findings.error(&KeyPath::top("sides"), found, "write fewer");
    }
    crowded
}

/// A service as the file lists it.
struct Written<'a> {
    name: String,
    /// Each with the key it stands at.
    main: Option<(KeyPath, &'a BackendsFile)>,
    standby: Option<(KeyPath, &'a BackendsFile)>,
    shared: Option<(KeyPath, &'a BackendsFile)>,
}

impl Written<'_> {
    fn places(&self) -> impl Iterator<Item = &(KeyPath, &BackendsFile)> {
        self.main.iter().chain(&self.standby).chain(&self.shared)
    }
}

fn written<'a>(user: &'a File, findings: &mut Findings) -> Vec<Written<'a>> {
    let mut services = side_services(user.sides.as_ref(), findings);
    let at = KeyPath::top("shared");
    for (name, backends) in user.shared.iter().flat_map(|shared| &shared.services.0) {
        let at = at.key(name);
        refuse_odd_name(name, &at, findings);
        // One name is one service: routes, checks and metrics could not tell the two apart.
        if services.iter().any(|known| known.name == *name) {
            findings.error(&at, "is a service of the sides, too", "keep one of the two");
        } else {
            services.push(Written { name: name.clone(), main: None, standby: None, shared: Some((at, backends)) });
        }
    }
    for (name, backends) in user.shared.iter().filter_map(|shared| shared.mds.as_ref()).flat_map(|mds| &mds.0) {
        let at = at.key(MDS).key(name);
        refuse_odd_name(name, &at, findings);
        services.push(Written {
            name: format!("{MDS}.{name}"),
            main: None,
            standby: None,
            shared: Some((at, backends)),
        });
    }
    services
}

fn side_services<'a>(sides: Option<&'a SidesFile>, findings: &mut Findings) -> Vec<Written<'a>> {
    const REMEDY: &str = "write both sides with their services, such as `main: { cc: 10.0.0.21, xivo: 10.0.0.11 }`";
    let at = KeyPath::top("sides");
    let Some(sides) = sides else {
        findings.missing(&at, "is missing", REMEDY);
        return Vec::new();
    };
    let mut services: Vec<Written<'a>> = Vec::new();
    for (side, here) in [("main", &sides.main), ("standby", &sides.standby)] {
        let at = at.key(side);
        let empty = here.as_ref().is_none_or(|here| here.0.is_empty());
        if empty {
            findings.missing(&at, "has no services", REMEDY);
        }
        for (name, backends) in here.iter().flat_map(|here| &here.0) {
            let at = at.key(name);
            refuse_odd_name(name, &at, findings);
            let index = services.iter().position(|known| known.name == *name).unwrap_or_else(|| {
                services.push(Written { name: name.clone(), main: None, standby: None, shared: None });
                services.len() - 1
            });
            let place = if side == "main" { &mut services[index].main } else { &mut services[index].standby };
            *place = Some((at, backends));
        }
    }
    services
}

fn refuse_odd_name(name: &str, at: &KeyPath, findings: &mut Findings) {
    if !is_plain_name(name) {
        findings.error(at, format!("{} is no plain name", quoted(name)), "write letters, digits, - and _");
    // In `services` it stands for all media servers: a service of that name could have no settings of its own.
    } else if name == MDS && !at.to_string().starts_with("shared.mds") {
        findings.error(at, "is the word for media servers", "write `shared: { mds: { NAME: ADDRESS } }`");
    }
}

/// Whether `name` fits logs, metrics and key paths as it is.
pub(super) fn is_plain_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn refuse_settings_of_nothing(user: &File, known: &[&str], findings: &mut Findings) {
    let at = KeyPath::top("services");
    let any_mds = known.iter().any(|name| name.starts_with("mds."));
    // A name that is mistyped would be settings that nobody reads: the service would be checked as if nothing were
    // written.
    for name in user.services.iter().flat_map(Named::names) {
        if known.contains(&name) || name == MDS && any_mds {
            continue;
        }
        let remedy = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => "give it an address under sides or shared, or remove it here".to_owned(),
        };
        findings.error(&at.key(name), "is a service neither of the sides nor shared", remedy);
    }
}

/// Names of the required services; a side that lacks one is an error, a side that lacks another a warning.
fn required(user: &File, beneath: &File, services: &[Written<'_>], findings: &mut Findings) -> Vec<String> {
    let at = KeyPath::top("required");
    let of_sides = || services.iter().filter(|service| service.shared.is_none());
    let required = match (&user.required, &beneath.required) {
        (Some(list), _) | (None, Some(list)) => list.0.clone(),
        // Without a list all of them count: a side that lacks one of its services does not work, as far as anybody
        // knows.
        (None, None) => of_sides().map(|service| service.name.clone()).collect(),
    };
    if user.required.is_some() && required.is_empty() {
        findings.error(&at, "the list is empty", "name at least one service, or no side can ever fail");
    }
    for (index, name) in required.iter().enumerate() {
        match services.iter().find(|service| service.name == *name) {
            Some(service) if service.shared.is_some() => {
                let at = item(&at, index, findings);
                findings.error(
                    &at,
                    format!("{} is shared by both sides", quoted(name)),
                    "name services of the sides: a shared one moves nobody",
                );
            }
            None if user.required.is_some() && !of_sides().any(|service| service.name == *name) => {
                let near = nearest(name, of_sides().map(|service| service.name.as_str()))
                    .map(|near| format!("did you mean {near}? "));
                let at = item(&at, index, findings);
                let remedy = format!("{}name services of the sides", near.unwrap_or_default());
                findings.error(&at, format!("{} is no service of the sides", quoted(name)), remedy);
            }
            // The preset asks for it and neither side has it: told of both, with the way out.
            None => lacking(name, None, true, findings),
            Some(_) => {}
        }
    }
    for service in of_sides() {
        lacking(&service.name, Some(service), required.contains(&service.name), findings);
    }
    required
}

fn lacking(name: &str, service: Option<&Written<'_>>, required: bool, findings: &mut Findings) {
    let places =
        [("main", service.and_then(|s| s.main.as_ref())), ("standby", service.and_then(|s| s.standby.as_ref()))];
    for (side, _) in places.iter().filter(|(_, place)| place.is_none()) {
        let at = KeyPath::top("sides").key(side).key(name);
        if required {
            findings.missing(
                &at,
                "is missing, but required",
                format!("write its address, or take {name} out of required"),
            );
        } else if !findings.is_reported(&at) {
            findings.warn(&at, "is missing: its routes fail while this side is live", "write its address");
        }
    }
}

/// What every service is resolved with.
struct Site<'a> {
    user: &'a File,
    beneath: &'a File,
    fqdn: Option<&'a str>,
    upstream_tls: Option<UpstreamTls>,
    files: &'a dyn Files,
}

impl Site<'_> {
    fn service(&self, written: &Written<'_>, required: bool, findings: &mut Findings) -> Service {
        let name = written.name.as_str();
        let own = settings(self.user, name);
        let preset = settings(self.beneath, name);
        let at = self.settings_at(name);
        let scheme = scheme(written, &own, &preset, &at, findings);
        // The preset's port belongs to the preset's scheme: 443 must not stay with a service that was made plain.
        let ports = Ports { own: own.port, preset: preset.port.filter(|_| preset.scheme == Some(scheme)) };
        if own.port == Some(0) {
            findings.error(&at.key("port"), "0 is no port", "write a port from 1 to 65535");
        }
        let settings = own.over(preset);
        let tls = match &settings.tls {
            Some(tls) => tls::resolve(tls, &at.key("tls"), self.files, findings),
            None => self.upstream_tls.clone(),
        };
        let host = match settings.host.as_deref() {
            None | Some("fqdn") => Some(HostHeader::Fqdn),
            Some(name) => authority(name, &at.key("host"), findings).map(HostHeader::Fixed),
        };
        let spoken = Spoken { scheme, tls, host, fqdn: self.fqdn.map(str::to_owned) };
        let checks =
            settings.checks.map(|list| checks::resolve(list, &spoken, &at.key("checks"), findings)).unwrap_or_default();
        Service {
            name: written.name.clone(),
            place: place(written, scheme, &ports, findings),
            required,
            // Kept until here, as a check may use TLS though the service does not.
            tls: spoken.tls.filter(|_| scheme == Scheme::Https),
            host: spoken.host.unwrap_or(HostHeader::Fqdn),
            checks,
        }
    }

    /// Where the settings of `name` stand: its own, or those of every media server.
    fn settings_at(&self, name: &str) -> KeyPath {
        let at = KeyPath::top("services");
        let own = self.user.services.as_ref().is_some_and(|services| services.named(name).is_some());
        if !own && name.starts_with("mds.") { at.key(MDS) } else { at.key(name) }
    }
}

fn settings(file: &File, name: &str) -> ServiceFile {
    let of = |name: &str| file.services.as_ref().and_then(|services| services.named(name)).cloned().unwrap_or_default();
    // A media server's own settings first, then those of all of them.
    if name.starts_with("mds.") { of(name).over(of(MDS)) } else { of(name) }
}

/// A service has one scheme: the one its addresses say, else the one of its settings, else https.
fn scheme(
    written: &Written<'_>,
    own: &ServiceFile,
    preset: &ServiceFile,
    at: &KeyPath,
    findings: &mut Findings,
) -> Scheme {
    let mut said: Option<(Scheme, String)> = own.scheme.map(|scheme| (scheme, at.key("scheme").to_string()));
    for (at, backends) in written.places() {
        for (index, Short(backend)) in backends.0.iter().enumerate() {
            let here = backend
                .address
                .as_deref()
                .and_then(|text| address::upstream(text).ok())
                .and_then(|address| address.scheme);
            match (here, &said) {
                (Some(here), None) => said = Some((here, item(at, index, findings).to_string())),
                // Pool, checks and trust are of a service: a backend that speaks otherwise could never be up beside its
                // siblings.
                (Some(here), Some((first, place))) if here != *first => {
                    let at = item(at, index, findings);
                    findings.error(
                        &at,
                        format!("says another scheme than {place}"),
                        "use one scheme for all backends of a service",
                    );
                }
                _ => {}
            }
        }
    }
    said.map(|(scheme, _)| scheme).or(preset.scheme).unwrap_or(Scheme::Https)
}

/// Ports of addresses that have none.
struct Ports {
    own: Option<u16>,
    preset: Option<u16>,
}

impl Ports {
    /// A URL without port means the port of its scheme, whatever the preset says.
    fn of(&self, address: &address::Written, scheme: Scheme) -> u16 {
        let preset = self.preset.filter(|_| address.scheme.is_none());
        address.port.or(self.own).or(preset).unwrap_or(match scheme {
            Scheme::Https => 443,
            Scheme::Http => 80,
        })
    }
}

fn place(written: &Written<'_>, scheme: Scheme, ports: &Ports, findings: &mut Findings) -> Place {
    let mut of = |place: &Option<(KeyPath, &BackendsFile)>| match place {
        Some((at, list)) => backends(list, at, scheme, ports, findings),
        None => Vec::new(),
    };
    if written.shared.is_some() {
        return Place::Shared(of(&written.shared));
    }
    let (main, standby) = (of(&written.main), of(&written.standby));
    if let (Some(both), Some((at, _))) =
        (standby.iter().find(|b| main.iter().any(|m| m.address == b.address)), &written.standby)
    {
        findings.warn(
            at,
            format!("{} serves Main, too", both.address),
            "write Standby's own address: a switch would not leave a dead host",
        );
    }
    Place::Sides { main, standby }
}

fn backends(list: &BackendsFile, at: &KeyPath, scheme: Scheme, ports: &Ports, findings: &mut Findings) -> Vec<Backend> {
    if list.0.is_empty() {
        findings.error(at, "the list is empty", "write an address, or remove the line");
    }
    let mut seen: HashMap<SocketAddr, usize> = HashMap::new();
    let mut backends = Vec::new();
    for (index, Short(backend)) in list.0.iter().enumerate() {
        let at = item(at, index, findings);
        let Some(text) = &backend.address else {
            findings.missing(&at.key("address"), "is missing", "write the address of the backend");
            continue;
        };
        // The line to mend is the value's, in the short form and in the long one.
        let address_at = if findings.tree().has(&at.key("address")) { at.key("address") } else { at.clone() };
        let address = match address::upstream(text) {
            Ok(address) => address,
            Err((message, remedy)) => {
                findings.error(&address_at, message, remedy);
                continue;
            }
        };
        let weight = backend.weight.unwrap_or(defaults::WEIGHT);
        if weight > MOST_SHARES {
            let remedy = format!("write at most {MOST_SHARES}: only the relation to its siblings counts");
            findings.error(&at.key("weight"), format!("{weight} shares are too many"), remedy);
        }
        let Some(weight) = NonZeroUsize::new(weight.into()) else {
            findings.error(&at.key("weight"), "0 is no share", "write at least 1, or remove the backend");
            continue;
        };
        if backend.name.as_deref().is_some_and(|name| authority(name, &at.key("name"), findings).is_none()) {
            continue;
        }
        let socket = SocketAddr::new(address.ip, ports.of(&address, scheme));
        // Twice the same address is one host with twice the share, and `weight` says that better.
        if seen.insert(socket, index).is_some() {
            findings.error(
                &address_at,
                format!("{socket} is in the list already"),
                "keep one of the two; a weight gives it a larger share",
            );
            continue;
        }
        backends.push(Backend { address: socket, name: backend.name.clone().unwrap_or(address.authority), weight });
    }
    backends
}

/// A host, with or without port, as a header value.
pub(super) fn authority(text: &str, at: &KeyPath, findings: &mut Findings) -> Option<HeaderValue> {
    let parsed = text.parse::<http::uri::Authority>().ok().filter(|authority| {
        let host = authority.host();
        let port_is_well = text.len() == host.len() || authority.port_u16().is_some_and(|port| port > 0);
        port_is_well
            && (address::is_hostname(host) || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok())
    });
    if parsed.is_none() {
        findings.error(
            at,
            format!("{} is no host", quoted(text)),
            "write a name such as cc.example.org, with :port if it has one",
        );
    }
    parsed.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
}
