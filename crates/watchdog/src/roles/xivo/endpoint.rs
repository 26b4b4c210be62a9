//! The XiVO node's endpoint: the peer's requests go to the driver, those that follow wait for a change of the status.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use failover::Side;
use failover::lease::{Answer, Request};
use protocol::endpoint::Handler;
use protocol::who::Who;
use protocol::wire::{Ask, Role, Told, Watched};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// A watch is answered after so long at the latest: it is a sign of life, too.
pub(in crate::roles) const WATCH_HOLD: Duration = Duration::from_secs(1);
/// The driver answers within milliseconds, unless its disk hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Requests of the peer that may wait for the driver.
pub(in crate::roles) const REQUESTS: usize = 16;

/// A request of the peer.
#[derive(Debug)]
pub(in crate::roles) struct Asked {
    pub(in crate::roles) request: Request,
    pub(in crate::roles) answer: oneshot::Sender<Answer>,
}

/// Answers at the endpoint, by what the caller's certificate lets it ask.
pub(in crate::roles) struct RequestHandler {
    pub(in crate::roles) side: Side,
    pub(in crate::roles) asked: mpsc::Sender<Asked>,
    pub(in crate::roles) watched: watch::Receiver<Watched>,
    /// How many were turned away.
    pub(in crate::roles) turned_away: AtomicU64,
}

impl RequestHandler {
    async fn vote(&self, who: &Who, request: Request) -> Told {
        let peer = self.side.other();
        // The certificate says who asks: the request alone could name any side, and take the vote of the node that
        // serves.
        if !who.is_node(Role::Xivo, Some(peer)) || request.from != peer {
            return refused(format!("{who} has no vote here: only the XiVO node of {peer} asks for this one"));
        }
        let (answer, told) = oneshot::channel();
        // A full queue is a driver that stands still: to wait would only make the answers older.
        if self.asked.try_send(Asked { request, answer }).is_err() {
            return refused("too many requests wait".into());
        }
        match timeout(ANSWER_LIMIT, told).await {
            Ok(Ok(answer)) => Told::Vote(answer),
            _ => refused("the vote cannot be given: the state cannot be written, or the watchdog ends".into()),
        }
    }

    async fn watch(&self, who: &Who, seen: u64) -> Told {
        if !matches!(who, Who::Node { .. }) {
            return refused(format!("{who} does not follow a XiVO node"));
        }
        let mut watched = self.watched.clone();
        // Over the hold time the present status is the answer all the same.
        let _ = timeout(WATCH_HOLD, watched.wait_for(|now| now.serial != seen)).await;
        let now = watched.borrow().clone();
        Told::Watch(now)
    }
}

fn refused(reason: String) -> Told {
    Told::Refused { reason }
}

impl Handler for RequestHandler {
    async fn told(&self, who: &Who, ask: Ask) -> Told {
        match ask {
            Ask::Vote(request) => self.vote(who, request).await,
            Ask::Watch { seen } => self.watch(who, seen).await,
            Ask::Report(_) => refused("reports go to the Edge".into()),
        }
    }

    fn turned_away(&self, address: SocketAddr, why: &str) {
        // Said again at each power of two: a stranger cannot fill the log.
        let count = self.turned_away.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(%address, count, "turned away: {why}");
        }
    }
}
