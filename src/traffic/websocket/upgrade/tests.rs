//! Upgrades against real sockets: what a switch does to those that are not, and to those that are a session.

use std::net::Ipv4Addr;
use std::time::Duration;

use failover::Side;
use pingora::protocols::l4::stream::Stream as L4Stream;
use prometheus::{IntCounter, Registry};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::Config;
use crate::live::{Live, Mode, View};
use crate::telemetry::logging::access::AccessLog;
use crate::telemetry::metrics::Metrics;
use crate::traffic::websocket::tunnel::Pacing;

const TOO_LONG: Duration = Duration::from_secs(30);
const REQUEST: &[u8] = b"GET /cti HTTP/1.1\r\nHost: edge.example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n";

/// An Edge that serves Main, and where its backends listen.
struct Site {
    edge: Arc<Edge>,
    main: TcpListener,
    standby: TcpListener,
    /// Its certificate, for a reload.
    _files: TempDir,
}

impl Site {
    async fn new() -> Self {
        let main = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let standby = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let files = tempfile::tempdir().unwrap();
        let (chain, key) = (files.path().join("chain.pem"), files.path().join("key.pem"));
        let made = rcgen::generate_simple_self_signed(["edge.example.org".to_owned()]).unwrap();
        std::fs::write(&chain, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let text = format!(
            "fqdn: edge.example.org\n\
            certificate: {{ chain: {}, key: {} }}\n\
            sides:\n  main: {{ cc: http://{} }}\n  standby: {{ cc: http://{} }}\n\
            routes:\n  - {{ path: /cti, service: cc, websocket: true, close: {{ code: 1012, reason: moved }} }}\n\
            log: {{ access: false }}\n",
            chain.display(),
            key.display(),
            main.local_addr().unwrap(),
            standby.local_addr().unwrap(),
        );
        let (config, _) = Config::parse(&text, "edge.yaml").unwrap_or_else(|errors| panic!("{errors}"));
        let live = Live::new(View { side: Side::Main, mode: Mode::Serving, epoch: 1 });
        let access = AccessLog::start(&config.log, IntCounter::new("dropped", "Lines.").unwrap()).unwrap();
        let metrics = Arc::new(Metrics::new(&Registry::new()).unwrap());
        let edge = Edge::new(Arc::new(config), Arc::new(live), metrics, access).unwrap();
        Self { edge: Arc::new(edge), main, standby, _files: files }
    }

    /// A client whose upgrade is served.
    async fn client(&self) -> TcpStream {
        let public = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let client = TcpStream::connect(public.local_addr().unwrap()).await.unwrap();
        let (accepted, peer) = public.accept().await.unwrap();
        let accepted: Stream = Box::new(L4Stream::from(accepted));
        tokio::spawn(serve(self.edge.clone(), accepted, BytesMut::from(REQUEST), REQUEST.len(), peer));
        client
    }

    fn switch(&self) {
        self.edge.live.publish(View { side: Side::Standby, mode: Mode::Serving, epoch: 2 });
        self.edge.sessions.demote(Side::Main, 2, Pacing::OFF);
    }
}

/// Takes one upgrade and reads its head.
async fn asked(backend: &TcpListener) -> TcpStream {
    let (mut stream, _) = backend.accept().await.unwrap();
    head(&mut stream).await;
    stream
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(TOO_LONG, what).await.expect("something never came")
}

#[tokio::test]
async fn e6_an_upgrade_under_way_is_sent_to_the_new_side() {
    let site = Site::new().await;
    let mut client = site.client().await;
    let _silent = in_time(asked(&site.main)).await;
    site.switch();
    let mut upstream = in_time(asked(&site.standby)).await;
    upstream.write_all(ACCEPTED).await.unwrap();
    assert!(in_time(head(&mut client)).await.starts_with("HTTP/1.1 101"));
    assert_eq!(site.edge.site().upstreams.signs.take(), [], "a switch is no bad sign");
}

#[tokio::test]
async fn e6_a_side_that_dies_is_a_sign_at_once_and_its_client_is_told_of_the_switch() {
    let site = Site::new().await;
    let mut client = site.client().await;
    let mut upstream = in_time(asked(&site.main)).await;
    upstream.write_all(ACCEPTED).await.unwrap();
    in_time(head(&mut client)).await;
    let listed = site.edge.sessions.list(1).pop().unwrap();
    assert_eq!(listed.client, client.local_addr().unwrap().ip());
    assert_eq!(*listed.backend, *site.main.local_addr().unwrap().to_string());

    drop(upstream);
    let now = site.edge.site();
    in_time(now.upstreams.signs.raised()).await;
    assert_eq!(now.upstreams.signs.take(), [(0, Sign::Reset)]);
    site.switch();
    let mut close = [0; 9];
    in_time(client.read_exact(&mut close)).await.unwrap();
    assert_eq!(&close, b"\x88\x07\x03\xf4moved");
}

#[tokio::test]
async fn a_loss_is_a_sign_for_the_configuration_that_is_watched_now() {
    let site = Site::new().await;
    let mut client = site.client().await;
    let mut upstream = in_time(asked(&site.main)).await;
    upstream.write_all(ACCEPTED).await.unwrap();
    in_time(head(&mut client)).await;
    let before = site.edge.site();
    site.edge.adopt(site.edge.prepare(before.config.clone()).unwrap());
    drop(upstream);
    in_time(site.edge.site().upstreams.signs.raised()).await;
    assert_eq!(before.upstreams.signs.take(), []);
}
