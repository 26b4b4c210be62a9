//! What a site consists of: services, their backends, the checks of each backend, and the nodes that report.

use alloc::vec::Vec;
use core::fmt;

use crate::names::{Explain, Names, display_numbered};
use crate::side::Side;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u16);

        impl $name {
            /// Returns the number as an index into a table of the driver's own.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// The number of a service in its topology.
    ServiceId
);
id!(
    /// The number of a backend in its topology, across all services.
    BackendId
);
id!(
    /// The number of a check in its topology, across all backends.
    CheckId
);
id!(
    /// The number of a node in its topology.
    NodeId
);

/// Whose a service is: it moves with a side, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A service of one side: it works or fails with that.
    Of(Side),
    /// Both sides': it never moves, and never moves anybody.
    Shared,
}

/// Whether a side works without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// A side does not work without it.
    Required,
    /// Its health is shown and decides nothing.
    Optional,
}

/// The shape of a site. Built once; numbers are given in the order of the calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Topology {
    pub(super) services: Vec<Service>,
    pub(super) backends: Vec<Backend>,
    pub(super) checks: Vec<Check>,
    pub(super) nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Service {
    pub(super) scope: Scope,
    pub(super) need: Need,
    pub(super) backends: Vec<BackendId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Backend {
    pub(super) service: ServiceId,
    pub(super) checks: Vec<CheckId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Check {
    pub(super) backend: BackendId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) side: Side,
    pub(super) need: Need,
}

impl Topology {
    /// Makes an empty topology, to be filled before it is watched.
    pub const fn new() -> Self {
        Self { services: Vec::new(), backends: Vec::new(), checks: Vec::new(), nodes: Vec::new() }
    }

    /// Adds a service without checks; until it has some, nothing is known of it.
    pub fn service(&mut self, scope: Scope, need: Need) -> ServiceId {
        self.services.push(Service { scope, need, backends: Vec::new() });
        ServiceId(last(self.services.len()))
    }

    /// Adds a backend to a service.
    ///
    /// # Panics
    /// Panics when the service is of another topology.
    pub fn backend(&mut self, service: ServiceId) -> BackendId {
        self.backends.push(Backend { service, checks: Vec::new() });
        let id = BackendId(last(self.backends.len()));
        self.services[service.index()].backends.push(id);
        id
    }

    /// Adds a check to a backend.
    ///
    /// # Panics
    /// Panics when the backend is of another topology.
    pub fn check(&mut self, backend: BackendId) -> CheckId {
        self.checks.push(Check { backend });
        let id = CheckId(last(self.checks.len()));
        self.backends[backend.index()].checks.push(id);
        id
    }

    /// Adds a node that may report its status. Without a report it changes nothing.
    pub fn node(&mut self, side: Side, need: Need) -> NodeId {
        self.nodes.push(Node { side, need });
        NodeId(last(self.nodes.len()))
    }

    /// Returns all services in the order they were added.
    pub fn services(&self) -> impl Iterator<Item = ServiceId> + use<> {
        numbers(self.services.len()).map(ServiceId)
    }

    /// Returns all checks in the order they were added.
    pub fn checks(&self) -> impl Iterator<Item = CheckId> + use<> {
        numbers(self.checks.len()).map(CheckId)
    }

    /// Returns the checks of a side's required services: those to probe again when its health is in doubt.
    pub fn required_checks(&self, side: Side) -> impl Iterator<Item = CheckId> + '_ {
        self.checks().filter(move |check| {
            let service = &self.services[self.service_of(*check).index()];
            service.scope == Scope::Of(side) && service.need == Need::Required
        })
    }

    /// Returns whose a service is.
    pub fn scope(&self, service: ServiceId) -> Option<Scope> {
        self.services.get(service.index()).map(|service| service.scope)
    }

    /// Returns the backends of a service.
    pub fn backends(&self, service: ServiceId) -> &[BackendId] {
        self.services.get(service.index()).map_or(&[], |service| &service.backends)
    }

    /// Returns the checks of a backend.
    pub fn checks_of(&self, backend: BackendId) -> &[CheckId] {
        self.backends.get(backend.index()).map_or(&[], |backend| &backend.checks)
    }

    /// Returns everything that keeps this topology from ever being judged.
    pub fn flaws(&self) -> Vec<Flaw> {
        let sides = Side::BOTH.into_iter().filter(|side| self.required_checks(*side).next().is_none());
        let services = self.services().filter(|id| self.backends(*id).is_empty());
        let backends = numbers(self.backends.len()).map(BackendId).filter(|id| self.checks_of(*id).is_empty());
        sides
            .map(Flaw::NothingRequired)
            .chain(services.map(Flaw::NoBackend))
            .chain(backends.map(Flaw::NoCheck))
            .collect()
    }

    pub(super) fn service_of(&self, check: CheckId) -> ServiceId {
        self.backends[self.checks[check.index()].backend.index()].service
    }

    pub(super) fn required_services(&self, side: Side) -> impl Iterator<Item = ServiceId> + '_ {
        self.services().filter(move |id| {
            let service = &self.services[id.index()];
            service.scope == Scope::Of(side) && service.need == Need::Required
        })
    }
}

/// The number of the last of `count` things. A site has dozens, far from the limit of the type.
fn last(count: usize) -> u16 {
    u16::try_from(count - 1).unwrap_or(u16::MAX)
}

fn numbers(count: usize) -> core::ops::Range<u16> {
    0..u16::try_from(count).unwrap_or(u16::MAX)
}

/// Something that keeps a topology from ever being judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// A side has no check of a required service, so that it never works.
    NothingRequired(Side),
    /// A service has no backend.
    NoBackend(ServiceId),
    /// A backend has no check.
    NoCheck(BackendId),
}

impl Explain for Flaw {
    fn explain(&self, names: &dyn Names, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NothingRequired(side) => {
                write!(f, "{side} has no required service with a check: it would never work")
            }
            Self::NoBackend(service) => {
                names.service(service, f)?;
                f.write_str(" has no backend: it would never work")
            }
            Self::NoCheck(backend) => {
                names.backend(backend, f)?;
                f.write_str(" has no check: nobody would know whether it works")
            }
        }
    }
}

display_numbered!(Flaw);
