//! The Edge's vote in who of the two XiVO nodes may serve. The rules are `failover::lease`'s; here are its clock, its
//! disk and its queue. Who may ask is left to the nodes' endpoint.

mod askers;

use std::io;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::witness::{Disk, DurableVoter};
use failover::lease::{Answer, Memory, Record, Request, Timing};
use failover::{Side, Span};
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::askers::Askers;
use crate::live::state::{VoteError, VoteFile};
use crate::telemetry::metrics::{Ruled, WitnessMetrics};

/// Requests that may wait for the disk: both nodes' of several seconds.
const QUEUE: usize = 32;
/// A disk that failed is tried again after so long, and nothing sleeps longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

impl Disk for VoteFile {
    fn save(&mut self, memory: &Memory) -> io::Result<()> {
        VoteFile::save(self, memory)
    }
}

/// What the witness has to tell for the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Whose the vote is.
    Vote(String),
    /// Something somebody should look at.
    Alarm(String),
}

/// How the vote stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Whose it is.
    pub record: Record,
    /// The highest duty epoch known.
    pub epoch: u64,
    /// For how much longer the promise, or the quiet time, lasts if nothing comes.
    pub left: Duration,
    /// Why it answers nobody; none: it does.
    pub trouble: Option<String>,
    /// What of those who ask needs a person, one sentence each.
    pub alarms: Vec<String>,
}

struct Asked {
    request: Request,
    answer: oneshot::Sender<Result<Answer, String>>,
}

/// A way to the witness. Its thread ends with the last of them.
#[derive(Debug, Clone)]
pub struct Witness {
    queue: SyncSender<Asked>,
    view: Arc<Mutex<View>>,
    metrics: Arc<WitnessMetrics>,
}

impl Witness {
    /// Starts it with the vote in this state directory. Blocks on the disk.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(
        directory: &Path,
        timing: &Timing,
        metrics: Arc<WitnessMetrics>,
        tell: impl Fn(News) + Send + 'static,
    ) -> io::Result<Self> {
        let file = VoteFile::of(directory);
        let found = file.load();
        let memory = beginning(found, timing, &tell);
        // By the clock that goes on while the machine sleeps, as the leases do that its promises cover.
        let voter = DurableVoter::new(timing, memory.as_ref(), file, host::now());
        let askers = Askers::new(timing);
        let view = Arc::new(Mutex::new(seen(&voter, &askers)));
        let (queue, asked) = mpsc::sync_channel(QUEUE);
        let serving =
            Serving { voter, askers, asked, view: view.clone(), metrics: metrics.clone(), tell, troubled: false };
        // Of its own: a lease is shorter than some writes of the journal take, or a turn of a loop under load.
        std::thread::Builder::new().name("witness".into()).spawn(move || serving.run())?;
        Ok(Self { queue, view, metrics })
    }

    /// One without a thread, which rules nothing and always shows the same: for tests of what is made of it.
    #[cfg(test)]
    pub(crate) fn showing(view: View, metrics: Arc<WitnessMetrics>) -> Self {
        let (queue, _) = mpsc::sync_channel(1);
        Self { queue, view: Arc::new(Mutex::new(view)), metrics }
    }

    /// Asks for a ruling.
    ///
    /// # Errors
    /// One sentence why there is no ruling: it waits for its disk, which may not take the vote, or has stopped.
    pub async fn ask(&self, request: Request) -> Result<Answer, String> {
        let began = Instant::now();
        let ruled = self.ask_in_turn(request).await;
        self.metrics.answered(request.ask, ruled.as_ref().map_or(Ruled::Refused, |answer| answer.ruling.into()));
        self.metrics.answer_seconds.observe(began.elapsed().as_secs_f64());
        ruled
    }

    async fn ask_in_turn(&self, request: Request) -> Result<Answer, String> {
        let (answer, answered) = oneshot::channel();
        // Never waits: a disk that hangs must not fill the endpoint with nodes, which ask again with their next
        // heartbeat.
        self.queue.try_send(Asked { request, answer }).map_err(|error| match error {
            TrySendError::Full(_) => "the witness waits for its disk".to_owned(),
            TrySendError::Disconnected(_) => "the witness has stopped".to_owned(),
        })?;
        answered.await.unwrap_or_else(|_| Err("the witness has stopped".to_owned()))
    }

    /// How the vote stands.
    pub fn view(&self) -> View {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What cannot be read is as good as lost: what it promised is not known.
fn beginning(found: Result<Option<Memory>, VoteError>, timing: &Timing, tell: &impl Fn(News)) -> Option<Memory> {
    let quiet = Span(timing.quiet);
    match found {
        Ok(Some(memory)) => Some(memory),
        Ok(None) => {
            tell(News::Vote(format!("the witness finds no vote of an earlier run and grants nothing for {quiet}")));
            None
        }
        Err(error) => {
            // A watchdog would not start on such a file. Here users are served by the same process, and to be quiet is
            // as safe.
            tell(News::Alarm(format!("{error}; the witness grants nothing for {quiet}")));
            None
        }
    }
}

fn seen<D: Disk>(voter: &DurableVoter<D>, askers: &Askers) -> View {
    let until = voter.voter.deadline();
    View {
        record: voter.voter.record(),
        epoch: voter.voter.epoch(),
        left: until.map_or(Duration::ZERO, |until| until.since(host::now())),
        trouble: voter.trouble.clone(),
        alarms: askers.alarms(host::now()),
    }
}

/// What the thread alone touches: who asks waits for nothing but the vote.
struct Serving<T> {
    voter: DurableVoter<VoteFile>,
    askers: Askers,
    asked: mpsc::Receiver<Asked>,
    view: Arc<Mutex<View>>,
    metrics: Arc<WitnessMetrics>,
    tell: T,
    troubled: bool,
}

impl<T: Fn(News)> Serving<T> {
    fn run(mut self) {
        loop {
            self.say();
            match self.asked.recv_timeout(self.patience()) {
                // Whoever gave up would not count on it.
                Ok(Asked { request, answer }) if !answer.is_closed() => {
                    self.askers.hear(&request, host::now());
                    let ruled = self.voter.ask(request, host::now());
                    let _ = answer.send(ruled);
                }
                Ok(_) => {}
                // Promises end and a failed write is tried again without anybody asking.
                Err(RecvTimeoutError::Timeout) => self.voter.tick(host::now()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn patience(&self) -> Duration {
        let until = self.voter.voter.deadline().map(|until| until.since(host::now()));
        match (until, self.voter.trouble.is_some()) {
            (Some(left), false) => left.min(LONGEST_SLEEP),
            _ => LONGEST_SLEEP,
        }
    }

    fn say(&mut self) {
        let view = seen(&self.voter, &self.askers);
        let promised = |side| matches!(view.record, Record::Promised(promise) if promise.holder == side);
        for side in Side::BOTH {
            self.metrics.promised.of(side).set(i64::from(promised(side)));
        }
        self.metrics.quiet.set(i64::from(view.record == Record::Unknown));
        self.metrics.epoch.set(i64::try_from(view.epoch).unwrap_or(i64::MAX));
        self.metrics.unwritable.set(i64::from(view.trouble.is_some()));
        for record in std::mem::take(&mut self.voter.news) {
            (self.tell)(News::Vote(format!("witness: {record}")));
        }
        match &view.trouble {
            Some(why) if !self.troubled => (self.tell)(News::Alarm(format!("{why}; nobody is granted the vote"))),
            None if self.troubled => (self.tell)(News::Vote("the witness's vote can be written again".to_owned())),
            _ => {}
        }
        self.troubled = view.trouble.is_some();
        // For as long as a copy takes: status and endpoint read it, and the vote must not wait for them.
        let mut shown = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        let had = std::mem::replace(&mut *shown, view.clone()).alarms;
        drop(shown);
        view.alarms
            .iter()
            .filter(|alarm| !had.contains(alarm))
            .for_each(|alarm| (self.tell)(News::Alarm(alarm.clone())));
        had.iter().filter(|alarm| !view.alarms.contains(alarm)).for_each(|alarm| {
            (self.tell)(News::Vote(format!("over: {alarm}")));
        });
    }
}
