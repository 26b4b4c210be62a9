//! What becomes of a client whose upstream goes without a Close. Time is virtual.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use failover::Side;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::support::*;
use super::*;
use crate::traffic::websocket::tunnel::{Opening, Pacing, Pin, Sessions};

const EPOCH: u64 = 2;
const SWITCH: u64 = EPOCH + 1;
const LIMIT: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_millis(300);
/// A text frame, a Ping and the head of a frame that is never completed, all of the client's.
const CHATTER: &[u8] = b"\x81\x81\0\0\0\0a\x89\x80\0\0\0\0\x82\xff\0\0\0\0\0\0\xff\xff";

fn pinned(pin: Pin) -> Opening {
    Opening { pin, epoch: EPOCH, close: restart(), ..opening(Side::Main, 1) }
}

fn restart() -> Close {
    Close::new(1012, "standby takes over").unwrap()
}

fn limits() -> Limits {
    Limits { orphan_limit: LIMIT, ..Limits::default() }
}

/// A relay whose hook is counted.
fn rig_of(sessions: &Arc<Sessions>, pin: Pin, limits: Limits) -> (Rig, Arc<AtomicUsize>) {
    let losses = Arc::new(AtomicUsize::new(0));
    let (client, client_end) = tokio::io::duplex(BUFFER);
    let (upstream, upstream_end) = tokio::io::duplex(BUFFER);
    let (session, counted) = (sessions.open(pinned(pin)).unwrap(), Arc::clone(&losses));
    let relay = Relay::new(session, client_end, upstream_end, Early::default(), limits).on_upstream_lost(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    (Rig { client, upstream, report: tokio::spawn(relay) }, losses)
}

fn rig_of_main(sessions: &Arc<Sessions>) -> (Rig, Arc<AtomicUsize>) {
    rig_of(sessions, Pin::Side(Side::Main), limits())
}

/// Reads this Close, answers it, and tells when it came.
async fn told(client: &mut DuplexStream, expected: Close) -> Instant {
    let mut seen = vec![0; expected.to_client().len()];
    client.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, expected.to_client());
    let at = Instant::now();
    client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    assert_eq!(rest(client).await, b"");
    at
}

#[tokio::test(start_paused = true)]
async fn e6_an_orphan_is_told_with_its_users_other_socket_when_the_side_is_demoted() {
    let sessions = Arc::new(Sessions::default());
    let ((mut cti, losses), (mut sip, _)) =
        (rig_of_main(&sessions), rig_of(&sessions, Pin::Follows(Side::Main), limits()));
    drop(cti.upstream);
    settle().await;
    assert_eq!(losses.load(Ordering::Relaxed), 1, "the loss is a sign before anybody decides");
    tokio::time::sleep(SOON).await;
    let (leaving, demoted) = (sessions.demote(Side::Main, SWITCH, Pacing::OFF), Instant::now());
    let both = tokio::join!(told(&mut cti.client, restart()), told(&mut sip.client, restart()));
    assert_eq!(both, (demoted, demoted));
    assert_eq!(cti.report.await.unwrap().outcome, Outcome::Demoted { clean: true });
    assert_eq!(sip.report.await.unwrap().outcome, Outcome::Demoted { clean: true });
    assert_eq!((leaving.sessions(), leaving.left(), leaving.truncated()), (2, 2, 0));
    assert_eq!(losses.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn e6_an_orphan_of_a_demoted_side_waits_for_its_users_turn_beyond_the_limit() {
    let sessions = Arc::new(Sessions::default());
    let paced = Arc::clone(&sessions);
    tokio::spawn(async move { paced.pace().await });
    settle().await;
    let ((mut cti, _), (mut sip, _)) = (rig_of_main(&sessions), rig_of(&sessions, Pin::Follows(Side::Main), limits()));
    let queue: Vec<_> = (2..12).map(|user| sessions.open(opening(Side::Main, user)).unwrap()).collect();
    let pacing = Pacing { reconnect_rate: NonZeroU32::new(1), drain_limit: 10 * LIMIT };
    sessions.demote(Side::Main, EPOCH, pacing);
    let lost = Instant::now();
    drop(cti.upstream);
    tokio::time::sleep(SOON).await;
    sessions.demote(Side::Main, SWITCH, pacing);
    let (cti_told, sip_told) = tokio::join!(told(&mut cti.client, restart()), told(&mut sip.client, restart()));
    assert_eq!(cti_told, sip_told);
    assert_eq!((cti_told - lost).as_secs(), 10, "ten users were before them");
    assert_eq!(cti.report.await.unwrap().outcome, Outcome::Demoted { clean: true });
    drop(queue);
}

#[tokio::test(start_paused = true)]
async fn e6_an_orphan_whose_side_is_not_demoted_is_told_at_the_limit() {
    let sessions = Arc::new(Sessions::default());
    let (mut rig, losses) = rig_of_main(&sessions);
    let lost = Instant::now();
    drop(rig.upstream);
    assert_eq!((told(&mut rig.client, Close::upstream_lost()).await - lost).as_secs(), LIMIT.as_secs());
    assert_eq!(rig.report.await.unwrap().outcome, Outcome::UpstreamLost { clean: true });
    assert_eq!(losses.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn an_orphans_words_are_neither_answered_nor_kept() {
    let sessions = Arc::new(Sessions::default());
    let (mut client, client_end) = tokio::io::duplex(BUFFER);
    let (mut upstream, upstream_end) = tokio::io::duplex(BUFFER);
    let session = sessions.open(pinned(Pin::Side(Side::Main))).unwrap();
    let mut relay = Relay::new(session, client_end, upstream_end, Early::default(), limits());
    client.write_all(&[CHATTER, &[0; 1000]].concat()).await.unwrap();
    let mut speaks = Box::pin(async {
        upstream.write_all(b"\x81\x01a").await.unwrap();
        drop(upstream);
        let mut seen = [0; 3];
        client.read_exact(&mut seen).await.unwrap();
        client.write_all(&[0; 50_000]).await.unwrap();
        tokio::time::timeout(SOON, client.read_u8()).await.expect_err("nobody answers");
    });
    tokio::select! {
        biased;
        _ = &mut relay => panic!("over too early"),
        () = &mut speaks => {}
    }
    assert!(matches!(relay.phase, Phase::Orphaned));
    assert_eq!((relay.to_client.backlog_capacity(), relay.to_upstream.backlog_capacity()), (0, 0));
    assert!(relay.upstream.is_none(), "its socket is closed already");
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_client_has_not_read_yet_is_delivered_while_it_is_an_orphan() {
    let sessions = Arc::new(Sessions::default());
    let (mut rig, _) = rig_of_main(&sessions);
    let message = [head(11_000), vec![7; 11_000]].concat();
    rig.upstream.write_all(&message).await.unwrap();
    drop(rig.upstream);
    tokio::time::sleep(SOON).await;
    let mut seen = vec![0; message.len()];
    rig.client.read_exact(&mut seen).await.unwrap();
    assert!(seen == message);
    let demoted = Instant::now();
    sessions.demote(Side::Main, SWITCH, Pacing::OFF);
    assert_eq!(told(&mut rig.client, restart()).await, demoted);
}

#[tokio::test(start_paused = true)]
async fn an_orphan_that_leaves_by_itself_is_let_go_at_once() {
    let sessions = Arc::new(Sessions::default());
    let (mut polite, _) = rig_of_main(&sessions);
    drop(polite.upstream);
    settle().await;
    polite.client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    assert_eq!(rest(&mut polite.client).await, Close::normal().to_client());
    let report = polite.report.await.unwrap();
    assert_eq!((report.outcome, report.lasted), (Outcome::ClientClosed, Duration::ZERO));

    let (rude, _) = rig_of_main(&sessions);
    drop(rude.upstream);
    settle().await;
    drop(rude.client);
    let report = rude.report.await.unwrap();
    assert_eq!((report.outcome, report.lasted), (Outcome::ClientLost, Duration::ZERO));
    assert!(sessions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_orphan_is_drained_like_everybody() {
    let sessions = Arc::new(Sessions::default());
    let (mut rig, _) = rig_of_main(&sessions);
    drop(rig.upstream);
    settle().await;
    let drained = Instant::now();
    sessions.close_all();
    assert_eq!(told(&mut rig.client, Close::going_away()).await, drained);
    assert_eq!(rig.report.await.unwrap().outcome, Outcome::Drained { clean: true });
}

#[tokio::test(start_paused = true)]
async fn an_impossible_frame_of_an_orphan_is_answered_with_1002() {
    let sessions = Arc::new(Sessions::default());
    let (mut rig, _) = rig_of_main(&sessions);
    drop(rig.upstream);
    settle().await;
    rig.client.write_all(b"\x82\xff\xff\0\0\0\0\0\0\0").await.unwrap();
    assert_eq!(rest(&mut rig.client).await, Close::protocol_error().to_client());
    assert_eq!(rig.report.await.unwrap().outcome, Outcome::ProtocolError(Party::Client));
}

#[tokio::test(start_paused = true)]
async fn a_client_inside_a_frame_is_cut_at_once_and_the_loss_told() {
    let sessions = Arc::new(Sessions::default());
    let (mut rig, losses) = rig_of_main(&sessions);
    rig.upstream.write_all(b"\x82\x06abc").await.unwrap();
    drop(rig.upstream);
    assert_eq!(rest(&mut rig.client).await, b"\x82\x06abc");
    let report = rig.report.await.unwrap();
    assert_eq!((report.outcome, report.lasted), (Outcome::UpstreamLost { clean: false }, Duration::ZERO));
    assert_eq!(losses.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn clients_of_shared_services_wait_for_no_decision_and_nobody_does_under_a_limit_of_zero() {
    let sessions = Arc::new(Sessions::default());
    let at_once = Limits { orphan_limit: Duration::ZERO, ..limits() };
    for (pin, limits) in
        [(Pin::Stays, limits()), (Pin::Follows(Side::Main), limits()), (Pin::Side(Side::Main), at_once)]
    {
        let (mut rig, losses) = rig_of(&sessions, pin, limits);
        let lost = Instant::now();
        drop(rig.upstream);
        assert_eq!(told(&mut rig.client, Close::upstream_lost()).await, lost, "{pin:?}");
        assert_eq!(rig.report.await.unwrap().outcome, Outcome::UpstreamLost { clean: true });
        assert_eq!(losses.load(Ordering::Relaxed), 1, "{pin:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_goodbye_or_was_told_to_leave_is_no_loss() {
    let sessions = Arc::new(Sessions::default());
    let (mut closed, losses_of_closed) = rig_of_main(&sessions);
    closed.upstream.write_all(b"\x88\x00").await.unwrap();
    drop(closed.upstream);
    assert_eq!(rest(&mut closed.client).await, b"\x88\x00");
    assert_eq!(closed.report.await.unwrap().outcome, Outcome::UpstreamClosed);

    let (mut demoted, losses_of_demoted) = rig_of_main(&sessions);
    sessions.demote(Side::Main, SWITCH, Pacing::OFF);
    drop(demoted.upstream);
    told(&mut demoted.client, restart()).await;
    assert_eq!(demoted.report.await.unwrap().outcome, Outcome::Demoted { clean: true });
    assert_eq!([losses_of_closed, losses_of_demoted].map(|losses| losses.load(Ordering::Relaxed)), [0, 0]);
}

/// A reset shows while writing, too: the end that takes nothing may still have last words, but not for ever.
#[tokio::test(start_paused = true)]
async fn an_upstream_that_takes_no_more_and_says_nothing_leaves_an_orphan() {
    let sessions = Arc::new(Sessions::default());
    let (mut client, client_end) = tokio::io::duplex(BUFFER);
    let (broken, far) = tokio::io::duplex(BUFFER);
    drop(far);
    let (_speaks, silent) = tokio::io::duplex(BUFFER);
    let upstream_end = tokio::io::join(silent, broken);
    let session = sessions.open(pinned(Pin::Side(Side::Main))).unwrap();
    let relay = Relay::new(session, client_end, upstream_end, Early::default(), limits());
    let report = tokio::spawn(relay);
    let lost = Instant::now();
    client.write_all(b"\x89\x80\0\0\0\0").await.unwrap();
    let told = told(&mut client, Close::upstream_lost()).await - lost;
    assert_eq!(told.as_secs(), (Limits::default().frame_limit + LIMIT).as_secs());
    assert_eq!(report.await.unwrap().outcome, Outcome::UpstreamLost { clean: true });
}
