//! E5: while sides are killed and orders given in the middle of everything, no number is taken twice, none is confirmed that
//! was not taken, and none is lost without an error at its client.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use failover::Side;
use http::{Method, StatusCode};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{Client, Speaks};
use crate::failover::BRISK;
use crate::shared::{InTime, in_time, measure};
use crate::site::{PATIENCE, Site, wait_until};
use crate::turns::alone;

/// Who posts at once.
const CLIENTS: u64 = 8;
/// Faults and orders, by turns.
const ROUNDS: u32 = 6;
/// Answers between two of them, at most.
const CALM: u64 = 400;

/// What became of each number: confirmed, or how it failed.
type Fates = HashMap<u64, Result<StatusCode, String>>;

struct Posting {
    stop: Arc<AtomicBool>,
    confirmed: Arc<AtomicU64>,
    thread: JoinHandle<Fates>,
}

impl Posting {
    fn start(client: Client, speaks: Speaks) -> Self {
        let (stop, confirmed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (stop.clone(), confirmed.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let numbers = Arc::new(AtomicU64::new(1));
                let mut posting = JoinSet::new();
                for _ in 0..CLIENTS {
                    let (client, numbers) = (client.clone(), numbers.clone());
                    posting.spawn(post(client, speaks, numbers, stopped.clone(), counted.clone()));
                }
                posting.join_all().await.into_iter().flatten().collect()
            })
        });
        Self { stop, confirmed, thread }
    }

    fn wait(&self, more: u64) {
        let confirmed = || self.confirmed.load(Ordering::Acquire);
        let goal = confirmed() + more;
        wait_until(&format!("{more} more numbers are taken"), || confirmed() >= goal);
    }

    fn stop(self) -> Fates {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

/// One client: number after number over one connection, a new one when it broke. Nothing is ever posted again.
async fn post(
    client: Client,
    speaks: Speaks,
    numbers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    confirmed: Arc<AtomicU64>,
) -> Fates {
    let mut fates = Fates::new();
    let mut connection = None;
    while !stop.load(Ordering::Acquire) {
        let number = numbers.fetch_add(1, Ordering::AcqRel);
        let mut open = match connection.take() {
            Some(open) => open,
            None => client.connect(speaks).await.unwrap(),
        };
        // One in two is in the ledger well before it is confirmed: where a fault may find it.
        let target = if number.is_multiple_of(2) { "/xuc/lab/count" } else { "/xuc/lab/count?ms=10" };
        let posted = timeout(PATIENCE, open.send(Method::POST, target, number.to_string())).await;
        let fate = match posted.expect("each number gets an answer") {
            Ok(answer) => {
                // A refusal may end an HTTP/1.1 connection; hyper notices that with the next request.
                if answer.status == 200 {
                    connection = Some(open);
                    confirmed.fetch_add(1, Ordering::AcqRel);
                }
                Ok(answer.status)
            }
            Err(error) => Err(error.to_string()),
        };
        fates.insert(number, fate);
    }
    fates
}

fn seed() -> u64 {
    let given = std::env::var("BASCULE_SEED").ok().map(|text| text.parse().expect("BASCULE_SEED is a number"));
    given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64)
}

fn each_number_once(speaks: Speaks) {
    let seed = seed();
    println!("seed {seed}: BASCULE_SEED={seed} repeats the order of faults");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut site = Site::start_with(&format!("{BRISK}\nswitch: {{ switches_per_hour: 100 }}"));
    site.wait_ready_to_switch();
    let posting = Posting::start(Client::of(&site), speaks);
    let mut live = Side::Main;
    for round in 0..ROUNDS {
        posting.wait(random.u64(1..CALM));
        let other = live.other();
        if round % 3 == 2 {
            println!("round {round}: order to {other}");
            site.order(&["switch", "--to", other.label()]);
        } else {
            println!("round {round}: {live} is killed");
            site.side(live).kill();
            site.wait_live(other);
            posting.wait(random.u64(1..CALM));
            site.side(live).start();
        }
        site.wait_ready_to_switch();
        live = other;
    }
    posting.wait(CALM);
    let fates = posting.stop();
    let mut taken: HashMap<u64, u32> = HashMap::new();
    for number in site.main.ledger().into_iter().chain(site.standby.ledger()) {
        *taken.entry(number.parse().unwrap()).or_default() += 1;
    }
    let twice: Vec<_> = taken.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "taken more than once: {twice:?}");
    let mut failed = 0;
    for (number, fate) in &fates {
        match fate {
            Ok(StatusCode::OK) => assert!(taken.contains_key(number), "{number} was confirmed and is in no ledger"),
            Ok(status) => {
                assert!(status.is_server_error(), "{number}: {status}");
                failed += 1;
            }
            Err(_) => failed += 1,
        }
    }
    assert!(taken.keys().all(|number| fates.contains_key(number)));
    let (posted, taken) = (fates.len(), taken.len());
    println!("{posted} posted, {taken} taken, {failed} failed at their client");
    assert!(posted > 1000, "only {posted} were posted");
    // At most what is under way can break: one a client and fault.
    let most = CLIENTS * u64::from(ROUNDS);
    assert!(failed <= most, "{failed} failed, {most} may");
    assert!(posted >= taken && posted - taken <= failed as usize);
}

#[test]
fn e5_over_http1_no_number_is_taken_twice_and_none_is_lost_in_silence() {
    each_number_once(Speaks::H1);
}

#[test]
fn e5_over_h2_no_number_is_taken_twice_and_none_is_lost_in_silence() {
    each_number_once(Speaks::H2);
}

/// A POST that hangs in a side must not be done again by the other, nor wait for ever; a GET beside it is asked again.
#[tokio::test]
async fn e5_what_hangs_in_a_dying_side_is_repeated_only_if_it_may_be() {
    let mut site = Site::start_with(BRISK);
    site.wait_ready_to_switch();
    let client = Client::of(&site);
    let send = |method: Method, speaks| {
        let client = client.clone();
        tokio::spawn(async move { client.connect(speaks).await?.send(method, "/xuc/lab/slow?ms=4000", "").await })
    };
    let mut waiting = Vec::new();
    for speaks in [Speaks::H1, Speaks::H2] {
        for method in [Method::GET, Method::POST, Method::PUT] {
            waiting.push((method.clone(), send(method, speaks)));
        }
    }
    // The runtime of this test must run meanwhile.
    let limit = tokio::time::Instant::now() + PATIENCE;
    while site.main.requests() < 6 {
        assert!(tokio::time::Instant::now() < limit);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    site.main.kill();
    for (method, task) in waiting {
        let answer = task.await.unwrap().unwrap();
        if method.is_idempotent() {
            assert_eq!((answer.status.as_u16(), answer.side()), (200, "standby"), "{method}");
        } else {
            assert_eq!((answer.status.as_u16(), answer.side()), (502, "none"), "{method}");
        }
    }
    assert_eq!(site.standby.requests(), 4);
    assert_eq!(site.metric("bascule_replayed_total"), 4.0);
}

/// There and back within `drain_limit`: what Main is answering belongs to the side that is live, and nobody cuts it.
#[tokio::test]
async fn e1_a_planned_switch_there_and_back_cuts_nothing_on_the_side_that_is_live_again() {
    let _alone = alone();
    measure(there_and_back).await;
}

async fn there_and_back() -> InTime {
    let site = Site::start_with(&format!("{BRISK}\nswitch: {{ drain_limit: 1s }}"));
    site.wait_ready_to_switch();
    let client = Client::of(&site);
    let mut waiting = Vec::new();
    for speaks in [Speaks::H1, Speaks::H2].repeat(3) {
        let client = client.clone();
        waiting.push(tokio::spawn(async move {
            client.connect(speaks).await?.send(Method::POST, "/xuc/lab/slow?ms=4000", "").await
        }));
    }
    let limit = tokio::time::Instant::now() + PATIENCE;
    while site.main.requests() < 6 {
        assert!(tokio::time::Instant::now() < limit);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let gone = Instant::now();
    site.order(&["switch", "--to", "standby"]);
    site.order(&["switch", "--to", "main"]);
    in_time("there and back", gone.elapsed(), Duration::from_millis(900))?;
    for task in waiting {
        let answer = task.await.unwrap().unwrap();
        assert_eq!((answer.status.as_u16(), answer.side()), (200, "main"));
    }
    Ok(())
}
