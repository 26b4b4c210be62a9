//! A planned switch of the whole site, for people: what must hold, then each step.

use std::fmt::Write as _;

use daemon::visible;

use super::{Paint, Table};
use crate::admin::api::{SwitchoverCheck, SwitchoverState, SwitchoverStatus, SwitchoverStep, SwitchoverStepState};

/// What must hold, and what would follow.
pub(in crate::cli) fn plan(switchover: &SwitchoverStatus, paint: Paint) -> String {
    let mut text = begun(switchover, paint);
    if switchover.state == SwitchoverState::Planned {
        let mut table = Table::new(["step", "usually", "at most"]);
        for step in &switchover.steps {
            table.row([step.step.clone(), seconds(step.expected_ms), seconds(step.limit_ms)]);
        }
        text.push('\n');
        text.push_str(&table.draw(|_, line| line));
    }
    text
}

/// The sentence and what must hold.
pub(in crate::cli) fn begun(switchover: &SwitchoverStatus, paint: Paint) -> String {
    let mut text = format!("{}\n\n", paint.bold(&visible(&switchover.sentence)));
    for SwitchoverCheck { check, passed, said } in &switchover.checks {
        let line = format!("  {}  {check:<32} {}", if *passed { "ok" } else { "NO" }, visible(said));
        let line = if *passed { line } else { paint.bad(&line).into_owned() };
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// What has become of the steps since they were told last.
pub(in crate::cli) fn news(before: &[SwitchoverStep], now: &[SwitchoverStep], paint: Paint) -> String {
    let mut text = String::new();
    for (index, step) in now.iter().enumerate() {
        let was = before.get(index).map_or(SwitchoverStepState::Waiting, |step| step.state);
        // Each change is a line that stays: a step's words alone may change five times a second.
        if was == step.state {
            continue;
        }
        let SwitchoverStep { step: name, said, took_ms, expected_ms, limit_ms, .. } = step;
        let said = visible(said);
        let line = match step.state {
            SwitchoverStepState::Waiting => continue,
            SwitchoverStepState::Running => {
                let (usually, most) = (seconds(*expected_ms), seconds(*limit_ms));
                format!("  ..  {name} (usually {usually}, at most {most})")
            }
            SwitchoverStepState::Done => {
                paint.good(&format!("  ok  {name}: {said} ({})", seconds(*took_ms))).into_owned()
            }
            SwitchoverStepState::Failed => paint.bad(&format!("  NO  {said}")).into_owned(),
        };
        let _ = writeln!(text, "{line}");
    }
    text
}

pub(in crate::cli) fn ended(switchover: &SwitchoverStatus, paint: Paint) -> String {
    let sentence = visible(&switchover.sentence);
    let sentence = match switchover.state {
        SwitchoverState::Done => paint.good(&sentence),
        _ => paint.bad(&sentence),
    };
    format!("\n{sentence}\n")
}

fn seconds(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} s", ms / 1000),
    }
}
