//! How a tunnel ends when somebody does not behave, and what it costs while nobody does anything. Time is virtual.

use std::sync::Arc;

use failover::Side;
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};

use super::support::*;
use super::*;
use crate::traffic::scratch::CHUNK;
use crate::traffic::websocket::tunnel::{Pacing, Sessions};

const HOUR: Duration = Duration::from_secs(3600);

fn restart() -> Vec<u8> {
    Close::service_restart().to_client()
}

#[tokio::test(start_paused = true)]
async fn e6_the_frame_on_its_way_is_completed_and_nothing_behind_it_passes() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    rig.upstream.write_all(b"\x82\x06abc").await.unwrap();
    settle().await;
    sessions.demote(Side::Main, 2, Pacing::OFF);
    settle().await;
    rig.upstream.write_all(b"def\x82\x01gone").await.unwrap();
    rig.client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    assert_eq!(rest(&mut rig.client).await, [b"\x82\x06abcdef".as_slice(), &restart()].concat());
    assert_eq!(rig.outcome().await, Outcome::Demoted { clean: true });
}

#[tokio::test(start_paused = true)]
async fn e6_a_close_goes_between_the_fragments_of_a_message() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    rig.upstream.write_all(b"\x02\x01a\x00\x01b").await.unwrap();
    settle().await;
    sessions.demote(Side::Main, 2, Pacing::OFF);
    rig.client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    assert_eq!(rest(&mut rig.client).await, [b"\x02\x01a\x00\x01b".as_slice(), &restart()].concat());
    let report = rig.report.await.unwrap();
    assert_eq!(report.outcome, Outcome::Demoted { clean: true });
    assert!(report.to_client.inside_message && !report.to_upstream.inside_message);
}

#[tokio::test(start_paused = true)]
async fn e6_an_upstream_that_stalls_inside_a_frame_is_cut_at_the_frame_limit() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    rig.upstream.write_all(b"\x82\x06abc").await.unwrap();
    settle().await;
    let (leaving, demoted) = (sessions.demote(Side::Main, 2, Pacing::OFF), Instant::now());
    assert_eq!(rest(&mut rig.client).await, b"\x82\x06abc", "no Close is possible inside a frame");
    assert_eq!(demoted.elapsed().as_millis(), Limits::default().frame_limit.as_millis());
    rest(&mut rig.upstream).await;
    assert_eq!(rig.outcome().await, Outcome::Demoted { clean: false });
    assert_eq!(leaving.truncated(), 1);
    assert!(sessions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn e6_a_client_that_does_not_read_is_cut_at_the_frame_limit() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    rig.upstream.write_all(&[head(8000), vec![0; 8000]].concat()).await.unwrap();
    settle().await;
    let (leaving, demoted) = (sessions.demote(Side::Main, 2, Pacing::OFF), Instant::now());
    assert_eq!(rig.report.await.unwrap().outcome, Outcome::Demoted { clean: false });
    assert_eq!(demoted.elapsed().as_millis(), Limits::default().frame_limit.as_millis());
    assert_eq!(leaving.truncated(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_close_is_never_put_into_a_frame_of_the_client() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    rig.client.write_all(b"\x82\x86\0\0\0\0abc").await.unwrap();
    settle().await;
    sessions.demote(Side::Main, 2, Pacing::OFF);
    settle().await;
    rig.client.write_all(b"def\x88\x80\0\0\0\0").await.unwrap();
    assert_eq!(rest(&mut rig.upstream).await, b"\x82\x86\0\0\0\0abc");
    assert_eq!(rest(&mut rig.client).await, restart());
    let report = rig.report.await.unwrap();
    assert_eq!(report.outcome, Outcome::Demoted { clean: true });
    assert_eq!((report.to_upstream.bytes, report.to_upstream.frames), (9, 2), "what was swallowed was followed");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_while_its_last_frame_is_completed_is_not_waited_for() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    rig.upstream.write_all(b"\x82\x06abc").await.unwrap();
    rig.client.write_all(b"\x82\x86\0\0\0\0abc").await.unwrap();
    settle().await;
    let leaving = sessions.demote(Side::Main, 2, Pacing::OFF);
    settle().await;
    drop(rig.client);
    let report = rig.report.await.unwrap();
    assert_eq!((report.outcome, report.lasted), (Outcome::ClientLost, Duration::ZERO));
    assert_eq!(leaving.truncated(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_close_of_the_upstream_is_not_followed_by_a_second_one() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    rig.upstream.write_all(b"\x88\x00").await.unwrap();
    settle().await;
    sessions.demote(Side::Main, 2, Pacing::OFF);
    assert_eq!(rest(&mut rig.client).await, b"\x88\x00");
    assert_eq!(rig.outcome().await, Outcome::Demoted { clean: true });
}

#[tokio::test(start_paused = true)]
async fn a_close_of_the_client_is_not_followed_by_a_second_one() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    rig.client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    settle().await;
    sessions.demote(Side::Main, 2, Pacing::OFF);
    assert_eq!(rest(&mut rig.upstream).await, b"\x88\x80\0\0\0\0");
    assert_eq!(rest(&mut rig.client).await, restart());
    let report = rig.report.await.unwrap();
    assert_eq!((report.outcome, report.lasted), (Outcome::Demoted { clean: true }, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_is_over_when_both_closes_have_passed_though_nobody_hangs_up() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    rig.client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    settle().await;
    rig.upstream.write_all(b"\x88\x00").await.unwrap();
    let report = rig.report.await.unwrap();
    assert_eq!((report.outcome, report.lasted), (Outcome::ClientClosed, Duration::ZERO));
    assert_eq!(rest(&mut rig.upstream).await, b"\x88\x80\0\0\0\0");
    assert_eq!(rest(&mut rig.client).await, b"\x88\x00");
}

#[tokio::test(start_paused = true)]
async fn the_last_words_of_an_upstream_that_takes_no_more_are_delivered() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    let last_words = [b"\x82\x7e\x2a\xf8".as_slice(), &[0; 11_000], b"\x88\x02\x03\xf3"].concat();
    rig.upstream.write_all(&last_words).await.unwrap();
    settle().await;
    drop(rig.upstream);
    rig.client.write_all(b"\x89\x80\0\0\0\0").await.unwrap();
    settle().await;
    rig.client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    assert_eq!(rest(&mut rig.client).await, last_words);
    assert_eq!(rig.report.await.unwrap().outcome, Outcome::UpstreamClosed);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_dies_inside_a_frame_ends_the_connection_without_a_close() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    rig.upstream.write_all(b"\x82\x06abc").await.unwrap();
    drop(rig.upstream);
    assert_eq!(rest(&mut rig.client).await, b"\x82\x06abc");
    assert_eq!(rig.report.await.unwrap().outcome, Outcome::UpstreamLost { clean: false });
}

#[tokio::test(start_paused = true)]
async fn no_answer_to_a_close_is_put_into_a_frame() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    rig.client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    rig.upstream.write_all(b"\x82\x06abc").await.unwrap();
    settle().await;
    drop(rig.upstream);
    assert_eq!(rest(&mut rig.client).await, b"\x82\x06abc");
    assert_eq!(rig.report.await.unwrap().outcome, Outcome::ClientClosed);
}

#[tokio::test(start_paused = true)]
async fn what_the_upstream_sent_before_it_died_is_delivered() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    let message = [head(60_000), vec![7; 60_000]].concat();
    let sent = message.clone();
    tokio::spawn(async move {
        rig.upstream.write_all(&sent).await.unwrap();
    });
    settle().await;
    rig.client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    assert_eq!(rest(&mut rig.client).await[..message.len()], message);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_for_the_stall_limit_is_given_up() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    let began = Instant::now();
    rig.upstream.write_all(&[head(60_000), vec![0; 8000]].concat()).await.unwrap();
    tokio::time::sleep(Limits::default().write_stall - Duration::from_secs(1)).await;
    assert!(!rig.report.is_finished());
    rig.client.read_exact(&mut [0; 1]).await.unwrap();
    assert_eq!(rig.report.await.unwrap().outcome, Outcome::ClientStalled);
    assert_eq!(began.elapsed().as_secs(), 2 * Limits::default().write_stall.as_secs() - 1, "one byte was progress");
    assert!(rest(&mut rig.upstream).await.starts_with(b"\x88"), "the upstream is told that we go away");
}

#[tokio::test(start_paused = true)]
async fn a_trickle_into_an_ends_own_buffer_is_no_progress() {
    let sessions = Arc::new(Sessions::default());
    let (client, client_end) = tokio::io::duplex(64);
    let (mut upstream, upstream_end) = tokio::io::duplex(BUFFER);
    let (client_end, limits) = (BufStream::new(client_end), Limits::default());
    let report = tokio::spawn(Relay::new(session(&sessions), client_end, upstream_end, Early::default(), limits));
    while upstream.write_all(b"\x89\x00").await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let report = report.await.unwrap();
    assert_eq!(report.outcome, Outcome::ClientStalled);
    assert_eq!(report.lasted.as_secs(), 32 + limits.write_stall.as_secs(), "counted from the first byte that stuck");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_frame_of_the_client_is_completed_while_the_upstreams_stalls() {
    let sessions = Arc::new(Sessions::default());
    let session = session(&sessions);
    sessions.demote(Side::Main, 2, Pacing::OFF);
    let (mut client, client_end) = tokio::io::duplex(2 << 20);
    let (mut upstream, upstream_end) = tokio::io::duplex(2 << 20);
    let early = Early { from_client: b"\x82\xff\0\0\0\0\0\x10\0\0".to_vec(), from_upstream: b"\x82\x01".to_vec() };
    client.write_all(&vec![0; 4 + (1 << 20)]).await.unwrap();
    let began = Instant::now();
    let report = tokio::spawn(Relay::new(session, client_end, upstream_end, early, Limits::default()));
    upstream.read_exact(&mut vec![0; 14 + (1 << 20)]).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(rest(&mut upstream).await.starts_with(b"\x88"), "and then there is a boundary for a Close");
    assert_eq!(report.await.unwrap().outcome, Outcome::Demoted { clean: false });
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_takes_nothing_for_the_stall_limit_is_given_up_and_the_client_told() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    let began = Instant::now();
    rig.client.write_all(&[b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0".to_vec(), vec![0; 8000]].concat()).await.unwrap();
    assert_eq!(rest(&mut rig.client).await, Close::upstream_lost().to_client());
    assert_eq!(rig.report.await.unwrap().outcome, Outcome::UpstreamStalled { clean: true });
    let limits = Limits::default();
    assert_eq!(began.elapsed().as_secs(), (limits.write_stall + limits.goodbye_limit).as_secs());
}

#[tokio::test(start_paused = true)]
async fn an_impossible_frame_of_the_client_is_answered_with_1002() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    rig.client.write_all(b"\x82\xff\xff\0\0\0\0\0\0\0").await.unwrap();
    assert_eq!(rest(&mut rig.client).await, Close::protocol_error().to_client());
    assert_eq!(rest(&mut rig.upstream).await, b"", "no boundary is known where a Close could stand");
    assert_eq!(rig.outcome().await, Outcome::ProtocolError(Party::Client));
}

#[tokio::test(start_paused = true)]
async fn an_impossible_frame_of_the_upstream_cuts_the_connection() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    rig.upstream.write_all(b"\x82\x7f\xff\0\0\0\0\0\0\0").await.unwrap();
    assert_eq!(rest(&mut rig.client).await, b"");
    assert!(rest(&mut rig.upstream).await.starts_with(b"\x88"));
    assert_eq!(rig.outcome().await, Outcome::ProtocolError(Party::Upstream));
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_never_answered_ends_the_tunnel_at_the_limit() {
    let sessions = Arc::new(Sessions::default());
    let limit = Limits::default().answer_limit.as_secs();
    let mut from_client = rig(&sessions);
    from_client.client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    assert_eq!(
        rest(&mut from_client.client).await,
        Close::normal().to_client(),
        "the client is not left without an answer"
    );
    let report = from_client.report.await.unwrap();
    assert_eq!((report.outcome, report.lasted.as_secs()), (Outcome::ClientClosed, limit));

    let mut from_upstream = rig(&sessions);
    from_upstream.upstream.write_all(b"\x88\x00").await.unwrap();
    assert_eq!(rest(&mut from_upstream.client).await, b"\x88\x00");
    let report = from_upstream.report.await.unwrap();
    assert_eq!((report.outcome, report.lasted.as_secs()), (Outcome::UpstreamClosed, limit));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_closes_and_does_not_wait_leaves_the_client_time_to_answer() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    rig.upstream.write_all(b"\x88\x00").await.unwrap();
    drop(rig.upstream);
    settle().await;
    let mut close = [0; 2];
    rig.client.read_exact(&mut close).await.unwrap();
    assert!(!rig.report.is_finished());
    rig.client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    assert_eq!(rest(&mut rig.client).await, b"");
    let report = rig.report.await.unwrap();
    assert_eq!((report.outcome, report.lasted), (Outcome::UpstreamClosed, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_ends_after_the_clients_close_without_an_answer_has_ours_sent() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    rig.client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    settle().await;
    drop(rig.upstream);
    assert_eq!(rest(&mut rig.client).await, Close::normal().to_client());
    assert_eq!(rig.report.await.unwrap().outcome, Outcome::ClientClosed);
}

#[tokio::test(start_paused = true)]
async fn a_session_told_before_its_relay_runs_is_closed_after_what_was_read_early() {
    let sessions = Arc::new(Sessions::default());
    let session = session(&sessions);
    sessions.demote(Side::Main, 2, Pacing::OFF);
    let early = Early { from_client: Vec::new(), from_upstream: b"\x81\x02a".to_vec() };
    let mut rig = rig_with(session, early, Limits::default());
    rig.upstream.write_all(b"b").await.unwrap();
    rig.client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    assert_eq!(rest(&mut rig.client).await, [b"\x81\x02ab".as_slice(), &restart()].concat());
    assert_eq!(rig.outcome().await, Outcome::Demoted { clean: true });
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_outlives_every_limit() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    for _ in 0..24 {
        rig.client.write_all(b"\x89\x80\0\0\0\0").await.unwrap();
        rig.upstream.read_exact(&mut [0; 6]).await.unwrap();
        rig.upstream.write_all(b"\x8a\x00").await.unwrap();
        rig.client.read_exact(&mut [0; 2]).await.unwrap();
        tokio::time::sleep(HOUR).await;
    }
    assert!(!rig.report.is_finished());
    let listed = sessions.list(1).pop().unwrap();
    assert_eq!((listed.age, listed.to_client, listed.to_upstream), (24 * HOUR, 48, 144));
}

#[tokio::test(start_paused = true)]
async fn an_idle_tunnel_holds_no_buffer_and_a_slow_end_costs_one_chunk() {
    let sessions = Arc::new(Sessions::default());
    let (mut client, client_end) = tokio::io::duplex(BUFFER);
    let (mut upstream, upstream_end) = tokio::io::duplex(BUFFER);
    let mut relay = Relay::new(session(&sessions), client_end, upstream_end, Early::default(), Limits::default());
    let message = [head(100_000), vec![0; 100_000]].concat();
    tokio::select! {
        biased;
        _ = &mut relay => panic!("over too early"),
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
        result = upstream.write_all(&message) => panic!("nobody read it: {result:?}"),
    }
    assert!((1..=CHUNK).contains(&relay.to_client.backlog_capacity()));
    tokio::select! {
        biased;
        _ = &mut relay => panic!("over too early"),
        () = async {
            let mut seen = vec![0; 8192];
            client.read_exact(&mut seen).await.unwrap();
            tokio::time::sleep(HOUR).await;
        } => {}
    }
    assert_eq!((relay.to_client.backlog_capacity(), relay.to_upstream.backlog_capacity()), (0, 0));
    assert!(relay.timer.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_an_end_keeps_back_until_it_is_flushed_is_flushed() {
    let sessions = Arc::new(Sessions::default());
    let (mut client, client_end) = tokio::io::duplex(BUFFER);
    let (mut upstream, upstream_end) = tokio::io::duplex(BUFFER);
    let (client_end, upstream_end) = (BufStream::new(client_end), BufStream::new(upstream_end));
    let relay = Relay::new(session(&sessions), client_end, upstream_end, Early::default(), Limits::default());
    let report = tokio::spawn(relay);
    client.write_all(b"\x89\x80\0\0\0\0").await.unwrap();
    upstream.read_exact(&mut [0; 6]).await.unwrap();
    upstream.write_all(b"\x8a\x00").await.unwrap();
    client.read_exact(&mut [0; 2]).await.unwrap();
    sessions.demote(Side::Main, 2, Pacing::OFF);
    assert!(rest(&mut upstream).await.starts_with(b"\x88"));
    client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    assert_eq!(rest(&mut client).await, restart());
    assert_eq!(report.await.unwrap().outcome, Outcome::Demoted { clean: true });
}

#[tokio::test(start_paused = true)]
async fn a_long_turn_goes_on_without_being_woken() {
    let sessions = Arc::new(Sessions::default());
    let (client, client_end) = tokio::io::duplex(2 << 20);
    let (upstream, upstream_end) = tokio::io::duplex(2 << 20);
    let relay = Relay::new(session(&sessions), client_end, upstream_end, Early::default(), Limits::default());
    let (mut rig, length) = (Rig { client, upstream, report: tokio::spawn(relay) }, 1 << 20);
    rig.upstream.write_all(&[head(length), vec![0; length as usize]].concat()).await.unwrap();
    settle().await;
    assert_eq!(sessions.list(1).pop().unwrap().to_client, 10 + length);
    rig.client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
}

#[tokio::test]
async fn a_source_that_never_pauses_does_not_keep_the_thread() {
    let sessions = Arc::new(Sessions::default());
    let endless = || tokio::io::join(tokio::io::repeat(0), tokio::io::sink());
    let relay = Relay::new(session(&sessions), endless(), endless(), Early::default(), Limits::default());
    assert!(tokio::task::unconstrained(relay).now_or_never().is_none());
}

#[test]
fn an_idle_tunnel_is_small() {
    let size = std::mem::size_of::<Relay<(), ()>>();
    assert!(size <= 400, "{size} bytes beside the two streams");
}
