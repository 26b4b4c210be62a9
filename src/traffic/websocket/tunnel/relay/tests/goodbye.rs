//! How a tunnel ends when everybody behaves.

use std::sync::Arc;

use failover::Side;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::support::*;
use super::*;
use crate::traffic::websocket::tunnel::{Pacing, Sessions};

fn close_of(message: Option<Result<Message, Error>>) -> (u16, String) {
    match message {
        Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => (code.into(), reason.to_string()),
        other => panic!("not a Close: {other:?}"),
    }
}

#[tokio::test]
async fn e6_a_demotion_gives_the_client_1012_and_the_upstream_1001() {
    let sessions = Arc::new(Sessions::default());
    let (mut client, mut upstream, report) = rig(&sessions).peers().await;
    client.send(Message::text("hello")).await.unwrap();
    assert_eq!(upstream.next().await.unwrap().unwrap(), Message::text("hello"));
    upstream.send(Message::text("welcome")).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("welcome"));

    let leaving = sessions.demote(Side::Main, 2, Pacing::OFF);
    assert_eq!(close_of(client.next().await), (1012, "service restart".into()));
    assert!(client.next().await.is_none(), "tungstenite has answered and seen the end of the connection");
    assert_eq!(close_of(upstream.next().await), (1001, "going away".into()));
    let report = report.await.unwrap();
    assert_eq!(report.outcome, Outcome::Demoted { clean: true });
    assert_eq!((report.to_client.frames, report.to_upstream.frames), (1, 2));
    leaving.finished().await;
    assert_eq!((leaving.sessions(), leaving.told(), leaving.left(), leaving.truncated()), (1, 1, 1, 0));
    assert!(sessions.is_empty());
}

#[tokio::test]
async fn a_drain_gives_the_client_1001() {
    let sessions = Arc::new(Sessions::default());
    let (mut client, _upstream, report) = rig(&sessions).peers().await;
    sessions.close_all();
    assert_eq!(close_of(client.next().await).0, 1001);
    assert!(client.next().await.is_none());
    assert_eq!(report.await.unwrap().outcome, Outcome::Drained { clean: true });
    sessions.emptied().await;
}

#[tokio::test]
async fn a_close_of_the_client_passes_and_is_answered_by_the_upstream() {
    let sessions = Arc::new(Sessions::default());
    let (mut client, mut upstream, report) = rig(&sessions).peers().await;
    client.close(Some(CloseFrame { code: CloseCode::Library(4001), reason: "logout".into() })).await.unwrap();
    assert_eq!(close_of(upstream.next().await), (4001, "logout".into()));
    assert!(upstream.next().await.is_none());
    assert_eq!(close_of(client.next().await), (4001, "logout".into()));
    assert!(client.next().await.is_none());
    assert_eq!(report.await.unwrap().outcome, Outcome::ClientClosed);
}

#[tokio::test]
async fn a_close_of_the_upstream_passes_and_is_answered_by_the_client() {
    let sessions = Arc::new(Sessions::default());
    let (mut client, mut upstream, report) = rig(&sessions).peers().await;
    upstream.close(Some(CloseFrame { code: CloseCode::Policy, reason: "token expired".into() })).await.unwrap();
    assert_eq!(close_of(client.next().await), (1008, "token expired".into()));
    assert!(client.next().await.is_none());
    assert!(matches!(upstream.next().await, Some(Ok(Message::Close(_)))));
    assert_eq!(report.await.unwrap().outcome, Outcome::UpstreamClosed);
}

#[tokio::test]
async fn an_upstream_that_ends_without_a_close_is_told_to_the_client() {
    let sessions = Arc::new(Sessions::default());
    let limits = Limits { orphan_limit: Duration::ZERO, ..Limits::default() };
    let (mut client, upstream, report) = rig_with(session(&sessions), Early::default(), limits).peers().await;
    drop(upstream);
    assert_eq!(close_of(client.next().await), (1012, "upstream lost".into()));
    assert!(client.next().await.is_none());
    assert_eq!(report.await.unwrap().outcome, Outcome::UpstreamLost { clean: true });
}

#[tokio::test]
async fn a_client_that_goes_without_a_close_is_told_to_the_upstream() {
    let sessions = Arc::new(Sessions::default());
    let (client, mut upstream, report) = rig(&sessions).peers().await;
    drop(client);
    assert_eq!(close_of(upstream.next().await), (1001, "going away".into()));
    assert_eq!(report.await.unwrap().outcome, Outcome::ClientLost);
    assert!(sessions.is_empty());
}

#[tokio::test]
async fn bytes_behind_the_heads_are_carried_first() {
    let sessions = Arc::new(Sessions::default());
    let early = Early { from_client: b"\x81\x81\0\0\0\0a".to_vec(), from_upstream: b"\x81\x01b".to_vec() };
    let (mut client, mut upstream, _report) = rig_with(session(&sessions), early, Limits::default()).peers().await;
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("b"));
    assert_eq!(upstream.next().await.unwrap().unwrap(), Message::text("a"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_answers_a_close_is_let_go_after_the_limit() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    sessions.demote(Side::Main, 2, Pacing::OFF);
    rig.client.write_all(b"\x82\x84\0\0\0\0").await.unwrap();
    let mut seen = Vec::new();
    rig.client.read_to_end(&mut seen).await.unwrap();
    assert_eq!(seen, Close::service_restart().to_client());
    let report = rig.report.await.unwrap();
    assert_eq!(report.outcome, Outcome::Demoted { clean: true });
    assert_eq!(report.lasted.as_secs(), Limits::default().goodbye_limit.as_secs());
}

#[tokio::test]
async fn e6_a_client_under_tls_gets_its_close_and_the_end_of_tls() {
    let sessions = Arc::new(Sessions::default());
    let tls = Tls::new();
    let (client, client_end) = tokio::io::duplex(BUFFER);
    let (mut client, client_end) = tls.wrap(client, client_end).await;
    let (upstream, upstream_end) = tokio::io::duplex(BUFFER);
    let (upstream_end, mut upstream) = tls.wrap(upstream_end, upstream).await;
    let limits = Limits::default();
    let report = tokio::spawn(Relay::new(session(&sessions), client_end, upstream_end, Early::default(), limits));
    sessions.demote(Side::Main, 2, Pacing::OFF);
    client.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    assert_eq!(rest(&mut client).await, Close::service_restart().to_client(), "a missing end of TLS is an error");
    assert!(rest(&mut upstream).await.starts_with(b"\x88"), "here too");
    assert_eq!(report.await.unwrap().outcome, Outcome::Demoted { clean: true });
}
