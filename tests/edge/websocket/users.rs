//! A user's CTI and SIP sockets end together: who loses only the SIP socket is deaf until he reloads.

use std::time::Duration;

use failover::Side;
use tokio::task::JoinSet;

use super::{REASON, site, switch};
use crate::client::Client;
use crate::shared::{InTime, Shared, behave, blocking, decided, in_time, measure, open_at};
use crate::site::{Site, wait_until};
use crate::socket::{Ending, Socket, soon, token};
use crate::turns::alone;

const USERS: usize = 20;
/// Between the two ends of one user's sockets. On a busy machine the Edge or this process is not on a processor for
/// longer, once in a while: that may happen to a few, and is far below what a user would be split by (the next user's
/// turn, the wait for a decision).
const TOGETHER: Duration = Duration::from_millis(20);
const FEW: usize = USERS / 5;
const SPLIT: Duration = Duration::from_millis(250);
const AT_ONCE: &str = "switch: { reconnect_rate: all }\n";
const PACED: &str = "switch: { reconnect_rate: 10 }\n";
const RATE: f64 = 10.0;

type Pairs = JoinSet<(Ending, Ending)>;

async fn open_pairs(site: &Site, side: Side) -> Pairs {
    let client = Client::of(site);
    let mut pairs = JoinSet::new();
    for user in 0..USERS {
        let token = token(&format!("user-{user}"));
        let cti = Socket::open(&client, &format!("/xuc/api/2.0/cti?token={token}")).await.unwrap();
        let sip = Socket::open(&client, &format!("/wssip?token={token}")).await.unwrap();
        assert_eq!((cti.side.as_str(), sip.side.as_str()), (side.label(), "shared"));
        pairs.spawn(async move { tokio::join!(cti.ended(), sip.ended()) });
    }
    pairs
}

/// Everybody's ends, each user's first one in order, and whether no user was split.
async fn ends_of(how: &str, pairs: Pairs) -> (Vec<Ending>, InTime) {
    let pairs = soon("everybody's end", pairs.join_all()).await;
    let mut firsts = Vec::new();
    let mut gaps = Vec::new();
    for (cti, sip) in pairs {
        assert!(cti.is_told(1012, REASON) && sip.is_told(1012, REASON), "{cti:?} {sip:?}");
        let (first, second) = if cti.at <= sip.at { (cti, sip) } else { (sip, cti) };
        gaps.push(second.at.duration_since(first.at).unwrap());
        firsts.push(first);
    }
    gaps.sort();
    println!("{how}: a user's sockets ended {:?} apart, at most {:?}", gaps[USERS / 2], gaps[USERS - 1]);
    let together = in_time("between most users' ends", gaps[USERS - 1 - FEW], TOGETHER);
    firsts.sort_by_key(|ending| ending.at);
    (firsts, together.and_then(|()| in_time("between a user's ends", gaps[USERS - 1], SPLIT)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e6_on_a_planned_switch_a_users_cti_and_sip_sockets_end_together() {
    let _alone = alone();
    measure(planned).await;
}

async fn planned() -> InTime {
    let shared = Shared::start();
    let site = site(&shared, AT_ONCE);
    let pairs = open_pairs(&site, Side::Main).await;
    switch(&site, Side::Standby);
    let (firsts, together) = ends_of("planned", pairs).await;
    let last = firsts.last().unwrap().ms_after(decided(&site, 1));
    println!("planned: the last user left {last:.1} ms after the decision");
    blocking(|| {
        wait_until("nothing is left", || open_at(site.main.address) == 0 && open_at(shared.address) == 0);
    });
    together
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e6_when_main_is_killed_a_users_cti_and_sip_sockets_end_together() {
    let _alone = alone();
    measure(killed).await;
}

async fn killed() -> InTime {
    let shared = Shared::start();
    let mut site = site(&shared, AT_ONCE);
    let pairs = open_pairs(&site, Side::Main).await;
    blocking(|| site.main.kill());
    let (firsts, together) = ends_of("killed", pairs).await;
    blocking(|| site.wait_live(Side::Standby));
    let (first, decision) = (&firsts[0], decided(&site, 1));
    assert!(first.ms_after(decision) > -5.0, "a CTI socket ended before the decision that ends its SIP socket");
    blocking(|| wait_until("nothing is left", || open_at(shared.address) == 0));
    open_pairs(&site, Side::Standby).await.abort_all();
    together
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e6_when_main_falls_silent_a_users_cti_and_sip_sockets_end_together() {
    let _alone = alone();
    measure(silent).await;
}

async fn silent() -> InTime {
    let shared = Shared::start();
    let site = site(&shared, AT_ONCE);
    let pairs = open_pairs(&site, Side::Main).await;
    blocking(|| behave(site.main.address, "mute"));
    let (firsts, together) = ends_of("silent", pairs).await;
    blocking(|| site.wait_live(Side::Standby));
    assert!(firsts[0].ms_after(decided(&site, 1)) > -5.0, "ended before the decision");
    blocking(|| {
        behave(site.main.address, "ok");
        wait_until("nothing is left", || open_at(site.main.address) == 0 && open_at(shared.address) == 0);
    });
    together
}

async fn spread(how: &str, site: &Site, pairs: Pairs) -> InTime {
    let (firsts, together) = ends_of(how, pairs).await;
    let decision = decided(site, 1);
    let (first, last) = (firsts[0].ms_after(decision), firsts[USERS - 1].ms_after(decision));
    println!("{how} and paced: the first of {USERS} users left after {first:.0} ms, the last after {last:.0}");
    let due = (USERS - 1) as f64 / RATE * 1000.0;
    assert!(last > due - 50.0, "{USERS} users left within {last:.0} ms, {RATE} a second are asked for");
    let most = firsts.windows(5).map(|five| five[4].at.duration_since(five[0].at).unwrap()).min().unwrap();
    together?;
    // These were late, and then quick: as one who was kept off the processor is.
    if most <= Duration::from_millis(200) {
        return Err(format!("five users left within {most:?}"));
    }
    in_time("the last user left", Duration::from_secs_f64(last / 1000.0), Duration::from_secs_f64(due / 1000.0 + 2.0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e6_a_paced_switch_spreads_users_over_time_and_splits_none() {
    let _alone = alone();
    measure(paced_switch).await;
}

async fn paced_switch() -> InTime {
    let shared = Shared::start();
    let site = site(&shared, PACED);
    let pairs = open_pairs(&site, Side::Main).await;
    switch(&site, Side::Standby);
    spread("planned", &site, pairs).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e6_a_paced_failover_spreads_users_over_time_and_splits_none() {
    let _alone = alone();
    measure(paced_failover).await;
}

async fn paced_failover() -> InTime {
    let shared = Shared::start();
    let mut site = site(&shared, PACED);
    let pairs = open_pairs(&site, Side::Main).await;
    blocking(|| {
        site.main.kill();
        site.wait_live(Side::Standby);
    });
    spread("killed", &site, pairs).await
}
