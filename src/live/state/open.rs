//! How an Edge begins, from what it finds in the state directory.

use std::collections::VecDeque;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use failover::Side;
use store::{Document, Lock, LockError};

use super::history::{Event, JournalEntry};
use super::live::{self, LiveError, LiveState};
use super::reports;

/// How the Edge begins.
#[derive(Debug, PartialEq, Eq)]
pub enum Beginning {
    /// For the first time: nothing was ever written here.
    First,
    /// Where it was when it ended.
    Known {
        /// The live side and what else the last run left.
        live: LiveState,
        /// Said loudly, if the journal knows a later switch than the file did.
        alarm: Option<String>,
    },
    /// The file was unreadable or gone. The Edge serves all the same: a front door that does not open is worse than one
    /// that asks. `last`, if the journal knows it, is live; else whichever side works, Main first.
    Lost {
        /// The highest epoch any other file knows: the Edge goes on above it, at `epoch + 1`.
        epoch: u64,
        /// The live side by the journal.
        last: Option<Side>,
        /// Said loudly, in the log, the journal and the status.
        alarm: String,
    },
}

/// Why the state directory is of no use; the Edge does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("{0}: another bascule uses this state directory; stop it, or give this one another `state`")]
    Taken(PathBuf),
    /// A person must decide.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The system refused.
    #[error("cannot {act} {path}")]
    Io {
        /// What was wanted.
        act: &'static str,
        /// Of what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    pub(super) fn io(act: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { act, path: path.to_owned(), source }
    }
}

impl From<LockError> for OpenError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Taken(directory) => Self::Taken(directory),
            LockError::Io { act, path, source } => Self::Io { act, path, source },
        }
    }
}

/// Makes the directories and locks them for this process.
pub(super) fn lock(directory: &Path) -> Result<Lock, OpenError> {
    let lock = store::lock(directory, "lock")?;
    let inner = reports::directory(directory);
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(&inner)
        .map_err(|source| OpenError::io("create", &inner, source))?;
    Ok(lock)
}

/// Reads the live side and compares it with what journal and reports know: the epoch never goes back.
pub(super) fn beginning(
    directory: &Path,
    journal: &VecDeque<JournalEntry>,
    newest_report: u64,
) -> Result<Beginning, OpenError> {
    let path = live::path(directory);
    // Live side, journal and reports are written one after the other: after a crash, or on a full disk, one may know
    // more than the rest (E4).
    let epoch = journal.iter().map(|entry| entry.epoch).max().unwrap_or(0).max(newest_report);
    let last = journal.back().map(|entry| entry.live);
    match live::load(&path) {
        Ok(Some(live)) => Ok(known_by(live, journal, epoch)),
        // Only where nothing at all is known. A file that is gone beside a journal was lost, and the Edge must not
        // begin at 1 again.
        Ok(None) if epoch == 0 && journal.is_empty() => Ok(Beginning::First),
        Ok(None) => {
            let alarm = format!("{} is gone, though this Edge has served before; {}", path.display(), goes_on(last));
            Ok(Beginning::Lost { epoch, last, alarm })
        }
        Err(error @ LiveError::Corrupt { .. }) => {
            let kept = Document::keep_aside(&path).map_err(|source| OpenError::io("move away", &path, source))?;
            let alarm = format!("{error}; it is kept as {}; {}", kept.display(), goes_on(last));
            Ok(Beginning::Lost { epoch, last, alarm })
        }
        // Another version's, or somebody else's: to go on would overwrite what a person may still need.
        Err(error) => Err(error.into()),
    }
}

/// Where the Edge was, by the live side's file and by what journal and reports know.
pub(super) fn known_by(live: LiveState, journal: &VecDeque<JournalEntry>, epoch: u64) -> Beginning {
    known(live, journal.iter().rev().find(|entry| entry.event == Event::Switched), epoch)
}

/// A write of the live side that failed (a full disk) may have been outlived by the journal.
fn known(mut live: LiveState, switched: Option<&JournalEntry>, epoch: u64) -> Beginning {
    if epoch <= live.epoch {
        return Beginning::Known { live, alarm: None };
    }
    if let Some(entry) = switched.filter(|entry| entry.epoch > live.epoch) {
        live.live = entry.live;
    }
    let alarm = format!(
        "The journal knows epoch {epoch}, the live side's file only {}; {} stays live",
        live.epoch,
        Side::title(live.live)
    );
    live.epoch = epoch;
    Beginning::Known { live, alarm: Some(alarm) }
}

fn goes_on(last: Option<Side>) -> String {
    match last {
        Some(last) => format!("{} was live by the journal and stays live", Side::title(last)),
        None => "whichever side works becomes live, Main first".to_owned(),
    }
}
