//! The one thread that writes. The live side goes first and only its newest value counts; the journal and reports
//! follow in order. What cannot be written is kept, within limits, and tried again.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus::IntCounter;
use store::Journal;
use tokio::sync::oneshot;

use super::history::{JournalEntry, Report};
use super::live::{self, LiveState};
use super::reports::Reports;

/// A disk that failed is tried again after so long.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// Journal entries that wait for the disk; beyond that the oldest are lost to it (and counted).
const MOST_ENTRIES: usize = 1000;
/// Reports that wait for the disk: one a switch.
const MOST_REPORTS: usize = 50;

/// Ready once what was said before is on the disk, or could not be written.
#[derive(Debug)]
pub struct Persisted(oneshot::Receiver<Result<(), PersistError>>);

/// What was said is not on the disk. The Edge goes on all the same; a restart might forget it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PersistError(String);

impl Future for Persisted {
    type Output = Result<(), PersistError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|answer| answer.unwrap_or_else(|_| Err(PersistError("the state writer has stopped".into()))))
    }
}

pub(super) type Ack = oneshot::Sender<Result<(), PersistError>>;

/// Hands over to the thread. Dropped, it lets the thread write what there is, once, and waits for it.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    errors: IntCounter,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    inbox: Mutex<Inbox>,
    wake: Condvar,
    /// For whoever writes in the thread's place.
    #[cfg(test)]
    pub(super) told: tokio::sync::Notify,
}

/// What waits for the disk.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    epoch: u64,
    live: Option<LiveState>,
    live_acks: Vec<Ack>,
    entries: VecDeque<JournalEntry>,
    reports: BTreeMap<u64, Report>,
    flush_acks: Vec<Ack>,
    /// Something came since the thread looked.
    news: bool,
    stop: bool,
    trouble: BTreeMap<What, PersistError>,
}

/// What is written; the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    LiveSide,
    Journal,
    Reports,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::LiveSide => "live side",
            Self::Journal => "journal",
            Self::Reports => "report",
        }
    }
}

impl Inbox {
    pub(super) fn has_unwritten(&self) -> bool {
        self.live.is_some() || !self.entries.is_empty() || !self.reports.is_empty()
    }

    /// The live side stays until it is written.
    pub(super) fn take_live(&mut self) -> (Option<LiveState>, Vec<Ack>) {
        (self.live.clone(), std::mem::take(&mut self.live_acks))
    }

    pub(super) fn live_is_written(&mut self, live: &LiveState) {
        // A newer one may have come while this was written.
        if self.live.as_ref() == Some(live) {
            self.live = None;
        }
    }

    /// Journal entries, reports, which stay until they are written, and who waits for both.
    pub(super) fn take_rest(&mut self) -> (VecDeque<JournalEntry>, Vec<Report>, Vec<Ack>) {
        let reports = self.reports.values().cloned().collect();
        (std::mem::take(&mut self.entries), reports, std::mem::take(&mut self.flush_acks))
    }

    /// What cannot be written goes back to the front of the queue.
    pub(super) fn keep_entries(&mut self, mut entries: VecDeque<JournalEntry>, errors: &IntCounter) {
        // In front: the journal is in order, whatever came while the disk failed.
        entries.append(&mut self.entries);
        while entries.len() > MOST_ENTRIES {
            entries.pop_front();
            errors.inc();
        }
        self.entries = entries;
    }

    pub(super) fn report_is_written(&mut self, report: &Report) {
        // It may have been written again meanwhile, as its switch went on.
        if self.reports.get(&report.number) == Some(report) {
            self.reports.remove(&report.number);
        }
    }

    pub(super) fn trouble(&self) -> Result<(), PersistError> {
        self.trouble.values().next().map_or(Ok(()), |error| Err(error.clone()))
    }
}

impl Shared {
    pub(super) fn knowing(epoch: u64) -> Self {
        Self { inbox: Mutex::new(Inbox { epoch, ..Inbox::default() }), ..Self::default() }
    }

    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut Inbox)) {
        let mut inbox = self.inbox();
        change(&mut inbox);
        inbox.news = true;
        drop(inbox);
        self.wake.notify_one();
        #[cfg(test)]
        self.told.notify_one();
    }
}

impl Writer {
    pub(super) fn spawn(
        live: PathBuf,
        epoch: u64,
        journal: Journal,
        reports: Reports,
        errors: IntCounter,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::knowing(epoch));
        let disk = Disk { live, journal, reports, errors: errors.clone() };
        let inner = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("state".into()).spawn(move || run(&inner, disk))?;
        Ok(Self { shared, errors, thread: Some(thread) })
    }

    /// One without a thread: whoever has `shared` writes.
    #[cfg(test)]
    pub(super) fn played(shared: Arc<Shared>, errors: IntCounter) -> Self {
        Self { shared, errors, thread: None }
    }

    pub(super) fn save(&self, live: LiveState) -> Persisted {
        let (ack, persisted) = oneshot::channel();
        self.shared.tell(|inbox| {
            // Never back, whatever order things are handed over in (E4).
            if live.epoch < inbox.epoch {
                let _ = ack.send(Err(PersistError(format!("epoch {} is older than {}", live.epoch, inbox.epoch))));
                return;
            }
            inbox.epoch = live.epoch;
            inbox.live = Some(live);
            inbox.live_acks.push(ack);
        });
        Persisted(persisted)
    }

    pub(super) fn note(&self, entry: JournalEntry) {
        self.shared.tell(|inbox| {
            if inbox.entries.len() >= MOST_ENTRIES {
                inbox.entries.pop_front();
                self.errors.inc();
            }
            inbox.entries.push_back(entry);
        });
    }

    pub(super) fn report(&self, report: Report) {
        self.shared.tell(|inbox| {
            inbox.reports.insert(report.number, report);
            if inbox.reports.len() > MOST_REPORTS {
                inbox.reports.pop_first();
                self.errors.inc();
            }
        });
    }

    pub(super) fn unwritten_report(&self, number: u64) -> Option<Report> {
        self.shared.inbox().reports.get(&number).cloned()
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.shared.inbox().trouble().err().map(|error| error.to_string())
    }

    pub(super) fn flushed(&self) -> Persisted {
        let (ack, persisted) = oneshot::channel();
        self.shared.tell(|inbox| inbox.flush_acks.push(ack));
        Persisted(persisted)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.tell(|inbox| inbox.stop = true);
        if let Some(thread) = self.thread.take() {
            // Waited for: what an Edge says last must be on the disk before the process ends.
            let _ = thread.join();
        }
    }
}

/// What the thread alone touches: it holds no lock while it writes.
struct Disk {
    live: PathBuf,
    journal: Journal,
    reports: Reports,
    errors: IntCounter,
}

fn run(shared: &Shared, mut disk: Disk) {
    loop {
        let stop = wait(shared);
        // First, as traffic waits for it; journal and reports explain what it says.
        disk.write_live(shared);
        disk.write_rest(shared);
        if stop {
            return;
        }
    }
}

/// Waits for news, or until what failed is to be tried again. Returns whether this is the last turn.
fn wait(shared: &Shared) -> bool {
    let mut inbox = shared.inbox();
    // By what has come and not by being woken: a condition variable wakes for nothing, too.
    while !inbox.news && !inbox.stop {
        if !inbox.has_unwritten() {
            inbox = shared.wake.wait(inbox).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let (woken, waited) = shared.wake.wait_timeout(inbox, RETRY).unwrap_or_else(PoisonError::into_inner);
        inbox = woken;
        if waited.timed_out() {
            break;
        }
    }
    inbox.news = false;
    inbox.stop
}

impl Disk {
    fn write_live(&mut self, shared: &Shared) {
        // The lock is given back before the disk is asked: whoever hands over never waits for it.
        let (live, acks) = shared.inbox().take_live();
        let Some(live) = live else { return };
        let written = settle(shared, &self.errors, What::LiveSide, live::save(&self.live, &live));
        if written.is_ok() {
            shared.inbox().live_is_written(&live);
        }
        answer(acks, &written);
    }

    fn write_rest(&mut self, shared: &Shared) {
        let (entries, reports, acks) = shared.inbox().take_rest();
        if !entries.is_empty() {
            let appended = self.journal.append(entries.iter());
            if settle(shared, &self.errors, What::Journal, appended).is_err() {
                shared.inbox().keep_entries(entries, &self.errors);
            }
        }
        for report in reports {
            let saved = self.reports.save(&report);
            if settle(shared, &self.errors, What::Reports, saved).is_ok() {
                shared.inbox().report_is_written(&report);
            }
        }
        let trouble = shared.inbox().trouble();
        answer(acks, &trouble);
    }
}

/// Counts and remembers a failure; logs when it begins and when it is over.
pub(super) fn settle(
    shared: &Shared,
    errors: &IntCounter,
    what: What,
    written: io::Result<()>,
) -> Result<(), PersistError> {
    let name = what.name();
    let written = written.map_err(|error| PersistError(format!("cannot write the {name}: {error}")));
    let mut inbox = shared.inbox();
    match &written {
        Ok(()) => {
            if inbox.trouble.remove(&what).is_some() {
                tracing::info!("the {name} can be written again");
            }
        }
        Err(error) => {
            errors.inc();
            // A full disk fails each second: told when it begins and when it is over.
            if inbox.trouble.insert(what, error.clone()).is_none() {
                tracing::error!("{error}; it is kept in memory and tried again");
            }
        }
    }
    written
}

pub(super) fn answer(acks: Vec<Ack>, written: &Result<(), PersistError>) {
    for ack in acks {
        let _ = ack.send(written.clone());
    }
}
