//! What an answer says of its connection holds: one that goes on takes the next request, whatever became of the last one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use failover::Side;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::client::{Client, Speaks};
use crate::cut_answers::{Leaves, Upstream};
use crate::raw::{say, status};
use crate::site::{FQDN, PATIENCE, Site, wait_until};

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {FQDN}\r\n{fields}\r\n")
}

/// One whole answer with a `Content-Length`; what came of it when the connection ends before.
async fn answer(stream: &mut TlsStream<tokio::net::TcpStream>) -> Result<String, String> {
    let mut all = Vec::new();
    let reading = async {
        loop {
            let text = String::from_utf8_lossy(&all).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if length.is_none_or(|length: usize| body.len() >= length) {
                    return Ok(text);
                }
            }
            match stream.read_u8().await {
                Ok(byte) => all.push(byte),
                Err(_) => return Err(text),
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("an answer or an end")
}

fn goes_on(answer: &str) -> bool {
    let head = answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
    !head.contains("\r\nconnection: close")
}

/// Sends `request`, and where the answer lets the connection go on, another one; the first status.
async fn assert_holds(client: &Client, request: &str) -> u16 {
    let mut stream = client.tls(Speaks::H1).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let first = answer(&mut stream).await.unwrap_or_else(|part| panic!("{request}: {part:?} and the end"));
    if goes_on(&first) {
        stream.write_all(get("/nowhere", "").as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let second = answer(&mut stream).await.unwrap_or_else(|part| panic!("{request}: {first}\nthen {part:?}"));
        assert_eq!(status(&second), 404, "{request}: {first}\n{second}");
    } else {
        let rest = timeout(PATIENCE, stream.read_u8()).await.expect("the end that was announced");
        assert!(rest.is_err(), "{request}: {first}");
    }
    status(&first)
}

#[tokio::test]
async fn what_an_answer_of_the_edge_says_of_its_connection_holds() {
    let upstream = Upstream::answering(&["HTTP/1.1 "], Duration::ZERO, Leaves::Closes);
    let mut site = upstream.site("");
    let client = Client::of(&site);
    let post = |target: &str, framing: &str| format!("POST {target} HTTP/1.1\r\nHost: {FQDN}\r\n{framing}");
    for (request, expected) in [
        (get("/cut", ""), 502),
        (post("/cut", "Content-Length: 1\r\n\r\n7"), 502),
        (post("/cut", "Transfer-Encoding: chunked\r\n\r\n1\r\n7\r\n0\r\n\r\n"), 502),
        (get("/nowhere", ""), 404),
        (post("/nowhere", "Content-Length: 1\r\n\r\n7"), 404),
        (post("/nowhere", "Content-Length: 100\r\n\r\nhalf"), 404),
        (post("/nowhere", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf"), 404),
        (post("/version", "Content-Length: 99999999999\r\n\r\n"), 413),
        (get("/version", "Connection: a, b, c, d, e, f, g, h, i, j, k, l\r\n"), 400),
    ] {
        assert_eq!(assert_holds(&client, &request).await, expected, "{request}");
    }
    site.main.kill();
    site.standby.kill();
    wait_until("nobody works", || site.ask("GET", "/readyz", "").unwrap().0 == 503);
    for request in [
        get("/version", ""),
        post("/version", "Content-Length: 1\r\n\r\n7"),
        post("/version", "Content-Length: 0\r\n\r\n"),
    ] {
        assert_eq!(assert_holds(&client, &request).await, 503, "{request}");
    }
}

#[tokio::test]
async fn a_request_sent_ahead_is_answered_behind_a_body_and_behind_a_failure() {
    let upstream = Upstream::answering(&["HTTP/1.1 "], Duration::ZERO, Leaves::Closes);
    let site = upstream.site("");
    let client = Client::of(&site);
    let host = format!("Host: {FQDN}\r\n");
    let length = format!("POST /xuc/lab/count HTTP/1.1\r\n{host}Content-Length: 1\r\n\r\n7");
    let chunked = format!(
        "POST /xuc/lab/count HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n1;x=y\r\n8\r\n0\r\nTrailer: 1\r\n\r\n"
    );
    let last = get("/xuc/lab/headers?n=last", "Connection: close\r\n");
    let ahead = [length, get("/cut", ""), chunked, get("/nowhere", ""), last].concat();
    for size in [1, 7, 64, ahead.len()] {
        let mut stream = client.tls(Speaks::H1).await.unwrap();
        for part in ahead.as_bytes().chunks(size) {
            stream.write_all(part).await.unwrap();
            stream.flush().await.unwrap();
        }
        let answers = crate::raw::until_closed(&mut stream).await;
        let codes: Vec<&str> = answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect();
        let codes: Vec<&str> = codes.into_iter().filter(|code| code.bytes().all(|b| b.is_ascii_digit())).collect();
        assert_eq!(codes, ["200", "502", "200", "404", "200"], "in parts of {size}: {answers}");
        assert!(answers.contains("?n=last "), "{answers}");
    }
    assert_eq!(site.main.ledger().len(), 8, "each once: {:?}", site.main.ledger());
}

#[tokio::test]
async fn leave_to_send_a_body_does_not_end_the_connection() {
    let site = Site::start();
    let mut stream = Client::of(&site).tls(Speaks::H1).await.unwrap();
    let head =
        format!("POST /xuc/lab/count HTTP/1.1\r\nHost: {FQDN}\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n");
    for (bytes, expected) in [(head, 100), ("7".to_owned(), 200), (get("/nowhere", ""), 404)] {
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let said = answer(&mut stream).await.unwrap();
        assert_eq!(status(&said), expected, "{said}");
        assert!(goes_on(&said), "{said}");
    }
}

#[tokio::test]
async fn a_request_behind_a_body_of_many_parts_is_answered() {
    let site = Site::start();
    let client = Client::of(&site);
    let body = "x".repeat(300_000);
    let mut ahead = format!("POST /xuc/lab/echo HTTP/1.1\r\nHost: {FQDN}\r\nTransfer-Encoding: chunked\r\n\r\n");
    for part in body.as_bytes().chunks(7000) {
        ahead += &format!("{:x}\r\n{}\r\n", part.len(), String::from_utf8_lossy(part));
    }
    ahead += "0\r\n\r\n";
    ahead += &get("/nowhere", "Connection: close\r\n");
    let answers = say(&client, ahead.as_bytes()).await;
    assert!(answers.contains("HTTP/1.1 404 "), "{}", &answers[answers.len().saturating_sub(500)..]);
}

/// Asks on kept connections while `trouble` comes over the live side; requests without an answer.
async fn unanswered(site: &Site, each: usize, trouble: impl FnOnce()) -> usize {
    let asked = Arc::new(AtomicUsize::new(0));
    let users: Vec<_> = (0..10)
        .map(|_| {
            let (client, asked) = (Client::of(site), asked.clone());
            tokio::spawn(async move {
                let mut failed = 0;
                let mut stream = client.tls(Speaks::H1).await.unwrap();
                for _ in 0..each {
                    let sent = async {
                        stream.write_all(get("/version", "").as_bytes()).await.map_err(|e| e.to_string())?;
                        stream.flush().await.map_err(|e| e.to_string())?;
                        answer(&mut stream).await
                    };
                    let answered = sent.await;
                    asked.fetch_add(1, Ordering::SeqCst);
                    failed += usize::from(answered.is_err());
                    if answered.is_ok_and(|answer| goes_on(&answer)) {
                        continue;
                    }
                    stream = client.tls(Speaks::H1).await.unwrap();
                }
                failed
            })
        })
        .collect();
    wait_until("a fifth was asked", || asked.load(Ordering::SeqCst) >= each * 2);
    trouble();
    let mut failed = 0;
    for user in users {
        failed += user.await.unwrap();
    }
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e5_no_get_on_a_kept_connection_is_lost_when_a_backend_hangs_or_dies() {
    for trouble in [Signal::STOP, Signal::KILL] {
        let site = Site::start();
        site.wait_ready_to_switch();
        assert_eq!(unanswered(&site, 100, || site.main.signal(trouble)).await, 0, "{trouble:?}");
        site.wait_live(Side::Standby);
    }
    // With nobody to switch to, the waiting page answers.
    let mut site = Site::start();
    site.standby.kill();
    assert_eq!(unanswered(&site, 100, || site.main.signal(Signal::KILL)).await, 0, "nobody left");
}
