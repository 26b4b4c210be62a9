//! What stays open: sockets that are idle, busy, or no switch's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use failover::Side;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{site, switch};
use crate::client::{Client, Speaks};
use crate::shared::{Shared, blocking, memory, open_at, session_lines};
use crate::site::{FQDN, Site, wait_until};
use crate::socket::{BINARY, CLOSE, Reader, Socket, Writer, soon, token};
use crate::turns::alone;

/// Each time limit there is, short.
const ONE_SECOND: &str = "limits: { client_hello: 1s, handshake: 1s, request_head: 1s, keepalive: 1s, \
    request_body: 1s, write_stall: 1s, connect: 1s, drain: 1s }\n\
    switch: { park_limit: 3s, drain_limit: 1s }\n\
    routes: [ { path: /xuc/lab/ws, service: cc, websocket: true, response_limit: 1s }, \
    { path: /xuc/api/2.0/cti, response_limit: 1s }, { path: /wssip, response_limit: 1s } ]\n";
/// Longer than all of them together would need.
const IDLE: Duration = Duration::from_secs(4);

const BUSY: usize = 4;
const LARGEST: usize = 64 << 10;
/// Nothing for so long is a stall, hogs or not.
const STALL: Duration = Duration::from_secs(10);
/// What may be added under load, in MiB: buffers of so many sockets, not what passed through them.
const MEMORY_GROWTH: f64 = 16.0;

type Independent = WebSocketStream<TlsStream<TcpStream>>;

/// Somebody else's implementation.
async fn independent(client: &Client, target: &str) -> Independent {
    let stream = client.tls(Speaks::H1).await.unwrap();
    let (socket, _) = tokio_tungstenite::client_async(format!("wss://{FQDN}{target}"), stream).await.unwrap();
    socket
}

async fn comes_back(socket: &mut Independent, text: &str) -> bool {
    socket.send(Message::text(text)).await.unwrap();
    let answer = timeout(STALL, socket.next()).await;
    matches!(answer, Ok(Some(Ok(message))) if message == Message::text(text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_that_is_idle_for_longer_than_every_time_limit_stays_up() {
    let shared = Shared::start();
    let site = blocking(|| Site::start_with(&format!("{}{ONE_SECOND}", shared.config())));
    let (client, token) = (Client::of(&site), token("idle"));
    let mut sockets = Vec::new();
    for target in ["/xuc/lab/ws/echo?", "/xuc/api/2.0/cti?", "/wssip?", "/wssip-mds1?"] {
        sockets.push(Socket::open(&client, &format!("{target}token={token}")).await.unwrap());
    }
    let mut other = independent(&client, "/xuc/lab/ws/echo").await;
    // Time is what this is about.
    tokio::time::sleep(IDLE).await;
    for socket in &mut sockets {
        assert!(socket.echoes("still there?").await, "{socket:?}");
    }
    assert!(comes_back(&mut other, "still there?").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_of_a_media_server_stays_open_when_the_side_changes() {
    let shared = Shared::start();
    let mut site = site(&shared, "switch: { reconnect_rate: all }\n");
    let (client, token) = (Client::of(&site), token("agent"));
    let mut media = Socket::open(&client, &format!("/wssip-mds1?token={token}")).await.unwrap();
    let sip = Socket::open(&client, &format!("/wssip?token={token}")).await.unwrap();
    switch(&site, Side::Standby);
    assert!(soon("the end of the other socket", sip.ended()).await.close.is_some());
    assert!(media.echoes("after a planned switch").await);
    blocking(|| {
        site.wait_health(Side::Main, "working");
        site.standby.kill();
        site.wait_live(Side::Main);
    });
    assert!(media.echoes("after a failover").await);
    blocking(|| wait_until("it alone is open", || open_at(shared.address) == 1));
}

/// Message `number`: of any size, with a content that only it has.
fn message(number: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number);
    let mut bytes = vec![0; 8 + random.usize(..LARGEST)];
    random.fill(&mut bytes);
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Either implementation, in halves.
enum Sender {
    Ours(Writer),
    Theirs(SplitSink<Independent, Message>),
}

enum Receiver {
    Ours(Reader),
    Theirs(SplitStream<Independent>),
}

impl Sender {
    async fn send(&mut self, bytes: Vec<u8>) {
        match self {
            Self::Ours(writer) => writer.send(BINARY, &bytes).await.unwrap(),
            Self::Theirs(sink) => sink.send(Message::Binary(bytes.into())).await.unwrap(),
        }
    }

    async fn close(&mut self) {
        match self {
            Self::Ours(writer) => writer.send(CLOSE, &1000_u16.to_be_bytes()).await.unwrap(),
            Self::Theirs(sink) => sink.send(Message::Close(None)).await.unwrap(),
        }
    }
}

impl Receiver {
    /// The next message; none: the peer's Close.
    async fn next(&mut self) -> Option<bytes::Bytes> {
        match self {
            Self::Ours(reader) => {
                let frame = reader.frame().await.expect("a Close comes before the end");
                assert!(frame.last && [BINARY, CLOSE].contains(&frame.opcode), "{frame:?}");
                (frame.opcode == BINARY).then_some(frame.payload)
            }
            Self::Theirs(stream) => match stream.next().await.expect("a Close comes before the end").unwrap() {
                Message::Binary(bytes) => Some(bytes),
                Message::Close(_) => None,
                other => panic!("{other:?}"),
            },
        }
    }
}

/// Sends as fast as it is taken until told to stop; the number of messages.
async fn talk(mut sender: Sender, over: Arc<AtomicBool>) -> u64 {
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            sender.close().await;
            return number;
        }
        timeout(STALL, sender.send(message(number))).await.expect("what is sent is taken");
    }
    unreachable!()
}

/// Checks each message until the Close; their number, their bytes and the longest silence.
async fn listen(mut receiver: Receiver) -> (u64, usize, Duration) {
    let (mut bytes, mut longest) = (0, Duration::ZERO);
    for number in 0.. {
        let since = Instant::now();
        let message_came = timeout(STALL, receiver.next()).await.expect("what was sent comes back");
        longest = longest.max(since.elapsed());
        let Some(came) = message_came else { return (number, bytes, longest) };
        assert!(came == message(number), "message {number} is not what was sent");
        bytes += came.len();
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_directions_at_full_load_neither_stall_nor_corrupt_nor_leak() {
    let _alone = alone();
    let seconds = std::env::var("BASCULE_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let shared = Shared::start();
    let site = site(&shared, "");
    let client = Client::of(&site);
    let over = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..2)
        .map(|_| {
            let over = over.clone();
            std::thread::spawn(move || while !over.load(Ordering::Relaxed) {})
        })
        .collect();
    let (mut talking, mut listening) = (JoinSet::new(), JoinSet::new());
    for number in 0..BUSY {
        let (sender, receiver) = if number % 2 == 0 {
            let (reader, writer) = Socket::open(&client, "/xuc/lab/ws/echo").await.unwrap().split();
            (Sender::Ours(writer), Receiver::Ours(reader))
        } else {
            let (sink, stream) = independent(&client, "/xuc/lab/ws/echo").await.split();
            (Sender::Theirs(sink), Receiver::Theirs(stream))
        };
        talking.spawn(talk(sender, over.clone()));
        listening.spawn(listen(receiver));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = memory(&site);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let loaded = memory(&site);
    over.store(true, Ordering::Relaxed);
    let sent: u64 = talking.join_all().await.into_iter().sum();
    let heard = listening.join_all().await;
    hogs.into_iter().for_each(|hog| hog.join().unwrap());
    blocking(|| wait_until("nothing is left", || site.status()["sessions"]["main"] == 0));
    let (came, bytes) = heard.iter().fold((0, 0), |(n, b), (number, bytes, _)| (n + number, b + bytes));
    let longest = heard.iter().map(|(.., silence)| *silence).max().unwrap();
    let (rate, after) = (bytes as f64 / (1 << 20) as f64 / (seconds + 1) as f64, memory(&site));
    println!("load: {came} messages, {rate:.1} MiB/s each way, longest silence {longest:?}");
    println!("load: {begun:.1} MiB at first, {loaded:.1} MiB at last, {after:.1} MiB after");
    assert_eq!(came, sent);
    assert!(loaded.max(after) < begun + MEMORY_GROWTH);
    blocking(|| {
        wait_until("each session has its line", || session_lines(&site).len() == BUSY);
        assert_eq!(site.metric("bascule_parked"), 0.0);
        wait_until("nothing is left on Main", || open_at(site.main.address) == 0);
    });
    for line in session_lines(&site) {
        assert_eq!(line["ended"], "complete", "{line}");
        assert_eq!(line["session"]["frames_in"], line["session"]["frames_out"], "{line}");
    }
}
