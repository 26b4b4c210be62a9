//! The nodes' word: reports in, wishes out, and what they mean for the health of a side.

use std::sync::Arc;
use std::time::Duration;

use failover::health;
use failover::lease::{Record, Timing};
use failover::{PerSide, Side};
use protocol::identity::{Keyring, expiry};
use protocol::wire::{Guard, NodeReport, Role, Times, Told, Wish};

use super::mistakes::{Mistake, made};
use super::{Engine, Work};
use crate::admin::api::{Event, NodeStatus, Time, WitnessStatus};
use crate::site::nodes::{Known, News, Node, Registry, Versions, takeover};
use crate::site::witness::{View, Witness};
use crate::telemetry::metrics::{NodeLabels, NodeState, NodesMetrics};

/// What the engine needs where there is a door for nodes.
pub struct NodesMeans {
    /// The Edge's vote.
    pub witness: Witness,
    /// The Edge's own certificate.
    pub keyring: Arc<Keyring>,
    /// What is counted.
    pub metrics: Arc<NodesMetrics>,
    /// The Edge's times as a voter.
    pub timing: Timing,
    /// Filled by the nodes' listener, which meets them before any certificate.
    pub versions: Arc<Versions>,
}

/// What the engine knows of nodes.
pub(super) struct Nodes {
    pub(super) means: NodesMeans,
    pub(super) registry: Registry,
    /// Handed to the XiVO node of a side with each reply.
    pub(super) wishes: PerSide<Option<Wish>>,
}

impl Nodes {
    pub(super) fn new(means: NodesMeans) -> Self {
        Self { means, registry: Registry::default(), wishes: PerSide::default() }
    }
}

impl Engine {
    /// Takes a node's report in.
    pub(super) fn take_report(&mut self, node: Node, mut report: NodeReport) -> Told {
        if made(Mistake::AgeIgnored) {
            report.made_us = None;
        }
        let now = self.clock.now();
        let Some(nodes) = &mut self.nodes else {
            return Told::Refused { reason: "this Edge has no door for nodes".to_owned() };
        };
        let wish = match (node.role, node.side) {
            (Role::Xivo, Some(side)) => nodes.wishes[side].clone(),
            _ => None,
        };
        count(&nodes.means.metrics, &node, &report);
        let place = (node.role, node.side);
        match nodes.registry.take(node, report, now) {
            Ok(news) => self.tell_nodes(news),
            Err(error) => return Told::Refused { reason: error.to_string() },
        }
        self.tell_wish();
        self.hear(|role, side| (role, Some(side)) == place);
        Told::Report { wish }
    }

    /// Lets time pass for the nodes' reports.
    pub(super) fn tick_nodes(&mut self) {
        let now = self.clock.now();
        let Some(nodes) = &mut self.nodes else { return };
        let mut news = nodes.registry.tick(now);
        news.retain(|_| !made(Mistake::SilenceUntold));
        for (node, _) in nodes.registry.all().filter(|(_, known)| !known.is_fresh(now)) {
            nodes.means.metrics.status(labels(node), NodeState::Unknown);
            nodes.means.metrics.guard(labels(node), None);
        }
        nodes.means.metrics.own_certificate(nodes.means.keyring.current().days_left());
        self.tell_nodes(news);
        self.tell_wish();
    }

    fn tell_nodes(&mut self, news: Vec<News>) {
        for one in news {
            match one {
                News::Node(sentence) => {
                    tracing::info!("{sentence}");
                    self.journal(Event::Node, sentence);
                }
                News::Alarm(sentence) => {
                    tracing::error!("{sentence}");
                    self.journal(Event::Alarm, sentence);
                }
            }
        }
        if let Some(nodes) = &self.nodes {
            nodes.means.metrics.two_actives.set(i64::from(nodes.registry.two_actives().is_some()));
        }
    }

    /// Tells the health what these nodes say.
    pub(super) fn hear(&mut self, of: impl Fn(Role, Side) -> bool) {
        let now = self.clock.now();
        let Some(nodes) = self.nodes.as_ref().filter(|_| !made(Mistake::ReportUnheard)) else { return };
        for voice in self.plan.voices.iter().filter(|voice| of(voice.role, voice.side)) {
            if let Some(status) = nodes.registry.word(voice.role, voice.side, voice.backends, now) {
                self.work.push_back(Work::Health(health::Event::Node { node: voice.node, status }));
            }
        }
    }

    /// What of the nodes and the vote needs a person, most urgent first.
    pub(super) fn node_alarms(&self) -> Vec<String> {
        let Some(nodes) = &self.nodes else { return Vec::new() };
        let now = self.clock.now();
        let mut alarms = nodes.registry.alarms(now);
        for (node, known) in nodes.registry.all().filter(|(_, known)| known.is_fresh(now)) {
            match known.report.vote.as_ref().and_then(|vote| vote.guard.as_ref()) {
                Some(Guard::Unguarded { why }) => {
                    alarms.insert(0, format!("UNGUARDED: {node} serves without a majority: {why}"))
                }
                Some(Guard::Exposed { lacks }) => {
                    alarms.push(format!("exposed: {node} serves without the vote of {lacks}"))
                }
                Some(Guard::Guarded) | None => {}
            }
        }
        let View { trouble, alarms: of_askers, .. } = nodes.means.witness.view();
        alarms.extend(trouble.map(|why| format!("{why}; nobody is granted the vote")));
        alarms.extend(of_askers);
        alarms.extend(nodes.means.versions.alarms(tokio::time::Instant::now()));
        alarms.extend(nodes.means.keyring.not_taken().map(|not_taken| {
            let since = Time::from(not_taken.since);
            format!(
                "the certificate for nodes on the disk does not load, since {since}; the old one is shown: {}",
                not_taken.why
            )
        }));
        alarms.extend(expiry("this Edge at the nodes' door", nodes.means.keyring.current().days_left()));
        alarms
    }

    /// The nodes, as operators see them.
    pub(super) fn node_rows(&self) -> Vec<NodeStatus> {
        let now = self.clock.now();
        let row = |(node, known): (&Node, &Known)| NodeStatus {
            role: node.role,
            side: node.side,
            name: node.name.clone(),
            fresh: known.is_fresh(now),
            heard: self.clock.wall(known.at),
            report: known.report.clone(),
        };
        self.nodes.iter().flat_map(|nodes| nodes.registry.all()).map(row).collect()
    }

    /// The vote, as operators see it.
    pub(super) fn witness_row(&self) -> Option<WitnessStatus> {
        let nodes = self.nodes.as_ref()?;
        let View { record, epoch, left, trouble, .. } = nodes.means.witness.view();
        let seconds = left.as_secs_f64();
        let sentence = match (&trouble, record) {
            (Some(why), _) => format!("{why}; nobody is granted the vote"),
            (None, Record::Free) => format!("{record}"),
            (None, _) => format!("{record}; {seconds:.1} s left"),
        };
        Some(WitnessStatus {
            sentence,
            holder: match record {
                Record::Promised(promise) => Some(promise.holder),
                Record::Free | Record::Unknown => None,
            },
            epoch,
            quiet: record == Record::Unknown,
            left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            trouble,
            times_differ: nodes.registry.times_differ(Times::from(&nodes.means.timing), self.clock.now()),
        })
    }

    /// What would become of telephony if a side died now.
    pub(super) fn takeovers(&self) -> Vec<String> {
        let Some(nodes) = self.nodes.as_ref().filter(|nodes| nodes.registry.all().next().is_some()) else {
            return Vec::new();
        };
        let now = self.clock.now();
        let half = |side| {
            let (_, known) = nodes.registry.xivo(side)?;
            Some(takeover::Half {
                status: known.report.status,
                vote: known.report.vote.as_ref(),
                failed_starts: known.report.failed_starts.as_ref(),
                ago: now.since(known.at),
                fresh: known.is_fresh(now),
            })
        };
        let halves = PerSide { main: half(Side::Main), standby: half(Side::Standby) };
        let view = nodes.means.witness.view();
        let witness = match (view.trouble, view.record) {
            (Some(_), _) => takeover::Witness::Mute,
            (None, Record::Unknown) => takeover::Witness::Quiet(view.left.max(Duration::from_millis(1))),
            (None, Record::Free | Record::Promised(_)) => takeover::Witness::Ready,
        };
        Side::BOTH.into_iter().map(|side| takeover::if_died(side, &halves, &witness)).collect()
    }
}

fn labels(node: &Node) -> NodeLabels<'_> {
    NodeLabels { role: node.role.label(), side: node.side, name: &node.name }
}

fn count(metrics: &NodesMetrics, node: &Node, report: &NodeReport) {
    let labels = labels(node);
    metrics.status(labels, report.status.into());
    metrics.health(labels, report.alarms.len(), report.certificate_days);
    metrics.failed_starts(labels, report.failed_starts.as_ref().map_or(0, |failed| failed.count));
    if let Some(vote) = &report.vote {
        metrics.vote(labels, vote.fit, vote.epoch);
        metrics.guard(labels, vote.guard.as_ref());
    }
    for (name, server) in report.media_servers.iter().filter(|(name, _)| protocol::who::is_name(name)).take(64) {
        metrics.registered(labels, name, server.registered);
    }
}
