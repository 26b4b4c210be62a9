//! The nodes and the vote on the status screen.

use std::fmt::Write as _;

use daemon::visible;
use failover::Side;
use failover::health::Status as Does;
use protocol::wire::{Guard, Role};

use super::{Paint, Table, minute, span, tone};
use crate::admin::api::{NodeStatus, Status, SwitchoverState, SwitchoverStatus, Time};

/// Rows of nodes on the screen; a site has five to ten.
const MOST_NODES: usize = 12;

/// Nothing for an Edge alone.
pub(super) fn nodes(status: &Status, paint: Paint, text: &mut String) {
    let Some(witness) = &status.witness else { return };
    text.push('\n');
    if status.nodes.is_empty() {
        text.push_str("  no node has reported yet\n");
    } else {
        table(status, paint, text);
    }
    let line = format!("  vote  {}", visible(&witness.sentence));
    let line = if witness.trouble.is_some() || witness.quiet { paint.odd(&line) } else { line.as_str().into() };
    let _ = writeln!(text, "{line}");
    for sentence in &witness.times_differ {
        let _ = writeln!(text, "{}", paint.odd(&format!("  times {}", visible(sentence))));
    }
    for sentence in &status.takeovers {
        let line = format!("  {}", visible(sentence));
        // The line to read before going home: with nobody to take over, the next fault is an outage.
        let loud = sentence.contains("nobody would take over");
        let _ = writeln!(text, "{}", if loud { paint.bad(&line) } else { line.as_str().into() });
    }
    if let Some(switchover) = &status.switchover {
        let line = format!("  site  {}", visible(&site(status, switchover)));
        let _ = writeln!(
            text,
            "{}",
            if switchover.state == SwitchoverState::Failed { paint.bad(&line) } else { line.as_str().into() }
        );
    }
}

/// The newest planned switch: what came of it and when, and whether that is still so.
fn site(status: &Status, switchover: &SwitchoverStatus) -> String {
    let when = match switchover.ended {
        Some(ended) => format!("at {}, {} ago", minute(ended, status.now), span(status.now.ms_since(ended))),
        None => {
            format!("since {}, {}", minute(switchover.began, status.now), span(status.now.ms_since(switchover.began)))
        }
    };
    let served = match switchover.state {
        SwitchoverState::Done => Some(switchover.to),
        SwitchoverState::Failed => Some(switchover.to.other()),
        _ => None,
    };
    let serves = |side: Side| {
        let of_side = |node: &&NodeStatus| node.fresh && node.role == Role::Xivo && node.side == Some(side);
        status.nodes.iter().filter(of_side).any(|node| node.report.status == Does::Active)
    };
    // A switchover that was done yesterday says nothing of who serves since.
    let was = served.filter(|side| !serves(*side));
    let was = was.map(|side| format!("; {} does not serve now", Side::title(side))).unwrap_or_default();
    format!("{} ({} {when}{was})", switchover.sentence, state(switchover.state))
}

fn table(status: &Status, paint: Paint, text: &mut String) {
    let mut table = Table::new(["node", "side", "status", "epoch", "guard", "registered with", ""]);
    let shown: Vec<&NodeStatus> = status.nodes.iter().take(MOST_NODES).collect();
    for node in &shown {
        let vote = node.report.vote.as_ref();
        // What it did when last heard of would be read as what it does.
        let does = if node.fresh { node.report.status.to_string() } else { "unknown".to_owned() };
        table.row([
            format!("{} {}", node.role, node.name),
            node.side.map_or("shared", Side::label).to_owned(),
            does,
            vote.map_or_else(|| "-".to_owned(), |vote| vote.epoch.to_string()),
            vote.and_then(|vote| vote.guard.as_ref()).map_or_else(|| "-".to_owned(), guard),
            registered(node),
            remark(status, node),
        ]);
    }
    text.push_str(&table.draw(|row, line| match shown.get(row) {
        Some(node) => paint.tone(tone::of_node(status, node), &line).into_owned(),
        None => line,
    }));
    if status.nodes.len() > MOST_NODES {
        let _ = writeln!(text, "  and {} more nodes (bascule status --json)", status.nodes.len() - MOST_NODES);
    }
}

fn guard(guard: &Guard) -> String {
    match guard {
        Guard::Guarded => "guarded".to_owned(),
        Guard::Exposed { lacks } => format!("EXPOSED, lacks {lacks}"),
        Guard::Unguarded { .. } => "UNGUARDED".to_owned(),
    }
}

fn registered(node: &NodeStatus) -> String {
    if let Some(presence) = &node.report.presence {
        let who = match (presence.main, presence.standby) {
            (true, true) => "main AND standby are registered",
            (true, false) => "main is registered",
            (false, true) => "standby is registered",
            (false, false) => "nobody is registered",
        };
        return who.to_owned();
    }
    let servers = &node.report.media_servers;
    let there: Vec<&str> =
        servers.iter().filter(|(_, server)| server.registered).map(|(name, _)| name.as_str()).collect();
    if there.is_empty() { "-".to_owned() } else { there.join(" ") }
}

fn remark(status: &Status, node: &NodeStatus) -> String {
    if !node.fresh {
        let ago = span(status.now.ms_since(node.heard));
        return format!("not heard of for {ago}, was {}", node.report.status);
    }
    let vote = node.report.vote.as_ref();
    let mut remarks: Vec<String> = Vec::new();
    if vote.is_some_and(|vote| vote.frozen) {
        remarks.push("FROZEN".to_owned());
    }
    if vote.is_some_and(|vote| !vote.automatic) {
        remarks.push("manual".to_owned());
    }
    if let Some(failed) = &node.report.failed_starts {
        let at = |ms: u64| Time::from_unix_ms(i64::try_from(ms).unwrap_or(i64::MAX));
        let (since, ago) = (minute(at(failed.since), status.now), span(status.now.ms_since(at(failed.since))));
        let times = if failed.count == 1 { "once" } else { &format!("{} times", failed.count) };
        remarks.push(format!("DOES NOT START: failed {times} since {since}, {ago} ago: {}", failed.words));
    }
    if vote.is_some_and(|vote| !vote.fit) && node.report.status != Does::Active {
        remarks.push("not fit".to_owned());
    }
    remarks.push(node.report.because.clone());
    remarks.retain(|remark| !remark.is_empty());
    remarks.join("; ")
}

fn state(state: SwitchoverState) -> &'static str {
    match state {
        SwitchoverState::Planned => "planned",
        SwitchoverState::Refused => "refused",
        SwitchoverState::Running => "under way",
        SwitchoverState::Undoing => "being undone",
        SwitchoverState::Done => "done",
        SwitchoverState::Failed => "failed",
    }
}
