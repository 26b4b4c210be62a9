//! The time limit covers all of it, and a probe that is given up leaves nothing half open.

use std::time::Duration;

use probe::{Check, Exchange, FailureKind, HttpCheck, Kind, Phase, SipCheck, SipTransport, WebSocketCheck};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::interval;

use crate::http::get;
use crate::server::{
    Authority, SHORT, assert_answers, assert_fails, assert_silent_at_the_limit, drain, failure, named, read_head, run,
    serve, silent,
};
use crate::websocket::open;

fn tls_check() -> probe::tls::Tls {
    named(&Authority::new().trust(), "cc.example.org", &[])
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_is_silent_at_the_limit() {
    let target = silent().await;
    let Kind::Http(http) = get("/") else { unreachable!() };
    let kinds = [
        (Phase::Tls, Kind::Tls(tls_check())),
        (Phase::Answer, Kind::Http(http.clone())),
        (Phase::Tls, Kind::Http(HttpCheck { tls: Some(tls_check()), ..http })),
        (Phase::Answer, open(Exchange::Nothing)),
        (Phase::Answer, Kind::Sip(SipCheck::new(SipTransport::Tcp))),
        (Phase::Tls, Kind::Sip(SipCheck::new(SipTransport::Tls(tls_check())))),
    ];
    for (phase, kind) in kinds {
        let report = run(target, SHORT, kind).await;
        assert_silent_at_the_limit(&report, phase, SHORT);
        assert_fails(&report, FailureKind::Silent, phase, "no answer within 250ms");
    }
}

#[tokio::test]
async fn a_udp_server_that_never_answers_is_silent_at_the_limit() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let report = run(server.local_addr().unwrap(), SHORT, Kind::Sip(SipCheck::new(SipTransport::Udp))).await;
    assert_silent_at_the_limit(&report, Phase::Answer, SHORT);
}

#[tokio::test]
async fn a_host_that_drops_our_syn_is_silent_while_connecting() {
    // A listener whose queue is full: Linux then ignores further SYNs, as a black-holed host does.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let target = listener.local_addr().unwrap();
    let mut held = Vec::new();
    let report = loop {
        let report = run(target, SHORT, Kind::Tcp).await;
        if !report.is_up() || held.len() > 8 {
            break report;
        }
        held.push(tokio::time::timeout(SHORT, TcpSocket::new_v4().unwrap().connect(target)).await);
    };
    assert_silent_at_the_limit(&report, Phase::Connect, SHORT);
}

#[tokio::test]
async fn an_answer_that_drips_is_measured_as_a_whole() {
    let answers: [(&'static [u8], Kind); 4] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", get("/")),
        (b"HTTP/1.1 200 OK\r\n\r\nhello, this body ends when the connection does", get("/")),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n", open(Exchange::Nothing)),
        (
            b"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK\r\n",
            Kind::Sip(SipCheck::new(SipTransport::Tcp)),
        ),
    ];
    for (answer, kind) in answers {
        let target = serve(move |mut stream| async move {
            read_head(&mut stream).await;
            let mut drip = interval(Duration::from_millis(50));
            for byte in answer {
                drip.tick().await;
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        })
        .await;
        let report = run(target, SHORT, kind).await;
        assert_silent_at_the_limit(&report, Phase::Answer, SHORT);
        assert!(report.timings.first_byte.unwrap() < SHORT);
    }
}

#[tokio::test]
async fn a_body_that_drips_for_ever_is_silent_too() {
    let target = serve(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let mut drip = interval(Duration::from_millis(5));
        while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
            drip.tick().await;
        }
    })
    .await;
    assert_silent_at_the_limit(&run(target, SHORT, get("/")).await, Phase::Answer, SHORT);
}

#[tokio::test]
async fn a_probe_that_gave_up_resets_its_connection() {
    let (sender, mut ends) = mpsc::unbounded_channel();
    let target = serve(move |mut stream| {
        let ends = sender.clone();
        async move {
            let mut buffer = [0; 1024];
            let end = loop {
                match stream.read(&mut buffer).await {
                    Ok(1..) => {}
                    end => break end,
                }
            };
            ends.send(end).unwrap();
        }
    })
    .await;
    assert!(!run(target, SHORT, get("/")).await.is_up());
    assert_eq!(ends.recv().await.unwrap().unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_probe_may_be_dropped_at_any_moment_and_closes_its_socket() {
    let (sender, mut events) = mpsc::unbounded_channel();
    let target = serve(move |mut stream| {
        let events = sender.clone();
        async move {
            stream.read_u8().await.unwrap();
            events.send("asked").unwrap();
            drain(&mut stream).await;
            events.send("gone").unwrap();
        }
    })
    .await;
    let check = Check::new(target, crate::server::AMPLE, get("/"));
    tokio::select! {
        report = check.run() => panic!("{report:?}"),
        event = events.recv() => assert_eq!(event, Some("asked")),
    }
    assert_eq!(events.recv().await, Some("gone"));
}

#[tokio::test]
async fn a_prober_that_stood_still_blames_itself() {
    let target = silent().await;
    // The test's runtime has one thread: whoever blocks it stops the probe's clock from being read.
    let stall = tokio::spawn(async { std::thread::sleep(Duration::from_millis(400)) });
    let report = Check::new(target, Duration::from_millis(50), get("/")).run().await;
    stall.await.unwrap();
    assert_fails(&report, FailureKind::Local, Phase::Answer, "stood still");
}

#[tokio::test]
async fn an_answer_that_arrived_while_the_prober_stood_still_counts() {
    let target = crate::server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let stall = async { std::thread::sleep(Duration::from_millis(200)) };
    let (report, ()) = tokio::join!(run(target, crate::server::AMPLE, get("/")), stall);
    assert_answers(&report, "HTTP 200");
}

#[tokio::test]
async fn a_limit_of_nothing_fails_at_once_and_one_without_end_is_no_accident() {
    let target = silent().await;
    assert_eq!(failure(&run(target, Duration::ZERO, get("/")).await).kind, FailureKind::Silent);
    assert_answers(&run(target, Duration::MAX, Kind::Tcp).await, "connected");
}

#[tokio::test]
async fn many_probes_run_at_once() {
    let target = crate::server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let probes: Vec<_> = (0..200).map(|_| tokio::spawn(run(target, crate::server::AMPLE, get("/")))).collect();
    for probe in probes {
        assert_answers(&probe.await.unwrap(), "HTTP 200");
    }
}

#[test]
fn a_check_can_be_shared_between_threads() {
    fn shareable<T: Send + Sync + Clone + 'static>() {}
    fn sendable<T: Send>(_: T) {}
    shareable::<Check>();
    shareable::<WebSocketCheck>();
    let check = Check::new("127.0.0.1:1".parse().unwrap(), SHORT, Kind::Tcp);
    sendable(check.run());
}
