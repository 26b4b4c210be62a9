//! The journal: what happened and why, for people. Off the decision path: a bounded queue and one thread, so that a full
//! or dead disk blocks nothing and ends nothing.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Time;

/// Newest entries kept in memory: weeks of decisions.
pub const RECENT: usize = 500;
/// Entries that wait for the disk; beyond that the oldest are lost to it.
const MOST_WAITING: usize = 1000;
/// A disk that failed is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);
/// Size at which a file is set aside; a second one of the same size is kept.
const FILE_BYTES: u64 = 8 << 20;

/// One thing that happened, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it happened, on the wall clock.
    pub time: Time,
    /// One sentence, as it was logged.
    pub sentence: String,
    /// What sort of thing it is, for filters.
    pub kind: Kind,
    /// The operator, if one acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// The operator's reason, where they gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it was decided on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<String>,
}

/// The sorts of entry that a journal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The watchdog began or ended.
    Run,
    /// What the node does, or how it is guarded, changed.
    Changed,
    /// A decision: start, fence, stop, hard fence.
    Decided,
    /// A command ended, well or not.
    Command,
    /// An operator acted, or was refused.
    Act,
    /// Somebody else acted on the services.
    Outside,
    /// Something needs a person, from now on.
    Alarm,
    /// An alarm is over; its sentence says which.
    Cleared,
    /// Another node came, went, or said something that matters.
    Peer,
    /// XiVO's own cron table was disabled or put back. Journals have an older word for it, which stays readable.
    #[serde(rename = "rival")]
    LegacyFailover,
}

impl Entry {
    /// Makes an entry of what happens now.
    pub fn new(kind: Kind, sentence: impl Into<String>) -> Self {
        Self { time: Time::now(), sentence: sentence.into(), kind, who: None, why: None, facts: Vec::new() }
    }

    /// Adds by whom it was done, and why.
    #[must_use]
    pub fn by(self, who: impl Into<String>, why: impl Into<String>) -> Self {
        let why = Some(why.into()).filter(|why: &String| !why.is_empty());
        Self { who: Some(who.into()), why, ..self }
    }

    /// On what it was decided.
    #[must_use]
    pub fn with(self, facts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { facts: facts.into_iter().map(Into::into).collect(), ..self }
    }
}

impl store::Entry for Entry {
    fn shortened(&self) -> Self {
        let short = |text: &String| text.chars().take(1000).collect::<String>();
        Self {
            time: self.time,
            sentence: short(&self.sentence),
            kind: self.kind,
            who: self.who.as_ref().map(short),
            why: self.why.as_ref().map(short),
            facts: vec![format!("{} facts were too long for the journal.", self.facts.len())],
        }
    }
}

/// The journal; clones write to the same one. When the last is dropped, what waits is written once more.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    _end: Arc<End>,
}

/// Tells the thread that nobody writes any more.
#[derive(Debug)]
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.queue().ended = true;
        self.0.wake.notify_all();
    }
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    recent: VecDeque<Entry>,
    waiting: VecDeque<Entry>,
    /// How many entries are being written.
    writing: usize,
    lost: u64,
    trouble: Option<String>,
    ended: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal {
    /// Opens `watchdog.journal.jsonl` in the directory and reads its newest entries. One that cannot be read is begun
    /// without them, and said.
    ///
    /// # Errors
    /// That the thread could not be started.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let open = || store::Journal::open(directory, "watchdog.journal", RECENT, FILE_BYTES);
        let (file, recent, trouble) = match open() {
            Ok((file, recent)) => (Some(file), recent, None),
            Err(error) => (None, VecDeque::new(), Some(format!("the journal cannot be read: {error}"))),
        };
        let queue = Queue { recent, trouble, ..Queue::default() };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), wake: Condvar::new() });
        let (inner, directory) = (Arc::clone(&shared), directory.to_owned());
        thread::Builder::new().name("journal".into()).spawn(move || write(&inner, file, &directory))?;
        Ok(Self { _end: Arc::new(End(Arc::clone(&shared))), shared })
    }

    /// One that is in memory alone.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        let shared = Arc::new(Shared::default());
        shared.queue().ended = true;
        Self { _end: Arc::new(End(Arc::clone(&shared))), shared }
    }

    /// Adds to it: at once in memory, soon on the disk. Never waits for the disk.
    pub fn append(&self, entry: Entry) {
        let mut queue = self.shared.queue();
        if queue.recent.len() >= RECENT {
            queue.recent.pop_front();
        }
        if queue.waiting.len() >= MOST_WAITING {
            // The oldest entry goes: the newest are what whoever reads the journal after an outage needs.
            queue.waiting.pop_front();
            queue.lost += 1;
        }
        queue.recent.push_back(entry.clone());
        #[cfg(test)]
        if queue.ended {
            return;
        }
        queue.waiting.push_back(entry);
        drop(queue);
        self.shared.wake.notify_all();
    }

    /// The newest entries, newest first.
    pub fn history(&self, limit: usize) -> Vec<Entry> {
        self.shared.queue().recent.iter().rev().take(limit).cloned().collect()
    }

    /// Why the newest write failed, if it did: an alarm.
    pub fn trouble(&self) -> Option<String> {
        self.shared.queue().trouble.clone()
    }

    /// Waits until everything is on the disk, or so long at most. Tells whether it is.
    #[expect(clippy::disallowed_methods, reason = "an ending program waits, and outside any runtime")]
    pub fn flush(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut queue = self.shared.queue();
        while !queue.waiting.is_empty() || queue.writing > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queue = self.shared.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// The thread: writes what waits; what cannot be written is tried again.
fn write(shared: &Shared, mut file: Option<store::Journal>, directory: &Path) {
    loop {
        let mut queue = shared.queue();
        while queue.waiting.is_empty() && !queue.ended {
            queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let entries: VecDeque<Entry> = std::mem::take(&mut queue.waiting);
        let ended = queue.ended;
        // What is being written is in no queue: `flush` must wait for it all the same.
        queue.writing = entries.len();
        drop(queue);
        let written = append(&mut file, directory, &entries);
        let mut queue = shared.queue();
        queue.writing = 0;
        match written {
            Ok(()) => queue.trouble = None,
            Err(error) => {
                queue.trouble = Some(format!("the journal cannot be written: {error}"));
                // The entries go back to the front, in their order: a disk that is well again gets what it missed.
                for entry in entries.into_iter().rev() {
                    if queue.waiting.len() >= MOST_WAITING {
                        queue.lost += 1;
                    } else {
                        queue.waiting.push_front(entry);
                    }
                }
            }
        }
        shared.wake.notify_all();
        if ended {
            return;
        }
        if queue.trouble.is_some() {
            let (queue, _) = shared
                .wake
                .wait_timeout_while(queue, RETRY, |queue| !queue.ended)
                .unwrap_or_else(PoisonError::into_inner);
            drop(queue);
        }
    }
}

fn append(file: &mut Option<store::Journal>, directory: &Path, entries: &VecDeque<Entry>) -> io::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    // A directory that could not be read at the start may be there by now.
    if file.is_none() {
        *file = Some(store::Journal::open::<Entry>(directory, "watchdog.journal", 1, FILE_BYTES)?.0);
    }
    file.as_mut().map_or(Ok(()), |file| file.append(entries.iter()))
}
