//! What is counted.

use failover::duty::Elector;
use failover::lease::Ruling;
use std::time::Duration;

/// The counters of a watchdog.
#[derive(Debug, Default)]
pub struct Metrics;

/// Serves them.
pub async fn serve(_address: std::net::SocketAddr, _metrics: std::sync::Arc<Metrics>) -> std::io::Result<()> { Ok(()) }

impl Metrics {
    /// None yet.
    pub fn new() -> Self { Self }
    /// The state was written, or could not be.
    pub fn persisted(&self, _took: Duration, _written: bool) {}
    /// The fence was closed and verified.
    pub fn fenced(&self, _took: Duration) {}
    /// A command ended.
    pub fn command(&self, _what: &'static str, _done: bool, _took: Duration) {}
    /// A voter answered, or did not.
    pub fn answered(&self, _by: Elector, _ruling: Option<Ruling>) {}
}
