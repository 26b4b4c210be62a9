//! The status and the sessions, for people.

use std::fmt::Write as _;

use daemon::visible;
use failover::Side;
use failover::health::State;
use failover::verdict::Verdict;
use probe::tls::SOON_DAYS;

use super::tone::{self, Tone};
use super::{Paint, Table, bytes, span};
use crate::admin::api::{BackendStatus, CheckStatus, Maintenance, ServiceStatus, SessionRow, Status, Time};

/// Rows of services on a screen of 24 lines beside the rest; what works is left out first.
const MOST_BACKENDS: usize = 10;
const MOST_ALARMS: usize = 4;
const MOST_MAINTENANCES: usize = 3;

/// Everything on one screen, what hurts first.
pub(in crate::cli) fn status(status: &Status, paint: Paint) -> String {
    let mut text = format!("{}\n\n", paint.headline(tone::of_site(status), &visible(&status.sentence)));
    sides(status, paint, &mut text);
    let _ = writeln!(text, "\n  next  {}", visible(&status.next.sentence));
    if let Some(last) = &status.last_switch {
        let ago = span(status.now.ms_since(last.at));
        let (from, to) = (Side::title(last.from), Side::title(last.to));
        let _ = writeln!(text, "  last  #{} {ago} ago, {from} → {to}: {}", last.epoch, visible(&last.reason));
    }
    for warning in warnings(status) {
        let _ = writeln!(text, "  {}", paint.tone(tone::of_alarm(&warning), &format!("!     {}", visible(&warning))));
    }
    super::nodes::nodes(status, paint, &mut text);
    text.push('\n');
    services(status, paint, &mut text);
    let sessions = status.sessions;
    let _ = writeln!(
        text,
        "\n  sessions: {} on Main, {} on Standby, {} shared; {} requests wait\n  bascule {}, pid {}, up {}, epoch {}{}",
        sessions.main,
        sessions.standby,
        sessions.shared,
        status.parked,
        visible(&status.version),
        status.pid,
        span(status.now.ms_since(status.started)),
        status.epoch,
        if status.persisted { "" } else { " (NOT on the disk)" },
    );
    text
}

fn sides(status: &Status, paint: Paint, text: &mut String) {
    for one in Side::BOTH {
        let its = status.sides.of(one);
        let live = if status.live == one { "LIVE" } else { "" };
        let since = its.since.map(|since| format!(" for {}", span(status.now.ms_since(since)))).unwrap_or_default();
        let word =
            if tone::rests(status, one) && its.health == State::NotWorking { "rests" } else { health(its.health) };
        let health = format!("{word}{since}");
        let row = format!("  {:<8} {live:<5} {health:<26} {}", Side::title(one), visible(&its.reason));
        let _ = writeln!(text, "{}", paint.tone(tone::of_side(status, one), row.trim_end()));
    }
}

/// What an operator should not overlook, most urgent first.
fn warnings(status: &Status) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(frozen) = &status.frozen {
        let since = span(status.now.ms_since(frozen.since));
        all.push(format!("FROZEN by {} for {since}: {} (bascule resume)", frozen.by, frozen.why));
    }
    all.extend(status.maintenance.iter().take(MOST_MAINTENANCES).map(|one| {
        let until = until(one, status.now);
        format!("MAINTENANCE of {} by {}, {until}: {} (bascule maintenance off)", one.subject(), one.by, one.why)
    }));
    if let hidden @ 1.. = status.maintenance.len().saturating_sub(MOST_MAINTENANCES) {
        all.push(format!("MAINTENANCE of {hidden} more (bascule maintenance list)"));
    }
    all.extend(status.doubt.iter().map(|why| format!("SELF-DOUBT: {why}")));
    if status.damped {
        all.push("DAMPED: the budget of automatic switches is used up; only a dead side is left.".into());
    }
    if status.observe {
        all.push("OBSERVING: switches are decided and journaled, not made (observe: true).".into());
    }
    if status.draining {
        all.push("DRAINING: new clients get the waiting page.".into());
    }
    // The screen must keep its first line in sight, however much goes wrong at once.
    let hidden = status.alarms.len().saturating_sub(MOST_ALARMS);
    all.extend(status.alarms.iter().take(MOST_ALARMS).cloned());
    if hidden > 0 {
        all.push(format!("{hidden} more alarms (bascule status --json)"));
    }
    all
}

/// What operators have out of service.
pub(in crate::cli) fn maintenance(all: &[Maintenance], now: Time) -> String {
    if all.is_empty() {
        return "Nothing is in maintenance.\n".into();
    }
    let mut table = Table::new(["what", "since", "until", "by", "why"]);
    for one in all {
        let until = one.until.map_or_else(|| "-".to_owned(), |_| until(one, now));
        table.row([one.subject(), one.since.to_string(), until, one.by.clone(), one.why.clone()]);
    }
    let number = all.len();
    format!("{number} in maintenance: users get a page with 503.\n\n{}", table.draw(|_, line| line))
}

/// When it ends by itself, with the time that is left: an operator reckons with that.
fn until(one: &Maintenance, now: Time) -> String {
    match one.until {
        Some(until) => format!("until {until} (in {})", span(until.ms_since(now))),
        None => "without an end".to_owned(),
    }
}

fn services(status: &Status, paint: Paint, text: &mut String) {
    let mut backends: Vec<(&ServiceStatus, &BackendStatus)> = Vec::new();
    for service in &status.services {
        backends.extend(service.backends.iter().map(|backend| (service, backend)));
    }
    // What hurts comes first and is never left out before what does not.
    backends.sort_by_key(|(service, backend)| std::cmp::Reverse(tone::of_backend(status, service, backend)));
    let hidden = backends.split_off(backends.len().min(MOST_BACKENDS));
    let mut table = Table::new(["service", "side", "backend", "", "checks"]);
    for (service, backend) in &backends {
        let name = if service.required { format!("{}*", service.name) } else { service.name.clone() };
        let checks: Vec<String> = backend.checks.iter().map(check).collect();
        let place = service.side.map_or("shared", Side::label).to_owned();
        table.row([name, place, backend.name.clone(), verdict(backend.verdict).to_owned(), checks.join("; ")]);
    }
    text.push_str(&table.draw(|row, line| match backends.get(row) {
        Some((service, backend)) => match tone::of_backend(status, service, backend) {
            // A screen of green rows shows nothing.
            Tone::Good | Tone::Calm => line,
            tone => paint.tone(tone, &line).into_owned(),
        },
        None => line,
    }));
    if !hidden.is_empty() {
        let down = hidden.iter().filter(|(_, backend)| backend.verdict != Verdict::Up).count();
        let _ = writeln!(text, "  and {} more, {down} of them not up (bascule status --json)", hidden.len());
    }
}

/// What works is told in two words, what does not with its reason.
fn check(check: &CheckStatus) -> String {
    let mut text = match (check.verdict, &check.last, check.port) {
        (Verdict::Up, Some(last), _) => format!("{} {:.1} ms", check.name, last.latency_ms),
        (Verdict::Up, None, _) => check.name.clone(),
        (_, _, Some(port)) => format!("{} on port {port}: {}", check.name, check.reason),
        (_, _, None) => format!("{}: {}", check.name, check.reason),
    };
    match check.certificate_days {
        Some(days) if days < 0 => text.push_str(" CERTIFICATE EXPIRED"),
        Some(days) if days < SOON_DAYS => text.push_str(&format!(" (certificate: {days} d)")),
        _ => {}
    }
    text
}

fn health(health: State) -> &'static str {
    match health {
        State::Working => "works",
        State::NotWorking => "DOES NOT WORK",
        State::Unknown => "unknown",
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Up => "up",
        Verdict::Down => "DOWN",
        Verdict::Unknown => "unknown",
    }
}

pub(in crate::cli) fn sessions(rows: &[SessionRow], paint: Paint) -> String {
    if rows.is_empty() {
        return "No session is open.\n".into();
    }
    let mut table = Table::new(["since", "login", "client", "side", "backend", "route", "in", "out", ""]);
    for row in rows {
        table.row([
            row.since.to_string(),
            row.login.clone().unwrap_or_else(|| "-".into()),
            row.client.to_string(),
            row.side.map_or("shared", Side::label).to_owned(),
            row.backend.clone(),
            row.route.clone(),
            bytes(row.bytes_in),
            bytes(row.bytes_out),
            if row.closing { "closing".into() } else { String::new() },
        ]);
    }
    let table = table.draw(|row, line| match rows.get(row) {
        Some(row) if row.closing => paint.odd(&line).into_owned(),
        _ => line,
    });
    let closing = rows.iter().filter(|row| row.closing).count();
    format!("{} sessions, {closing} of them closing.\n\n{table}", rows.len())
}
