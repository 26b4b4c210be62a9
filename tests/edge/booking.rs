//! Whoever lets a request fail is booked with it: a side that hangs, breaks off or refuses, not the Edge that tells of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use http::Method;
use socket2::SockRef;

use crate::client::Client;
use crate::raw::{say, status};
use crate::site::{FQDN, Site, free_ports, wait_until};

/// An upstream that fails each request in the way its path names.
fn misbehaving() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || misbehave(&stream));
        }
    });
    address
}

fn misbehave(mut stream: &TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(1) = stream.read(&mut byte) else { return };
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let way = head.split(' ').nth(1).and_then(|target| target.rsplit('/').next()).unwrap_or_default();
    let said: &[u8] = match way {
        "hangs" => {
            let _ = stream.read_to_end(&mut Vec::new());
            return;
        }
        "before" => b"",
        "head" => b"HTTP/1.1 200 OK\r\nContent-Le",
        "body" => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
        "wrong" => b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        // Kept, it would end under the next request.
        _ => b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    };
    let _ = stream.write_all(said);
    // What was written arrives before the reset does.
    std::thread::sleep(Duration::from_millis(50));
    if way != "well" {
        SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Main's `odd` misbehaves and its `gone` refuses; both are checked where Main is well, so that traffic stays.
fn site() -> Site {
    let mut site = Site::prepare("");
    let (odd, [gone], well) = (misbehaving(), free_ports::<1>(), site.main.address.port());
    let check = format!("{{ checks: [ {{ http: {{ path: /version, port: {well} }} }} ] }}");
    // On a busy machine a probe may fail: nothing moves for it.
    site.extra = "observe: true\nswitch: { park_limit: 3s }\n\
        routes:\n  - { path: /odd, service: odd, response_limit: 3s, websocket: true }\n  \
        - { path: /gone, service: gone }\n"
        .to_owned();
    let config = site.config();
    let config = config.replace("main: {", &format!("main: {{ odd: 'http://{odd}', gone: 'http://{gone}',"));
    let config = config.replace("services:\n", &format!("services:\n  odd: {check}\n  gone: {check}\n"));
    site.write_config(&config);
    site.start_edge();
    site
}

fn requests(site: &Site, route: &str, side: &str, code: &str) -> f64 {
    site.metric(&format!("bascule_requests_total{{code=\"{code}\",route=\"{route}\",side=\"{side}\"}}"))
}

#[tokio::test]
async fn a_side_that_hangs_breaks_off_or_refuses_is_booked_with_it_and_the_edge_is_not() {
    let site = site();
    let client = Client::of(&site);
    let failures = |kind: &str| {
        site.metric(&format!("bascule_upstream_answer_failures_total{{kind=\"{kind}\",service=\"odd\",side=\"main\"}}"))
    };
    assert_eq!(client.send(Method::POST, "/odd/well", "").await.unwrap().status, 200);
    for (way, expected, kind) in
        [("hangs", 504, "silent"), ("before", 502, "lost"), ("head", 502, "lost"), ("wrong", 502, "wrong")]
    {
        let (booked, failed) = (requests(&site, "/odd", "main", "5xx"), failures(kind));
        assert_eq!(client.send(Method::POST, &format!("/odd/{way}"), "").await.unwrap().status, expected, "{way}");
        wait_until(&format!("Main is booked with it: {way}"), || {
            requests(&site, "/odd", "main", "5xx") == booked + 1.0
        });
        assert_eq!(failures(kind), failed + 1.0, "{way}");
    }
    // The head of the answer was well, and is all that can be said of it by its status.
    let well = requests(&site, "/odd", "main", "2xx");
    assert!(client.send(Method::POST, "/odd/body", "").await.is_err());
    wait_until("Main is booked with an answer that broke off", || failures("cut") == 1.0);
    wait_until("it is counted", || requests(&site, "/odd", "main", "2xx") == well + 1.0);
    // A handshake is sent again as any GET is, and each attempt is a failure.
    let (lost, booked) = (failures("lost"), requests(&site, "/odd", "main", "5xx"));
    let upgrade = format!(
        "GET /odd/before HTTP/1.1\r\nHost: {FQDN}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    assert_eq!(status(&say(&client, upgrade.as_bytes()).await), 502);
    wait_until("Main is booked with the handshake", || requests(&site, "/odd", "main", "5xx") == booked + 1.0);
    assert_eq!(failures("lost"), lost + 3.0);
    assert_eq!(requests(&site, "/odd", "edge", "5xx"), 0.0, "{}", site.metrics_text());
}

#[tokio::test]
async fn a_refusing_side_is_booked_with_the_request_and_the_time_parked_stands_apart() {
    let site = site();
    let client = Client::of(&site);
    let took = || site.metric("bascule_request_duration_seconds_sum{side=\"main\"}");
    let before = took();
    assert_eq!(client.get("/gone").await.unwrap().status, 503);
    wait_until("Main is booked with it", || requests(&site, "/gone", "main", "5xx") == 1.0);
    assert_eq!(requests(&site, "/gone", "edge", "5xx"), 0.0);
    let refused = "bascule_upstream_connect_failures_total{kind=\"refused\",service=\"gone\",side=\"main\"}";
    assert!(site.metric(refused) >= 2.0, "{}", site.metrics_text());
    assert_eq!(site.metric("bascule_parked_seconds_count"), 1.0);
    let parked = site.metric("bascule_parked_seconds_sum");
    assert!((2.5..60.0).contains(&parked), "parked for {parked} s");
    assert!(took() - before < 2.0, "the time parked is Main's: {} s", took() - before);
    wait_until("it has a line", || site.access_log().contains("/gone"));
    let line = site.access_log().lines().last().unwrap().to_owned();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(line["parked_ms"].as_f64().unwrap() >= 2500.0, "{line}");
}
