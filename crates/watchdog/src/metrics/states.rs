//! Reads gauges off a status. A role has the series of what it does, no others.

use super::sheet::Sheet;
use crate::control::api::{DutyView, FenceState, Followed, IcmpSocket, Mode, StatusView, VoterView};
use failover::Side;
use failover::health::Status;
use prometheus::Result;
use protocol::wire::{Guard, Presence};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const STATUSES: [&str; 5] = ["active", "inactive", "starting", "stopping", "faulty"];

/// What is known before anything is shown.
pub(super) fn program(sheet: &Sheet, expires: Option<SystemTime>) -> Result<()> {
    let version = [(env!("CARGO_PKG_VERSION"), 1.0)];
    sheet.rows("bascule_watchdog_build_info", "1; the running program.", "version", version)?;
    let expires = expires.map(|at| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    let help = "When the node's certificate expires, since 1970.";
    sheet.number("bascule_watchdog_certificate_not_after_timestamp_seconds", help, expires)
}

/// What the node shows of itself.
pub(super) fn node(sheet: &Sheet, view: &StatusView, age: Duration) -> Result<()> {
    let side = view.side.map_or("", Side::name);
    let labels = ["role", "side", "name"];
    let who = [(vec![view.role.name(), side, view.name.as_str()], 1.0)];
    sheet.table("bascule_watchdog_node_info", "1; which node this is.", &labels, who)?;
    let help = "1: what the node does now.";
    sheet.states("bascule_watchdog_status", help, "status", &STATUSES, &view.status.to_string())?;
    let help = "Since when it has that status, since 1970.";
    let since = seconds(u64::try_from(view.since.unix_ms()).unwrap_or(0));
    sheet.number("bascule_watchdog_status_since_timestamp_seconds", help, Some(since))?;
    let help = "For how long the driver has not turned.";
    sheet.number("bascule_watchdog_loop_age_seconds", help, Some(age.as_secs_f64()))?;
    let help = "Alarms that last.";
    sheet.number("bascule_watchdog_alarms", help, Some(view.alarms.len() as f64))?;
    let help = "1: the service works.";
    let services = view.services.iter().map(|(name, service)| (name, f64::from(service.works)));
    sheet.rows("bascule_watchdog_service_works", help, "service", services)?;
    let help = "For how long a start or stop command has run.";
    let running = view.running.as_ref().map(|running| (running.what.as_str(), seconds(running.ms)));
    sheet.rows("bascule_watchdog_command_running_seconds", help, "command", running)?;
    let help = "1: the Edge can be told what the node does.";
    sheet.flag("bascule_watchdog_edge_connected", help, view.edge.as_ref().map(|edge| edge.connected))?;
    match (&view.duty, &view.follows, &view.presence) {
        (Some(duty), ..) => vote(sheet, duty),
        (_, Some(followed), _) => follows(sheet, followed),
        (.., Some(presence)) => registered(sheet, presence),
        _ => Ok(()),
    }
}

fn vote(sheet: &Sheet, duty: &DutyView) -> Result<()> {
    let count = |name, help, value: u64| sheet.number(name, help, Some(value as f64));
    count("bascule_watchdog_duty_epoch", "The highest duty epoch the node knows.", duty.epoch)?;
    count("bascule_watchdog_campaign", "The number of the node's newest attempt to serve.", duty.campaign)?;
    let flag = |name, help, value| sheet.flag(name, help, Some(value));
    flag("bascule_watchdog_fit", "1: the node can serve.", duty.fit)?;
    flag("bascule_watchdog_automatic", "1: the protocol decides; 0: an operator.", duty.mode == Mode::Automatic)?;
    flag("bascule_watchdog_frozen", "1: automatic starts and failback are forbidden.", duty.frozen)?;
    flag("bascule_watchdog_state_written", "1: the newest write of the vote reached the disk.", duty.persisted)?;
    let help = "1: the replication is held back, as the node does not serve.";
    sheet.flag("bascule_watchdog_replication_held", help, duty.replication_held)?;
    let help = "How long the lease lasts without a further grant; no series: no lease.";
    sheet.number("bascule_watchdog_lease_left_seconds", help, duty.lease_ms_left.map(seconds))?;
    let help = "The bound from the death of the serving host to a verified start here.";
    sheet.number("bascule_watchdog_takeover_bound_seconds", help, Some(seconds(duty.takeover_ms)))?;
    guarded(sheet, duty.guard.as_ref())?;
    voters(sheet, duty)?;
    let states = ["closed", "open", "failed", "absent"];
    sheet.states("bascule_watchdog_fence", "1: how the fence is.", "state", &states, fence(duty.fence.state))?;
    let servers = duty.media_servers.iter().map(|(name, server)| (name, f64::from(server.registered)));
    let help = "1: the node is verified to be registered with the media server.";
    sheet.rows("bascule_watchdog_registered", help, "mds", servers)?;
    let echo = [("peer", duty.icmp.peer), ("anchors", duty.icmp.anchors)];
    let echo = echo.into_iter().filter_map(|(target, answers)| Some((target, f64::from(answers?))));
    sheet.rows("bascule_watchdog_icmp_answers", "1: the host answers ICMP echo.", "target", echo)?;
    let socket = match duty.icmp.socket {
        IcmpSocket::Dgram => "dgram",
        IcmpSocket::Raw => "raw",
        IcmpSocket::None => "none",
    };
    let help = "1: the socket that ICMP echo uses.";
    sheet.states("bascule_watchdog_icmp_socket", help, "socket", &["dgram", "raw", "none"], socket)
}

fn guarded(sheet: &Sheet, guard: Option<&Guard>) -> Result<()> {
    let (now, lacks) = match guard {
        Some(Guard::Guarded) => ("guarded", None),
        Some(Guard::Exposed { lacks }) => ("exposed", Some(lacks.as_str())),
        Some(Guard::Unguarded { .. }) => ("unguarded", None),
        None => ("none", None),
    };
    let guards = ["guarded", "exposed", "unguarded", "none"];
    let help = "1: how the node is guarded while it serves; none: it does not.";
    sheet.states("bascule_watchdog_guard", help, "guard", &guards, now)?;
    let voters = ["peer", "witness"].map(|voter| (voter, f64::from(lacks == Some(voter))));
    sheet.rows("bascule_watchdog_vote_lacking", "1: the exposed node lacks this voter's vote.", "voter", voters)
}

fn voters(sheet: &Sheet, duty: &DutyView) -> Result<()> {
    let voters = || [("peer", Some(&duty.voters.peer)), ("witness", duty.voters.witness.as_ref())];
    let each = |read: fn(&VoterView) -> Option<f64>| {
        voters().into_iter().filter_map(move |(name, voter)| Some((name, voter.and_then(read)?)))
    };
    let connected = each(|voter| Some(f64::from(voter.link.connected)));
    sheet.rows("bascule_watchdog_voter_connected", "1: the connection to the voter is there.", "voter", connected)?;
    let help = "How old the voter's newest answer is; no series: it never answered.";
    let age = each(|voter| voter.answered_ms_ago.map(seconds));
    sheet.rows("bascule_watchdog_voter_answer_age_seconds", help, "voter", age)?;
    if let Some(status) = duty.voters.peer.status {
        heard(sheet, "bascule_watchdog_peer_status", "1: what the peer said last that it does.", status)?;
    }
    sheet.flag("bascule_watchdog_peer_fit", "1: the peer said last that it can serve.", duty.voters.peer.fit)
}

fn heard(sheet: &Sheet, name: &str, help: &str, status: Status) -> Result<()> {
    sheet.states(name, help, "status", &STATUSES, &status.to_string())
}

const fn fence(state: FenceState) -> &'static str {
    match state {
        FenceState::Closed => "closed",
        FenceState::Open => "open",
        FenceState::Failed => "failed",
        FenceState::Absent => "absent",
    }
}

fn follows(sheet: &Sheet, followed: &Followed) -> Result<()> {
    let help = "1: the connection to the XiVO that is followed is there.";
    sheet.flag("bascule_watchdog_followed_connected", help, Some(followed.link.connected))?;
    let help = "How long ago the XiVO that is followed was heard; no series: never.";
    sheet.number("bascule_watchdog_followed_heard_age_seconds", help, followed.heard_ms_ago.map(seconds))?;
    if let Some(status) = followed.status {
        let help = "1: what the XiVO that is followed said last that it does.";
        heard(sheet, "bascule_watchdog_followed_status", help, status)?;
    }
    Ok(())
}

fn registered(sheet: &Sheet, presence: &Presence) -> Result<()> {
    let sides = [("main", f64::from(presence.main)), ("standby", f64::from(presence.standby))];
    sheet.rows("bascule_watchdog_mds_presence", "1: that XiVO is registered here.", "side", sides)?;
    let help = "1: both XiVO have been registered here for longer than a hand-over takes.";
    sheet.flag("bascule_watchdog_mds_conflict", help, Some(presence.conflict))
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}
