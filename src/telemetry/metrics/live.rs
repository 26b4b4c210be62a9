//! The metric of the endpoint that tells the live side to other machines; an Edge without the endpoint has none.

use daemon::Maker;
use prometheus::{IntCounter, Registry, Result};

/// Makes and registers the count of connections from elsewhere than `live.from`.
///
/// # Errors
/// The registry holds the name already.
pub fn live_strangers(registry: &Registry) -> Result<IntCounter> {
    let help = "Connections to the live endpoint from elsewhere than live.from, closed without an answer.";
    Maker(registry).counter("bascule_live_strangers_total", help)
}
