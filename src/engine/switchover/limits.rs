//! How long each step of a switch of the whole site may take, and how long it usually does.

use std::time::Duration;

use failover::Side;

use super::super::mistakes::{Mistake, made};
use crate::config::Config;
use crate::site::switchover::{Facts, Limits, Step};

/// Two reports of a node, and some. Nothing was changed yet: a node that does not answer is given up before users notice.
const HAND_OVER: Duration = Duration::from_secs(5);
/// The watchdog's own limit is 60 s; then it fences. Given up before that, a node that stops in the end would be asked to
/// serve again while it still runs.
const STOP: Duration = Duration::from_secs(90);
/// The watchdog's own limits: 90 s to start, 20 s to verify.
const START: Duration = Duration::from_secs(120);
/// A registration is tried again every few seconds; a media server that takes none by then is told of, and all is undone.
const REGISTER: Duration = Duration::from_secs(20);
/// As the start of telephony: xuc takes its time.
const CONTACT: Duration = Duration::from_secs(120);
/// From services that run to probes that say so.
const TRAFFIC: Duration = Duration::from_secs(20);
/// Beyond the drain limit, for what is cut to be gone.
const VERIFY: Duration = Duration::from_secs(10);
/// For the target to stop and the source to start again.
const UNDO: Duration = Duration::from_secs(240);
/// A wish is answered with the next report.
const ONE_REPORT: Duration = Duration::from_millis(500);
/// What a stop and a CC's start usually take; sites differ.
const USUALLY: Duration = Duration::from_secs(5);

/// When each step is given up. A switch keeps those it began with: a reload in the middle of it must not move a deadline
/// that operators were told.
pub(super) fn limits(config: &Config) -> Limits {
    Limits {
        hand_over: if made(Mistake::WaitsForNodes) { STOP } else { HAND_OVER },
        stop: STOP,
        start: START,
        register: REGISTER,
        contact: CONTACT,
        traffic: TRAFFIC,
        verify: config.switch.drain_limit + VERIFY,
        undo: UNDO,
    }
}

/// What each step usually takes; what has a bound is shown with it.
pub(super) fn expected(to: Side, facts: &Facts, config: &Config) -> Vec<Duration> {
    let start = facts.sides[to].xivo.as_ref().and_then(|xivo| xivo.vote.as_ref());
    let start = start.map_or(USUALLY, |vote| Duration::from_millis(vote.takeover_ms));
    let probe = &config.probe;
    let seen = probe.interval * u32::from(probe.rise.get()) + probe.time_limit;
    let of = |step: &Step| match step {
        Step::HandOver => ONE_REPORT,
        Step::Stop | Step::Contact => USUALLY,
        Step::Start => start,
        Step::Register => ONE_REPORT * 2,
        Step::Traffic => seen,
        Step::Verify => config.switch.drain_limit,
    };
    Step::ALL.iter().map(of).collect()
}
