//! The nodes' endpoint: identity, witness, listener. It stands on the engine's thread, as it must answer whatever the
//! load.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::Registry;
use protocol::endpoint::Endpoint;
use protocol::identity::Keyring;
use protocol::who::Who;

use super::RunError;
use crate::admin::api::Event;
use crate::config;
use crate::engine::{Handle, NodesMeans};
use crate::site::nodes::{NodeRequests, Rate, Versions};
use crate::site::witness::{News, Witness};
use crate::telemetry::metrics::{NodesMetrics, WitnessMetrics};

/// Changes of the vote that are written down: who wants and releases it without end fills no journal.
const VOTES: Rate = Rate::new(200, Duration::from_secs(10));

/// The endpoint, open but not served yet.
pub(super) struct NodesEndpoint {
    endpoint: Endpoint,
    requests: Arc<NodeRequests<Handle>>,
    keyring: Arc<Keyring>,
}

impl NodesEndpoint {
    /// Reads the identity, starts the witness, binds the address. Nodes stand where backends do: those find room.
    pub(super) async fn open(
        nodes: &config::Nodes,
        backends: impl IntoIterator<Item = IpAddr>,
        state: &Path,
        registry: &Registry,
        engine: &Handle,
    ) -> Result<(Self, NodesMeans), RunError> {
        let keyring = Arc::new(Keyring::open(&nodes.identity)?);
        match keyring.current().who() {
            // Nodes refuse anybody else in this place: told here, it is a mistake of one line instead of a site without
            // a witness.
            Who::Edge { .. } => {}
            other => {
                let (directory, who) = (nodes.identity.clone(), other.to_string());
                return Err(RunError::NotAnEdge { directory, who });
            }
        }
        let witness_metrics = Arc::new(WitnessMetrics::new(registry).map_err(RunError::start("metrics"))?);
        let metrics = Arc::new(NodesMetrics::new(registry).map_err(RunError::start("metrics"))?);
        let (teller, votes) = (engine.clone(), Mutex::new(VOTES));
        let tell = move |news| match news {
            News::Vote(sentence) => {
                if votes.lock().unwrap_or_else(PoisonError::into_inner).take(host::now()).is_some() {
                    teller.note_soon(Event::Vote, sentence);
                }
            }
            News::Alarm(sentence) => teller.note_soon(Event::Alarm, sentence),
        };
        let witness =
            Witness::start(state, &nodes.timing, witness_metrics, tell).map_err(RunError::start("witness"))?;
        let what = format!("nodes: cannot listen on {}", nodes.listen);
        // Behind the witness: nobody is let in before there is a vote to ask for.
        let endpoint = Endpoint::open(nodes.listen, keyring.clone()).await.map_err(RunError::start(what))?;
        let backends: Vec<_> = backends.into_iter().collect();
        let versions = Arc::new(Versions::of(backends.iter().copied()));
        let endpoint = endpoint.with_places_for(backends);
        let requests = Arc::new(NodeRequests::new(engine.clone(), witness.clone(), metrics.clone(), versions.clone()));
        tracing::info!(address = %nodes.listen, "open for nodes as {}", keyring.current().who());
        let means = NodesMeans { witness, keyring: keyring.clone(), metrics, timing: nodes.timing, versions };
        Ok((Self { endpoint, requests, keyring }, means))
    }

    /// The Edge's certificate, to be read anew.
    pub(super) fn keyring(&self) -> Arc<Keyring> {
        self.keyring.clone()
    }

    /// Serves until the future is dropped.
    pub(super) async fn serve(self) {
        self.endpoint.serve(self.requests).await;
    }
}

/// Reads the Edge's certificate for nodes anew. A bad one changes nothing and says why. Tells whether it is in use.
pub(super) async fn reload(keyring: Option<&Arc<Keyring>>, engine: &Handle) -> bool {
    let Some(keyring) = keyring.cloned() else { return true };
    let read =
        tokio::task::spawn_blocking(move || keyring.reload().map_err(|error| settings::with_causes(&error))).await;
    if let Ok(Err(why)) = &read {
        let sentence = format!("the certificate for nodes was not loaded, the old one stays: {why}");
        tracing::error!("{sentence}");
        engine.note(Event::Alarm, sentence).await;
        return false;
    }
    read.is_ok()
}
