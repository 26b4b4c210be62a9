//! Who is told to leave, when, and who is not.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::thread;

use tokio::time::advance;

use super::*;

const CTI: &str = "cti";
const SIP: &str = "sip";
const MDS: &str = "mds";
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const BACKEND: &str = "mds1";

fn user(number: u32) -> User {
    User::of(None, IpAddr::V4(Ipv4Addr::from_bits(number)))
}

fn opening(user: User, route: &str, pin: Pin, epoch: u64) -> Opening {
    let close = Close::service_restart();
    Opening { pin, epoch, user, client: CLIENT, route: route.into(), backend: BACKEND.into(), close }
}

fn at_rate(users_per_second: u32, drain_limit: Duration) -> Pacing {
    Pacing { reconnect_rate: NonZeroU32::new(users_per_second), drain_limit }
}

/// A user's sockets: CTI on the side, SIP on a shared service that follows it.
struct Sockets {
    cti: Session,
    sip: Session,
}

impl Sockets {
    fn open(sessions: &Arc<Sessions>, number: u32, live: Side, epoch: u64) -> Self {
        let open = |route, pin| sessions.open(opening(user(number), route, pin, epoch)).unwrap();
        Self { cti: open(CTI, Pin::Side(live)), sip: open(SIP, Pin::Follows(live)) }
    }

    fn are_told(&self) -> bool {
        let told = self.cti.command().is_some();
        assert_eq!(told, self.sip.command().is_some(), "a user's sockets were split");
        told
    }
}

fn told(all: &[Sockets]) -> usize {
    all.iter().filter(|sockets| sockets.are_told()).count()
}

/// Lets the pacer see the time that has passed.
async fn pass(time: Duration) {
    advance(time).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

fn pacer(sessions: &Arc<Sessions>) -> tokio::task::JoinHandle<()> {
    let sessions = Arc::clone(sessions);
    tokio::spawn(async move { sessions.pace().await })
}

#[tokio::test(start_paused = true)]
async fn e6_a_users_sockets_are_told_together_at_the_reconnect_rate_and_the_rest_at_the_drain_limit() {
    let sessions = Arc::new(Sessions::default());
    let _pacer = pacer(&sessions);
    pass(Duration::ZERO).await;
    let all: Vec<_> = (0..100).map(|number| Sockets::open(&sessions, number, Side::Main, 1)).collect();
    let leaving = sessions.demote(Side::Main, 2, at_rate(10, Duration::from_secs(5)));
    assert_eq!((leaving.users(), leaving.sessions()), (100, 200));
    pass(Duration::ZERO).await;
    for tenths in 0..50 {
        assert_eq!(told(&all), tenths + 1);
        pass(Duration::from_millis(100)).await;
    }
    assert_eq!(told(&all), 100, "the limit has come");
    assert_eq!((leaving.told(), leaving.left()), (200, 0));
    drop(all);
    leaving.finished().await;
    assert_eq!(leaving.left(), 200);
}

#[tokio::test(start_paused = true)]
async fn e6_without_a_rate_everybody_is_told_at_once() {
    let sessions = Arc::new(Sessions::default());
    let _pacer = pacer(&sessions);
    pass(Duration::ZERO).await;
    let all: Vec<_> = (0..1000).map(|number| Sockets::open(&sessions, number, Side::Main, 1)).collect();
    sessions.demote(Side::Main, 2, Pacing::OFF);
    assert_eq!(told(&all), 1000);
}

#[tokio::test]
async fn e6_sessions_of_the_new_side_and_those_that_never_move_are_left_alone() {
    let sessions = Arc::new(Sessions::default());
    let old = Sockets::open(&sessions, 1, Side::Main, 1);
    let new = Sockets::open(&sessions, 1, Side::Standby, 2);
    let stays = sessions.open(opening(user(1), MDS, Pin::Stays, 1)).unwrap();
    sessions.demote(Side::Main, 2, Pacing::OFF);
    assert!(old.are_told());
    assert!(!new.are_told());
    assert_eq!(stays.command(), None);
    let back = Sockets::open(&sessions, 1, Side::Main, 3);
    sessions.demote(Side::Main, 2, Pacing::OFF);
    assert!(!back.are_told(), "an old switch says nothing about a newer session of the same side");
}

#[tokio::test(start_paused = true)]
async fn e6_a_second_switch_during_the_first_ones_pacing_strands_nobody_and_touches_nobody_new() {
    let sessions = Arc::new(Sessions::default());
    let _pacer = pacer(&sessions);
    pass(Duration::ZERO).await;
    let pacing = at_rate(10, Duration::from_secs(60));
    let first: Vec<_> = (0..20).map(|number| Sockets::open(&sessions, number, Side::Main, 1)).collect();
    let left_main = sessions.demote(Side::Main, 2, pacing);
    let second: Vec<_> = (10..30).map(|number| Sockets::open(&sessions, number, Side::Standby, 2)).collect();
    pass(Duration::from_millis(450)).await;
    assert_eq!((told(&first), told(&second)), (5, 0));

    let left_standby = sessions.demote(Side::Standby, 3, pacing);
    let third: Vec<_> = (0..30).map(|number| Sockets::open(&sessions, number, Side::Main, 3)).collect();
    pass(Duration::ZERO).await;
    while told(&first) < 20 || told(&second) < 20 {
        let before = left_main.told() + left_standby.told();
        for number in 10..20 {
            let (old, new) = (&first[number], &second[number - 10]);
            assert!(old.are_told() || !new.are_told(), "a user's turn is one, whichever side the sockets are on");
        }
        pass(Duration::from_millis(100)).await;
        let turn = left_main.told() + left_standby.told() - before;
        assert!(turn <= 4, "both demotions together keep the rate of one user: {turn} sessions");
    }
    assert_eq!((left_main.told(), left_standby.told()), (40, 40));
    assert_eq!(told(&third), 0);
    drop((first, second));
    left_main.finished().await;
    left_standby.finished().await;
    assert_eq!(sessions.len(), 60);
}

#[tokio::test]
async fn e6_a_session_chosen_before_the_switch_is_refused_after_it() {
    let sessions = Arc::new(Sessions::default());
    sessions.demote(Side::Main, 2, Pacing::OFF);
    let refused = |pin, epoch| sessions.open(opening(user(1), CTI, pin, epoch)).err();
    assert_eq!(refused(Pin::Side(Side::Main), 1), Some(Refused::Demoted(Side::Main)));
    assert_eq!(refused(Pin::Follows(Side::Main), 1), Some(Refused::Demoted(Side::Main)));
    assert_eq!(refused(Pin::Stays, 1), None);
    assert_eq!(refused(Pin::Side(Side::Standby), 2), None);
    assert_eq!(refused(Pin::Side(Side::Main), 3), None, "main is live again");
    assert!(sessions.is_empty(), "a refused session leaves nothing behind");
}

#[test]
fn e6_opening_and_demoting_at_the_same_time_strands_nobody() {
    for _ in 0..40 {
        let sessions = Arc::new(Sessions::default());
        let epoch = Arc::new(AtomicU64::new(1));
        let openers: Vec<_> = (0..3)
            .map(|opener| {
                let (sessions, epoch) = (Arc::clone(&sessions), Arc::clone(&epoch));
                thread::spawn(move || open_in_a_row(&sessions, &epoch, opener * 1_000_000))
            })
            .collect();
        let mut told = 0;
        while !openers.iter().all(thread::JoinHandle::is_finished) {
            let next = epoch.fetch_add(1, Ordering::AcqRel) + 1;
            told += sessions.demote(live(next - 1), next, Pacing::OFF).told();
        }
        let open: Vec<_> = openers.into_iter().flat_map(|opener| opener.join().unwrap()).collect();
        let last = epoch.load(Ordering::Acquire);
        assert_eq!(open.iter().filter(|(epoch, _)| *epoch < last).count(), told, "each was told once");
        for (epoch, session) in &open {
            assert_eq!(session.command().is_some(), *epoch < last, "epoch {epoch} of {last}");
        }
        drop(open);
        assert!(sessions.is_empty());
    }
}

/// What requests do: read the live side and its epoch, then open; whoever is refused is routed anew.
fn open_in_a_row(sessions: &Arc<Sessions>, epoch: &AtomicU64, first_user: u32) -> Vec<(u64, Session)> {
    let open = |number| {
        let epoch = epoch.load(Ordering::Acquire);
        let chosen = opening(user(first_user + number), CTI, Pin::Side(live(epoch)), epoch);
        sessions.open(chosen).ok().map(|session| (epoch, session))
    };
    (0..300).filter_map(open).collect()
}

/// Odd epochs are Main's.
fn live(epoch: u64) -> Side {
    if epoch % 2 == 1 { Side::Main } else { Side::Standby }
}

#[tokio::test(start_paused = true)]
async fn a_pace_that_nobody_keeps_makes_nobody_wait() {
    let sessions = Arc::new(Sessions::default());
    let pacing = at_rate(1, Duration::from_secs(3600));
    let all: Vec<_> = (0..10).map(|number| Sockets::open(&sessions, number, Side::Main, 1)).collect();
    sessions.demote(Side::Main, 2, pacing);
    assert_eq!(told(&all), 10, "no pacer ran");

    let pacer = pacer(&sessions);
    pass(Duration::ZERO).await;
    let all: Vec<_> = (0..10).map(|number| Sockets::open(&sessions, number, Side::Standby, 2)).collect();
    sessions.demote(Side::Standby, 3, pacing);
    pass(Duration::ZERO).await;
    assert_eq!(told(&all), 1);
    pacer.abort();
    assert!(pacer.await.is_err());
    assert_eq!(told(&all), 10, "the pacer went");
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_no_turn_and_refuses_the_next() {
    let sessions = Arc::new(Sessions::default());
    let _pacer = pacer(&sessions);
    pass(Duration::ZERO).await;
    let all: Vec<_> = (0..10).map(|number| Sockets::open(&sessions, number, Side::Main, 1)).collect();
    let stays = sessions.open(opening(user(1), MDS, Pin::Stays, 1)).unwrap();
    sessions.demote(Side::Main, 2, at_rate(1, Duration::from_secs(60)));
    pass(Duration::ZERO).await;
    sessions.close_all();
    assert_eq!(all.iter().filter(|sockets| sockets.cti.command() == Some(Command::Drain)).count(), 9);
    assert_eq!(stays.told().await, Command::Drain);
    assert_eq!(sessions.open(opening(user(1), MDS, Pin::Stays, 2)).err(), Some(Refused::Draining));
    let waits = tokio::spawn({
        let sessions = Arc::clone(&sessions);
        async move { sessions.emptied().await }
    });
    drop((all, stays));
    waits.await.unwrap();
}

#[tokio::test]
async fn a_session_that_is_not_yet_relayed_hears_of_the_demotion() {
    let sessions = Arc::new(Sessions::default());
    let session = sessions.open(opening(user(1), CTI, Pin::Side(Side::Main), 1)).unwrap();
    let leaving = sessions.demote(Side::Main, 2, Pacing::OFF);
    assert_eq!(session.told().await, Command::Move);
    drop(session);
    leaving.finished().await;
}

#[test]
fn operators_see_sessions_up_to_the_limit_and_their_number() {
    let sessions = Arc::new(Sessions::default());
    let all: Vec<_> = (0..50).map(|number| Sockets::open(&sessions, number, Side::Main, 1)).collect();
    let stays = sessions.open(opening(user(7), MDS, Pin::Stays, 1)).unwrap();
    stays.record(10, 20);
    assert_eq!((sessions.list(30).len(), sessions.len()), (30, 101));
    let listed = sessions.list(1000).into_iter().find(|listed| listed.id == stays.id()).unwrap();
    assert_eq!((listed.user, &*listed.route, listed.pin), (user(7), MDS, Pin::Stays));
    assert_eq!((listed.client, &*listed.backend), (CLIENT, BACKEND));
    assert_eq!((listed.to_client, listed.to_upstream, listed.leaving), (10, 20, false));
    let tally: Vec<_> = sessions.tally().into_iter().map(|t| (t.pin, t.route.to_string(), t.sessions)).collect();
    let expected = [(Pin::Side(Side::Main), CTI, 50), (Pin::Follows(Side::Main), SIP, 50), (Pin::Stays, MDS, 1)];
    assert_eq!(tally, expected.map(|(pin, route, sessions)| (pin, route.to_string(), sessions)));
    sessions.demote(Side::Main, 2, Pacing::OFF);
    assert_eq!(sessions.list(1000).iter().filter(|listed| listed.leaving).count(), 100);
    drop(all);
}
