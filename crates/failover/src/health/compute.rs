//! The rules: from verdicts and node reports to a health, without memory.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::machine::ServiceHealth;
use super::reason::{Diagnosis, Fault, Reason, SideHealth, State, Status};
use super::topology::{BackendId, CheckId, Need, NodeId, ServiceId, Topology};
use crate::side::Side;
use crate::time::Instant;
use crate::verdict::{self, Report, Verdict};

/// The newest word of every check and every node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Facts {
    checks: Vec<Report>,
    nodes: Vec<Option<Word>>,
}

/// What a node says it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Word {
    pub(super) status: Status,
    /// When it said so last.
    pub(super) at: Instant,
    /// Since when it has said without a break that it serves, or that it does not.
    since: Instant,
}

impl Facts {
    pub(super) fn new(topology: &Topology, now: Instant) -> Self {
        Self { checks: vec![Report::not_probed(now); topology.checks.len()], nodes: vec![None; topology.nodes.len()] }
    }

    pub(super) fn verdict(&mut self, check: CheckId, report: Report) {
        if let Some(known) = self.checks.get_mut(check.index()) {
            *known = report;
        }
    }

    pub(super) fn report(&mut self, node: NodeId, status: Status, now: Instant) {
        if let Some(known) = self.nodes.get_mut(node.index()) {
            // `stopping`, `inactive` and `faulty` are one trouble: a node that goes from one to the next does not begin
            // a new one.
            let before = known.filter(|word| refuses(word.status) == refuses(status));
            *known = Some(Word { status, at: now, since: before.map_or(now, |word| word.since) });
        }
    }

    pub(super) fn forget_reports(&mut self, now: Instant, stale_after: Duration) {
        for known in &mut self.nodes {
            *known = known.filter(|word| now < word.at + stale_after);
        }
    }

    pub(super) fn oldest_report(&self) -> Option<Instant> {
        self.nodes.iter().flatten().map(|word| word.at).min()
    }

    pub(super) fn checks(&self) -> &[Report] {
        &self.checks
    }

    pub(super) fn nodes(&self) -> &[Option<Word>] {
        &self.nodes
    }
}

// The age is a fixed one: with that of the moment, a side of which nothing is required would be told anew at each
// event.
const NOTHING: Finding = Finding { state: State::Unknown, as_of: Instant::ORIGIN, trouble_since: Instant::ORIGIN };

/// A state with how fresh its evidence is and when its trouble began.
#[derive(Clone, Copy)]
struct Finding {
    state: State,
    as_of: Instant,
    trouble_since: Instant,
}

pub(super) fn service(topology: &Topology, facts: &Facts, id: ServiceId) -> ServiceHealth {
    let backends = topology.backends(id);
    let working = backends.iter().filter(|id| backend_finding(topology, facts, **id).state == State::Working).count();
    let state = service_finding(topology, facts, id).state;
    let reason = match state {
        State::Working => Reason::AllWork,
        State::NotWorking => down(topology, facts, &[id]),
        State::Unknown => not_known(topology, facts, id),
    };
    ServiceHealth { state, reason, working: count(working), backends: count(backends.len()) }
}

pub(super) fn side(topology: &Topology, facts: &Facts, side: Side, now: Instant) -> SideHealth {
    // The node's word comes before all checks: nginx and more still answer on a XiVO that is inactive, so that its
    // answers prove nothing.
    if let Some((node, Word { status, at, since })) = spoken(topology, facts, side, refuses) {
        let reason = Reason::NodeSays { node, status };
        return SideHealth { state: State::NotWorking, reason, since: now, as_of: at, trouble_since: since };
    }
    let services: Vec<ServiceId> = topology.required_services(side).collect();
    let finding = all(services.iter().map(|id| service_finding(topology, facts, *id)));
    let mut health = SideHealth {
        state: finding.state,
        reason: Reason::AllWork,
        since: now,
        as_of: finding.as_of,
        trouble_since: finding.trouble_since,
    };
    match finding.state {
        State::NotWorking => health.reason = down(topology, facts, &services),
        State::Unknown => health.reason = first_unknown(topology, facts, &services),
        // A node's word only takes away: `starting` makes a side that answers unknown, and never lifts one that does
        // not work.
        State::Working => {
            if let Some((node, Word { status, .. })) =
                spoken(topology, facts, side, |status| status == Status::Starting)
            {
                (health.state, health.reason) = (State::Unknown, Reason::NodeSays { node, status });
            }
        }
    }
    health
}

fn refuses(status: Status) -> bool {
    matches!(status, Status::Inactive | Status::Stopping | Status::Faulty)
}

/// Finds the first required node of a side that says such a thing.
fn spoken(topology: &Topology, facts: &Facts, side: Side, such: impl Fn(Status) -> bool) -> Option<(NodeId, Word)> {
    topology.nodes.iter().zip(&facts.nodes).zip(0..).find_map(|((node, known), number)| {
        let word = (*known)?;
        // A node that the side works without cannot say that the side does not.
        (node.side == side && node.need == Need::Required && such(word.status)).then_some((NodeId(number), word))
    })
}

fn service_finding(topology: &Topology, facts: &Facts, id: ServiceId) -> Finding {
    any(topology.backends(id).iter().map(|id| backend_finding(topology, facts, *id)))
}

fn backend_finding(topology: &Topology, facts: &Facts, id: BackendId) -> Finding {
    let checks = topology.checks_of(id).iter().map(|id| {
        let report = facts.checks[id.index()];
        let state = match report.verdict {
            Verdict::Unknown => State::Unknown,
            Verdict::Up => State::Working,
            Verdict::Down => State::NotWorking,
        };
        Finding { state, as_of: report.as_of, trouble_since: report.first_sign }
    });
    all(checks)
}

/// Works when all work; does not when one does not: the newest such proof counts, and its trouble began with the first.
fn all(findings: impl Iterator<Item = Finding>) -> Finding {
    findings.reduce(|a, b| join(a, b, State::NotWorking, State::Working)).unwrap_or(NOTHING)
}

/// Works when one works; does not when none does: the mirror image.
fn any(findings: impl Iterator<Item = Finding>) -> Finding {
    findings.reduce(|a, b| join(a, b, State::Working, State::NotWorking)).unwrap_or(NOTHING)
}

/// Joins two findings of which one in state `decides` is enough, and both must be in state `needs_all`.
///
/// Evidence that is enough by itself counts at its newest, evidence needed from all at its oldest; trouble began when
/// enough of it had come.
fn join(a: Finding, b: Finding, decides: State, needs_all: State) -> Finding {
    match (a.state == decides, b.state == decides) {
        (true, true) => {
            Finding { state: decides, as_of: a.as_of.max(b.as_of), trouble_since: a.trouble_since.min(b.trouble_since) }
        }
        (true, false) => a,
        (false, true) => b,
        (false, false) => {
            let state = if a.state == needs_all && b.state == needs_all { needs_all } else { State::Unknown };
            let trouble_since = a.trouble_since.max(b.trouble_since);
            Finding { state, as_of: a.as_of.min(b.as_of), trouble_since }
        }
    }
}

fn down(topology: &Topology, facts: &Facts, services: &[ServiceId]) -> Reason {
    let down: Vec<ServiceId> = services
        .iter()
        .copied()
        .filter(|id| service_finding(topology, facts, *id).state == State::NotWorking)
        .collect();
    match down.iter().find_map(|id| first_fault(topology, facts, *id)) {
        Some(fault) => Reason::Down {
            fault,
            others: count(down.len().saturating_sub(1)),
            diagnosis: diagnose(topology, facts, services, &down),
        },
        None => Reason::NothingToJudge,
    }
}

fn first_fault(topology: &Topology, facts: &Facts, service: ServiceId) -> Option<Fault> {
    checks_of(topology, service).find_map(|(backend, check)| {
        let report = facts.checks[check.index()];
        (report.verdict == Verdict::Down).then_some(Fault { service, backend, check, why: report.reason })
    })
}

fn diagnose(topology: &Topology, facts: &Facts, services: &[ServiceId], down: &[ServiceId]) -> Diagnosis {
    let failures = || {
        let checks = down.iter().flat_map(|id| checks_of(topology, *id));
        checks.filter_map(|(_, check)| match facts.checks[check.index()] {
            Report { verdict: Verdict::Down, reason: verdict::Reason::Failed { last, .. }, .. } => Some(last),
            _ => None,
        })
    };
    let up = || {
        down.iter()
            .flat_map(|id| checks_of(topology, *id))
            .any(|(_, id)| facts.checks[id.index()].verdict != Verdict::Down)
    };
    // The milder names come first: a damped switch leaves a side that is dead, and no other (E9), so that name needs
    // every required check to have failed without a word of the service.
    if failures().all(|failure| failure == verdict::Failure::Overloaded) {
        Diagnosis::Overloaded
    } else if failures().all(|failure| !failure.is_refusal() && !failure.is_silence()) {
        Diagnosis::Wrong
    } else if down.len() < services.len() || up() {
        Diagnosis::PartlyDown
    } else if failures().all(verdict::Failure::is_silence) {
        Diagnosis::UnreachableFromHere
    } else {
        Diagnosis::Dead
    }
}

fn first_unknown(topology: &Topology, facts: &Facts, services: &[ServiceId]) -> Reason {
    services
        .iter()
        .find(|id| service_finding(topology, facts, **id).state == State::Unknown)
        .map_or(Reason::NothingToJudge, |id| not_known(topology, facts, *id))
}

fn not_known(topology: &Topology, facts: &Facts, service: ServiceId) -> Reason {
    checks_of(topology, service).find(|(_, check)| facts.checks[check.index()].verdict == Verdict::Unknown).map_or(
        Reason::NothingToJudge,
        |(_, check)| Reason::NotKnown { service, check, why: facts.checks[check.index()].reason },
    )
}

fn checks_of(topology: &Topology, service: ServiceId) -> impl Iterator<Item = (BackendId, CheckId)> + '_ {
    let backends = topology.backends(service).iter();
    backends.flat_map(|backend| topology.checks_of(*backend).iter().map(|check| (*backend, *check)))
}

fn count(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
