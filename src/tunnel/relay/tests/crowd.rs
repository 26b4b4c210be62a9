//! A whole site in one switch.

use std::sync::Arc;

use failover::Side;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::support::*;
use super::*;
use crate::tunnel::{Pacing, Sessions};

const CROWD: usize = 1000;
const PROMPT: Duration = Duration::from_millis(100);
const FRAGMENT: usize = 64 * 1024;
const FRAGMENTS: usize = 128;

/// What the upstream is doing when its side is demoted.
#[derive(Clone, Copy, PartialEq)]
enum Upstream {
    Idle,
    /// In the middle of a message of 8 MiB, in fragments.
    Speaking,
    /// In the middle of a frame, for ever.
    Stalled,
}

impl Upstream {
    async fn run(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        match self {
            Self::Idle => {}
            Self::Stalled => stream.write_all(&[head(1 << 20), vec![0; 1000]].concat()).await.unwrap(),
            Self::Speaking => {
                for number in 0..FRAGMENTS {
                    let mut fragment = head(FRAGMENT as u64);
                    fragment[0] = if number == 0 { 0x02 } else { 0x00 };
                    fragment.resize(fragment.len() + FRAGMENT, 0);
                    if stream.write_all(&fragment).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                panic!("the message ended before the side was demoted");
            }
        }
        rest(&mut stream).await;
    }
}

/// When the client was told with 1012, if it was.
async fn told(stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<Instant> {
    let mut client = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    match client.next().await {
        Some(Ok(Message::Close(Some(close)))) => {
            assert_eq!(u16::from(close.code), 1012);
            let told = Instant::now();
            assert!(client.next().await.is_none());
            Some(told)
        }
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn e6_a_thousand_sessions_are_told_at_once_or_cut_at_the_frame_limit() {
    let sessions = Arc::new(Sessions::default());
    let crowd: Vec<_> = (0..CROWD)
        .map(|number| {
            let upstream = [Upstream::Idle, Upstream::Idle, Upstream::Speaking, Upstream::Stalled][number % 4];
            let session = sessions.open(opening(Side::Main, (number / 4) as u8)).unwrap();
            let rig = rig_with(session, Early::default(), Limits::default());
            tokio::spawn(upstream.run(rig.upstream));
            (upstream, tokio::spawn(told(rig.client)), rig.report)
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (leaving, demoted) = (sessions.demote(Side::Main, 2, Pacing::OFF), Instant::now());
    leaving.finished().await;
    assert!(demoted.elapsed() <= Limits::default().frame_limit + Duration::from_millis(1), "{:?}", demoted.elapsed());
    assert!(sessions.is_empty());
    assert_eq!((leaving.sessions(), leaving.truncated()), (CROWD, CROWD / 4));
    for (upstream, told, report) in crowd {
        let clean = upstream != Upstream::Stalled;
        assert_eq!(report.await.unwrap().outcome, Outcome::Demoted { clean });
        let told = told.await.unwrap();
        assert_eq!(told.is_some(), clean);
        assert!(told.is_none_or(|told| told - demoted <= PROMPT), "{told:?}");
    }
}

/// The machine may be busy: one prompt switch in three is proof that nothing in the way takes longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e6_a_thousand_idle_clients_on_real_sockets_are_told_within_100_ms() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sessions = Arc::new(Sessions::default());
    let mut slowest = Vec::new();
    for epoch in 2..5 {
        let mut crowd = Vec::new();
        for number in 0..CROWD {
            let (client, client_end) = sockets(&listener).await;
            let (upstream, upstream_end) = sockets(&listener).await;
            let opening = crate::tunnel::Opening { epoch: epoch - 1, ..opening(Side::Main, (number / 4) as u8) };
            let session = sessions.open(opening).unwrap();
            let relay = Relay::new(session, client_end, upstream_end, Early::default(), Limits::default());
            tokio::spawn(Upstream::Idle.run(upstream));
            crowd.push((tokio::spawn(told(client)), tokio::spawn(relay)));
        }
        let demoted = Instant::now();
        let leaving = sessions.demote(Side::Main, epoch, Pacing::OFF);
        leaving.finished().await;
        let mut latest = Duration::ZERO;
        for (told, report) in crowd {
            latest = latest.max(told.await.unwrap().expect("told") - demoted);
            assert_eq!(report.await.unwrap().outcome, Outcome::Demoted { clean: true });
        }
        slowest.push(latest);
        if latest <= PROMPT {
            return;
        }
    }
    panic!("the last client was told after {slowest:?}");
}

async fn sockets(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}
