//! Whether a certificate seen on a pooled connection is trusted.
//!
//! Pingora's TLS client knows neither pinned keys nor self-signed anchors, and builds a verifier per connection. So it
//! only proves possession of the key, and the certificate is judged here, by digest, before a request is sent: once by a
//! handshake of our own under the service's rules, then from memory for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use super::connect::{ConnectError, Connector};

/// For how long an approval is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Certificates remembered at most: old and new one while it is replaced, on a few backends.
const MOST: usize = 8;

/// Certificates of one backend that our own verification let pass.
#[derive(Debug, Default)]
pub struct Approvals {
    approved: ArcSwap<Vec<Approval>>,
    /// One asks, the others wait for what it learns.
    asking: Mutex<()>,
}

#[derive(Debug, Clone)]
struct Approval {
    /// SHA-256 of the DER certificate.
    digest: [u8; 32],
    until: Instant,
}

impl Approvals {
    /// Returns whether the certificate with this SHA-256 digest is trusted, asking the backend itself when not known.
    pub async fn admits(&self, digest: &[u8], connector: &Connector) -> Result<bool, ConnectError> {
        if self.remembers(digest) {
            return Ok(true);
        }
        let _asking = self.asking.lock().await;
        if self.remembers(digest) {
            return Ok(true);
        }
        let shown = connector.open().await?;
        let Some(certificate) = shown.certificate() else { return Ok(false) };
        let verified = sha256(certificate);
        self.remember(Approval { digest: verified, until: Instant::now() + REMEMBERED });
        Ok(verified == digest)
    }

    fn remembers(&self, digest: &[u8]) -> bool {
        let now = Instant::now();
        self.approved.load().iter().any(|approval| approval.digest == digest && now < approval.until)
    }

    fn remember(&self, approval: Approval) {
        self.approved.rcu(|old| {
            let mut new: Vec<Approval> =
                old.iter().filter(|a| a.digest != approval.digest && Instant::now() < a.until).cloned().collect();
            new.truncate(MOST - 1);
            new.push(approval.clone());
            Arc::new(new)
        });
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    digest
}
