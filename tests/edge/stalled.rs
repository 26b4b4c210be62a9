//! Memory held by clients who ask and do not read, or begin to send and stop (A6): it is bounded, and others are served.

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client::{Client, Speaks};
use crate::h2_limits::{DATA, END_HEADERS, END_STREAM, GET, HEADERS, POST, PREFACE, SETTINGS, pseudo};
use crate::site::{FQDN, PATIENCE, Site, wait_until};
use crate::slow_clients::frame;
use crate::socket::Socket;

const WINDOW_UPDATE: u8 = 8;
const BIG: usize = 20 << 20;
/// What a client is read at most until it stalls: the kernel's buffers take less.
const TARGET: &str = "/xuc/lab/big?bytes=20971520";
/// A side as busy as this machine is no dead one, and its answers are not cut.
const PATIENT: &str = "limits: { write_stall: 60s, request_body: 60s }\nprobe: { fall: 200 }\n\
                       routes: [ { path: /xuc/lab/ws, service: cc, websocket: true } ]";

/// Resident KiB of the Edge.
fn resident(site: &mut Site) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", site.edge().pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// The most that is resident until it has not grown for a second.
async fn settled(site: &mut Site) -> usize {
    let (mut most, mut since) = (resident(site), Instant::now());
    let limit = Instant::now() + PATIENCE;
    while since.elapsed() < Duration::from_secs(1) {
        assert!(Instant::now() < limit, "still growing at {most} KiB");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = resident(site);
        if now > most + 256 {
            since = Instant::now();
        }
        most = most.max(now);
    }
    most
}

/// The Edge has carried something of each kind, so that what it needs once is there.
async fn warmed(extra: &str) -> (Site, Client) {
    let site = Site::start_with(extra);
    let client = Client::of(&site);
    for _ in 0..2 {
        good_users_are_served(&client).await;
    }
    (site, client)
}

async fn good_users_are_served(client: &Client) {
    for speaks in [Speaks::H1, Speaks::H2] {
        let mut connection = client.connect(speaks).await.unwrap();
        assert_eq!(connection.get("/version").await.unwrap().status, 200);
        assert_eq!(connection.get(TARGET).await.unwrap().body.len(), BIG);
    }
}

/// What each of `many` may hold, in KiB; the rest of the growth is nobody's.
async fn assert_held(site: &mut Site, client: &Client, before: usize, many: usize, each: usize) {
    let held = settled(site).await.saturating_sub(before);
    assert!(held <= many * each, "{} KiB each", held / many);
    good_users_are_served(client).await;
}

/// An h2 connection of a client that lets everything be sent to it.
async fn open(client: &Client) -> TlsStream<TcpStream> {
    let mut stream = client.tls(Speaks::H2).await.unwrap();
    let window = [&[0, 4][..], &0x7fff_ffff_u32.to_be_bytes()].concat();
    let all = frame(WINDOW_UPDATE, 0, 0, &(0x7fff_ffff_u32 - 65_535).to_be_bytes());
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &window), &all].concat()).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

fn ids(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|at| 2 * at + 1)
}

async fn ask_and_do_not_read(client: &Client, requests: u32) -> TlsStream<TcpStream> {
    let mut stream = open(client).await;
    let head = pseudo(GET, TARGET);
    let asked: Vec<u8> = ids(requests).flat_map(|id| frame(HEADERS, END_HEADERS | END_STREAM, id, &head)).collect();
    stream.write_all(&asked).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_clients_that_ask_over_h2_and_do_not_read_hold_little() {
    let (mut site, client) = warmed(PATIENT).await;
    let before = resident(&mut site);
    let mut stalled = Vec::new();
    for _ in 0..4 {
        stalled.push(ask_and_do_not_read(&client, 120).await);
    }
    assert_held(&mut site, &client, before, 480, 80).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_clients_that_ask_over_http1_and_do_not_read_hold_little() {
    let (mut site, client) = warmed(PATIENT).await;
    let before = resident(&mut site);
    let mut stalled = Vec::new();
    for _ in 0..100 {
        let mut stream = client.tls(Speaks::H1).await.unwrap();
        stream.write_all(format!("GET {TARGET} HTTP/1.1\r\nHost: {FQDN}\r\n\r\n").as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        stalled.push(stream);
    }
    assert_held(&mut site, &client, before, 100, 140).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_uploads_that_stop_hold_little() {
    let (mut site, client) = warmed(PATIENT).await;
    let before = resident(&mut site);
    let (mut stalled, mut over_h2) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let mut stream = client.tls(Speaks::H1).await.unwrap();
        let head = format!("POST /xuc/lab/headers HTTP/1.1\r\nHost: {FQDN}\r\nContent-Length: 9000000\r\n\r\n");
        stream.write_all(&[head.as_bytes(), &[b'y'; 20_000]].concat()).await.unwrap();
        stream.flush().await.unwrap();
        stalled.push(stream);
    }
    assert_held(&mut site, &client, before, 100, 110).await;
    let before = resident(&mut site);
    for _ in 0..4 {
        let mut stream = open(&client).await;
        let head = pseudo(POST, "/xuc/lab/headers");
        let sent = ids(120).flat_map(|id| [frame(HEADERS, END_HEADERS, id, &head), frame(DATA, 0, id, &[b'y'; 540])]);
        stream.write_all(&sent.flatten().collect::<Vec<u8>>()).await.unwrap();
        stream.flush().await.unwrap();
        over_h2.push(stream);
    }
    assert_held(&mut site, &client, before, 480, 80).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_websockets_whose_clients_do_not_read_hold_little() {
    let (mut site, client) = warmed(PATIENT).await;
    let before = resident(&mut site);
    let mut stalled = Vec::new();
    for _ in 0..100 {
        stalled.push(Socket::open(&client, "/xuc/lab/ws/flood?frame=65536&count=1000").await.unwrap());
    }
    assert_held(&mut site, &client, before, 100, 120).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_requests_beyond_their_memory_are_refused_and_other_addresses_are_served() {
    let (mut site, client) = warmed("limits: { memory: 64MiB, write_stall: 60s }\nprobe: { fall: 200 }").await;
    let before = resident(&mut site);
    let mut stalled = Vec::new();
    for _ in 0..30 {
        stalled.push(ask_and_do_not_read(&client, 120).await);
    }
    let refused = || site.metric("bascule_refused_requests_total{reason=\"memory\"}");
    wait_until("most are refused", || refused() >= 2000.0);
    wait_until("it has a line", || site.access_log().contains("\"status\":503"));
    // What requests hold, and 30 connections.
    let held = settled(&mut site).await.saturating_sub(before);
    assert!(held <= 64 * 1024, "{held} KiB");
    let other = client.clone().from(Ipv4Addr::new(127, 0, 0, 2).into());
    good_users_are_served(&other).await;
    drop(stalled);
    wait_until("what they held is free", || {
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async { client.get("/version").await.is_ok_and(|answer| answer.status == 200) })
            });
            asking.join().unwrap()
        })
    });
}

#[tokio::test]
async fn an_upload_over_h2_that_goes_on_may_send_more_ahead() {
    const UPLOAD: usize = 8 << 20;
    let site = Site::start();
    let client = Client::of(&site);
    let mut stream = client.tls(Speaks::H2).await.unwrap();
    let begin =
        [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, END_HEADERS, 1, &pseudo(POST, "/xuc/lab/headers"))];
    stream.write_all(&begin.concat()).await.unwrap();
    let (mut connection, mut own, mut initial, mut sent) = (65_535_i64, 65_535_i64, 65_535_i64, 0);
    let (mut widest, mut status) = (0, false);
    while !status {
        while sent < UPLOAD && connection.min(own) > 0 {
            let size = usize::try_from(connection.min(own)).unwrap().min(16_384).min(UPLOAD - sent);
            sent += size;
            (connection, own) = (connection - size as i64, own - size as i64);
            let end = if sent == UPLOAD { END_STREAM } else { 0 };
            stream.write_all(&frame(DATA, end, 1, &vec![b'y'; size])).await.unwrap();
        }
        stream.flush().await.unwrap();
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        let number = |at: usize| i64::from(u32::from_be_bytes(payload[at..at + 4].try_into().unwrap()));
        match (head[3], head[8]) {
            (WINDOW_UPDATE, 0) => connection += number(0),
            (WINDOW_UPDATE, _) => own += number(0),
            (SETTINGS, _) if head[4] == 0 => {
                for at in (0..payload.len()).step_by(6).filter(|&at| payload[at..at + 2] == [0, 4]) {
                    own += number(at + 2) - initial;
                    initial = number(at + 2);
                }
                stream.write_all(&frame(SETTINGS, 1, 0, &[])).await.unwrap();
            }
            (HEADERS, 1) => status = true,
            _ => {}
        }
        widest = widest.max(connection.min(own));
    }
    assert!(sent == UPLOAD && widest > 1 << 20, "{sent} bytes sent, {widest} ahead at most");
    // A client whose uploads go nowhere is not trusted so.
    assert_eq!(initial, 2 << 20);
}
