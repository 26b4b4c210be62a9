//! Status and history for people. What came from elsewhere is made fit for a line.

use std::fmt::Write;
use std::time::Duration;

use daemon::visible;
use failover::Span;
use protocol::wire::FailedStarts;
use protocol::wire::times::seconds;

use crate::control::api::{Activations, DutyView, FenceState, Link, StatusView, VoterView};
use crate::state::{Entry, Time};

/// A status, the sentence first.
pub(super) fn status(view: &StatusView) -> String {
    let side = view.side.map(|side| format!("{side} ")).unwrap_or_default();
    let mut text =
        format!("{} ({side}{}) is {}: {}\n", visible(&view.name), view.role, view.status, visible(&view.because));
    let since = Duration::from_millis(u64::try_from(Time::now().ms_since(view.since)).unwrap_or(0));
    row(&mut text, "since", &format!("{} ({} ago)", view.since, Span(since)));
    for alarm in &view.alarms {
        row(&mut text, "ALARM", alarm);
    }
    if let Some(failed) = &view.failed_starts {
        row(&mut text, "starts", &failed_starts(failed));
    }
    if let Some(duty) = &view.duty {
        duty_rows(&mut text, duty, view.failed_starts.is_some());
    }
    if let Some(followed) = &view.follows {
        let status = followed.status.map_or("not heard yet".into(), |status| status.to_string());
        row(&mut text, "its xivo", &format!("{status}; {}{}", link(&followed.link), ago(followed.heard_ms_ago)));
    }
    if let Some(presence) = &view.presence {
        let is = |there| if there { "registered" } else { "not registered" };
        let conflict = if presence.conflict { " (BOTH)" } else { "" };
        row(
            &mut text,
            "registered",
            &format!("main {}, standby {}{conflict}", is(presence.main), is(presence.standby)),
        );
    }
    for (name, service) in &view.services {
        let word = if service.works { "works" } else { "does not work" };
        row(&mut text, name, &format!("{word}: {}", service.detail));
    }
    if let Some(running) = &view.running {
        row(&mut text, "running", &format!("{}, for {}", running.what, Span(Duration::from_millis(running.ms))));
    }
    for outside in &view.outside {
        row(&mut text, "outside", &format!("{} {}", outside.at, outside.sentence));
    }
    if let Some(edge) = &view.edge {
        row(&mut text, "edge", &link(edge));
    }
    if let Some(days) = view.certificate_days {
        let told = match days {
            ..0 => format!("its certificate EXPIRED {} days ago", days.saturating_neg() - 1),
            _ => format!("its certificate expires in {days} days"),
        };
        row(&mut text, "identity", &told);
    }
    text
}

fn duty_rows(text: &mut String, duty: &DutyView, does_not_start: bool) {
    row(text, "vote", &duty.explanation);
    row(text, "", &format!("campaign {}, epoch {}; {}", duty.campaign, duty.epoch, duty.vote));
    if let Some(left) = duty.lease_ms_left {
        row(text, "lease", &format!("{} more", Span(Duration::from_millis(left))));
    }
    if !duty.persisted {
        row(text, "disk", "the vote is NOT on the disk");
    }
    let mode = duty.mode.label();
    let frozen = if duty.frozen { ", FROZEN" } else { "" };
    let fit = match (duty.fit, does_not_start) {
        (false, _) => "cannot serve",
        (true, true) => "does not start",
        (true, false) => "can serve",
    };
    let failback = duty.failback.label();
    row(text, "mode", &format!("{mode}{frozen}, failback {failback}; {fit}"));
    if let Some(waiting) = &duty.waiting {
        row(text, "waits", waiting);
    }
    if let Some(held) = activations(duty) {
        row(text, "activations", &held);
    }
    if let Some(ms) = duty.slow_write_ms {
        row(text, "disk", &format!("TOO SLOW: a write took {}", Span(Duration::from_millis(ms))));
    }
    row(text, "peer", &voter(&duty.voters.peer));
    match &duty.voters.witness {
        Some(witness) => row(text, "witness", &voter(witness)),
        None => row(text, "witness", "none configured: unguarded whenever the peer is silent"),
    }
    if let Some(times) = &duty.times {
        let (needs, promises) = (seconds(times.needs_ms), seconds(times.promises_ms));
        let own = format!("needs votes for {needs}, promises its own for {promises} at most");
        row(text, "times", &own);
    }
    for remark in &duty.times_differ {
        row(text, "", remark);
    }
    let fence = match duty.fence.state {
        FenceState::Closed => "closed",
        FenceState::Open => "open",
        FenceState::Failed => "FAILED",
        FenceState::Absent => "none",
    };
    row(text, "fence", &format!("{} ({}) {}", fence, duty.fence.kind, duty.fence.detail));
    let answers = |answer: Option<bool>| match answer {
        Some(true) => "answers",
        Some(false) => "silent",
        None => "not asked",
    };
    let socket = format!("{:?}", duty.icmp.socket).to_lowercase();
    let icmp = format!("peer {}, anchors {} ({socket} socket)", answers(duty.icmp.peer), answers(duty.icmp.anchors));
    row(text, "icmp", &icmp);
    for (name, server) in &duty.media_servers {
        let word = if server.registered { "registered" } else { "not registered" };
        row(text, name, &format!("{word}: {}", server.state));
    }
    if let Some(held) = duty.replication_held {
        row(text, "replication", if held { "held back" } else { "runs" });
    }
    row(text, "takeover", &format!("{} at most", Span(Duration::from_millis(duty.takeover_ms))));
}

fn failed_starts(failed: &FailedStarts) -> String {
    let time = |ms: u64| Time::from_unix_ms(i64::try_from(ms).unwrap_or(i64::MAX));
    let ago = Duration::from_millis(u64::try_from(Time::now().ms_since(time(failed.newest))).unwrap_or(0));
    let times = if failed.count == 1 { "once" } else { &format!("{} times", failed.count) };
    format!("failed {times} since {}, the last time {} ago: {}", time(failed.since), Span(ago), failed.words)
}

/// What failed, and how long that keeps telephony away; nothing where nothing failed and nothing is held down.
fn activations(duty: &DutyView) -> Option<String> {
    let Activations { failed, why, hold_down_ms, settles_in_ms } = &duty.activations;
    let span = |ms: u64| Span(Duration::from_millis(ms));
    let left = settles_in_ms.filter(|ms| *ms > 0);
    if *failed == 0 && left.is_none() {
        return None;
    }
    let why = why.as_ref().map(|why| format!(" (the newest: {why})")).unwrap_or_default();
    let failed = if *failed == 0 { String::new() } else { format!("the last {failed} failed{why}; ") };
    let left = left.map(|ms| format!(", over in {}", span(ms))).unwrap_or_default();
    Some(format!("{failed}hold-down {}{left}", span(*hold_down_ms)))
}

fn voter(voter: &VoterView) -> String {
    let ruling = voter.ruling.map(|ruling| format!(", {:?}", ruling).to_lowercase()).unwrap_or_default();
    let status = voter.status.map(|status| format!(", it is {status}")).unwrap_or_default();
    let unfit = if voter.fit == Some(false) { " and cannot serve" } else { "" };
    format!("{}{}{ruling}{status}{unfit}", link(&voter.link), ago(voter.answered_ms_ago))
}

fn link(link: &Link) -> String {
    format!("{} {}", link.address, link.state)
}

fn ago(ms: Option<u64>) -> String {
    ms.map_or_else(|| ", never heard".to_owned(), |ms| format!(", heard {} ago", Span(Duration::from_millis(ms))))
}

fn row(text: &mut String, name: &str, value: &str) {
    // Names and values may come from elsewhere, from a peer or a command: nothing in them may move the cursor.
    let _ = writeln!(text, "  {:<12} {}", visible(name), visible(value));
}

/// Entries, newest first, each with who and why.
pub(super) fn history(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let who = entry.who.as_deref().map(|who| format!("  [{who}]")).unwrap_or_default();
        let why = entry.why.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
        let _ = writeln!(text, "{}  {}", entry.time, visible(&format!("{}{who}{why}", entry.sentence)));
        for fact in &entry.facts {
            let _ = writeln!(text, "    {}", visible(fact));
        }
    }
    if text.is_empty() { "Nothing happened yet.\n".to_owned() } else { text }
}
