//! What one h2 connection may use up, and what it may do without being ended.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::bad_input::assert_alive;
use crate::client::{Client, Speaks};
use crate::raw::until_closed;
use crate::site::{FQDN, PATIENCE, Site, wait_until};
use crate::slow_clients::frame;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const CANCEL: &[u8] = &[0, 0, 0, 8];

/// A field that is in no table (RFC 7541 section 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).ok().filter(|&length| length < 127).unwrap();
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

/// A request's pseudo-header fields; `method` is of the static table.
pub fn pseudo(method: u8, path: &str) -> Vec<u8> {
    [&[method, 0x87][..], &field(":path", path), &field(":authority", FQDN)].concat()
}

pub const GET: u8 = 0x82;
pub const POST: u8 = 0x83;

async fn open(client: &Client) -> TlsStream<TcpStream> {
    let mut stream = client.tls(Speaks::H2).await.unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

/// Reads frames until `wanted` takes one.
async fn read_until(stream: &mut TlsStream<TcpStream>, mut wanted: impl FnMut(u8, u8, u32) -> bool) {
    let reading = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.expect("the connection goes on");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).await.unwrap();
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            if wanted(head[3], head[4], id) {
                return;
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("it comes");
}

#[tokio::test]
async fn pages_left_one_after_the_other_do_not_end_a_post_under_way() {
    let mut site = Site::start();
    let client = Client::of(&site);
    let mut stream = open(&client).await;
    let post = frame(HEADERS, END_HEADERS, 1, &pseudo(POST, "/xuc/lab/headers"));
    stream.write_all(&[post, frame(DATA, 0, 1, b"half ")].concat()).await.unwrap();
    let mut next = 3;
    for _ in 0..4 {
        let streams: Vec<u32> = (next..).step_by(2).take(127).collect();
        next = streams[126] + 2;
        let asked =
            streams.iter().flat_map(|&id| frame(HEADERS, END_HEADERS | END_STREAM, id, &pseudo(GET, "/version")));
        let left = streams.iter().flat_map(|&id| frame(RST_STREAM, 0, id, CANCEL));
        let bytes: Vec<u8> = asked.chain(left).chain(frame(PING, 0, 0, &[0; 8])).collect();
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        read_until(&mut stream, |kind, flags, _| kind == PING && flags == 1).await;
    }
    stream.write_all(&frame(DATA, END_STREAM, 1, b"done")).await.unwrap();
    stream.flush().await.unwrap();
    read_until(&mut stream, |kind, flags, id| kind == DATA && id == 1 && flags & END_STREAM != 0).await;
    assert_eq!(site.metric("bascule_refused_requests_total{reason=\"reset_flood\"}"), 0.0);
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn a_flood_of_given_up_streams_ends_however_it_is_cut() {
    let mut site = Site::start_with("limits: { h2_streams: 4 }");
    let client = Client::of(&site);
    let mut stream = open(&client).await;
    let (mut reading, mut writing) = tokio::io::split(&mut stream);
    let flood = async {
        for id in (1..200_000).step_by(2) {
            let pair = [
                frame(HEADERS, END_HEADERS | END_STREAM, id, &pseudo(GET, "/version")),
                frame(RST_STREAM, 0, id, CANCEL),
            ];
            if writing.write_all(&pair.concat()).await.is_err() || writing.flush().await.is_err() {
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    };
    let (ended, _) = tokio::join!(flood, until_closed(&mut reading));
    assert!(ended, "100,000 streams were given up");
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn a_head_over_h2_has_its_time_and_so_has_a_connection_that_never_asks() {
    let mut site = Site::start_with("limits: { request_head: 2s, keepalive: 2s }");
    let client = Client::of(&site);
    let open_head = frame(HEADERS, END_STREAM, 1, &pseudo(GET, "/version"));
    // Cut inside a frame header, inside a head's frame, and behind it; and one that only says that it is alive.
    for beginning in [open_head[..5].to_vec(), open_head[..20].to_vec(), open_head.clone(), frame(PING, 0, 0, &[0; 8])]
    {
        let mut stream = open(&client).await;
        stream.write_all(&beginning).await.unwrap();
        stream.flush().await.unwrap();
        until_closed(&mut stream).await;
    }
    // One that drips is not given more.
    let stream = open(&client).await;
    let (mut reading, mut writing) = tokio::io::split(stream);
    let dripping = tokio::spawn(async move {
        let more = frame(CONTINUATION, 0, 1, &field("x-drip", &"y".repeat(100)));
        let mut sent = 0;
        for bytes in std::iter::once(&open_head[..]).chain(more.chunks(1)) {
            if writing.write_all(bytes).await.is_err() || writing.flush().await.is_err() {
                break;
            }
            sent += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        sent
    });
    until_closed(&mut reading).await;
    assert!(dripping.await.unwrap() < 100);
    wait_until("each is counted", || site.metric("bascule_refused_requests_total{reason=\"head_timeout\"}") == 4.0);
    // A connection that has asked lives on between two requests.
    let mut stream = open(&client).await;
    for id in [1, 3] {
        stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, &pseudo(GET, "/version"))).await.unwrap();
        stream.flush().await.unwrap();
        read_until(&mut stream, |_, flags, got| got == id && flags & END_STREAM != 0).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
    }
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn a_head_over_h2_has_no_more_fields_than_it_may() {
    let mut site = Site::start_with("limits: { head_fields: 20 }");
    let client = Client::of(&site);
    let mut connection = client.connect(Speaks::H2).await.unwrap();
    let with = |name: &'static str, count: usize| {
        let builder = http::Request::builder().uri("/version");
        (0..count).fold(builder, |builder, at| {
            let name = if name == "cookie" { name.to_owned() } else { format!("{name}-{at}") };
            builder.header(name, format!("a{at}=b"))
        })
    };
    // The library's client adds none of its own but a length, of nothing.
    for (name, count, status) in [("x", 15, 200), ("x", 21, 431), ("x", 1500, 431), ("cookie", 300, 200)] {
        let answer = connection.request(with(name, count), "").await.unwrap();
        assert_eq!(answer.status, status, "{count} of {name}");
    }
    wait_until("both are counted", || site.metric("bascule_refused_requests_total{reason=\"head_too_large\"}") >= 1.0);
    assert_alive(&mut site).await;
}
