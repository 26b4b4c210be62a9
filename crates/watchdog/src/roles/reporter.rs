//! Tells the Edge what this node does: at each change and with each heartbeat; brings back what operators there wish.

use std::sync::Arc;
use std::time::Duration;

use protocol::link::Link;
use protocol::wire::{Ask, NodeReport, Told, Wish};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// An unanswered report is given up after so long; the next is newer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Two reports are at least so far apart.
const PACE: Duration = Duration::from_millis(20);

/// Tells until nobody has anything to tell any more.
pub(super) async fn report(
    link: Link,
    mut reports: watch::Receiver<Arc<NodeReport>>,
    heartbeat: Duration,
    wishes: Option<mpsc::Sender<Wish>>,
) {
    loop {
        let report = reports.borrow_and_update().clone();
        let told = timeout(ANSWER_LIMIT, link.ask(Ask::Report(Box::new((*report).clone())))).await;
        match told {
            Ok(Ok(Told::Report { wish: Some(wish) })) => {
                if let Some(wishes) = &wishes {
                    // The Edge offers it again with the next report.
                    let _ = wishes.try_send(wish);
                }
            }
            Ok(Ok(Told::Refused { reason })) => tracing::debug!("the Edge refuses the report: {reason}"),
            _ => {}
        }
        // A status that changes with each turn must not have the Edge read nothing else.
        sleep(PACE).await;
        tokio::select! {
            biased;
            changed = reports.changed() => if changed.is_err() { return },
            () = sleep(heartbeat) => {}
        }
    }
}
