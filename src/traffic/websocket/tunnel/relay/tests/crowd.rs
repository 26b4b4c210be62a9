//! A whole site in one switch.

use std::sync::Arc;

use failover::Side;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::support::*;
use super::*;
use crate::traffic::websocket::tunnel::{Pacing, Sessions};

const CROWD: usize = 1000;
const PROMPT: Duration = Duration::from_millis(100);
const NEVER: Duration = Duration::from_secs(86_400);
const TOO_LONG: Duration = Duration::from_secs(60);
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

/// The same without tungstenite, whose buffers would cost more than what is measured.
async fn told_early(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Instant {
    let mut close = Close::service_restart().to_client();
    stream.read_exact(&mut close).await.unwrap();
    let told = Instant::now();
    assert_eq!(close, Close::service_restart().to_client());
    stream.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    assert_eq!(rest(&mut stream).await, b"");
    told
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

/// Virtual time proves that nobody waits for a timer; real sockets, that the kernel and many threads change nothing.
/// How many milliseconds it takes depends on the machine: see the line this prints.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e6_a_thousand_idle_clients_on_real_sockets_are_told_long_before_any_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sessions = Arc::new(Sessions::default());
    let limits = Limits { frame_limit: NEVER, goodbye_limit: NEVER, shutdown_limit: NEVER, ..Limits::default() };
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        let (client, client_end) = sockets(&listener).await;
        let (upstream, upstream_end) = sockets(&listener).await;
        let session = sessions.open(opening(Side::Main, (number / 4) as u8)).unwrap();
        let relay = Relay::new(session, client_end, upstream_end, Early::default(), limits);
        tokio::spawn(Upstream::Idle.run(upstream));
        crowd.push((tokio::spawn(told_early(client)), tokio::spawn(relay)));
    }
    let demoted = Instant::now();
    let leaving = sessions.demote(Side::Main, 2, Pacing::OFF);
    tokio::time::timeout(TOO_LONG, leaving.finished()).await.expect("somebody waits for a timer");
    let mut latest = Duration::ZERO;
    for (told, report) in crowd {
        latest = latest.max(told.await.unwrap() - demoted);
        assert_eq!(report.await.unwrap().outcome, Outcome::Demoted { clean: true });
    }
    assert!(sessions.is_empty());
    println!("the last of {CROWD} clients was told after {latest:?}");
}

async fn sockets(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}
