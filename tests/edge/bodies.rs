//! Bodies on their way through: framing is never lost between two requests, limits hold, and nothing is cut or added.

use std::io::{Read, Write};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::bad_input::{SMALL, assert_alive};
use crate::client::{Client, Failed, Speaks};
use crate::raw::{say, status};
use crate::site::{FQDN, Site, wait_until};

/// Posts `parts` over h2, each a DATA frame, without a length; the end of the stream is a frame of its own, and empty.
async fn post_in_frames(client: &Client, target: &str, parts: Vec<Bytes>) -> Result<(u16, Bytes), Failed> {
    let stream = TokioIo::new(client.tls(Speaks::H2).await?);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
    tokio::spawn(connection);
    let frames = parts.into_iter().map(|part| Ok::<_, std::io::Error>(Frame::data(part)));
    let body = StreamBody::new(stream::iter(frames)).boxed_unsync();
    let request = Request::builder().method(Method::POST).uri(format!("https://{FQDN}{target}")).body(body)?;
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let status = answer.status().as_u16();
    Ok((status, answer.into_body().collect().await?.to_bytes()))
}

#[tokio::test]
async fn an_empty_last_frame_does_not_put_the_next_request_out_of_step() {
    let mut site = Site::start();
    let client = Client::of(&site);
    for number in 1..=20 {
        let parts = match number % 3 {
            0 => vec![Bytes::from(number.to_string()), Bytes::new()],
            1 => vec![Bytes::from(number.to_string())],
            _ => vec![Bytes::new(), Bytes::from(number.to_string()), Bytes::new(), Bytes::new()],
        };
        let (status, body) = post_in_frames(&client, "/xuc/lab/count", parts).await.unwrap();
        assert_eq!((status, body), (200, Bytes::from(format!("{number}\n"))));
        // The same upstream connection serves what comes next, whoever asks.
        for speaks in [Speaks::H1, Speaks::H2] {
            let answer = client.connect(speaks).await.unwrap().get("/version").await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.side()), (200, "main"));
            assert!(answer.text().starts_with("demo "), "{}", answer.text());
        }
    }
    assert_eq!(site.main.ledger(), (1..=20).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(site.main.requests(), 60);
    assert_alive(&mut site).await;
}

/// What reaches an upstream on one connection, answered after each head; ends with the connection.
fn listen_in() -> (std::net::SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut heard = String::new();
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut part) {
                heard.push_str(&String::from_utf8_lossy(&part[..count]));
                if heard.contains("\r\n0\r\n\r\n")
                    && stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err()
                {
                    break;
                }
            }
            if tell.send(heard).is_err() {
                return;
            }
        }
    });
    (address, told)
}

#[tokio::test]
async fn a_body_of_h2_frames_ends_once_on_its_way_to_the_upstream() {
    let (address, told) = listen_in();
    let mut site = Site::start_with(&format!(
        "shared: {{ sip: 'http://{address}' }}\nroutes: [ {{ path: /heard, service: sip }} ]"
    ));
    let client = Client::of(&site);
    let parts = vec![Bytes::from("7"), Bytes::new()];
    let (status, _) = post_in_frames(&client, "/heard", parts).await.unwrap();
    assert_eq!(status, 200);
    // The connection lies in the pool until the Edge ends; all that was ever sent on it is then known.
    site.stop_edge();
    let body = loop {
        // Probes connect and say nothing.
        let heard = told.recv_timeout(crate::site::PATIENCE).unwrap();
        if let Some((_, body)) = heard.split_once("\r\n\r\n") {
            break body.to_owned();
        }
    };
    assert_eq!(body, "1\r\n7\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let mut site = Site::start_with(SMALL);
    let client = Client::of(&site);
    let counted = |site: &Site| site.metric("bascule_refused_requests_total{reason=\"body_too_large\"}");
    let large = "x".repeat(70_000);
    for speaks in [Speaks::H1, Speaks::H2] {
        let mut connection = client.connect(speaks).await.unwrap();
        // The answer may come before all of the body is taken: then the rest has nowhere to go.
        if let Ok(answer) = connection.send(Method::POST, "/xuc/lab/headers", large.clone()).await {
            assert_eq!(answer.status, 413);
        }
    }
    wait_until("both are counted", || counted(&site) == 2.0);
    // An announced body is refused before anything is carried.
    assert_eq!(site.main.requests(), 0);
    let chunks: String = (0..8).map(|_| format!("2710\r\n{}\r\n", "x".repeat(10_000))).collect();
    let head = format!("POST /xuc/lab/headers HTTP/1.1\r\nHost: {FQDN}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let answer = say(&client, format!("{head}{chunks}0\r\n\r\n").as_bytes()).await;
    assert_eq!(status(&answer), 413, "{answer:.300}");
    wait_until("it is counted", || counted(&site) == 3.0);
    let parts = vec![Bytes::from("x".repeat(10_000)); 8];
    if let Ok((status, _)) = post_in_frames(&client, "/xuc/lab/headers", parts).await {
        assert_eq!(status, 413);
    }
    wait_until("it is counted", || counted(&site) == 4.0);
    // What fits is carried.
    let fits = Bytes::from("x".repeat(65_536));
    for speaks in [Speaks::H1, Speaks::H2] {
        let answer = client.connect(speaks).await.unwrap().send(Method::POST, "/xuc/lab/headers", fits.clone()).await;
        assert_eq!(answer.unwrap().status, 200);
    }
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_passed_off_as_whole() {
    let mut site = Site::start();
    let client = Client::of(&site);
    for speaks in [Speaks::H1, Speaks::H2] {
        let whole = client.connect(speaks).await.unwrap().get("/xuc/lab/big?bytes=3000000").await.unwrap();
        assert_eq!((whole.status.as_u16(), whole.body.len()), (200, 3_000_000));
        let half = client.connect(speaks).await.unwrap().get("/xuc/lab/half?bytes=100000").await;
        assert!(half.is_err(), "{speaks:?}: {:?}", half.map(|answer| (answer.status, answer.body.len())));
        // A side that ends the connection without a word has answered nobody: an error, not a page of its own.
        let post = client.connect(speaks).await.unwrap().send(Method::POST, "/xuc/lab/early-close", "").await.unwrap();
        assert_eq!((post.status.as_u16(), post.side()), (502, "none"));
    }
    assert_eq!(site.live().0, "main");
    assert_alive(&mut site).await;
}
