//! The disk of a simulation: what is said reaches it after the time it takes, or not, and what it holds outlives whoever
//! wrote it. It keeps the order of the thread that writes to a real one.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use host::played::Boxed;
use prometheus::IntCounter;
use tokio::time::timeout;

use super::history::JournalEntry;
use super::writer::{RETRY, Shared, What, Writer, answer, settle};
use super::{Beginning, LiveState, Recent, State, open};

/// What a restart would find: a kill loses everything else.
#[derive(Debug, Clone, Default)]
pub(crate) struct Platter {
    pub(crate) live: Option<LiveState>,
    pub(crate) entries: Vec<JournalEntry>,
    pub(crate) reports: std::collections::BTreeSet<u64>,
}

/// A disk. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct PlayedDisk(Arc<Mutex<Platter>>);

/// Whether a step comes before the disk holds what is written, or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Taking,
    Answering,
}

impl PlayedDisk {
    pub(crate) fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How an Edge begins that finds it, and its state. `directory` is locked, and holds nothing. Whatever is written waits
    /// for `step`; the future writes until it is dropped.
    pub(crate) fn open<S>(
        &self,
        directory: &Path,
        step: S,
    ) -> (State, Beginning, impl Future<Output = ()> + Send + 'static)
    where
        S: Fn(Step) -> Boxed<io::Result<()>> + Send + Sync + 'static,
    {
        let platter = self.platter().clone();
        let epoch = platter.entries.iter().map(|entry| entry.epoch).max().unwrap_or(0);
        let beginning = match platter.live {
            Some(live) => {
                let tail: VecDeque<_> = platter.entries.iter().cloned().collect();
                open::known_by(live, &tail, epoch)
            }
            None if platter.entries.is_empty() => Beginning::First,
            None => {
                let last = platter.entries.last().map(|entry| entry.live);
                Beginning::Lost { epoch, last, alarm: "the live side is gone".into() }
            }
        };
        let known = match &beginning {
            Beginning::Known { live, .. } => live.epoch,
            Beginning::Lost { epoch, .. } => *epoch,
            Beginning::First => 0,
        };
        let shared = Arc::new(Shared::knowing(known));
        let errors = IntCounter::new("errors", "Of the journal.").unwrap();
        let writer = Writer::played(Arc::clone(&shared), errors.clone());
        let state = State {
            directory: directory.to_owned(),
            recent: Recent::default(),
            writer,
            _lock: open::lock(directory).unwrap_or_else(|error| panic!("{error}")),
        };
        (state, beginning, write(shared, self.clone(), step, errors))
    }
}

async fn write<S>(shared: Arc<Shared>, disk: PlayedDisk, step: S, errors: IntCounter)
where
    S: Fn(Step) -> Boxed<io::Result<()>> + Send + Sync + 'static,
{
    loop {
        let waits = shared.inbox().has_unwritten();
        let patience = if waits { RETRY } else { Duration::MAX };
        let _ = timeout(patience, shared.told.notified()).await;
        let (live, acks) = shared.inbox().take_live();
        if let Some(live) = live {
            let written = taken(&step, || disk.platter().live = Some(live.clone())).await;
            let written = settle(&shared, &errors, What::LiveSide, written);
            if written.is_ok() {
                shared.inbox().live_is_written(&live);
            }
            answer(acks, &written);
        }
        let (entries, reports, acks) = shared.inbox().take_rest();
        if !entries.is_empty() {
            let written = taken(&step, || disk.platter().entries.extend(entries.iter().cloned())).await;
            if settle(&shared, &errors, What::Journal, written).is_err() {
                shared.inbox().keep_entries(entries, &errors);
            }
        }
        for report in reports {
            let written = taken(&step, || disk.platter().reports.extend([report.number])).await;
            if settle(&shared, &errors, What::Reports, written).is_ok() {
                shared.inbox().report_is_written(&report);
            }
        }
        let trouble = shared.inbox().trouble();
        answer(acks, &trouble);
    }
}

/// A write that fails has not been taken; one that dies in between may have been.
async fn taken<S>(step: &S, take: impl FnOnce()) -> io::Result<()>
where
    S: Fn(Step) -> Boxed<io::Result<()>>,
{
    step(Step::Taking).await?;
    take();
    step(Step::Answering).await
}
