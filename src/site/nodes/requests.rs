//! Answers at the nodes' endpoint: XiVO nodes vote, all nodes report, and each only as its certificate says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::endpoint::Handler;
use protocol::who::Who;
use protocol::wire::{Ask, NodeReport, Role, Told};
use tokio::time::Instant;

use super::{Node, Versions};
use crate::site::witness::Witness;
use crate::telemetry::metrics::{NodesMetrics, TurnedAway};

/// The same refusal is logged at most this often.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// Refusals remembered, so that they are not said again.
const MOST_SAID: usize = 256;

/// Who takes the nodes' reports. The engine does, which stands above this room.
pub trait Reports: Send + Sync + 'static {
    /// Takes a report; what its node is told.
    fn report(&self, node: Node, report: NodeReport) -> impl Future<Output = Told> + Send;
}

/// Answers nodes.
pub struct NodeRequests<R> {
    reports: R,
    witness: Witness,
    metrics: Arc<NodesMetrics>,
    versions: Arc<Versions>,
    said: Mutex<HashMap<String, Instant>>,
}

impl<R> NodeRequests<R> {
    /// Hands reports on, and asks this witness for votes.
    pub fn new(reports: R, witness: Witness, metrics: Arc<NodesMetrics>, versions: Arc<Versions>) -> Self {
        Self { reports, witness, metrics, versions, said: Mutex::default() }
    }

    fn refuse(&self, who: &Who, reason: String) -> Told {
        self.metrics.turned_away.of(TurnedAway::Role).inc();
        self.warn(format!("{who} was refused: {reason}"));
        Told::Refused { reason }
    }

    fn warn(&self, sentence: String) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        said.retain(|_, at| now.duration_since(*at) < SAY_AGAIN);
        // Whoever has an address may be turned away as often as they like.
        if said.len() < MOST_SAID && !said.contains_key(&sentence) {
            tracing::warn!("nodes' endpoint: {sentence}");
            said.insert(sentence, now);
        }
    }
}

impl<R: Reports> Handler for NodeRequests<R> {
    async fn told(&self, who: &Who, ask: Ask) -> Told {
        match ask {
            // By the certificate, not by the request: else any node could ask for, or release, the vote of another.
            Ask::Vote(request) if who.is_node(Role::Xivo, Some(request.from)) => {
                match self.witness.ask(request).await {
                    Ok(answer) => Told::Vote(answer),
                    Err(reason) => Told::Refused { reason },
                }
            }
            Ask::Vote(request) => {
                self.refuse(who, format!("its certificate does not let it ask for the vote of {}", request.from))
            }
            Ask::Report(report) => match Node::of(who) {
                Some(node) => {
                    self.metrics.reports.inc();
                    self.reports.report(node, *report).await
                }
                None => self.refuse(who, "only nodes report".to_owned()),
            },
            // A CC follows its XiVO's own word (W5): the Edge's would be older, and gone with the Edge.
            Ask::Watch { .. } => self.refuse(who, "the Edge has no status to watch: ask the XiVO node".to_owned()),
        }
    }

    fn speaks_another_version(&self, address: SocketAddr, offered: &str) {
        self.versions.hear(address.ip(), offered, Instant::now());
    }

    fn turned_away(&self, address: SocketAddr, why: &str) {
        self.metrics.turned_away.of(TurnedAway::Handshake).inc();
        self.warn(format!("{} was turned away: {why}", address.ip()));
    }
}
