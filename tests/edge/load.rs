//! A crowd that asks at a fixed pace whatever comes back, from a thread of its own, and remembers what it got.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::Request;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::client::{Answer, Client, Connection, Failed, Speaks};
use crate::site::{PATIENCE, wait_until};

/// Between two requests.
pub const PACE: Duration = Duration::from_millis(10);
/// h2 connections, each with many streams.
const H2_CONNECTIONS: u64 = 2;
/// What browsers ask now and then, and what nobody may answer with JSON but a side.
const TARGETS: [&str; 3] = ["/version", "/xuc/lab/headers", "/ucassistant/"];

/// One request and what came of it.
#[derive(Debug)]
pub struct Asked {
    pub speaks: Speaks,
    pub target: &'static str,
    /// Wall time of its sending, milliseconds since 1970.
    pub at_ms: u64,
    /// When all of the answer was there.
    pub done: Instant,
    pub answer: Result<Answer, String>,
}

impl Asked {
    pub fn well(&self) -> bool {
        self.answer.as_ref().is_ok_and(|answer| answer.status == 200)
    }

    /// Its answer had begun, and its side ended while it gave the rest.
    fn is_broken_off(&self) -> bool {
        self.answer.as_ref().is_err_and(|error| error.contains("Body"))
    }

    pub fn side(&self) -> &str {
        self.answer.as_ref().map_or("none", Answer::side)
    }
}

/// What a crowd got, in the order of its answers.
#[derive(Debug)]
pub struct Tally(pub Vec<Asked>);

impl Tally {
    /// Every request was answered 200.
    #[track_caller]
    pub fn assert_all_well(&self) {
        let bad: Vec<_> = self.0.iter().filter(|asked| !asked.well()).collect();
        let told = |asked: &&Asked| format!("{:?} {}: {:?}", asked.speaks, asked.target, asked.answer);
        let first: Vec<_> = bad.iter().take(3).map(told).collect();
        assert!(bad.is_empty(), "{} of {} requests failed, such as {first:#?}", bad.len(), self.0.len());
    }

    /// Every request was answered 200, but for what a killed side had begun to answer: nobody can finish that.
    #[track_caller]
    pub fn assert_all_well_or_broken_off(&self) {
        let whole = self.0.iter().filter(|asked| !asked.is_broken_off()).count();
        let well = self.0.iter().filter(|asked| asked.well()).count();
        assert_eq!(well, whole, "{:?}", self.0.iter().find(|asked| !asked.well() && !asked.is_broken_off()));
        assert!(self.broken_off() * 10 < whole, "{} of {} answers were broken off", self.broken_off(), self.0.len());
    }

    /// How many answers had begun and were not whole: their side ended while it gave them.
    pub fn broken_off(&self) -> usize {
        self.0.iter().filter(|asked| asked.is_broken_off()).count()
    }

    /// The longest time in which nobody got an answer.
    pub fn longest_gap(&self) -> Duration {
        self.0.windows(2).map(|pair| pair[1].done - pair[0].done).max().unwrap_or_default()
    }

    pub fn by(&self, side: &str) -> impl Iterator<Item = &Asked> {
        self.0.iter().filter(move |asked| asked.side() == side)
    }
}

/// Counters a test can wait on.
#[derive(Debug, Default)]
struct Progress {
    answers: AtomicU64,
    main: AtomicU64,
    standby: AtomicU64,
}

/// A crowd at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
    thread: Option<JoinHandle<Tally>>,
}

impl Load {
    /// GETs every [`PACE`], by turns over HTTP/1.1 and h2.
    pub fn start(client: Client) -> Self {
        Self::spawn(client, None)
    }

    /// The same from inside a network namespace.
    pub fn start_in(client: Client, namespace: &str) -> Self {
        Self::spawn(client, Some(PathBuf::from("/var/run/netns").join(namespace)))
    }

    fn spawn(client: Client, namespace: Option<PathBuf>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let progress = Arc::new(Progress::default());
        let (stopped, counted) = (stop.clone(), progress.clone());
        let thread = std::thread::spawn(move || {
            if let Some(path) = namespace {
                // Of this thread alone.
                let namespace = std::fs::File::open(path).unwrap();
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(ask(client, stopped, counted))
        });
        let load = Self { stop, progress, thread: Some(thread) };
        load.wait_answers(20);
        load
    }

    /// Waits until so many more answers have come.
    #[track_caller]
    pub fn wait_answers(&self, more: u64) {
        let answers = || self.progress.answers.load(Ordering::Acquire);
        let goal = answers() + more;
        wait_until(&format!("{more} more answers have come"), || {
            answers() >= goal || self.thread.as_ref().is_some_and(JoinHandle::is_finished)
        });
    }

    /// Waits until a side has served so many more.
    #[track_caller]
    pub fn wait_served(&self, side: failover::Side, more: u64) {
        let counter = match side {
            failover::Side::Main => &self.progress.main,
            failover::Side::Standby => &self.progress.standby,
        };
        let goal = counter.load(Ordering::Acquire) + more;
        wait_until(&format!("{side} has served {more} more"), || counter.load(Ordering::Acquire) >= goal);
    }

    /// Sends no more and waits for what is open.
    pub fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

async fn ask(client: Client, stop: Arc<AtomicBool>, progress: Arc<Progress>) -> Tally {
    let pool = Arc::new(Pool::default());
    let mut clock = interval(PACE);
    // Open loop: what was late is asked all the same.
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut asked = JoinSet::new();
    let mut number = 0_u64;
    while !stop.load(Ordering::Acquire) {
        clock.tick().await;
        let (client, pool, progress) = (client.clone(), pool.clone(), progress.clone());
        asked.spawn(async move {
            let asked = one(&client, &pool, number).await;
            progress.answers.fetch_add(1, Ordering::AcqRel);
            match asked.side() {
                "main" => drop(progress.main.fetch_add(1, Ordering::AcqRel)),
                "standby" => drop(progress.standby.fetch_add(1, Ordering::AcqRel)),
                _ => {}
            }
            asked
        });
        number += 1;
    }
    let mut all = asked.join_all().await;
    all.sort_by_key(|asked| asked.done);
    Tally(all)
}

async fn one(client: &Client, pool: &Pool, number: u64) -> Asked {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let speaks = if number.is_multiple_of(2) { Speaks::H1 } else { Speaks::H2 };
    let target = TARGETS[usize::try_from(number % 3).unwrap()];
    let asking = async {
        let mut connection = pool.take(client, speaks, number / 2 % H2_CONNECTIONS).await?;
        let answer = connection.request(Request::builder().uri(target), "").await?;
        pool.give(connection);
        Ok::<Answer, Failed>(answer)
    };
    let answer = match timeout(PATIENCE, asking).await {
        Ok(answer) => answer.map_err(|error| format!("{error:?}")),
        Err(_) => Err("no answer".to_owned()),
    };
    Asked { speaks, target, at_ms: u64::try_from(at.as_millis()).unwrap(), done: Instant::now(), answer }
}

/// Connections kept open: as many of HTTP/1.1 as are in use at once, two of h2.
#[derive(Default)]
struct Pool {
    h1: Mutex<Vec<Connection>>,
    h2: [tokio::sync::Mutex<Option<hyper::client::conn::http2::SendRequest<http_body_util::Full<bytes::Bytes>>>>; 2],
}

impl Pool {
    async fn take(&self, client: &Client, speaks: Speaks, which: u64) -> Result<Connection, Failed> {
        if speaks == Speaks::H1 {
            loop {
                let Some(idle) = self.h1.lock().unwrap().pop() else { return client.connect(speaks).await };
                if !idle.is_closed() {
                    return Ok(idle);
                }
            }
        }
        let mut kept = self.h2[usize::try_from(which).unwrap()].lock().await;
        if let Some(sender) = kept.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(Connection::H2(sender.clone()));
        }
        let connection = client.connect(speaks).await?;
        if let Connection::H2(sender) = &connection {
            *kept = Some(sender.clone());
        }
        Ok(connection)
    }

    fn give(&self, connection: Connection) {
        if matches!(connection, Connection::H1(_)) {
            self.h1.lock().unwrap().push(connection);
        }
    }
}
