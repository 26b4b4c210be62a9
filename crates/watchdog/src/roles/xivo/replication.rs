//! Holds a XiVO node's replication back while it does not serve, and lets it go on while it does.
//!
//! XiVO's hourly copy runs from Main to Standby without asking who is active: from a Main that is back and not active, it would
//! overwrite what was changed on Standby.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::node::command::CommandSpec;

/// A command that failed is tried again after so long.
const AGAIN: Duration = Duration::from_secs(10);

/// Whether the replication may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replicates {
    /// The node serves, so that its data may be copied.
    Yes,
    /// It does not serve, and its data is old.
    No,
}

/// The way to the task that runs the commands, one at a time.
#[derive(Debug)]
pub(super) struct Replication {
    wanted: watch::Sender<Option<Replicates>>,
    failed: watch::Receiver<Option<String>>,
}

impl Replication {
    pub(super) fn start(hold: CommandSpec, resume: CommandSpec) -> Self {
        let (wanted, told) = watch::channel(None);
        let (failure, failed) = watch::channel(None);
        host::spawn(keep(hold, resume, told, failure));
        Self { wanted, failed }
    }

    /// Tells whether the replication may run.
    pub(super) fn tell(&self, replicates: Replicates) {
        // The wish is told in every turn: only another one runs a command.
        self.wanted.send_if_modified(|before| before.replace(replicates) != Some(replicates));
    }

    /// Why the newest command failed, if it did.
    pub(super) fn failed(&self) -> Option<String> {
        self.failed.borrow().clone()
    }
}

async fn keep(
    hold: CommandSpec,
    resume: CommandSpec,
    mut told: watch::Receiver<Option<Replicates>>,
    failure: watch::Sender<Option<String>>,
) {
    while told.changed().await.is_ok() {
        loop {
            let (command, what) = match *told.borrow_and_update() {
                Some(Replicates::Yes) => (&resume, "resumed"),
                Some(Replicates::No) => (&hold, "held back"),
                None => break,
            };
            let ran = command.run().await;
            if ran.is_done() {
                failure.send_replace(None);
                break;
            }
            failure.send_replace(Some(format!("the replication cannot be {what}: {}", ran.summary())));
            tokio::select! {
                biased;
                () = sleep(AGAIN) => {}
                changed = told.changed() => if changed.is_err() { return },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_word_counts_and_a_failed_command_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let shell = |text: String| CommandSpec::new(["sh", "-c", &text], Duration::from_secs(5));
        let hold = shell(format!("rm -f {}", path("runs")));
        let resume = shell(format!("test ! -e {0} || exit 3; touch {1}", path("broken"), path("runs")));
        let replication = Replication::start(hold, resume);
        let until = async |wanted: &dyn Fn() -> bool| {
            while !wanted() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let runs = dir.path().join("runs");
        replication.tell(Replicates::Yes);
        tokio::time::timeout(Duration::from_secs(5), until(&|| runs.exists())).await.unwrap();
        replication.tell(Replicates::No);
        tokio::time::timeout(Duration::from_secs(5), until(&|| !runs.exists())).await.unwrap();
        std::fs::write(path("broken"), "").unwrap();
        replication.tell(Replicates::Yes);
        tokio::time::timeout(Duration::from_secs(5), until(&|| replication.failed().is_some())).await.unwrap();
        assert!(replication.failed().unwrap().contains("cannot be resumed"));
    }
}
