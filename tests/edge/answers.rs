//! Answers as no good server would write them: taken alike by checks, requests and upgrades, and passed on in one form.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use probe::{Check, HttpCheck, Kind};

use crate::client::{Client, Speaks};
use crate::odd::Odd;
use crate::raw::{say, status};
use crate::site::{FQDN, wait_until};

fn get(target: &str, version: &str) -> String {
    format!("GET {target} {version}\r\nHost: {FQDN}\r\nConnection: close\r\n\r\n")
}

fn upgrade(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {FQDN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
}

/// An upstream that answers `/odd/N` by the N-th of these.
pub fn numbered(answers: Vec<String>) -> Odd {
    Odd::answering(move |head| {
        let number = head.split(' ').nth(1).unwrap().rsplit('/').next().unwrap().parse::<usize>();
        number.map_or_else(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(), |n| answers[n].clone().into())
    })
}

/// Each answer, and whether it is one.
fn odd_answers() -> Vec<(String, bool)> {
    let ok = |fields: &str| (format!("HTTP/1.1 200 OK\r\n{fields}\r\nok"), true);
    let wrong = |fields: &str| (format!("HTTP/1.1 200 OK\r\n{fields}\r\nok"), false);
    let fields = |count: usize| (0..count).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    let chunked = "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nTrailer: t\r\n\r\n";
    vec![
        ok("Content-Length: 2\r\n"),
        ok("X: folded\r\n here\r\n\tand there\r\nContent-Length: 2\r\n"),
        ok("X : y\r\nContent-Length : 2\r\n"),
        ok(&format!("{}Content-Length: 2\r\n", fields(250))),
        ok(&format!("X: {}\r\nContent-Length: 2\r\n", "y".repeat(60_000))),
        ok("X: caf\u{e9}\r\nContent-Length: 2\r\n"),
        ok("Content-Length: 2\r\nContent-Length: 2\r\n"),
        ok("Content-Length: 2, 2\r\n"),
        ok("Transfer-Encoding: identity\r\n"),
        ok("Transfer-Encoding: identity\r\nContent-Length: 9\r\n"),
        ok("Connection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"),
        ("HTTP/1.0 200 OK\r\n\r\nok".to_owned(), true),
        ("HTTP/1.1 200\r\n\r\nok".to_owned(), true),
        (format!("HTTP/1.1 200 OK\r\n{chunked}"), true),
        (format!("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n{chunked}"), true),
        (
            format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n{chunked}"),
            true,
        ),
        wrong(&format!("{}Content-Length: 2\r\n", fields(257))),
        wrong(&format!("X: {}\r\nContent-Length: 2\r\n", "y".repeat(300_000))),
        wrong("Content-Length: 2\r\nContent-Length: 3\r\n"),
        wrong("Content-Length: 2, 3\r\n"),
        wrong("Content-Length: -2\r\n"),
        wrong("Content-Length: +2\r\n"),
        wrong("Content-Length: two\r\n"),
        wrong("Transfer-Encoding: gzip\r\n"),
        wrong("Transfer-Encoding: gzip, chunked\r\n"),
        wrong("Transfer-Encoding: chunked, chunked\r\n"),
        wrong("no colon\r\n"),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_owned(), false),
        (format!("{}HTTP/1.1 200 OK\r\n\r\nok", "HTTP/1.1 102 Wait\r\n\r\n".repeat(100)), false),
        ("HTTP/2 200 OK\r\n\r\nok".to_owned(), false),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), false),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_a_request_and_an_upgrade_read_an_answer_alike() {
    let table = odd_answers();
    let odd = numbered(table.iter().map(|(answer, _)| answer.clone()).collect());
    let site = odd.site();
    let client = Client::of(&site);
    for (number, (answer, good)) in table.iter().enumerate() {
        let target = format!("/odd/{number}");
        let path = PathAndQuery::try_from(target.clone()).unwrap();
        let asking = HttpCheck::get(path, Authority::from_static("odd"));
        let report = Check::new(odd.address, Duration::from_secs(20), Kind::Http(asking)).run().await;
        assert_eq!(report.is_up(), *good, "a check of {answer:.200}: {report:?}");
        let expected = if *good { 200 } else { 502 };
        let got = say(&client, get(&target, "HTTP/1.1").as_bytes()).await;
        // The interim answers before it are passed on.
        let mut last = &*got;
        while (100..200).contains(&status(last)) {
            last = last.split_once("\r\n\r\n").unwrap().1;
        }
        assert_eq!(status(last), expected, "h1 of {answer:.200}: {last:.200}");
        assert!(!*good || last.contains("ok"), "h1 of {answer:.200}: {last:.200}");
        for field in ["x-hop", "keep-alive:"] {
            assert!(!got.to_ascii_lowercase().contains(field), "{field} of {answer:.200}");
        }
        // The client at hand takes no larger head over h2.
        if !*good || answer.len() < 10_000 {
            let got = client.connect(Speaks::H2).await.unwrap().get(&target).await.unwrap();
            assert_eq!(got.status, expected, "h2 of {answer:.200}");
            assert!(!*good || got.text() == "ok", "h2 of {answer:.200}: {}", got.text());
        }
        let refused = say(&client, upgrade(&target).as_bytes()).await;
        assert_eq!(status(&refused), expected, "an upgrade for {answer:.200}: {refused:.300}");
    }
    wait_until("the log tells it", || site.access_log().contains("upstream_protocol"));
    // Nobody asks in vain again and again.
    let last = table.len() - 1;
    assert_eq!(odd.count(&format!("/odd/{last}")), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_its_length_once_and_no_body_where_there_is_none() {
    let answers = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", Some("content-length: 2")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", Some("content-length: 2")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok", Some("transfer-encoding: chunked")),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok", Some("transfer-encoding: chunked")),
        ("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        ("HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", None),
        ("HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        ("HTTP/1.1 426 No\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", Some("content-length: 0")),
    ];
    let odd = numbered(answers.iter().map(|(answer, _)| (*answer).to_owned()).collect());
    let site = odd.site();
    let client = Client::of(&site);
    for (number, (answer, expected)) in answers.iter().enumerate() {
        let said = say(&client, get(&format!("/odd/{number}"), "HTTP/1.1").as_bytes()).await;
        let head = said.split_once("\r\n\r\n").unwrap().0.to_ascii_lowercase();
        let framing: Vec<&str> = head
            .split("\r\n")
            .filter(|line| line.starts_with("content-length:") || line.starts_with("transfer-encoding:"))
            .collect();
        assert_eq!(framing, Vec::from_iter(*expected), "{answer}\n{head}");
        assert_eq!(head.contains("\r\nupgrade: websocket"), answer.contains("426"), "{head}");
        for speaks in [Speaks::H1, Speaks::H2] {
            let got = client.connect(speaks).await.unwrap().get(&format!("/odd/{number}")).await.unwrap();
            assert_eq!(got.text(), if answer.ends_with("ok") { "ok" } else { "" }, "{speaks:?} {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_keeps_its_date_and_gets_one_where_it_has_none() {
    const ITS_OWN: &str = "date: sun, 06 nov 1994 08:49:37 gmt";
    let odd = numbered(vec![
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
    ]);
    let site = odd.site();
    let client = Client::of(&site);
    for (target, kept) in [("/odd/0", true), ("/odd/1", false), ("/nowhere", false)] {
        let said = say(&client, get(target, "HTTP/1.1").as_bytes()).await.to_ascii_lowercase();
        assert_eq!(said.matches("\r\ndate: ").count(), 1, "{said}");
        assert_eq!(said.contains(ITS_OWN), kept, "{said}");
    }
}

/// A listener before the Edge's: everything passes, and what the Edge sends is seen.
struct Tap {
    address: std::net::SocketAddr,
    passed: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    fn before(edge: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let passed: Arc<Mutex<Vec<u8>>> = Arc::default();
        let seen = passed.clone();
        std::thread::spawn(move || {
            let mut client = listener.accept().unwrap().0;
            let mut server = TcpStream::connect(edge).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = server.read(&mut part) {
                seen.lock().unwrap().extend_from_slice(&part[..count]);
                if client.write_all(&part[..count]).is_err() {
                    return;
                }
            }
        });
        Self { address, passed }
    }

    /// TLS records of application data so far (RFC 8446 section 5.1).
    fn records(&self) -> usize {
        let passed = self.passed.lock().unwrap();
        let (mut at, mut count) = (0, 0);
        while let Some(head) = passed.get(at..at + 5) {
            count += usize::from(head[0] == 23);
            at += 5 + usize::from(u16::from_be_bytes([head[3], head[4]]));
        }
        count
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_and_body_of_a_small_answer_leave_in_one_record() {
    let body = "x".repeat(1000);
    let odd = numbered(vec![
        format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{body}"),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n{body}\r\n0\r\n\r\n"),
    ]);
    let site = odd.site();
    let tap = Tap::before(site.https);
    let mut connection = Client::of(&site).at(tap.address).connect(Speaks::H1).await.unwrap();
    // Behind the first answer nothing is left of the handshake.
    assert_eq!(connection.get("/nowhere").await.unwrap().status, 404);
    for target in ["/odd/0", "/odd/1", "/nowhere"] {
        let before = tap.records();
        connection.get(target).await.unwrap();
        assert_eq!(tap.records() - before, 1, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_reach_who_knows_them() {
    let hints =
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nContent-Length: 5\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n";
    let odd = numbered(vec![format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]);
    let site = odd.site();
    let client = Client::of(&site);
    let said = say(&client, get("/odd/0", "HTTP/1.1").as_bytes()).await;
    let (interim, rest) = said.split_once("\r\n\r\n").unwrap();
    assert_eq!((status(interim), status(rest)), (103, 200), "{said}");
    let interim = interim.to_ascii_lowercase();
    assert!(interim.contains("link: </a.css>"), "{interim}");
    assert!(!interim.contains("content-length") && !interim.contains("x-hop"), "{interim}");
    let said = say(&client, get("/odd/0", "HTTP/1.0").as_bytes()).await;
    assert_eq!((status(&said), said.matches("HTTP/1.").count()), (200, 1), "{said}");
    let got = client.connect(Speaks::H2).await.unwrap().get("/odd/0").await.unwrap();
    assert_eq!((got.status.as_u16(), got.text()), (200, "ok".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_1_0_gets_no_chunks() {
    let odd = numbered(vec![
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\n\r\nok".to_owned(),
    ]);
    let site = odd.site();
    let client = Client::of(&site);
    for number in 0..2 {
        // Whoever asks to go on is told by the end where such an answer ends, too.
        for fields in ["", "Connection: keep-alive\r\n"] {
            let asked = format!("GET /odd/{number} HTTP/1.0\r\nHost: {FQDN}\r\n{fields}\r\n");
            let said = say(&client, asked.as_bytes()).await;
            let head = said.to_ascii_lowercase();
            assert!(said.ends_with("\r\n\r\nok") && !head.contains("transfer-encoding"), "{said}");
            assert!(!head.contains("keep-alive"), "{said}");
        }
    }
}
