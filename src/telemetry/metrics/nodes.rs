//! Metrics of the nodes' endpoint: the witness, the nodes' reports, switches of the whole site. An Edge alone has
//! none of them.

use daemon::Maker;
use failover::Side;
use failover::lease::Ask;
use prometheus::{Histogram, IntCounter, IntGauge, IntGaugeVec, Registry, Result};
use protocol::wire::Guard;

use super::labels::{NodeState, Per, Ruled, SwitchoverResult, TurnedAway};
use super::make::counter_per;
use crate::admin::api::Sides;

/// From a ruling that needs no disk to a node's own limit.
const ANSWER_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.4, 1.0];

/// A day in seconds: certificates are told in whole days.
const DAY: i64 = 24 * 3600;

/// How the witness's vote stands, and what it is asked.
#[derive(Debug)]
pub struct WitnessMetrics {
    requests: Per<Ask, Per<Ruled, IntCounter>>,
    /// 1: the vote is that side's.
    pub promised: Sides<IntGauge>,
    /// 1: the disk was lost, and nothing is granted.
    pub quiet: IntGauge,
    /// 1: the vote cannot be written, and nothing is granted.
    pub unwritable: IntGauge,
    /// The highest duty epoch known.
    pub epoch: IntGauge,
    /// From a request to its answer.
    pub answer_seconds: Histogram,
}

impl WitnessMetrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// The registry holds one of the names already.
    pub fn new(registry: &Registry) -> Result<Self> {
        let make = Maker(registry);
        let labels = ["asked", "answer"];
        let requests = make.counters("bascule_witness_requests_total", "What nodes asked of the vote.", &labels)?;
        let promised = make.gauges("bascule_witness_promised", "1: the vote is promised to that side.", &["side"])?;
        let seconds = make.histograms(
            "bascule_witness_answer_seconds",
            "From a request for the vote to its answer, the disk included.",
            &[],
            ANSWER_SECONDS,
        )?;
        Ok(Self {
            requests: Per::new(|asked: Ask| {
                Per::new(|ruled: Ruled| requests.with_label_values(&[asked.label(), ruled.label()]))
            }),
            promised: Sides::from_fn(|side| promised.with_label_values(&[side.label()])),
            quiet: make
                .gauge("bascule_witness_quiet", "1: the vote was lost with the disk; nothing is granted yet.")?,
            unwritable: make
                .gauge("bascule_witness_unwritable", "1: the vote cannot be written; nothing is granted.")?,
            epoch: make.gauge("bascule_witness_epoch", "The highest duty epoch the witness knows.")?,
            answer_seconds: seconds.with_label_values::<&str>(&[]),
        })
    }

    /// Counts an answer.
    pub fn answered(&self, ask: Ask, ruled: Ruled) {
        self.requests.of(ask).of(ruled).inc();
    }
}

/// What tells a node from others in metrics. Names come from certificates of the site's own authority.
#[derive(Debug, Clone, Copy)]
pub struct NodeLabels<'a> {
    /// Its role.
    pub role: &'a str,
    /// Its side; none: a media server.
    pub side: Option<Side>,
    /// Its name.
    pub name: &'a str,
}

impl<'a> NodeLabels<'a> {
    fn values(&self) -> [&'a str; 3] {
        [self.role, self.side.map_or("shared", Side::label), self.name]
    }
}

/// The nodes' reports, and switches of the whole site.
#[derive(Debug)]
pub struct NodesMetrics {
    status: IntGaugeVec,
    guard: IntGaugeVec,
    fit: IntGaugeVec,
    epoch: IntGaugeVec,
    alarms: IntGaugeVec,
    failed_starts: IntGaugeVec,
    certificate: IntGaugeVec,
    registered: IntGaugeVec,
    /// 1: both XiVO nodes say that they serve.
    pub two_actives: IntGauge,
    /// Reports taken in.
    pub reports: IntCounter,
    /// Who was turned away at the endpoint, by why.
    pub turned_away: Per<TurnedAway, IntCounter>,
    /// 1: a switch of the whole site is under way.
    pub switching_over: IntGauge,
    /// Switches of the whole site, by how they ended.
    pub switchovers: Per<SwitchoverResult, IntCounter>,
    own_certificate: IntGauge,
}

impl NodesMetrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// The registry holds one of the names already.
    pub fn new(registry: &Registry) -> Result<Self> {
        let make = Maker(registry);
        let node = ["role", "side", "name"];
        let with = |last: &'static str| ["role", "side", "name", last];
        let turned_away = "bascule_nodes_turned_away_total";
        let switchovers = "bascule_site_switches_total";
        let remaining = "bascule_node_certificate_remaining_seconds";
        let own = "bascule_own_node_certificate_remaining_seconds";
        Ok(Self {
            status: make.gauges("bascule_node_status", "1: what the node does.", &with("status"))?,
            guard: make.gauges("bascule_node_guard", "1: how the serving node is guarded.", &with("guard"))?,
            fit: make.gauges("bascule_node_fit", "1: the XiVO node can serve.", &node)?,
            epoch: make.gauges("bascule_node_epoch", "The highest duty epoch the XiVO node knows.", &node)?,
            alarms: make.gauges("bascule_node_alarms", "What of the node needs a person.", &node)?,
            failed_starts: make.gauges(
                "bascule_node_failed_starts",
                "Starts of the node's services that failed in a row; 0: the newest came well.",
                &node,
            )?,
            certificate: make.gauges(remaining, "Until the node's certificate expires, in whole days.", &node)?,
            registered: make.gauges(
                "bascule_node_registered",
                "1: the XiVO node is verified to be registered with the media server.",
                &with("media_server"),
            )?,
            two_actives: make.gauge("bascule_two_actives", "1: both XiVO nodes say that they serve.")?,
            reports: make.counter("bascule_node_reports_total", "Reports of nodes taken in.")?,
            turned_away: counter_per(&make, turned_away, "Who was turned away at the nodes' endpoint.", "reason")?,
            switching_over: make.gauge("bascule_site_switching", "1: a switch of the whole site is under way.")?,
            switchovers: counter_per(&make, switchovers, "Planned switches of the whole site.", "result")?,
            own_certificate: make.gauge(own, "Until the Edge's own certificate for nodes expires, in whole days.")?,
        })
    }

    /// Shows what a node does.
    pub fn status(&self, node: NodeLabels<'_>, state: NodeState) {
        let [role, side, name] = node.values();
        // Each of them, each time: what a node has left goes back to 0.
        for each in NodeState::ALL {
            self.status.with_label_values(&[role, side, name, each.label()]).set(i64::from(*each == state));
        }
    }

    /// Shows how a serving node is guarded; none: it does not serve.
    pub fn guard(&self, node: NodeLabels<'_>, guard: Option<&Guard>) {
        let [role, side, name] = node.values();
        let guard = guard.map(Guard::label);
        for each in Guard::LABELS {
            self.guard.with_label_values(&[role, side, name, each]).set(i64::from(Some(each) == guard));
        }
    }

    /// Shows a XiVO node's place in the vote.
    pub fn vote(&self, node: NodeLabels<'_>, fit: bool, epoch: u64) {
        self.fit.with_label_values(&node.values()).set(i64::from(fit));
        self.epoch.with_label_values(&node.values()).set(i64::try_from(epoch).unwrap_or(i64::MAX));
    }

    /// Shows what of a node needs a person.
    pub fn health(&self, node: NodeLabels<'_>, alarms: usize, certificate_days: Option<i64>) {
        self.alarms.with_label_values(&node.values()).set(i64::try_from(alarms).unwrap_or(i64::MAX));
        // No series where nothing is known: 0 would mean that it has expired.
        if let Some(days) = certificate_days {
            self.certificate.with_label_values(&node.values()).set(days.saturating_mul(DAY));
        }
    }

    /// Shows how many starts of its services failed in a row.
    pub fn failed_starts(&self, node: NodeLabels<'_>, count: u32) {
        self.failed_starts.with_label_values(&node.values()).set(count.into());
    }

    /// Shows for how many days the Edge's own certificate for nodes is good.
    pub fn own_certificate(&self, days: i64) {
        self.own_certificate.set(days.saturating_mul(DAY));
    }

    /// Shows whether a XiVO node is registered with a media server.
    pub fn registered(&self, node: NodeLabels<'_>, media_server: &str, registered: bool) {
        let [role, side, name] = node.values();
        self.registered.with_label_values(&[role, side, name, media_server]).set(i64::from(registered));
    }
}
