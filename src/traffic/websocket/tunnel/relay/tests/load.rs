//! Full load in both directions through small buffers: nothing stalls, nothing is lost, nothing changes.

use std::net::SocketAddr;
use std::sync::Arc;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::net::{TcpSocket, TcpStream};

use super::support::*;
use super::*;
use crate::traffic::websocket::tunnel::Sessions;

const TOO_LONG: Duration = Duration::from_secs(60);

/// The same frames for whoever knows the seed: many small ones, some larger than any buffer on the way.
struct Script {
    rng: Rng,
    left: usize,
}

impl Script {
    fn new(seed: u64, bytes: usize) -> Self {
        Self { rng: Rng::with_seed(seed), left: bytes }
    }
}

impl Iterator for Script {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.left == 0 {
            return None;
        }
        let most = if self.rng.u8(..) < 16 { 1 << 20 } else { 2000 };
        let length = self.rng.usize(..most);
        self.left = self.left.saturating_sub(length + 1);
        let mut frame = head(length as u64);
        let start = frame.len();
        frame.resize(start + length, 0);
        self.rng.fill(&mut frame[start..]);
        Some(frame)
    }
}

/// Sends one script and a Close while it receives another and a Close.
async fn converse<S>(stream: S, says: Script, hears: Script)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut reader, mut writer) = split(stream);
    let speaks = tokio::spawn(async move {
        for frame in says {
            writer.write_all(&frame).await.unwrap();
        }
        writer.write_all(b"\x88\x00").await.unwrap();
        writer.flush().await.unwrap();
        writer
    });
    let mut seen = Vec::new();
    for (number, frame) in hears.enumerate() {
        seen.resize(frame.len(), 0);
        reader.read_exact(&mut seen).await.unwrap();
        assert!(seen == frame, "frame {number} has changed on its way");
    }
    seen.resize(2, 0);
    reader.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, b"\x88\x00");
    speaks.await.unwrap();
}

/// One direction may say goodbye long before the other.
fn patient() -> Limits {
    Limits { answer_limit: TOO_LONG, ..Limits::default() }
}

async fn converse_through<C, U>(client: C, upstream: U, relay: impl Future<Output = Report>, seed: u64, bytes: usize)
where
    C: AsyncRead + AsyncWrite + Send + 'static,
    U: AsyncRead + AsyncWrite + Send + 'static,
{
    let script = |direction| Script::new(seed * 2 + direction, bytes);
    let all =
        async { tokio::join!(converse(client, script(0), script(1)), converse(upstream, script(1), script(0)), relay) };
    let ((), (), report) = tokio::time::timeout(TOO_LONG, all).await.expect("a direction stalled");
    assert!(matches!(report.outcome, Outcome::ClientClosed | Outcome::UpstreamClosed), "{report:?}");
    let sent = |direction| script(direction).map(|frame| frame.len() as u64).sum::<u64>() + 2;
    assert_eq!((report.to_upstream.bytes, report.to_client.bytes), (sent(0), sent(1)));
}

#[tokio::test]
async fn both_directions_at_full_load_neither_stall_nor_corrupt() {
    let sessions = Arc::new(Sessions::default());
    let Rig { client, upstream, report } = rig_with(session(&sessions), Early::default(), patient());
    converse_through(client, upstream, async { report.await.unwrap() }, 1, 24 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sessions_at_full_load_on_two_threads_neither_stall_nor_corrupt() {
    let sessions = Arc::new(Sessions::default());
    let all: Vec<_> = (0..8)
        .map(|seed| {
            let Rig { client, upstream, report } = rig_with(session(&sessions), Early::default(), patient());
            tokio::spawn(converse_through(client, upstream, async { report.await.unwrap() }, seed, 4 << 20))
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
    assert!(sessions.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_sockets_with_small_buffers_under_tls_neither_stall_nor_corrupt() {
    let sessions = Arc::new(Sessions::default());
    let tls = Tls::new();
    let all: Vec<_> = (20..24)
        .map(|seed| {
            let (sessions, tls) = (Arc::clone(&sessions), tls.clone());
            tokio::spawn(async move {
                let (client, client_end) = sockets().await;
                let (client, client_end) = tls.wrap(client, client_end).await;
                let (upstream, upstream_end) = sockets().await;
                let session = session(&sessions);
                let relay = Relay::new(session, client_end, upstream_end, Early::default(), patient());
                converse_through(client, upstream, relay, seed, 4 << 20).await;
            })
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
    assert!(sessions.is_empty());
}

/// The case that deadlocks a proxy which carries one direction at a time.
#[tokio::test]
async fn a_client_that_reads_only_when_all_is_written_stops_nobody() {
    let sessions = Arc::new(Sessions::default());
    let mut rig = rig(&sessions);
    let big = [head(2 << 20), vec![7; 2 << 20]].concat();
    let (mut upstream_reader, mut upstream_writer) = split(rig.upstream);
    let sent = big.clone();
    let speaks = tokio::spawn(async move { upstream_writer.write_all(&sent).await.map(|()| upstream_writer) });
    let expected = big.clone();
    let hears = tokio::spawn(async move {
        let mut seen = vec![0; expected.len()];
        upstream_reader.read_exact(&mut seen).await.unwrap();
        assert!(seen == expected);
    });
    let all = async {
        rig.client.write_all(&big).await.unwrap();
        hears.await.unwrap();
        let mut seen = vec![0; big.len()];
        rig.client.read_exact(&mut seen).await.unwrap();
        assert!(seen == big);
        drop(speaks.await.unwrap().unwrap());
    };
    tokio::time::timeout(TOO_LONG, all).await.expect("one direction stopped the other");
}

/// A connection over the loopback with buffers far smaller than a frame.
async fn sockets() -> (TcpStream, TcpStream) {
    let small = || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(8192).unwrap();
        socket.set_recv_buffer_size(8192).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    };
    let listener = small();
    listener.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = listener.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(small().connect(address), listener.accept());
    let (near, far) = (near.unwrap(), far.unwrap().0);
    far.set_nodelay(true).unwrap();
    (near, far)
}
