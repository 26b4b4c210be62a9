//! TCP: is the connection accepted, and is it gone without a trace?

use std::collections::BTreeSet;
use std::net::SocketAddr;

use probe::{Check, FailureKind, Kind, Phase};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::server::{AMPLE, answering, assert_answers, assert_fails, closed, run, serve, silent};

#[tokio::test]
async fn a_listening_port_is_up() {
    let report = run(silent().await, AMPLE, Kind::Tcp).await;
    assert_answers(&report, "connected");
    assert!(report.timings.connect.is_some() && report.timings.first_byte.is_none());
}

#[tokio::test]
async fn a_closed_port_is_refused_at_once() {
    let report = run(closed().await, AMPLE, Kind::Tcp).await;
    assert_fails(&report, FailureKind::Refused, Phase::Connect, "connection refused");
    assert!(report.timings.connect.is_none() && report.timings.total < AMPLE);
}

#[tokio::test]
async fn an_address_without_a_route_is_unreachable() {
    // TCP to the broadcast address: the kernel itself says that there is no way.
    let report = run("255.255.255.255:1".parse().unwrap(), AMPLE, Kind::Tcp).await;
    assert_fails(&report, FailureKind::Unreachable, Phase::Connect, "unreachable");
}

#[tokio::test]
async fn a_check_asks_from_the_address_it_was_given() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = "127.0.0.2".parse().unwrap();
    let check = Check { source: Some(source), ..Check::new(listener.local_addr().unwrap(), AMPLE, Kind::Tcp) };
    let (report, accepted) = tokio::join!(check.run(), listener.accept());
    assert_answers(&report, "connected");
    assert_eq!(accepted.unwrap().1.ip(), source);
}

#[tokio::test]
async fn a_source_address_that_is_not_ours_is_local_trouble() {
    let check = Check { source: Some("192.0.2.1".parse().unwrap()), ..Check::new(silent().await, AMPLE, Kind::Tcp) };
    assert_fails(&check.run().await, FailureKind::Local, Phase::Connect, "cannot bind the source address: 192.0.2.1");
}

#[tokio::test]
async fn a_probe_that_ended_leaves_no_time_wait_behind() {
    let (done, mut ended) = mpsc::unbounded_channel();
    let target = serve(move |mut stream| {
        let done = done.clone();
        async move {
            done.send(stream.read(&mut [0; 16]).await).unwrap();
        }
    })
    .await;
    // The port may have had another life just before.
    let before = time_waits_towards(target);
    assert_answers(&run(target, AMPLE, Kind::Tcp).await, "connected");
    let seen = ended.recv().await.unwrap();
    assert_eq!(seen.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(time_waits_towards(target).is_subset(&before));
}

#[tokio::test]
async fn an_http_probe_leaves_no_time_wait_behind_whoever_closes_first() {
    use crate::http::get;
    let closes_first = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let before = time_waits_towards(closes_first);
    assert_answers(&run(closes_first, AMPLE, get("/")).await, "HTTP 200");
    assert!(time_waits_towards(closes_first).is_subset(&before));
}

/// This host's `TIME_WAIT` sockets whose remote end is `target` (IPv4), as `local remote`.
fn time_waits_towards(target: SocketAddr) -> BTreeSet<String> {
    let port = format!(":{:04X}", target.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table
        .lines()
        .skip(1)
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[2].ends_with(&port) && fields[3] == "06")
        .map(|fields| fields[1..3].join(" "))
        .collect()
}
