//! The nodes as the engine knows them: reports in, wishes out, and what they mean for operators and for the health of
//! a side.

use std::sync::Arc;
use std::time::Duration;

use failover::health;
use failover::lease::{Record, Timing};
use failover::{Instant, PerSide, Side};
use protocol::identity::{Keyring, expiry};
use protocol::wire::{Guard, NodeReport, Role, Times, Told, Wish};

use super::clock::Clock;
use super::mistakes::{Mistake, made};
use super::plan::Voice;
use crate::admin::api::{NodeStatus, Time, WitnessStatus};
use crate::site::nodes::{Known, News, Node, Registry, Versions, takeover};
use crate::site::witness::{View, Witness};
use crate::telemetry::metrics::{NodeLabels, NodeState, NodesMetrics};

/// The parts that an engine is given beside [`super::Means`] where nodes may report.
pub struct NodesMeans {
    /// The Edge's vote.
    pub witness: Witness,
    /// The Edge's own certificate.
    pub keyring: Arc<Keyring>,
    /// The metrics of nodes and switchovers.
    pub metrics: Arc<NodesMetrics>,
    /// The Edge's times as a voter.
    pub timing: Timing,
    /// Filled by the nodes' listener, which meets them before any certificate.
    pub versions: Arc<Versions>,
}

/// The nodes that report, and the wishes that lie ready for them.
pub(super) struct Nodes {
    pub(super) means: NodesMeans,
    pub(super) registry: Registry,
    /// Handed to the XiVO node of a side with each reply.
    wishes: PerSide<Option<Wish>>,
}

impl Nodes {
    pub(super) fn new(means: NodesMeans) -> Self {
        Self { means, registry: Registry::default(), wishes: PerSide::default() }
    }

    /// Takes a report in: what is new of its node, and the answer to it.
    ///
    /// # Errors
    /// Why it is not taken, for the node.
    pub(super) fn take(
        &mut self,
        node: Node,
        mut report: NodeReport,
        now: Instant,
    ) -> Result<(Vec<News>, Told), String> {
        if made(Mistake::AgeIgnored) {
            report.made_us = None;
        }
        // A CC goes by its XiVO, and a media server by nobody's wish.
        let wish = match (node.role, node.side) {
            (Role::Xivo, Some(side)) => self.wishes[side].clone(),
            _ => None,
        };
        count(&self.means.metrics, &node, &report);
        let news = self.registry.take(node, report, now).map_err(|error| error.to_string())?;
        self.count_actives();
        Ok((news, Told::Report { wish }))
    }

    /// Lets time pass: which nodes have fallen silent.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<News> {
        let mut news = self.registry.tick(now);
        news.retain(|_| !made(Mistake::SilenceUntold));
        for (node, _) in self.registry.all().filter(|(_, known)| !known.is_fresh(now)) {
            self.means.metrics.status(labels(node), NodeState::Unknown);
            self.means.metrics.guard(labels(node), None);
        }
        self.means.metrics.own_certificate(self.means.keyring.current().days_left());
        self.count_actives();
        news
    }

    fn count_actives(&self) {
        self.means.metrics.two_actives.set(i64::from(self.registry.two_actives().is_some()));
    }

    /// Hands a wish to the XiVO node of a side with each reply, in place of an older one: a reply may be lost, and a
    /// node follows the same wish once.
    pub(super) fn lay_out(&mut self, side: Side, wish: Wish) {
        self.wishes[side] = Some(wish);
    }

    /// Hands out no wish any more.
    pub(super) fn withdraw_wishes(&mut self) {
        self.wishes = PerSide::default();
    }

    /// The word of each of these voices on the health of its side.
    pub(super) fn words<'a>(&self, voices: impl Iterator<Item = &'a Voice>, now: Instant) -> Vec<health::Event> {
        let word = |voice: &Voice| {
            let status = self.registry.word(voice.role, voice.side, voice.backends, now)?;
            Some(health::Event::Node { node: voice.node, status })
        };
        voices.filter_map(word).collect()
    }

    /// What of the nodes and the vote needs a person, most urgent first.
    pub(super) fn alarms(&self, now: Instant) -> Vec<String> {
        let mut alarms = self.registry.alarms(now);
        for (node, known) in self.registry.all().filter(|(_, known)| known.is_fresh(now)) {
            match known.report.vote.as_ref().and_then(|vote| vote.guard.as_ref()) {
                // Two may be serving, and no call is safe: before all others.
                Some(Guard::Unguarded { why }) => {
                    alarms.insert(0, format!("UNGUARDED: {node} serves without a majority: {why}"))
                }
                Some(Guard::Exposed { lacks }) => {
                    alarms.push(format!("exposed: {node} serves without the vote of {lacks}"))
                }
                Some(Guard::Guarded) | None => {}
            }
        }
        let View { trouble, alarms: of_askers, .. } = self.means.witness.view();
        alarms.extend(trouble.map(|why| format!("{why}; nobody is granted the vote")));
        alarms.extend(of_askers);
        alarms.extend(self.means.versions.alarms(tokio::time::Instant::now()));
        alarms.extend(self.means.keyring.not_taken().map(|not_taken| {
            let since = Time::from(not_taken.since);
            format!(
                "the certificate for nodes on the disk does not load, since {since}; the old one is shown: {}",
                not_taken.why
            )
        }));
        alarms.extend(expiry("this Edge at the nodes' endpoint", self.means.keyring.current().days_left()));
        alarms
    }

    /// Whether a CC of this side reports.
    pub(super) fn hears_cc(&self, side: Side, now: Instant) -> bool {
        let its = |node: &Node| node.role == Role::Cc && node.side == Some(side);
        self.registry.all().any(|(node, known)| its(node) && known.is_fresh(now))
    }

    /// The nodes, as operators see them.
    pub(super) fn rows(&self, clock: Clock) -> Vec<NodeStatus> {
        let now = clock.now();
        let row = |(node, known): (&Node, &Known)| NodeStatus {
            role: node.role,
            side: node.side,
            name: node.name.clone(),
            fresh: known.is_fresh(now),
            heard: clock.wall(known.at),
            report: known.report.clone(),
        };
        self.registry.all().map(row).collect()
    }

    /// The vote, as operators see it.
    pub(super) fn witness_row(&self, now: Instant) -> WitnessStatus {
        let View { record, epoch, left, trouble, .. } = self.means.witness.view();
        let seconds = left.as_secs_f64();
        let sentence = match (&trouble, record) {
            (Some(why), _) => format!("{why}; nobody is granted the vote"),
            (None, Record::Free) => format!("{record}"),
            (None, _) => format!("{record}; {seconds:.1} s left"),
        };
        WitnessStatus {
            sentence,
            holder: match record {
                Record::Promised(promise) => Some(promise.holder),
                Record::Free | Record::Unknown => None,
            },
            epoch,
            quiet: record == Record::Unknown,
            left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            trouble,
            times_differ: self.registry.times_differ(Times::from(&self.means.timing), now),
        }
    }

    /// What would become of telephony if a side died now.
    pub(super) fn takeovers(&self, now: Instant) -> Vec<String> {
        // Without watchdogs telephony stays where it is, and there is nothing to tell.
        if self.registry.all().next().is_none() {
            return Vec::new();
        }
        let half = |side| {
            let (_, known) = self.registry.xivo(side)?;
            Some(takeover::Half {
                status: known.report.status,
                vote: known.report.vote.as_ref(),
                failed_starts: known.report.failed_starts.as_ref(),
                ago: now.since(known.at),
                fresh: known.is_fresh(now),
            })
        };
        let halves = PerSide { main: half(Side::Main), standby: half(Side::Standby) };
        let view = self.means.witness.view();
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
    // A node names them, and each name is a series that lasts as long as the process.
    for (name, server) in report.media_servers.iter().filter(|(name, _)| protocol::who::is_name(name)).take(64) {
        metrics.registered(labels, name, server.registered);
    }
}
