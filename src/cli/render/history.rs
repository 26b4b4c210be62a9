//! Decisions, reports and what orders came to, for people.

use std::fmt::Write as _;

use daemon::visible;
use failover::Side;

use super::{Paint, Table};
use crate::admin::api::{Done, Event, Explain, JournalEntry, Moment, Report, SwitchAnswer};

/// The sentence, then what it rests on.
pub(in crate::cli) fn explain(explain: &Explain, paint: Paint) -> String {
    let mut text = format!("{}\n\n", paint.bold(&visible(&explain.sentence)));
    grounds(explain, &mut text);
    text
}

fn grounds(explain: &Explain, text: &mut String) {
    for fact in &explain.facts {
        let _ = writeln!(text, "  fact     {}", visible(fact));
    }
    let _ = writeln!(text, "  rule     {}\n  outcome  {}", visible(&explain.rule), visible(&explain.outcome));
}

/// Entries in rows, newest first.
pub(in crate::cli) fn history(entries: &[JournalEntry], paint: Paint) -> String {
    if entries.is_empty() {
        return "Nothing was decided yet.\n".into();
    }
    let mut table = Table::new(["when", "epoch", "what", "who", ""]);
    for entry in entries {
        let why = entry.why.as_deref().filter(|why| !why.is_empty());
        let why = why.map(|why| format!(" (“{why}”)")).unwrap_or_default();
        table.row([
            entry.at.to_string(),
            entry.epoch.to_string(),
            event(entry.event).to_owned(),
            entry.by.clone().unwrap_or_else(|| "the Edge".into()),
            format!("{}{why}", entry.explain.sentence),
        ]);
    }
    table.draw(|row, line| match entries.get(row).map(|entry| entry.event) {
        Some(Event::Switched) => paint.bold(&line).into_owned(),
        Some(Event::Alarm | Event::Damped | Event::Doubted) => paint.odd(&line).into_owned(),
        _ => line,
    })
}

fn event(event: Event) -> &'static str {
    match event {
        Event::Started => "started",
        Event::Stopped => "stopped",
        Event::Switched => "SWITCHED",
        Event::WouldHaveSwitched => "would have switched",
        Event::Held => "held",
        Event::Refused => "refused",
        Event::Health => "health",
        Event::Frozen => "frozen",
        Event::Resumed => "resumed",
        Event::Damped => "DAMPED",
        Event::Undamped => "undamped",
        Event::Doubted => "SELF-DOUBT",
        Event::Trusted => "trusts itself",
        Event::Moved => "all moved",
        Event::Drained => "drained",
        Event::Reloaded => "reloaded",
        Event::Alarm => "ALARM",
        Event::Node => "node",
        Event::Vote => "vote",
        Event::Switchover => "site",
        Event::Maintenance => "maintenance",
        Event::Other => "other",
    }
}

/// A switch, phase by phase.
pub(in crate::cli) fn report(report: &Report, paint: Paint) -> String {
    let (from, to) = (Side::title(report.from), Side::title(report.to));
    let by = report.by.as_deref().map(|by| format!(" by {}", visible(by))).unwrap_or_default();
    let title = format!("#{} {}{by}, {from} → {to}: {}", report.number, report.kind.label(), visible(&report.reason));
    let mut text = format!("{}\n\n", paint.bold(&title));
    let phases = &report.phases;
    let served = format!("first request served by {to}");
    let moved = format!("last session left {from}");
    for (name, moment) in [
        ("first bad sign", phases.first_bad_sign),
        ("decision", Some(phases.decision)),
        ("on the disk", phases.persisted),
        (&served, phases.first_served),
        (&moved, phases.last_moved),
    ] {
        let _ = writeln!(text, "  {}", phase(name, moment));
    }
    let counts = report.counts;
    let _ = writeln!(
        text,
        "\n  requests  {} replayed, {} parked, {} failed\n  sessions  {} closed, {} cut\n",
        counts.replayed, counts.parked, counts.failed, counts.sessions_closed, counts.sessions_cut
    );
    grounds(&report.explain, &mut text);
    text
}

fn phase(name: &str, moment: Option<Moment>) -> String {
    match moment {
        Some(moment) => format!("{:>9}  {name:<34} {}", format!("+{} ms", moment.offset_ms), moment.at),
        None => format!("{:>9}  {name:<34} -", ""),
    }
}

/// What a switch order came to, and where to read on.
pub(in crate::cli) fn switched(answer: &SwitchAnswer, paint: Paint) -> String {
    let mut text = explain(&answer.explain, paint);
    if answer.dry_run {
        text.push_str("\nNothing was done: this was a dry run.\n");
    } else if answer.switched {
        let _ = writeln!(text, "\nHow it goes: bascule report {}", answer.epoch);
    }
    text
}

pub(in crate::cli) fn done(done: &Done) -> String {
    format!("{}\n", visible(&done.sentence))
}
