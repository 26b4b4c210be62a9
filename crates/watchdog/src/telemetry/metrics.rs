//! What Prometheus is told. Gauges follow the published status; counters and histograms are the drivers' to feed.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use daemon::{Health, Maker};
use failover::duty::{Mode, RemoteVoter};
use failover::health::Status;
use failover::lease::VoteReply;
use prometheus::{Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, Result};
use protocol::wire::Guard;

use crate::control::api::{DutyView, FenceState, StatusView};

/// A LAN's round trip to a request's time limit.
const ROUND_TRIP: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4];
/// A good disk's sync to a bad one's.
const PERSIST: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];
/// A check to a stop.
const COMMAND: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

/// Whoever scrapes is answered by the one loop there is: an answer is the proof that it turns.
impl Health for Metrics {
    fn alive(&self) -> std::result::Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Option<std::result::Result<(), String>> {
        None
    }
}

/// Gauges of a closed set of words, of which one is 1. Each is looked up once: the loop shows them with every turn. They
/// are made when they are first shown, as a node of another role has none.
#[derive(Debug)]
struct OneOf {
    gauges: IntGaugeVec,
    each: OnceLock<Vec<(&'static str, IntGauge)>>,
}

impl OneOf {
    fn of(gauges: IntGaugeVec) -> Self {
        Self { gauges, each: OnceLock::new() }
    }

    fn show<W: Iterator<Item = &'static str>>(&self, word: &str, words: impl FnOnce() -> W) {
        let made = || words().map(|word| (word, self.gauges.with_label_values(&[word]))).collect();
        for (each, gauge) in self.each.get_or_init(made) {
            gauge.set(i64::from(*each == word));
        }
    }
}

/// Every metric of a watchdog.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    status: OneOf,
    epoch: IntGauge,
    campaign: IntGauge,
    guard: OneOf,
    fit: IntGauge,
    failed_starts: IntGauge,
    frozen: IntGauge,
    manual: IntGauge,
    lease: Gauge,
    fence: OneOf,
    alarms: IntGauge,
    connected: IntGaugeVec,
    services: IntGaugeVec,
    registered: IntGaugeVec,
    conflict: IntGauge,
    persisted: IntGauge,
    failed_activations: IntGauge,
    hold_down: Gauge,
    slow_disk: IntGauge,
    certificate: IntGauge,
    requests: IntCounterVec,
    round_trip: HistogramVec,
    persist: Histogram,
    persist_errors: IntCounter,
    commands: IntCounterVec,
    command_seconds: HistogramVec,
    activations: IntCounter,
    step_downs: IntCounter,
    hard_fences: IntCounter,
    fences_mended: IntCounter,
    two_actives: IntCounter,
}

impl Metrics {
    /// Makes and registers all of them.
    ///
    /// # Errors
    /// Only if a name were given twice.
    pub fn new() -> Result<Self> {
        let registry = Registry::new();
        let make = Maker(&registry);
        make.build_info("bascule_watchdog_build_info", env!("CARGO_PKG_VERSION"))?;
        let metrics = Self {
            status: OneOf::of(make.gauges("bascule_watchdog_status", "1: what the node does.", &["status"])?),
            epoch: make.gauge("bascule_watchdog_duty_epoch", "Grows by one with each activation of a XiVO node.")?,
            campaign: make.gauge("bascule_watchdog_campaign", "Number of the node's attempt to serve.")?,
            guard: OneOf::of(make.gauges("bascule_watchdog_guard", "1: how the node is guarded while it serves.", &["guard"])?),
            fit: make.gauge("bascule_watchdog_fit", "1: it can serve.")?,
            failed_starts: make
                .gauge("bascule_watchdog_failed_starts", "Starts that failed in a row; 0: the newest came well.")?,
            frozen: make.gauge("bascule_watchdog_frozen", "1: automatic starts and failback are forbidden.")?,
            manual: make.gauge("bascule_watchdog_manual", "1: an operator decides.")?,
            lease: make.real("bascule_watchdog_lease_seconds", "How long the lease lasts without a further grant; 0 without one.")?,
            fence: OneOf::of(make.gauges("bascule_watchdog_fence", "1: how the fence is.", &["state"])?),
            alarms: make.gauge("bascule_watchdog_alarms", "What needs a person.")?,
            connected: make.gauges("bascule_watchdog_connected", "1: the other node is reached.", &["to"])?,
            services: make.gauges("bascule_watchdog_service_works", "1: the service's check passes.", &["service"])?,
            registered: make.gauges("bascule_watchdog_registered", "1: the media server has this node.", &["mds"])?,
            conflict: make.gauge("bascule_watchdog_presence_conflict", "1: both XiVOs are registered here.")?,
            persisted: make.gauge("bascule_watchdog_persisted", "1: the vote's last write reached the disk.")?,
            failed_activations: make.gauge(
                "bascule_watchdog_failed_activations",
                "Activations that failed, one after the other, since the node last served for hold_down_limit.",
            )?,
            hold_down: make.real("bascule_watchdog_hold_down_seconds", "How long a Main must have been fit and in touch before Standby stops for it; doubled by each that failed.")?,
            slow_disk: make.gauge("bascule_watchdog_disk_slow", "1: a write of the vote took too long for a start.")?,
            certificate: make
                .gauge("bascule_watchdog_certificate_expiry_timestamp_seconds", "When the certificate expires.")?,
            requests: make.counters(
                "bascule_watchdog_requests_total",
                "Requests to voters by ruling; failed: no answer in time.",
                &["voter", "ruling"],
            )?,
            round_trip: make.histograms(
                "bascule_watchdog_round_trip_seconds",
                "From a request to its answer.",
                &["voter"],
                ROUND_TRIP,
            )?,
            persist: make.histogram("bascule_watchdog_persist_seconds", "Writing the vote to the disk.", PERSIST)?,
            persist_errors: make.counter("bascule_watchdog_persist_errors_total", "Writes of the vote that failed.")?,
            commands: make.counters(
                "bascule_watchdog_commands_total",
                "Commands that ended.",
                &["command", "outcome"],
            )?,
            command_seconds: make.histograms(
                "bascule_watchdog_command_seconds",
                "From a command's start to its end.",
                &["command"],
                COMMAND,
            )?,
            activations: make.counter("bascule_watchdog_activations_total", "Times the node began to serve.")?,
            step_downs: make.counter("bascule_watchdog_step_downs_total", "Times it stopped serving.")?,
            hard_fences: make.counter("bascule_watchdog_hard_fences_total", "Times the last resort was used.")?,
            fences_mended: make.counter(
                "bascule_watchdog_fences_mended_total",
                "Times the fence was not as the watchdog wrote it: somebody else removed or changed it.",
            )?,
            two_actives: make.counter("bascule_watchdog_two_actives_total", "Times the peer was seen serving, too.")?,
            registry,
        };
        // Until a write fails, nothing is missing on the disk.
        metrics.persisted.set(1);
        Ok(metrics)
    }

    /// Returns what the metrics endpoint shows.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Shows what a published status says.
    pub fn show(&self, view: &StatusView) {
        // Each status has a series, 0 or 1: one that is over does not linger beside the one that is.
        self.status.show(view.status.label(), || Status::ALL.iter().map(|status| status.label()));
        self.alarms.set(i64::try_from(view.alarms.len()).unwrap_or(i64::MAX));
        self.failed_starts.set(view.failed_starts.as_ref().map_or(0, |failed| failed.count.into()));
        for (name, service) in &view.services {
            self.services.with_label_values(&[name]).set(i64::from(service.works));
        }
        if let Some(presence) = &view.presence {
            self.conflict.set(i64::from(presence.conflict));
        }
        let follows = view.follows.as_ref().map(|followed| ("xivo", &followed.link));
        for (to, link) in view.edge.iter().map(|link| ("edge", link)).chain(follows) {
            self.connected.with_label_values(&[to]).set(i64::from(link.connected));
        }
        if let Some(duty) = &view.duty {
            self.show_duty(duty);
        }
    }

    fn show_duty(&self, duty: &DutyView) {
        self.epoch.set(i64::try_from(duty.epoch).unwrap_or(i64::MAX));
        self.campaign.set(i64::try_from(duty.campaign).unwrap_or(i64::MAX));
        let guard = duty.guard.as_ref().map_or("none", Guard::label);
        self.guard.show(guard, || Guard::LABELS.into_iter().chain(["none"]));
        self.fence.show(duty.fence.state.label(), || FenceState::ALL.iter().map(|state| state.label()));
        for (gauge, is) in [
            (&self.fit, duty.fit),
            (&self.frozen, duty.frozen),
            (&self.manual, duty.mode == Mode::Manual),
            (&self.persisted, duty.persisted),
        ] {
            gauge.set(i64::from(is));
        }
        self.failed_activations.set(i64::from(duty.activations.failed));
        self.hold_down.set(Duration::from_millis(duty.activations.hold_down_ms).as_secs_f64());
        self.slow_disk.set(i64::from(duty.slow_write_ms.is_some()));
        self.lease.set(Duration::from_millis(duty.lease_ms_left.unwrap_or(0)).as_secs_f64());
        let voters = [("peer", Some(&duty.voters.peer)), ("witness", duty.voters.witness.as_ref())];
        for (to, voter) in voters.into_iter().filter_map(|(to, voter)| Some((to, voter?))) {
            self.connected.with_label_values(&[to]).set(i64::from(voter.link.connected));
        }
        for (name, server) in &duty.media_servers {
            self.registered.with_label_values(&[name]).set(i64::from(server.registered));
        }
    }

    /// Shows when the node's certificate expires.
    pub fn certificate(&self, expires: SystemTime) {
        let since = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.certificate.set(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    }

    /// A voter ruled, after so long.
    pub fn answered(&self, by: RemoteVoter, ruling: VoteReply, took: Duration) {
        let voter = voter(by);
        self.requests.with_label_values(&[voter, ruling.to_string().as_str()]).inc();
        self.round_trip.with_label_values(&[voter]).observe(took.as_secs_f64());
    }

    /// A request was not answered.
    pub fn unanswered(&self, by: RemoteVoter) {
        self.requests.with_label_values(&[voter(by), "failed"]).inc();
    }

    /// The vote was written, or not, after so long.
    pub fn persisted(&self, written: &std::io::Result<()>, took: Duration) {
        self.persist.observe(took.as_secs_f64());
        if written.is_err() {
            self.persist_errors.inc();
        }
    }

    /// A command ended after so long. Both words are of closed sets: `start`, `stop`, `check`…; `done`, `exit_code`,
    /// `timed_out`…
    pub fn command(&self, command: &'static str, outcome: &'static str, took: Duration) {
        self.commands.with_label_values(&[command, outcome]).inc();
        self.command_seconds.with_label_values(&[command]).observe(took.as_secs_f64());
    }

    /// The node began to serve.
    pub fn activated(&self) {
        self.activations.inc();
    }

    /// Counts that the node stopped serving.
    pub fn stepped_down(&self) {
        self.step_downs.inc();
    }

    /// The last resort was used.
    pub fn hard_fenced(&self) {
        self.hard_fences.inc();
    }

    /// Somebody had changed the fence.
    pub fn fence_mended(&self) {
        self.fences_mended.inc();
    }

    /// Counts that the peer was seen to serve, too.
    pub fn two_actives(&self) {
        self.two_actives.inc();
    }
}

fn voter(voter: RemoteVoter) -> &'static str {
    match voter {
        RemoteVoter::Peer => "peer",
        RemoteVoter::Witness => "witness",
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use prometheus::TextEncoder;

    use super::*;
    use crate::control::tests::view;

    fn text(metrics: &Metrics) -> String {
        TextEncoder::new().encode_to_string(&metrics.registry().gather()).unwrap()
    }

    fn has(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_status_is_shown_as_state_sets() {
        let metrics = Metrics::new().unwrap();
        metrics.show(&view());
        let text = text(&metrics);
        has(
            &text,
            &[
                "bascule_watchdog_status{status=\"active\"} 1",
                "bascule_watchdog_status{status=\"inactive\"} 0",
                "bascule_watchdog_guard{guard=\"exposed\"} 1",
                "bascule_watchdog_guard{guard=\"none\"} 0",
                "bascule_watchdog_fence{state=\"open\"} 1",
                "bascule_watchdog_duty_epoch 7",
                "bascule_watchdog_lease_seconds 1.5",
                "bascule_watchdog_connected{to=\"witness\"} 1",
                "bascule_watchdog_registered{mds=\"mds1\"} 1",
                "bascule_watchdog_alarms 1",
                "bascule_watchdog_failed_activations 2",
                "bascule_watchdog_hold_down_seconds 240",
                "bascule_watchdog_disk_slow 1",
            ],
        );
    }

    #[test]
    fn what_happens_is_counted() {
        let metrics = Metrics::new().unwrap();
        metrics.answered(RemoteVoter::Peer, VoteReply::Grant, Duration::from_millis(1));
        metrics.unanswered(RemoteVoter::Witness);
        metrics.persisted(&Err(io::Error::from(io::ErrorKind::StorageFull)), Duration::from_millis(2));
        metrics.command("start", "done", Duration::from_secs(1));
        metrics.activated();
        metrics.two_actives();
        metrics.certificate(SystemTime::UNIX_EPOCH + Duration::from_secs(99));
        let text = text(&metrics);
        has(
            &text,
            &[
                "bascule_watchdog_requests_total{ruling=\"grant\",voter=\"peer\"} 1",
                "bascule_watchdog_requests_total{ruling=\"failed\",voter=\"witness\"} 1",
                "bascule_watchdog_persist_errors_total 1",
                "bascule_watchdog_commands_total{command=\"start\",outcome=\"done\"} 1",
                "bascule_watchdog_activations_total 1",
                "bascule_watchdog_two_actives_total 1",
                "bascule_watchdog_certificate_expiry_timestamp_seconds 99",
            ],
        );
    }

    // Alerts and dashboards of the site's own go by these words.
    #[test]
    fn every_label_is_spelled_as_it_always_was() {
        let metrics = Metrics::new().unwrap();
        metrics.show(&view());
        for ruling in [VoteReply::Grant, VoteReply::Deny, VoteReply::Lost, VoteReply::TooLong] {
            metrics.answered(RemoteVoter::Witness, ruling, Duration::from_millis(1));
        }
        let text = text(&metrics);
        let of = |family: &str| -> Vec<&str> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(family)?.strip_prefix('{'));
            lines.filter_map(|line| line.split('"').nth(1)).collect()
        };
        assert_eq!(of("bascule_watchdog_status"), ["active", "faulty", "inactive", "starting", "stopping"]);
        assert_eq!(of("bascule_watchdog_guard"), ["exposed", "guarded", "none", "unguarded"]);
        assert_eq!(of("bascule_watchdog_fence"), ["absent", "closed", "failed", "open"]);
        assert_eq!(of("bascule_watchdog_requests_total"), ["deny", "grant", "lost", "too long"]);
        assert_eq!(of("bascule_watchdog_connected"), ["edge", "peer", "witness"]);
    }
}
