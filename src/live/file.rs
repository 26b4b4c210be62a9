//! Writes the live side where other programs read it: one word, replaced whenever traffic moves. What they make of it is
//! theirs; the Edge runs nobody's commands.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use failover::Side;
use tokio::task::spawn_blocking;

use crate::live::Live;

/// A file that could not be written is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the file as the live side is, for ever.
pub async fn follow(path: PathBuf, live: Arc<Live>) {
    let mut written: Option<Side> = None;
    let mut failing = false;
    loop {
        let seen = live.view();
        // By the side alone: modes come and go, and each write would wake whoever watches the file.
        if written != Some(seen.side) {
            let outcome = write(&path, seen.side).await;
            match &outcome {
                Ok(()) => {
                    written = Some(seen.side);
                    tracing::info!(path = %path.display(), live = %seen.side, "the live side is written for other programs");
                }
                // Once, not with each attempt.
                Err(error) if !failing => {
                    tracing::error!(path = %path.display(), %error, "the live side cannot be written for other programs");
                }
                Err(_) => {}
            }
            failing = outcome.is_err();
        }
        let changed = live.changed_from(seen);
        match failing {
            true => drop(tokio::time::timeout(RETRY, changed).await),
            false => drop(changed.await),
        }
    }
}

async fn write(path: &Path, side: Side) -> io::Result<()> {
    let path = path.to_owned();
    // Replaced, so that a reader finds the old word or the new one; and off this task, as a disk may hang.
    let write = move || store::replace(&path, format!("{side}\n").as_bytes());
    spawn_blocking(write).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::{Mode, View};

    #[tokio::test]
    async fn the_file_names_the_live_side_from_the_start_and_after_each_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("live");
        let view = |side, epoch| View { side, mode: Mode::Serving, epoch };
        let live = Arc::new(Live::new(view(Side::Standby, 1)));
        let following = tokio::spawn(follow(path.clone(), live.clone()));
        let holds = async |text: &str| {
            while std::fs::read_to_string(&path).ok().as_deref() != Some(text) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        holds("standby\n").await;
        live.publish(view(Side::Main, 2));
        holds("main\n").await;
        following.abort();
    }
}
