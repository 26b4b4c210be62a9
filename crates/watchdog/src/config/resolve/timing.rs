//! The protocol's times, and the relations between them.

use std::time::Duration;

use failover::duty;
use failover::lease::{Timing, Violation};
use settings::{Findings, KeyPath, Span};

use super::commands::span;
use crate::config::file::TimingFile;

/// The times as written. Without a fence, stopping is all there is: F is the stop command's limit.
pub(super) fn timing(written: Option<TimingFile>, stop_limit: Option<Duration>, findings: &mut Findings) -> Timing {
    let file = written.unwrap_or_default();
    let default = Timing::DEFAULT;
    let fence = match (file.fence, stop_limit) {
        (Some(fence), Some(stop)) if fence.0 < stop => {
            let at = KeyPath::top("timing").key("fence");
            let message = format!("{fence} is shorter than services.stop.time_limit ({})", Span(stop));
            findings.error(
                &at,
                message,
                "without a fence only the stop command keeps phones out: remove it, or set `fence: nft`",
            );
            fence.0
        }
        (Some(fence), _) => fence.0,
        // Without a fence phones get in until the stop command has ended: the promises must cover all of that.
        (None, stop) => stop.unwrap_or(default.fence),
    };
    Timing {
        heartbeat: span(file.heartbeat, default.heartbeat),
        request_limit: span(file.request_limit, default.request_limit),
        lease: span(file.lease, default.lease),
        pause: span(file.pause, default.pause),
        fence,
        drift_ppm: file.drift_ppm.unwrap_or(default.drift_ppm),
        granularity: span(file.granularity, default.granularity),
        promise: span(file.promise, default.promise),
        quiet: span(file.quiet, default.quiet),
        witness_out: span(file.witness_out, default.witness_out),
        witness_restart: span(file.witness_restart, default.witness_restart),
    }
}

/// Notes every relation that does not hold.
pub(super) fn check(settings: &duty::Settings, fenced: Fenced, findings: &mut Findings) {
    for violation in settings.validate().err().unwrap_or_default() {
        let Violation { field, value, least, least_field } = violation;
        let at = match field {
            "retry" | "retry_limit" | "hold_down_limit" => KeyPath::top(field),
            _ => KeyPath::top("timing").key(field),
        };
        let least_text = Span(up_to_a_millisecond(least));
        let message = format!("{} is too short: it must be at least {least_field}, here {least_text}", Span(value));
        let remedy = match (field, fenced) {
            ("promise", Fenced::ByStopping) => format!(
                "without a fence the promise must outlive the stop command: write {least_text} here, on the peer and on the \
                 Edge, or set `fence: nft`"
            ),
            ("promise" | "quiet", _) => format!("write {least_text} or more here, on the peer and on the Edge"),
            ("retry_limit" | "hold_down_limit", _) => format!("write {least_text} or more"),
            _ => format!("write {least_text} or more, or shorten the others; the three voters' times must be the same"),
        };
        findings.error(&at, message, remedy);
    }
}

/// What keeps phones out of a node that must not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fenced {
    ByFence,
    ByStopping,
}

/// A value that can be written: times in the file are whole milliseconds.
fn up_to_a_millisecond(least: Duration) -> Duration {
    Duration::from_millis(u64::try_from(least.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}
