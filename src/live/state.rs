//! What a restart must not forget (E4, E8): live side and epoch, the journal, reports. One thread writes; nobody who
//! serves users waits for it. What it means is left to the engine.

pub(crate) mod history;
mod live;
mod open;
#[cfg(test)]
pub(crate) mod played;
mod reports;
mod vote;
mod writer;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntCounter;

pub use history::{Counts, Event, Explain, JournalEntry, Moment, Phases, Report};
pub use live::{Frozen, LiveError, LiveState, PastSwitch, SWITCHES_KEPT};
pub use open::{Beginning, OpenError};
pub use reports::ReportError;
pub use vote::{VoteError, VoteFile};
use writer::Writer;
pub use writer::{PersistError, Persisted};

/// Newest journal entries kept in memory: more than a person reads, about a megabyte.
pub const RECENT: usize = 1000;

/// A longer entry keeps its sentence and loses its facts.
impl store::Entry for JournalEntry {
    fn shortened(&self) -> Self {
        let mut short = self.clone();
        short.explain.facts = vec![format!("{} facts were too long for the journal.", self.explain.facts.len())];
        for text in [&mut short.explain.sentence, &mut short.explain.rule, &mut short.explain.outcome] {
            *text = text.chars().take(1000).collect();
        }
        short
    }
}

type Recent = Arc<Mutex<VecDeque<JournalEntry>>>;

/// The state directory, held by this process alone.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
    recent: Recent,
    writer: Writer,
    /// Locked while it is open.
    _lock: store::Lock,
}

impl State {
    /// Opens the directory, which is made if missing, and says how the Edge begins. Blocks on the disk.
    ///
    /// Writes that fail are added to `errors`.
    ///
    /// # Errors
    /// Another process holds the directory, the system refuses, or the live side's file is of a later version.
    pub fn open(directory: &Path, errors: IntCounter) -> Result<(Self, Beginning), OpenError> {
        // Before anything is read: what another Edge is about to write must not be taken for the state.
        let lock = open::lock(directory)?;
        let (journal, tail) = store::Journal::open(directory, "journal", RECENT, store::FILE_BYTES)
            .map_err(|source| OpenError::io("read the journal in", directory, source))?;
        let reports = reports::Reports::open(directory, reports::KEPT)
            .map_err(|source| OpenError::io("read the reports in", directory, source))?;
        let beginning = open::beginning(directory, &tail, reports.newest())?;
        let recent = Recent::new(Mutex::new(tail));
        let known = match &beginning {
            Beginning::Known { live, .. } => live.epoch,
            Beginning::Lost { epoch, .. } => *epoch,
            Beginning::First => 0,
        };
        let writer = Writer::spawn(live::path(directory), known, journal, reports, errors)
            .map_err(|source| OpenError::io("start the writer of", directory, source))?;
        Ok((Self { directory: directory.to_owned(), recent, writer, _lock: lock }, beginning))
    }

    /// Has the live side written. The future is ready once it would survive a power cut, or could not be written; a
    /// write that failed is tried again until it succeeds or a newer one comes. Refuses an epoch that goes back.
    pub fn save(&self, live: LiveState) -> Persisted {
        self.writer.save(live)
    }

    /// Adds to the journal: at once in memory, soon on the disk.
    pub fn note(&self, entry: JournalEntry) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT {
            recent.pop_front();
        }
        recent.push_back(entry.clone());
        // Only the ring is locked: the writer has a lock of its own.
        drop(recent);
        self.writer.note(entry);
    }

    /// Has a report written, or written again as the switch goes on.
    pub fn report(&self, report: Report) {
        self.writer.report(report);
    }

    /// The newest `limit` entries, newest first; at most [`RECENT`]. Touches no disk.
    pub fn history(&self, limit: usize) -> Vec<JournalEntry> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().take(limit).cloned().collect()
    }

    /// Reads the report of the switch that began that epoch; none if there is none, or no longer. Blocks on the disk.
    ///
    /// # Errors
    /// The report's file cannot be read, or is none.
    pub fn read_report(&self, number: u64) -> Result<Option<Report>, ReportError> {
        match self.writer.unwritten_report(number) {
            // What waits for the disk is newer than what is on it.
            Some(report) => Ok(Some(report)),
            None => reports::read(&self.directory, number),
        }
    }

    /// Why the last write failed; none if it did not.
    pub fn trouble(&self) -> Option<String> {
        self.writer.trouble()
    }

    /// Ready once everything said before is on the disk, or could not be written.
    pub fn flushed(&self) -> Persisted {
        self.writer.flushed()
    }
}

#[cfg(test)]
mod tests;
