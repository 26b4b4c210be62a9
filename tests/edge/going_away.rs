//! An Edge that goes away: who was there is served to the end or told, who comes is told to come again.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use crate::client::{Client, Speaks};
use crate::cut_answers::{Leaves, Upstream};
use crate::h2_heads::{block, frame};
use crate::raw::{say, status, until_closed};
use crate::shared::{InTime, in_time, measure};
use crate::site::{FQDN, PATIENCE, Site, wait_until};
use crate::slow_clients::{Stalled, h2, request};
use crate::turns::alone;

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {FQDN}\r\n\r\n")
}

fn assert_waiting(status: StatusCode, headers: &HeaderMap) {
    assert_eq!(status, 503);
    assert!(headers.contains_key("retry-after") && headers.contains_key("bascule-waiting"));
}

/// Tells the Edge to end, and waits until it has begun to.
fn tell_to_end(site: &mut Site) {
    site.edge().signal(Signal::TERM);
    wait_until("it goes away", || site.log().contains("draining"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_refused_before_the_process_ends_whatever_uses_the_drain_up() {
    let _alone = alone();
    measure(drained).await;
}

async fn drained() -> InTime {
    let mut site = Site::start_with("limits: { drain: 1s }");
    let client = Client::of(&site);
    let mut upload = client.tls(Speaks::H1).await.unwrap();
    let head = format!("POST /xuc/lab/hang HTTP/1.1\r\nHost: {FQDN}\r\nContent-Length: 100000\r\n\r\n");
    upload.write_all(head.as_bytes()).await.unwrap();
    upload.flush().await.unwrap();
    wait_until("it is under way", || site.main.requests() == 1);
    tell_to_end(&mut site);
    let (mut taken, mut refused) = (0, None);
    while site.edge().is_running() {
        match tokio::net::TcpStream::connect(site.https).await {
            Ok(_) => taken += 1,
            Err(_) => refused = refused.or(Some(Instant::now())),
        }
        // It sends and never reads: its last words are waited for when the drain is over.
        let _ = upload.write_all(b"x").await;
        let _ = upload.flush().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let refused = refused.map_or(Duration::ZERO, |since| since.elapsed());
    assert!(taken > 0);
    // The system takes the process apart when its listeners have gone.
    in_time("refused", refused, Duration::from_millis(200))
}

/// An upload that goes on until it is told to end; what is answered.
async fn uploads(client: Client, mut end: oneshot::Receiver<()>) -> String {
    let mut stream = client.tls(Speaks::H1).await.unwrap();
    let head = format!("POST /xuc/lab/slow?ms=0 HTTP/1.1\r\nHost: {FQDN}\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    while tokio::time::timeout(Duration::from_millis(50), &mut end).await.is_err() {
        stream.write_all(b"1\r\nx\r\n").await.unwrap();
        stream.flush().await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    stream.flush().await.unwrap();
    until_closed(&mut stream).await
}

/// Asks twice on one connection of HTTP/1, then waits for its end.
async fn comes_late(client: &Client) {
    let mut connection = client.connect(Speaks::H1).await.expect("nobody is turned away while another is served");
    for (method, body) in [(Method::GET, ""), (Method::POST, "7")] {
        let first = method == Method::GET;
        let asking = connection.send(method, "/xuc/lab/count", body);
        match tokio::time::timeout(PATIENCE, asking).await.expect("answered, or not taken") {
            Ok(answer) => assert_waiting(answer.status, &answer.headers),
            // Told so behind the first.
            Err(_) if !first => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    let closed = async {
        while !connection.is_closed() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("the connection ends");
}

/// The same over h2, with the library itself: the client above it asks once more, behind a request it has just sent,
/// whether it may send one, and takes the GOAWAY that came with the answer by then for the failure of that request.
async fn comes_late_over_h2(client: &Client) {
    let stream = client.tls(Speaks::H2).await.expect("nobody is turned away while another is served");
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let asking = async {
        let mut sender = sender;
        for (method, body) in [(Method::GET, ""), (Method::POST, "7")] {
            let first = method == Method::GET;
            let asked = async {
                sender = sender.clone().ready().await?;
                let (answer, mut sending) =
                    sender.send_request(request(method, "/xuc/lab/count").body(()).unwrap(), false)?;
                // A page does not wait for the body: it may have come, and ended the stream, before the body is sent.
                let _ = sending.send_data(Bytes::from(body), true);
                let (head, mut body) = answer.await?.into_parts();
                while body.data().await.transpose()?.is_some() {}
                Ok::<_, h2::Error>(head)
            };
            match asked.await {
                Ok(head) => assert_waiting(head.status, &head.headers),
                // Told so behind the first, by a GOAWAY.
                Err(_) if !first => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("answered, or not taken");
    let _ = tokio::time::timeout(PATIENCE, connection).await.expect("the connection ends").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_while_the_edge_goes_away_is_told_to_come_again() {
    let mut site = Site::start_with("limits: { drain: 600s }");
    let client = Client::of(&site);
    let (end, ends) = oneshot::channel();
    let upload = tokio::spawn(uploads(client.clone(), ends));
    wait_until("it is under way", || site.main.requests() == 1);
    tell_to_end(&mut site);
    // It says so just before it does.
    while client.get("/version").await.expect("nobody is turned away").status == 200 {}
    let (began, mut asked) = (Instant::now(), 0);
    while asked <= 10 || began.elapsed() < Duration::from_secs(2) {
        comes_late(&client).await;
        comes_late_over_h2(&client).await;
        let answer = say(&client, get("/version").as_bytes()).await;
        assert_eq!(status(&answer), 503, "{answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
        asked += 3;
    }
    end.send(()).unwrap();
    let answer = upload.await.unwrap();
    assert!(status(&answer) == 200 && answer.ends_with("0 ms later\n"), "{answer}");
    assert_eq!(site.edge().wait(), Some(0));
    assert!(site.log().contains("all connections have ended"), "{}", site.log());
    assert!(site.main.ledger().is_empty(), "nothing was begun anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_move_does_not_hold_up_the_end() {
    let mut site = Site::start_with("limits: { drain: 600s }");
    let client = Client::of(&site);
    let mut silent = std::net::TcpStream::connect(site.https).unwrap();
    let mut stalled = client.tls(Speaks::H1).await.unwrap();
    let head = format!("POST /xuc/lab/count HTTP/1.1\r\nHost: {FQDN}\r\nContent-Length: 10\r\n\r\nhalf ");
    stalled.write_all(head.as_bytes()).await.unwrap();
    stalled.flush().await.unwrap();
    let mut over_h2 = h2(&client).await;
    let body = Stalled(Some(Bytes::from("half "))).boxed_unsync();
    let over_h2 = tokio::spawn(over_h2.send_request(request(Method::POST, "/xuc/lab/count").body(body).unwrap()));
    wait_until("all are under way", || site.main.requests() == 2);
    let began = Instant::now();
    tell_to_end(&mut site);
    let said = until_closed(&mut stalled).await;
    assert_eq!(status(&said), 503, "{said}");
    let reset = over_h2.await.unwrap().expect_err("nothing to answer");
    assert!(format!("{reset:?}").contains("Reset"), "{reset:?}");
    assert_eq!(site.edge().wait(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(300), "{:?}", began.elapsed());
    assert!(site.log().contains("all connections have ended"), "{}", site.log());
    let _ = std::io::Write::write(&mut silent, b"x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e5_a_request_that_outlasts_the_drain_is_told_so() {
    // One that waits for its answer, and one that waits for a side: an observer moves nothing.
    for parked in [false, true] {
        let mut site = Site::start_with("observe: true\nswitch: { park_limit: 15s }\nlimits: { drain: 500ms }\n");
        let client = Client::of(&site);
        if parked {
            site.main.kill();
        }
        let mut asked = Vec::new();
        for speaks in [Speaks::H1, Speaks::H2] {
            for method in [Method::GET, Method::POST] {
                let client = client.clone();
                asked.push(tokio::spawn(async move {
                    client.connect(speaks).await?.send(method, "/xuc/lab/hang", "7").await
                }));
            }
        }
        let mut upload = client.tls(Speaks::H1).await.unwrap();
        let head = format!("POST /xuc/lab/count HTTP/1.1\r\nHost: {FQDN}\r\nContent-Length: 10\r\n\r\nhalf ");
        upload.write_all(head.as_bytes()).await.unwrap();
        upload.flush().await.unwrap();
        match parked {
            true => wait_until("all wait", || site.status()["parked"] == 5),
            false => wait_until("all are under way", || site.main.requests() == 5),
        }
        site.edge().signal(Signal::TERM);
        for asked in asked {
            let answer = asked.await.unwrap().unwrap();
            assert_waiting(answer.status, &answer.headers);
        }
        let said = until_closed(&mut upload).await;
        assert_eq!(status(&said), 503, "{said}");
        assert_eq!(site.edge().wait(), Some(0));
        assert!(site.log().contains("the drain limit is over"), "{}", site.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_outlasts_the_drain_over_h2_is_reset() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello, world";
    let upstream = Upstream::answering(&[cut], Duration::ZERO, Leaves::Stays);
    let mut site = upstream.site("limits: { drain: 500ms }");
    let client = Client::of(&site);
    let mut sender = h2(&client).await;
    let asked = request(Method::POST, "/cut").body(Stalled(None).boxed_unsync()).unwrap();
    let mut answer = sender.send_request(asked).await.unwrap();
    assert_eq!(answer.status(), 200);
    site.edge().signal(Signal::TERM);
    let mut came = Vec::new();
    let ended = loop {
        match answer.frame().await {
            Some(Ok(frame)) => came.extend_from_slice(&frame.into_data().unwrap()),
            Some(Err(error)) => break format!("{error:?}"),
            None => break "passed off as whole".to_owned(),
        }
    };
    assert_eq!(String::from_utf8_lossy(&came), "hello, world");
    assert!(ended.contains("Reset"), "{ended}");
    assert_eq!(site.edge().wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_goaway_names_the_last_request_and_leaves_behind_its_answer() {
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    let mut site = Site::start_with("limits: { drain: 500ms }");
    let client = Client::of(&site);
    let mut stream = client.tls(Speaks::H2).await.unwrap();
    let fields: [(&str, &[u8]); 4] =
        [(":method", b"POST"), (":scheme", b"https"), (":path", b"/xuc/lab/hang"), (":authority", FQDN.as_bytes())];
    let (headers, ends) = (1, 1 | 4);
    let asked = [frame(4, 0, 0, b""), frame(headers, ends, 1, &block(&fields))].concat();
    stream.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &asked].concat()).await.unwrap();
    stream.flush().await.unwrap();
    wait_until("it is under way", || site.main.requests() == 1);
    site.edge().signal(Signal::TERM);
    // Kind, stream, and of a GOAWAY the last stream it takes.
    let mut frames: Vec<(u8, u32, u32)> = Vec::new();
    let reading = async {
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            if stream.read_exact(&mut payload).await.is_err() {
                return;
            }
            let number = |bytes: &[u8]| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) & 0x7fff_ffff;
            let last = if head[3] == GOAWAY { number(&payload) } else { 0 };
            frames.push((head[3], number(&head[5..]), last));
            if (head[3], head[4]) == (PING, 0) {
                // Answered, as the last GOAWAY waits for it (RFC 9113 section 6.8).
                stream.write_all(&frame(PING, 1, 0, &payload)).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the connection ends");
    let goaways: Vec<u32> = frames.iter().filter(|frame| frame.0 == GOAWAY).map(|frame| frame.2).collect();
    assert_eq!(goaways.last(), Some(&1), "{frames:?}");
    assert!(goaways[..goaways.len() - 1].iter().all(|last| *last == 0x7fff_ffff), "announced first: {frames:?}");
    assert!(goaways.len() > 1, "announced first: {frames:?}");
    assert!(frames.iter().any(|(kind, stream, _)| (*kind, *stream) == (headers, 1)), "told 503: {frames:?}");
    assert_eq!(site.edge().wait(), Some(0));
}
