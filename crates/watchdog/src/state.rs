//! What survives a restart: the node's vote, epoch, campaign and wishes, on the disk before they count; what one watchdog
//! hands to the next; which machine this is; and the journal. Reading and writing block; only the journal has a thread.

pub mod campaigns;
pub mod handover;
pub mod instance;
mod journal;
pub mod restarts;

use std::io;
use std::path::{Path, PathBuf};

pub use daemon::Time;
use failover::duty;
use store::{Document, DocumentError, Lock, LockError};

pub use journal::{Entry, Journal, Kind, RECENT};

const DOCUMENT: Document = Document {
    format: "bascule watchdog",
    version: 1,
    program: "bascule-watchdog",
    what: "vote",
    anew: "to begin as after a lost disk: this node then grants nothing for `quiet`",
};

/// The state directory, held by this process alone.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    _lock: Lock,
}

/// Why the state is of no use; the watchdog does not start.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process holds the directory.
    #[error("{0}: another bascule-watchdog uses this state directory; stop it, or give this one another `state`")]
    Taken(PathBuf),
    /// The system refused to make, read or write a file.
    #[error("cannot {act} {path}: {source}; see to it that root may write there")]
    Io {
        /// What was attempted, as a verb.
        act: &'static str,
        /// The file it was attempted on.
        path: PathBuf,
        /// What the system says of it.
        #[source]
        source: io::Error,
    },
    /// The file is there and damaged.
    #[error(
        "{0}; move the file away and start again: the node begins as after a lost disk and grants nothing for `quiet`"
    )]
    Damaged(#[source] DocumentError),
    /// It is another version's or program's: a person must decide.
    #[error(transparent)]
    Document(DocumentError),
}

/// Where a node's memory is kept.
pub trait Keep: Send + Sync + 'static {
    /// Writes the memory; returns once it would survive a power cut. Blocks on the disk.
    ///
    /// # Errors
    /// What the system says; what was written before is whole.
    fn persist(&self, memory: &duty::Memory) -> io::Result<()>;
}

impl Keep for State {
    fn persist(&self, memory: &duty::Memory) -> io::Result<()> {
        DOCUMENT.save(&self.path, memory)
    }
}

impl State {
    /// Opens the directory, which is made if missing, and reads what is remembered; nothing if it was never written or the
    /// disk was lost.
    ///
    /// # Errors
    /// Names the file, and says what to do.
    pub fn open(directory: &Path) -> Result<(Self, Option<duty::Memory>), StateError> {
        // Two watchdogs on one state would promise one vote twice.
        let lock = store::lock(directory, "watchdog.lock").map_err(|error| match error {
            LockError::Taken(directory) => StateError::Taken(directory),
            LockError::Io { act, path, source } => StateError::Io { act, path, source },
        })?;
        let path = directory.join("watchdog.json");
        let memory = DOCUMENT.load(&path).map_err(|error| match error {
            DocumentError::Corrupt { .. } => StateError::Damaged(error),
            other => StateError::Document(other),
        })?;
        Ok((Self { path, _lock: lock }, memory))
    }

    /// Returns the file that the vote is kept in.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests;
