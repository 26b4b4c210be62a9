//! What a watchdog shows to Prometheus: events are counted as they happen; states are read off the status it showed last,
//! when somebody scrapes, so that nothing lingers of what is gone.

mod door;
mod sheet;
mod states;

use self::sheet::Sheet;
use crate::control::api::StatusView;
use crate::hands::clock;
use failover::Instant;
use failover::duty::{Elector, PerElector};
use failover::lease::Ruling;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, Result,
    TextEncoder,
};
use protocol::identity::Keyring;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

pub use door::serve;

/// From a LAN's round trip to the end of a lease.
const ANSWER_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6];
/// From a disk with a battery to one that is about to die.
const PERSIST_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Up to twice a fence's limit.
const FENCE_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
/// From a stop that had nothing to do to a start of a whole XiVO on a slow disk.
const COMMAND_SECONDS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 90.0, 180.0];
/// The commands that are counted.
const COMMANDS: [&str; 2] = ["start", "stop"];

/// Every metric of a watchdog.
#[derive(Debug)]
pub struct Metrics {
    events: Registry,
    /// Of those that vote only.
    votes: Registry,
    commands: IntCounterVec,
    command_seconds: HistogramVec,
    outside: IntCounter,
    rival: IntGauge,
    voters: PerElector<Voter>,
    persist_seconds: Histogram,
    persist_failures: IntCounter,
    fence_seconds: Histogram,
    fence_failures: IntCounter,
    hard_fences: IntCounter,
    two_actives: IntCounter,
    shown: Mutex<Option<(Arc<StatusView>, Instant)>>,
    keyring: OnceLock<Arc<Keyring>>,
}

/// Requests to one voter.
#[derive(Debug)]
struct Voter {
    grant: IntCounter,
    deny: IntCounter,
    lost: IntCounter,
    failed: IntCounter,
    seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Makes all of them.
    pub fn new() -> Self {
        Self::make().expect("the names of the metrics are sound, and each is made once")
    }

    fn make() -> Result<Self> {
        let (events, votes) = (Registry::new(), Registry::new());
        let commands =
            Opts::new("bascule_watchdog_commands_total", "Start and stop commands that ended, verified or not.");
        let commands = kept(&events, IntCounterVec::new(commands, &["command", "outcome"])?)?;
        let seconds = "From the start of a start or stop command to the end of its verification.";
        let seconds = HistogramOpts::new("bascule_watchdog_command_duration_seconds", seconds);
        let seconds = HistogramVec::new(seconds.buckets(COMMAND_SECONDS.to_vec()), &["command"])?;
        for command in COMMANDS {
            commands.with_label_values(&[command, outcome(true)]);
            commands.with_label_values(&[command, outcome(false)]);
            seconds.with_label_values(&[command]);
        }
        let rival = "1: XiVO's own failover is at work beside this watchdog.";
        let requests = "Requests for a vote, by voter and by how it ruled; failed: no answer.";
        let requests = Opts::new("bascule_watchdog_vote_requests_total", requests);
        let requests = kept(&votes, IntCounterVec::new(requests, &["voter", "ruling"])?)?;
        let answers = "From a request for a vote to its answer.";
        let answers = HistogramOpts::new("bascule_watchdog_vote_duration_seconds", answers);
        let answers = HistogramVec::new(answers.buckets(ANSWER_SECONDS.to_vec()), &["voter"])?;
        let answers = kept(&votes, answers)?;
        let voter = |name: &str| Voter {
            grant: requests.with_label_values(&[name, "grant"]),
            deny: requests.with_label_values(&[name, "deny"]),
            lost: requests.with_label_values(&[name, "lost"]),
            failed: requests.with_label_values(&[name, "failed"]),
            seconds: answers.with_label_values(&[name]),
        };
        let count = |registry, name: &str, help: &str| kept(registry, IntCounter::new(name, help)?);
        let time = |name: &str, help: &str, buckets: &[f64]| {
            kept(&votes, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
        };
        Ok(Self {
            commands,
            command_seconds: kept(&events, seconds)?,
            outside: count(&events, "bascule_watchdog_outside_acts_total", "Acts of others on this node's services.")?,
            rival: kept(&events, IntGauge::new("bascule_watchdog_rival_present", rival)?)?,
            voters: PerElector { peer: voter("peer"), witness: voter("witness") },
            persist_seconds: time(
                "bascule_watchdog_persist_duration_seconds",
                "A write of the vote to the disk.",
                PERSIST_SECONDS,
            )?,
            persist_failures: count(
                &votes,
                "bascule_watchdog_persist_failures_total",
                "Writes of the vote that did not reach the disk.",
            )?,
            fence_seconds: time(
                "bascule_watchdog_fence_close_duration_seconds",
                "From the decision to fence to a fence that was verified.",
                FENCE_SECONDS,
            )?,
            fence_failures: count(
                &votes,
                "bascule_watchdog_fence_failures_total",
                "Times the fence could not be closed, or not be verified.",
            )?,
            hard_fences: count(
                &votes,
                "bascule_watchdog_hard_fences_total",
                "Times the last resort was called, as the fence was not closed in time.",
            )?,
            two_actives: count(
                &votes,
                "bascule_watchdog_two_actives_total",
                "Times this node learnt that its peer serves too.",
            )?,
            shown: Mutex::new(None),
            keyring: OnceLock::new(),
            events,
            votes,
        })
    }

    /// Whose certificate's end is shown.
    pub fn identity(&self, keyring: Arc<Keyring>) {
        let _ = self.keyring.set(keyring);
    }

    /// The node's status, as everybody is shown it.
    pub fn show(&self, view: &Arc<StatusView>) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(view), clock::now()));
    }

    /// The state was written, or could not be.
    pub fn persisted(&self, took: Duration, written: bool) {
        self.persist_seconds.observe(took.as_secs_f64());
        if !written {
            self.persist_failures.inc();
        }
    }

    /// The fence was closed and verified.
    pub fn fenced(&self, took: Duration) {
        self.fence_seconds.observe(took.as_secs_f64());
    }

    /// The fence could not be closed, or not be verified.
    pub fn fence_failed(&self) {
        self.fence_failures.inc();
    }

    /// The last resort was called.
    pub fn hard_fenced(&self) {
        self.hard_fences.inc();
    }

    /// The peer serves too.
    pub fn two_actives(&self) {
        self.two_actives.inc();
    }

    /// A command ended, and was verified or not.
    pub fn command(&self, what: &'static str, done: bool, took: Duration) {
        self.commands.with_label_values(&[what, outcome(done)]).inc();
        self.command_seconds.with_label_values(&[what]).observe(took.as_secs_f64());
    }

    /// A voter answered, or did not.
    pub fn answered(&self, by: Elector, ruling: Option<Ruling>) {
        let voter = &self.voters[by];
        match ruling {
            Some(Ruling::Grant) => voter.grant.inc(),
            Some(Ruling::Deny) => voter.deny.inc(),
            Some(Ruling::Lost) => voter.lost.inc(),
            None => voter.failed.inc(),
        }
    }

    /// How long a voter's answer took.
    pub fn round_trip(&self, by: Elector, took: Duration) {
        self.voters[by].seconds.observe(took.as_secs_f64());
    }

    /// Somebody else was at work on the node's services.
    pub fn outside(&self) {
        self.outside.inc();
    }

    /// XiVO's own failover is there, or is not.
    pub fn rival(&self, present: bool) {
        self.rival.set(i64::from(present));
    }

    /// Writes them all in Prometheus' text format.
    fn text(&self) -> Result<Vec<u8>> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sheet = Sheet::default();
        states::program(&sheet, self.keyring.get().map(|keyring| keyring.current().expires()))?;
        let mut families = self.events.gather();
        if let Some((view, at)) = shown {
            states::node(&sheet, &view, clock::now().since(at))?;
            if view.duty.is_some() {
                families.extend(self.votes.gather());
            }
        }
        families.extend(sheet.gather());
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
    }
}

fn kept<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

const fn outcome(done: bool) -> &'static str {
    if done { "done" } else { "failed" }
}

#[cfg(test)]
mod tests;
