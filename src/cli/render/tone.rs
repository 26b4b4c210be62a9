//! How loud each part of the status is: red is what users feel or what may tear telephony in two, yellow is what leaves less
//! to fall back on, and a Standby that rests as it should is neither.

use failover::Side;
use failover::health::{State, Status as Does};
use failover::verdict::Verdict;
use protocol::wire::{Guard, Role};

use crate::admin::api::{BackendStatus, NodeStatus, ServiceStatus, Status};

/// How loud something is, the loudest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tone {
    /// It does its work.
    Good,
    /// It does nothing, and need not.
    Calm,
    /// Somebody should look, in the morning.
    Odd,
    /// Somebody must look now.
    Bad,
}

/// Words by which an alarm is loud: users or calls are hurt while it lasts.
const LOUD: [&str; 6] =
    ["TWO ACTIVES", "TWO MACHINES", "UNGUARDED", "CONFLICT", "EXPIRED", "nobody is granted the vote"];

/// How loud an alarm is: by the words that stand in it.
pub(super) fn of_alarm(alarm: &str) -> Tone {
    if LOUD.iter().any(|word| alarm.contains(word)) { Tone::Bad } else { Tone::Odd }
}

/// How loud the first line is, which stands for the whole.
pub(super) fn of_site(status: &Status) -> Tone {
    let live = of_side(status, status.live);
    let held = status.frozen.is_some()
        || status.damped
        || status.observe
        || status.doubt.is_some()
        || status.draining
        || !status.maintenance.is_empty();
    let alarms = status.alarms.iter().map(|alarm| of_alarm(alarm)).max().unwrap_or(Tone::Good);
    // One that rests as it should makes no site less well.
    let nodes = status.nodes.iter().map(|node| of_node(status, node)).filter(|tone| *tone != Tone::Calm).max();
    let nodes = nodes.unwrap_or(Tone::Good);
    let held = if held { Tone::Odd } else { Tone::Good };
    live.max(held).max(alarms).max(nodes)
}

/// How loud a side's row is.
pub(super) fn of_side(status: &Status, side: Side) -> Tone {
    match status.sides.of(side).health {
        State::Working => Tone::Good,
        State::Unknown => Tone::Odd,
        State::NotWorking if is_outage(status) => Tone::Bad,
        // As it should be while the other serves: a screen that is yellow every day is not looked at.
        State::NotWorking if rests(status, side) => Tone::Calm,
        // Alone, the Edge cannot tell a Standby that rests from one that is gone.
        State::NotWorking => Tone::Odd,
    }
}

/// Whether a side does not work because its node says that it is not meant to, while the other serves.
pub(super) fn rests(status: &Status, side: Side) -> bool {
    side != status.live
        && !is_outage(status)
        && xivo(status).any(|node| node.side == Some(side) && node.fresh && node.report.status == Does::Inactive)
}

/// How loud a backend's row is.
pub(super) fn of_backend(status: &Status, service: &ServiceStatus, backend: &BackendStatus) -> Tone {
    match (backend.verdict, service.side) {
        (Verdict::Up, _) => Tone::Good,
        (Verdict::Unknown, _) => Tone::Odd,
        // Nobody uses it: it is as loud as its side, no louder.
        (Verdict::Down, Some(side)) if side != status.live => of_side(status, side).max(Tone::Calm),
        (Verdict::Down, _) => Tone::Bad,
    }
}

/// How loud a node's row is.
pub(super) fn of_node(status: &Status, node: &NodeStatus) -> Tone {
    // Odd and not bad: a node that is silent may serve as well as ever.
    if !node.fresh {
        return Tone::Odd;
    }
    if node.report.failed_starts.is_some() {
        return Tone::Bad;
    }
    let vote = node.report.vote.as_ref();
    let serving = || xivo(status).filter(|node| node.fresh && node.report.status == Does::Active).count();
    match (node.report.status, node.role) {
        (Does::Faulty, _) => Tone::Bad,
        (Does::Starting | Does::Stopping, _) => Tone::Odd,
        (Does::Active, Role::Xivo) if serving() > 1 => Tone::Bad,
        (Does::Active, _) => match vote.and_then(|vote| vote.guard.as_ref()) {
            Some(Guard::Unguarded { .. }) => Tone::Bad,
            Some(Guard::Exposed { .. }) => Tone::Odd,
            Some(Guard::Guarded) | None => Tone::Good,
        },
        // By itself it rests; with nobody who serves there is no telephony.
        (Does::Inactive, Role::Xivo) if serving() == 0 => Tone::Bad,
        (Does::Inactive, _) if vote.is_some_and(|vote| !vote.fit || vote.frozen) => Tone::Odd,
        (Does::Inactive, _) => Tone::Calm,
    }
}

/// Users get the waiting page, or what still works of an ill side.
fn is_outage(status: &Status) -> bool {
    status.sides.of(status.live).health == State::NotWorking
}

fn xivo(status: &Status) -> impl Iterator<Item = &NodeStatus> {
    status.nodes.iter().filter(|node| node.role == Role::Xivo)
}

#[cfg(test)]
mod tests;
