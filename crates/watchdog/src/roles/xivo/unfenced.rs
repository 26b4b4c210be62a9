//! Looks whether Asterisk listens where the fence does not reach: such a node answers phones though it may not serve.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::node::asterisk::Asterisk;

/// Where Asterisk listens changes with its configuration: by people, at most every now and then.
const LOOK: Duration = Duration::from_secs(60);
/// A start has come so far by then.
const FIRST: Duration = Duration::from_secs(10);

/// Starts to look, every minute. An Asterisk that does not run changes nothing: what it listened on last, it will again.
pub(super) fn watch(asterisk: Asterisk, fenced: Vec<u16>) -> watch::Receiver<Option<String>> {
    let (found, seen) = watch::channel(None);
    host::spawn(async move {
        let mut pause = FIRST;
        while !found.is_closed() {
            sleep(pause).await;
            pause = LOOK;
            if let Ok(ports) = asterisk.ports().await {
                let sentence = ports.beyond(&fenced);
                found.send_if_modified(|before| std::mem::replace(before, sentence.clone()) != sentence);
            }
        }
    });
    seen
}
