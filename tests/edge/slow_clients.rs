//! Clients that stall in the middle: of a request, of a body, of an answer. None of them is waited for without end.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::bad_input::assert_alive;
use crate::client::{Client, Speaks};
use crate::raw::{say, status, until_closed};
use crate::site::{FQDN, PATIENCE, Site, wait_until};

const IMPATIENT: &str = "limits: { request_head: 2s, request_body: 2s, keepalive: 2s, write_stall: 1s }\n\
                         routes: [ { path: /xuc, response_limit: 4s } ]";

/// A beginning, and never an end.
pub struct Stalled(pub Option<Bytes>);

impl Body for Stalled {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

pub async fn h2(client: &Client) -> http2::SendRequest<UnsyncBoxBody<Bytes, Infallible>> {
    let stream = TokioIo::new(client.tls(Speaks::H2).await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub fn request(method: Method, target: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("https://{FQDN}{target}"))
}

#[tokio::test]
async fn a_body_that_stops_coming_is_not_waited_for() {
    // The side has all the time it wants: it is the client's that is over.
    let mut site = Site::start_with("limits: { request_body: 2s }\nroutes: [ { path: /xuc, response_limit: 60s } ]");
    let client = Client::of(&site);
    let head = format!("POST /xuc/lab/headers HTTP/1.1\r\nHost: {FQDN}\r\n");
    for rest in [
        "Content-Length: 10\r\n\r\nhalf ",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhalf \r\n",
        "Content-Length: 10\r\n\r\n",
    ] {
        let answer = say(&client, format!("{head}{rest}").as_bytes()).await;
        assert_eq!(status(&answer), 408, "{rest:?}: {answer}");
    }
    for beginning in [Bytes::from("half"), Bytes::new()] {
        let mut sender = h2(&client).await;
        let body = Stalled(Some(beginning)).boxed_unsync();
        let asking = sender.send_request(request(Method::POST, "/xuc/lab/headers").body(body).unwrap());
        let answer = timeout(PATIENCE, asking).await.expect("it is not waited for").unwrap();
        assert_eq!(answer.status(), 408);
    }
    let counted = || site.metric("bascule_refused_requests_total{reason=\"body_timeout\"}");
    wait_until("each is counted", || counted() == 5.0);
    wait_until("each has a line", || site.access_log().matches("\"ended\":\"client_timeout\"").count() == 5);
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn a_body_over_h2_of_empty_frames_is_one_that_stopped_and_one_that_trickles_is_carried() {
    const STEP: Duration = Duration::from_millis(100);
    let mut site = Site::start_with("limits: { request_body: 3s }\nroutes: [ { path: /xuc, response_limit: 60s } ]");
    let client = Client::of(&site);
    for (part, carried) in [(&b""[..], false), (b"7", true)] {
        let stream = client.tls(Speaks::H2).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let asked = request(Method::POST, "/xuc/lab/headers").body(()).unwrap();
        let (mut answer, mut body) = sender.ready().await.unwrap().send_request(asked, false).unwrap();
        // Twice the limit, were a step no later than it should be; then a body that was carried has its end.
        let mut steps = 0;
        let answer = timeout(PATIENCE, async {
            loop {
                match timeout(STEP, &mut answer).await {
                    Ok(answer) => return answer.unwrap(),
                    Err(_) if carried && steps == 60 => body.send_data(Bytes::new(), true).unwrap(),
                    Err(_) if carried && steps > 60 => {}
                    Err(_) => {
                        // It may have been answered meanwhile.
                        let _ = body.send_data(Bytes::from_static(part), false);
                    }
                }
                steps += 1;
            }
        });
        let answer = answer.await.expect("it is not waited for without end");
        assert_eq!(answer.status(), if carried { 200 } else { 408 });
    }
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn an_answer_nobody_reads_is_given_up() {
    let mut site = Site::start_with(IMPATIENT);
    let client = Client::of(&site);
    let mut stream = client.tls(Speaks::H1).await.unwrap();
    stream
        .write_all(format!("GET /xuc/lab/big?bytes=200000000 HTTP/1.1\r\nHost: {FQDN}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    stream.flush().await.unwrap();
    wait_until("it is carried", || site.main.requests() == 1);
    wait_until("it ends", || site.access_log().matches("bytes=").count() == 1);
    wait_until("the connection is given up", || site.metric("bascule_connections_open") == 0.0);
    drop(stream);
    let mut sender = h2(&client).await;
    let empty = Empty::new().boxed_unsync();
    let answer = sender.send_request(request(Method::GET, "/xuc/lab/big?bytes=200000000").body(empty).unwrap()).await;
    // Its window is never opened again; others on the same connection are served.
    let unread = answer.unwrap();
    let empty = Empty::new().boxed_unsync();
    let other = sender.send_request(request(Method::GET, "/version").body(empty).unwrap()).await.unwrap();
    assert_eq!(other.status(), 200);
    wait_until("the stream is given up", || site.access_log().matches("bytes=").count() == 2);
    drop(unread);
    assert_alive(&mut site).await;
}

/// HTTP/2 frames (RFC 9113 section 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test]
async fn an_h2_head_that_never_ends_is_ended() {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const CONTINUATION: u8 = 9;
    // :method GET, :scheme https, :path / from the static table (RFC 7541 appendix A).
    const FIELDS: &[u8] = &[0x82, 0x87, 0x84];
    let mut site = Site::start_with(IMPATIENT);
    let client = Client::of(&site);
    let beginning =
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, 0, 1, FIELDS)];
    let mut stalled = client.tls(Speaks::H2).await.unwrap();
    stalled.write_all(&beginning.concat()).await.unwrap();
    stalled.flush().await.unwrap();
    until_closed(&mut stalled).await;
    // And one that goes on for ever (a CONTINUATION flood).
    let mut flood = client.tls(Speaks::H2).await.unwrap();
    flood.write_all(&beginning.concat()).await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(flood);
    let flooding = tokio::spawn(async move {
        // A field of 1000 bytes that is not kept in the table.
        let field = [&[0x00, 1, b'x', 0x7f, 0xe9, 0x06][..], &[b'y'; 1000]].concat();
        let more = frame(CONTINUATION, 0, 1, &field);
        for _ in 0..100_000 {
            if writing.write_all(&more).await.is_err() {
                return true;
            }
        }
        false
    });
    until_closed(&mut reading).await;
    assert!(timeout(PATIENCE, flooding).await.unwrap().unwrap(), "100 MB of one head were taken");
    assert_eq!(site.main.requests(), 0);
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn a_storm_of_cancelled_streams_hurts_nobody() {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const END_STREAM_AND_HEADERS: u8 = 5;
    let mut site = Site::start();
    let client = Client::of(&site);
    let mut storm = client.tls(Speaks::H2).await.unwrap();
    let name = [&[0x82, 0x87, 0x84, 0x41, u8::try_from(FQDN.len()).unwrap()][..], FQDN.as_bytes()].concat();
    let mut bytes = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat();
    for stream in (1..20_000).step_by(2) {
        bytes.extend(frame(HEADERS, END_STREAM_AND_HEADERS, stream, &name));
        bytes.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    }
    let (mut reading, mut writing) = tokio::io::split(&mut storm);
    let sending = async {
        // The Edge may well close before the end of it.
        let _ = writing.write_all(&bytes).await;
        let _ = writing.flush().await;
    };
    let reading = until_closed(&mut reading);
    let served = async {
        for _ in 0..20 {
            let answer = client.get("/version").await.unwrap();
            assert_eq!(answer.status, 200);
        }
    };
    tokio::join!(sending, reading, served);
    assert_alive(&mut site).await;
}
