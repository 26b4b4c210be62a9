//! The machine that keeps the newest verdicts and reports, and tells what changed.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::compute::{self, Facts};
use super::reason::{Reason, SideHealth, State, Status};
use super::topology::{CheckId, NodeId, ServiceId, Topology};
use crate::names::{Explain, Names, display_numbered};
use crate::side::{PerSide, Side};
use crate::time::Instant;
use crate::verdict::Report;

/// Keeps the health of every service and of both sides.
///
/// ```text
///   checks                  backend                 service                  side
///   all up        ------->  works       one ------> works        all req.-> works
///   one down      ------->  not         all ------> not          one req.-> not
///   else          ------->  unknown     else -----> unknown      else ----> unknown
///                                                                  ^
///   node says inactive, stopping, faulty ------------ not ---------+
///   node says starting: a working side is unknown; no report, or an old one: the probes decide alone
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Health {
    topology: Topology,
    report_stale_after: Duration,
    now: Instant,
    facts: Facts,
    services: Vec<ServiceHealth>,
    sides: PerSide<SideHealth>,
}

/// What happens to a [`Health`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The deadline passed, or the driver woke up for any other reason.
    Timer,
    /// A judge's verdict changed or was confirmed.
    Verdict {
        /// The check whose verdict this is.
        check: CheckId,
        /// What the judge says of it now.
        report: Report,
    },
    /// A node reported its status.
    Node {
        /// The node that the word is about.
        node: NodeId,
        /// What it says it does.
        status: Status,
    },
}

/// What a [`Health`] tells its driver, for switch, journal and status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// A service began or ceased to work, or to be known.
    ServiceChanged {
        /// By its number in the topology: a shared one once, another once for each side.
        service: ServiceId,
        /// What it was before this evidence.
        from: State,
        /// What it is now, with the reason.
        health: ServiceHealth,
    },
    /// A side's state, or the name of its illness, changed.
    SideChanged {
        /// Both are judged, live or not: a switch asks for the other one at once.
        side: Side,
        /// What it was before, reason included.
        from: SideHealth,
        /// What it is now, with the reason.
        health: SideHealth,
    },
    /// Newer evidence supports the same state of a side; for `switch`, not for people.
    SideConfirmed {
        /// The side whose reason changed, though not its state.
        side: Side,
        /// The state as before, the reason anew.
        health: SideHealth,
    },
}

impl Explain for Output {
    fn explain(&self, names: &dyn Names, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceChanged { service, health, .. } => {
                names.service(*service, f)?;
                write!(f, " is {}: ", health.state)?;
                health.reason.explain(names, f)
            }
            Self::SideChanged { side, health, .. } | Self::SideConfirmed { side, health } => {
                write!(f, "{side} ")?;
                health.explain(names, f)
            }
        }
    }
}

display_numbered!(Output);

/// The health of a service with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceHealth {
    /// Whether it works, as far as anybody can tell.
    pub state: State,
    /// What decides, worded for people: the first of it, and how many more there are.
    pub reason: Reason,
    /// How many of its backends work.
    pub working: u16,
    /// How many backends it has.
    pub backends: u16,
}

impl Health {
    /// Makes the health of a site of which nothing is known. A node's report counts for `report_stale_after`.
    pub fn new(topology: Topology, report_stale_after: Duration, now: Instant) -> Self {
        let facts = Facts::new(&topology, now);
        let unknown = SideHealth::unknown(now);
        let mut health = Self {
            services: Vec::new(),
            sides: PerSide { main: unknown, standby: unknown },
            topology,
            report_stale_after,
            now,
            facts,
        };
        health.services =
            health.topology.services().map(|id| compute::service(&health.topology, &health.facts, id)).collect();
        for side in Side::BOTH {
            health.sides[side] = compute::side(&health.topology, &health.facts, side, now);
        }
        health
    }

    /// Takes in what happened and tells what changed. Events of checks and nodes outside the topology are ignored.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Output> {
        self.now = self.now.max(now);
        match event {
            Event::Timer => {}
            Event::Verdict { check, report } => self.facts.verdict(check, report),
            Event::Node { node, status } => self.facts.report(node, status, self.now),
        }
        // Reports go stale after the event is taken in, so that the word that has just come is never one of them.
        self.facts.forget_reports(self.now, self.report_stale_after);
        let mut outputs = Vec::new();
        self.update_services(&mut outputs);
        for side in Side::BOTH {
            self.update_side(side, &mut outputs);
        }
        outputs
    }

    /// Returns when to call [`Event::Timer`]: when the oldest node report goes stale. May change with each call of
    /// [`Health::handle`].
    pub fn deadline(&self) -> Option<Instant> {
        self.facts.oldest_report().map(|at| at + self.report_stale_after)
    }

    /// Returns a side's health as of the last event.
    pub const fn side(&self, side: Side) -> &SideHealth {
        match side {
            Side::Main => &self.sides.main,
            Side::Standby => &self.sides.standby,
        }
    }

    /// Returns a service's health; none for one that is not of this topology.
    pub fn service(&self, service: ServiceId) -> Option<&ServiceHealth> {
        self.services.get(service.index())
    }

    /// Returns the newest report of a check.
    pub fn check(&self, check: CheckId) -> Option<&Report> {
        self.facts.checks().get(check.index())
    }

    /// Returns what a node says it does, and when it said so; none without a fresh report.
    pub fn node(&self, node: NodeId) -> Option<(Status, Instant)> {
        self.facts.nodes().get(node.index()).copied().flatten().map(|word| (word.status, word.at))
    }

    /// Returns the site's shape, which never changes in one machine's life.
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    fn update_services(&mut self, outputs: &mut Vec<Output>) {
        for service in self.topology.services() {
            let health = compute::service(&self.topology, &self.facts, service);
            let before = core::mem::replace(&mut self.services[service.index()], health);
            if before.state != health.state {
                outputs.push(Output::ServiceChanged { service, from: before.state, health });
            }
        }
    }

    fn update_side(&mut self, side: Side, outputs: &mut Vec<Output>) {
        let from = self.sides[side];
        let mut health = compute::side(&self.topology, &self.facts, side, self.now);
        if health.state == from.state {
            health.since = from.since;
            // A refusal that a node repeats is no new trouble: the other side would always have answered before it.
            if let (Reason::NodeSays { .. }, Reason::NodeSays { .. }) = (&from.reason, &health.reason) {
                health.trouble_since = from.trouble_since;
            }
        }
        self.sides[side] = health;
        if (health.state, health.diagnosis()) != (from.state, from.diagnosis()) {
            outputs.push(Output::SideChanged { side, from, health });
        } else if health != from {
            outputs.push(Output::SideConfirmed { side, health });
        }
    }
}
