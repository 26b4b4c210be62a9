//! Answers that an upstream breaks off: the client gets what there was, and so does not send its request again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Client, Speaks};
use crate::raw::{say, until_closed};
use crate::site::{FQDN, Site, wait_until};

/// How an upstream leaves.
#[derive(Debug, Clone, Copy)]
pub enum Leaves {
    /// With a FIN.
    Closes,
    /// With a RST.
    Resets,
    /// Not before the other end does.
    Stays,
}

/// An upstream that answers each request with the same bytes, then waits, then leaves.
pub struct Upstream {
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Upstream {
    pub fn answering(parts: &[&str], pause: Duration, leaves: Leaves) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (parts, count) = (parts.clone(), count.clone());
                std::thread::spawn(move || answer(&stream.unwrap(), &parts, pause, leaves, &count));
            }
        });
        Self { address, requests }
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn site(&self, extra: &str) -> Site {
        let address = self.address;
        Site::start_with(&format!(
            "shared: {{ sip: 'http://{address}' }}\nroutes: [ {{ path: /cut, service: sip }} ]\n{extra}"
        ))
    }
}

fn answer(mut stream: &TcpStream, parts: &[String], pause: Duration, leaves: Leaves, requests: &AtomicUsize) {
    let mut heard = Vec::new();
    let mut part = [0; 4096];
    while !heard.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part) {
            // A probe connects and says nothing.
            Ok(0) | Err(_) => return,
            Ok(count) => heard.extend_from_slice(&part[..count]),
        }
    }
    requests.fetch_add(1, Ordering::SeqCst);
    for part in parts {
        if stream.write_all(part.as_bytes()).is_err() {
            return;
        }
        std::thread::sleep(pause);
    }
    match leaves {
        Leaves::Closes => {}
        Leaves::Resets => SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap(),
        Leaves::Stays => while matches!(stream.read(&mut part), Ok(1..)) {},
    }
}

fn post() -> String {
    format!("POST /cut HTTP/1.1\r\nHost: {FQDN}\r\nContent-Length: 1\r\n\r\n7")
}

/// Framings of an answer of which 12 bytes of body come.
const CUT: [&str; 3] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello, world",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\nhello, world\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhello, world",
];

#[tokio::test]
async fn e5_what_came_of_an_answer_that_breaks_off_reaches_the_client() {
    for (pause, leaves) in [(50, Leaves::Closes), (50, Leaves::Resets), (0, Leaves::Closes)] {
        for cut in CUT {
            let upstream = Upstream::answering(&[cut], Duration::from_millis(pause), leaves);
            let site = upstream.site("");
            let client = Client::of(&site);
            for attempt in 1..=5 {
                let said = say(&client, post().as_bytes()).await;
                assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{cut:?} {leaves:?}: {said:?}");
                assert!(said.contains("hello, world"), "{cut:?} {leaves:?}: {said:?}");
                assert!(!said.contains("\r\n0\r\n\r\n"), "passed off as whole: {said:?}");
                assert_eq!(upstream.requests(), attempt);
            }
        }
    }
}

#[tokio::test]
async fn the_beginning_of_an_answer_does_not_wait_for_its_rest() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n";
    let pause = Duration::from_secs(30);
    for parts in [&[head, "hello, world", "hello, again"][..], &["HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello"]]
    {
        let upstream = Upstream::answering(parts, pause, Leaves::Stays);
        let site = upstream.site("");
        let client = Client::of(&site);
        let mut stream = client.tls(Speaks::H1).await.unwrap();
        let asked = Instant::now();
        stream.write_all(post().as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut first = [0; 512];
        let count = stream.read(&mut first).await.unwrap();
        assert!(first[..count].starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert!(asked.elapsed() < pause, "after {:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn e5_what_came_of_an_answer_reaches_the_client_when_the_edge_ends() {
    let upstream = Upstream::answering(&[CUT[0]], Duration::ZERO, Leaves::Stays);
    let mut site = upstream.site("limits: { drain: 2s }");
    let client = Client::of(&site);
    let mut stream = client.tls(Speaks::H1).await.unwrap();
    stream.write_all(post().as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    wait_until("it is under way", || upstream.requests() == 1);
    site.edge().signal(Signal::TERM);
    let said = until_closed(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with("hello, world"), "{said:?}");
    assert_eq!(site.edge().wait(), Some(0));
}

#[tokio::test]
async fn e5_a_client_that_still_sends_gets_what_came_of_an_answer_that_breaks_off() {
    let upstream = Upstream::answering(&[CUT[0]], Duration::from_millis(50), Leaves::Closes);
    let site = upstream.site("");
    let client = Client::of(&site);
    for _ in 0..5 {
        let (mut reading, mut writing) = tokio::io::split(client.tls(Speaks::H1).await.unwrap());
        let head = format!("POST /cut HTTP/1.1\r\nHost: {FQDN}\r\nContent-Length: 1000000\r\n\r\n");
        writing.write_all(head.as_bytes()).await.unwrap();
        let sending = tokio::spawn(async move {
            while writing.write_all(&[b'x'; 1000]).await.is_ok() && writing.flush().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let said = until_closed(&mut reading).await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with("hello, world"), "{said:?}");
        sending.abort();
    }
}

#[tokio::test]
async fn e5_what_came_of_an_answer_reaches_the_client_when_a_planned_switch_cuts_it() {
    let upstream = Upstream::answering(&[CUT[0]], Duration::ZERO, Leaves::Stays);
    let mut site = Site::prepare("switch: { drain_limit: 2s }\nroutes: [ { path: /cut, service: odd } ]");
    let (main, standby) = (upstream.address, site.standby.address);
    let config = site.config().replace("main: {", &format!("main: {{ odd: 'http://{main}',"));
    site.write_config(&config.replace("standby: {", &format!("standby: {{ odd: 'http://{standby}',")));
    site.start_edge();
    site.wait_ready_to_switch();
    let client = Client::of(&site);
    let mut stream = client.tls(Speaks::H1).await.unwrap();
    stream.write_all(post().as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    wait_until("it is under way", || upstream.requests() == 1);
    site.order(&["switch", "--to", "standby", "--reason", "a test"]);
    let said = until_closed(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with("hello, world"), "{said:?}");
    assert_eq!((site.live().0, upstream.requests()), ("standby".to_owned(), 1), "sent once");
}

#[tokio::test]
async fn e5_an_old_client_gets_what_came_of_an_answer_that_breaks_off() {
    for leaves in [Leaves::Closes, Leaves::Resets] {
        for cut in CUT {
            let upstream = Upstream::answering(&[cut], Duration::from_millis(50), leaves);
            let site = upstream.site("");
            let asked = format!("POST /cut HTTP/1.0\r\nHost: {FQDN}\r\nContent-Length: 1\r\n\r\n7");
            let said = say(&Client::of(&site), asked.as_bytes()).await;
            let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{cut:?} {leaves:?}: {said:?}"));
            assert!(head.contains(" 200 ") && body == "hello, world", "{cut:?} {leaves:?}: {said:?}");
            assert_eq!(upstream.requests(), 1);
        }
    }
}

#[tokio::test]
async fn a_head_request_wants_no_body_and_a_head_that_breaks_off_is_no_answer_to_it() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    let asked = format!("HEAD /cut HTTP/1.1\r\nHost: {FQDN}\r\nConnection: close\r\n\r\n");
    for leaves in [Leaves::Closes, Leaves::Resets] {
        let upstream = Upstream::answering(&[head], Duration::from_millis(50), leaves);
        let site = upstream.site("");
        let said = say(&Client::of(&site), asked.as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with("\r\n\r\n"), "{leaves:?}: {said:?}");
        assert!(said.to_ascii_lowercase().contains("content-length: 100\r\n"), "{said:?}");
        assert_eq!(upstream.requests(), 1, "{leaves:?}");
        let upstream = Upstream::answering(&[&head[..30]], Duration::from_millis(50), leaves);
        let site = upstream.site("");
        let said = say(&Client::of(&site), asked.as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 502 ") && said.ends_with("\r\n\r\n"), "{leaves:?}: {said:?}");
    }
}
