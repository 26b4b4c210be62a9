//! Looks at a fence that is renewed meanwhile, by a program that is slow: on paused time, with a played program and kernel.

use failover::duty::Handover;
use host::played::Boxed;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::super::*;
use super::RENEWALS;
use crate::node::command::Ending;
use crate::node::played::{Process, Stage, play};

/// The program has half a second, and a lease is renewed more often.
const TIME_LIMIT: Duration = Duration::from_millis(500);
const HEARTBEAT: Duration = Duration::from_millis(200);
const SLOW: Duration = Duration::from_millis(450);
const LEASE: Permit = Permit::For(Duration::from_millis(1600));

/// A kernel that does what it is told, and a program that lists after this time what there is.
struct Node {
    lists_after: Duration,
    listing: String,
}

impl Stage for Node {
    fn command(&self, argv: &[String], _: Option<&str>) -> Process {
        let (tell, ended) = oneshot::channel();
        let lists = argv.iter().any(|word| word == "list");
        let (after, said) = if lists { (self.lists_after, self.listing.clone()) } else { Default::default() };
        let work = tokio::spawn(async move {
            sleep(after).await;
            let _ = tell.send((Ending::Done, said));
        });
        Process { ended, task: work.abort_handle() }
    }

    fn change(&self, _: &str, _: &[&str]) -> std::io::Result<()> {
        Ok(())
    }

    fn ask(&self, _: &probe::Check) -> Boxed<probe::Report> {
        Box::pin(std::future::pending())
    }

    fn echoes(&self, _: IpAddr) -> bool {
        false
    }

    fn leave(&self, _: Option<Handover>) {}

    fn take(&self) -> Option<Handover> {
        None
    }

    fn turned(&self) {}

    fn answers(&self, _: &failover::lease::Answer) {}
}

/// Nothing of the play is left for the next test of this thread.
struct Played;

impl Drop for Played {
    fn drop(&mut self) {
        play(None);
    }
}

/// A table as it is written: closed, or with phones let in.
fn table(permitted: &[u16]) -> String {
    let hooked = |chain: &str| json!({ "chain": { "name": chain, "type": "filter", "hook": chain } });
    let rules =
        |chain: &'static str| (0..nft::rules(nft::TABLE, chain)).map(move |_| json!({ "rule": { "chain": chain } }));
    let mut all = vec![hooked("input"), hooked("output")];
    all.extend(rules("input").chain(rules("output")));
    all.push(json!({ "set": { "name": "sip", "elem": [5060] } }));
    all.push(json!({ "set": { "name": "permitted", "elem": permitted } }));
    json!({ "nftables": all }).to_string()
}

async fn serving(lists_after: Duration, listing: &str) -> (Played, Arc<Fence>) {
    play(Some(Arc::new(Node { lists_after, listing: listing.to_owned() })));
    let fence = Arc::new(Fence::new(FenceSpec::Nft(NftSpec {
        program: vec!["nft".into()],
        ports: vec![5060],
        partners: vec![],
        renewals: RENEWALS,
        time_limit: TIME_LIMIT,
        last_resort: None,
    })));
    fence.permit(LEASE).await.unwrap();
    (Played, fence)
}

/// What a look comes to while the lease is renewed with each heartbeat.
async fn look(fence: &Arc<Fence>) -> Kept {
    let look = tokio::spawn(Arc::clone(fence).keep(Phones::LetIn));
    while !look.is_finished() {
        sleep(HEARTBEAT).await;
        let took = fence.permit(LEASE).await;
        assert!(took.is_ok(), "{took:?}");
    }
    look.await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_program_that_hangs_is_told_of_though_renewals_come_faster_than_it_runs_out_of_time() {
    let (_played, fence) = serving(Duration::MAX, "").await;
    for _ in 0..3 {
        let kept = look(&fence).await;
        assert!(matches!(&kept, Kept::Unread(why) if why.contains("time limit")), "{kept:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_somebody_removed_is_seen_though_the_program_is_slower_than_renewals() {
    let (_played, fence) = serving(SLOW, r#"{"nftables": []}"#).await;
    let kept = look(&fence).await;
    assert!(matches!(kept, Kept::Mended { state: State::Missing(_), .. }), "{kept:?}");
}

#[tokio::test(start_paused = true)]
async fn a_table_as_it_was_written_is_found_so_though_the_program_is_slower_than_renewals() {
    let (_played, fence) = serving(SLOW, &table(&[5060])).await;
    assert_eq!(look(&fence).await, Kept::AsItShould(State::Open));
}

/// What was read is older than the renewal.
#[tokio::test(start_paused = true)]
async fn a_fence_that_closed_by_itself_and_was_renewed_meanwhile_is_not_told_to_be_closed() {
    let (_played, fence) = serving(SLOW, &table(&[])).await;
    assert_eq!(look(&fence).await, Kept::Overtaken);
}

/// The start that ends a look may end it just when the table was written again: then the next look tells of it.
#[tokio::test(start_paused = true)]
async fn a_table_that_was_written_again_by_a_look_that_a_start_ended_is_told_all_the_same() {
    let (_played, fence) = serving(SLOW, r#"{"nftables": []}"#).await;
    let look = tokio::spawn(Arc::clone(&fence).keep(Phones::KeptOut));
    sleep(HEARTBEAT).await;
    // It has begun to read; what it reads of what it writes next is a closed table, and takes its time too.
    play(Some(Arc::new(Node { lists_after: SLOW, listing: table(&[]) })));
    sleep(SLOW).await;
    fence.permit(LEASE).await.unwrap();
    assert_eq!(look.await.unwrap().unwrap(), Kept::Overtaken);
    play(Some(Arc::new(Node { lists_after: Duration::ZERO, listing: table(&[5060]) })));
    let kept = Arc::clone(&fence).keep(Phones::LetIn).await.unwrap();
    assert!(matches!(&kept, Kept::Mended { state: State::Open, .. }), "{kept:?}");
    assert_eq!(Arc::clone(&fence).keep(Phones::LetIn).await.unwrap(), Kept::AsItShould(State::Open));
}

/// No renewal waits for a look: not even one that takes all the time there is.
#[tokio::test(start_paused = true)]
async fn a_renewal_does_not_wait_for_a_look() {
    let (_played, fence) = serving(Duration::MAX, "").await;
    let look = tokio::spawn(Arc::clone(&fence).keep(Phones::LetIn));
    sleep(HEARTBEAT).await;
    let began = Instant::now();
    fence.permit(LEASE).await.unwrap();
    assert_eq!((began.elapsed(), look.is_finished()), (Duration::ZERO, false));
}

#[tokio::test(start_paused = true)]
async fn a_closing_ends_a_look_at_once() {
    let (_played, fence) = serving(Duration::MAX, "").await;
    let look = tokio::spawn(Arc::clone(&fence).keep(Phones::LetIn));
    sleep(HEARTBEAT).await;
    let began = Instant::now();
    let closing = fence.close(Partners::Closed);
    let (kept, _) = futures_util::future::join(look, timeout(Duration::from_millis(1), closing)).await;
    assert_eq!(kept.unwrap(), Ok(Kept::Overtaken));
    assert!(began.elapsed() < HEARTBEAT);
    // One that was ordered before the closing does not begin any more.
    let look = Arc::clone(&fence).keep(Phones::LetIn);
    let _ = timeout(Duration::from_millis(1), fence.close(Partners::Closed)).await;
    let began = Instant::now();
    assert_eq!((look.await, began.elapsed()), (Ok(Kept::Overtaken), Duration::ZERO));
}

/// Kinds that cannot be read say so at once, each time: whoever asked them again would never end.
#[tokio::test(start_paused = true)]
async fn a_look_at_what_cannot_be_read_ends_at_once() {
    let command = CommandSpec::new(["true"], TIME_LIMIT);
    for spec in
        [FenceSpec::None { last_resort: None }, FenceSpec::Command { close: command, permit: None, last_resort: None }]
    {
        let fence = Arc::new(Fence::new(spec));
        for phones in [Phones::LetIn, Phones::KeptOut] {
            assert_eq!(Arc::clone(&fence).keep(phones).await, Ok(Kept::Overtaken));
        }
    }
}
