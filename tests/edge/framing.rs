//! Requests one after the other on one connection: each gets its own answer, and what breaks off spoils no other.

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bad_input::{SMALL, assert_alive};
use crate::client::{Client, Speaks};
use crate::raw::{say, status};
use crate::site::{FQDN, Site, wait_until};

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {FQDN}\r\n{fields}\r\n")
}

/// The same upstream connections go on serving.
async fn assert_in_step(client: &Client) {
    let mut connections = [client.connect(Speaks::H1).await.unwrap(), client.connect(Speaks::H2).await.unwrap()];
    for number in 0..10 {
        for connection in &mut connections {
            let answer = connection.get(&format!("/xuc/lab/headers?n={number}")).await.unwrap();
            assert_eq!(answer.status, 200);
            assert!(
                answer.text().starts_with(&format!("GET /xuc/lab/headers?n={number} HTTP/1.1\n")),
                "{}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order_or_not_at_all() {
    let mut site = Site::start_with(SMALL);
    let client = Client::of(&site);
    let post = format!("POST /xuc/lab/count HTTP/1.1\r\nHost: {FQDN}\r\nContent-Length: 1\r\n\r\n7");
    let close = get("/xuc/lab/headers?n=last", "Connection: close\r\n");
    for ahead in [
        format!("{}{}{close}", get("/xuc/lab/headers?n=1", ""), get("/xuc/lab/headers?n=2", "")),
        format!("{post}{close}"),
        format!("{post}{}", &close[..40]),
        format!("{}{}", get("/nowhere", ""), close),
    ] {
        let answers = say(&client, ahead.as_bytes()).await;
        let mut order: Vec<_> = answers.match_indices("HTTP/1.1 ").map(|(at, _)| at).collect();
        order.retain(|at| answers[*at..].len() > 12 && answers.as_bytes()[at + 12] == b' ');
        assert!(!order.is_empty(), "{ahead}\n{answers}");
        for at in order {
            // A head that never ends is answered as one alone on its connection would be.
            assert!([200, 404, 408].contains(&status(&answers[at..])), "{ahead}\n{answers}");
        }
        if let (Some(one), Some(two)) = (answers.find("?n=1 "), answers.find("?n=2 ")) {
            assert!(one < two);
        }
    }
    assert_in_step(&client).await;
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_body_spoils_no_other_request() {
    let mut site = Site::start();
    let client = Client::of(&site);
    for rest in [
        "Content-Length: 100\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n64\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let before = site.main.requests();
        let head = format!("POST /xuc/lab/count HTTP/1.1\r\nHost: {FQDN}\r\n{rest}");
        let mut stream = client.tls(Speaks::H1).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        wait_until("it is under way", || site.main.requests() > before);
        drop(stream);
        assert_in_step(&client).await;
    }
    assert_eq!(site.main.ledger(), Vec::<String>::new());
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn an_h2_body_that_is_not_as_long_as_it_says_spoils_no_other_request() {
    let mut site = Site::start();
    let client = Client::of(&site);
    for (said, sent) in [("10", "12345"), ("3", "12345"), ("0", "12345")] {
        let stream = TokioIo::new(client.tls(Speaks::H2).await.unwrap());
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let body = StreamBody::new(stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from(sent)))]));
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("https://{FQDN}/xuc/lab/count"))
            .header("content-length", said)
            .body(body.boxed_unsync())
            .unwrap();
        if let Ok(answer) = sender.send_request(request).await {
            assert!(!answer.status().is_success(), "{said} for {sent}: {}", answer.status());
        }
        assert_in_step(&client).await;
    }
    assert_eq!(site.main.ledger(), Vec::<String>::new());
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let mut site = Site::start();
    let client = Client::of(&site);
    for speaks in [Speaks::H1, Speaks::H2] {
        let mut connection = client.connect(speaks).await.unwrap();
        for (method, target, expected) in [
            (Method::HEAD, "/version", 200),
            (Method::HEAD, "/nowhere", 404),
            (Method::GET, "/xuc/lab/status?code=204", 204),
            (Method::GET, "/xuc/lab/status?code=304", 304),
            (Method::OPTIONS, "/version", 200),
        ] {
            let answer = connection.send(method.clone(), target, "").await.unwrap();
            assert_eq!(answer.status, expected, "{method} {target}");
            assert!(method == Method::OPTIONS || answer.body.is_empty(), "{method} {target}: {}", answer.text());
            assert_eq!(connection.get("/version").await.unwrap().status, 200, "after {method} {target}");
        }
    }
    site.main.kill();
    site.standby.kill();
    wait_until("nobody works", || site.ask("GET", "/readyz", "").unwrap().0 == 503);
    for speaks in [Speaks::H1, Speaks::H2] {
        let mut connection = client.connect(speaks).await.unwrap();
        let answer = connection.send(Method::HEAD, "/version", "").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.len()), (503, 0));
    }
    site.main.start();
    wait_until("Main works", || site.ask("GET", "/readyz", "").unwrap().0 == 200);
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn a_client_that_waits_for_leave_to_send_gets_it() {
    let mut site = Site::start();
    let client = Client::of(&site);
    let head = format!(
        "POST /xuc/lab/count HTTP/1.1\r\nHost: {FQDN}\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    );
    let mut stream = client.tls(Speaks::H1).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut first = String::new();
    while !first.ends_with("\r\n\r\n") {
        let byte = tokio::time::timeout(crate::site::PATIENCE, stream.read_u8()).await.expect("leave to send").unwrap();
        first.push(char::from(byte));
    }
    assert_eq!(status(&first), 100);
    stream.write_all(b"42").await.unwrap();
    stream.flush().await.unwrap();
    let answer = crate::raw::until_closed(&mut stream).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(site.main.ledger(), ["42"]);
    // A client of HTTP/1.0 gets its answer and the end.
    let answer = say(&client, format!("GET /version HTTP/1.0\r\nHost: {FQDN}\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.") && answer.contains(" 200 ") && answer.contains("demo "), "{answer}");
    assert_alive(&mut site).await;
}
