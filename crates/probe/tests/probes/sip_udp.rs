//! SIP over UDP: retransmissions, replies that are not ours, and ICMP.

use std::net::SocketAddr;
use std::time::Duration;

use probe::{Check, FailureKind, Kind, Phase, SipCheck, SipTransport, StatusSet};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::server::{AMPLE, SHORT, assert_answers, assert_fails, assert_silent_at_the_limit, run};

fn options() -> Kind {
    Kind::Sip(SipCheck::new(SipTransport::Udp))
}

/// Mirrors what a response must take over from its request (RFC 3261, 8.2.6).
pub(crate) fn reply(request: &str, status: &str) -> String {
    let mirrored: String = request
        .split("\r\n")
        .filter(|line| ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)))
        .map(|line| format!("{line}\r\n"))
        .collect();
    format!("SIP/2.0 {status}\r\n{mirrored}Content-Length: 0\r\n\r\n")
}

/// Answers the n-th datagram (from 0) with whatever `replies` makes of it.
async fn server(replies: impl Fn(usize, &str) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        for number in 0.. {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            for reply in replies(number, std::str::from_utf8(&buffer[..length]).unwrap()) {
                let _ = socket.send_to(&reply, peer).await;
            }
        }
    });
    address
}

#[tokio::test]
async fn every_final_response_below_500_is_alive() {
    for status in ["200 OK", "401 Unauthorized", "404 Not Found", "405 Method Not Allowed", "302 Moved"] {
        let target = server(move |_, request| vec![reply(request, status).into_bytes()]).await;
        let report = run(target, AMPLE, options()).await;
        assert_answers(&report, &format!("SIP {}", &status[..3]));
        assert!(report.timings.first_byte.is_some() && report.timings.connect.is_none());
    }
}

#[tokio::test]
async fn a_server_that_admits_a_failure_is_wrong() {
    for status in ["500 Internal Error", "503 Service Unavailable", "603 Decline"] {
        let kind = FailureKind::Status(status[..3].parse().unwrap());
        let target = server(move |_, request| vec![reply(request, status).into_bytes()]).await;
        let words = format!("SIP {} (expected below 500)", &status[..3]);
        assert_fails(&run(target, AMPLE, options()).await, kind, Phase::Answer, &words);
    }
    let target = server(|_, request| vec![reply(request, "404 Not Found").into_bytes()]).await;
    let strict = Kind::Sip(SipCheck { status: StatusSet::success(), ..SipCheck::new(SipTransport::Udp) });
    assert_fails(
        &run(target, AMPLE, strict).await,
        FailureKind::Status(404),
        Phase::Answer,
        "SIP 404 (expected 200-299)",
    );
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_refused_by_icmp() {
    let target = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_fails(&run(target, AMPLE, options()).await, FailureKind::Refused, Phase::Answer, "connection refused");
}

#[tokio::test]
async fn lost_datagrams_are_sent_again_within_the_limit() {
    let target =
        server(|number, request| if number < 2 { Vec::new() } else { vec![reply(request, "200 OK").into_bytes()] })
            .await;
    assert_answers(&run(target, Duration::from_secs(4), options()).await, "SIP 200");
}

#[tokio::test]
async fn a_retransmission_is_the_same_request() {
    let (sender, mut requests) = mpsc::unbounded_channel();
    let target = server(move |_, request| {
        sender.send(request.to_owned()).unwrap();
        Vec::new()
    })
    .await;
    // Sent again after a quarter of a second, and after three.
    let limit = Duration::from_secs(2);
    assert_silent_at_the_limit(&run(target, limit, options()).await, Phase::Answer, limit);
    let first = requests.recv().await.unwrap();
    assert_eq!(requests.recv().await.unwrap(), first);
    assert!(first.contains(&format!("\r\nTo: <sip:{target}>\r\n")), "{first}");
}

#[tokio::test]
async fn a_provisional_response_is_not_an_answer_but_the_final_one_after_it_is() {
    let both = server(|_, request| vec![reply(request, "100 Trying").into(), reply(request, "200 OK").into()]).await;
    assert_answers(&run(both, AMPLE, options()).await, "SIP 200");
    let only = server(|_, request| vec![reply(request, "183 Progress").into()]).await;
    let report = run(only, SHORT, options()).await;
    assert_silent_at_the_limit(&report, Phase::Answer, SHORT);
    assert!(report.detail().contains("SIP 183, but no final response"), "{}", report.detail());
}

#[tokio::test]
async fn replies_to_somebody_else_are_skipped() {
    let replies = |request: &str| {
        let ours = reply(request, "503 Not Yours");
        vec![
            ours.replace("Call-ID: ", "Call-ID: x"),
            ours.replace("branch=z9hG4bK", "branch=z9hG4bKx"),
            ours.replace(" OPTIONS\r\n", " REGISTER\r\n"),
            ours.replace("CSeq: ", "CSeq: 1"),
            ours.replace("Via:", "Via: SIP/2.0/UDP other;branch=z9hG4bKother\r\nVia:"),
            request.to_owned(),
            String::new(),
            "\r\n\r\n".to_owned(),
            "\0".repeat(1400),
            ours[..ours.len() / 2].to_owned(),
        ]
    };
    let then_ours = server(move |_, request| {
        let garbage = replies(request).into_iter().map(String::into_bytes);
        garbage.chain([reply(request, "200 OK").into_bytes()]).collect()
    })
    .await;
    assert_answers(&run(then_ours, AMPLE, options()).await, "SIP 200");
}

#[tokio::test]
async fn garbage_alone_is_wrong_at_the_limit_and_a_flood_of_it_at_once() {
    let garbage = server(|_, _| vec![b"what?".to_vec()]).await;
    let report = run(garbage, SHORT, options()).await;
    assert_fails(&report, FailureKind::Wrong, Phase::Answer, "none of them an answer to this OPTIONS");
    assert!(report.timings.total >= SHORT);
    let flood = server(|_, _| vec![b"what?".to_vec(); 64]).await;
    let report = run(flood, AMPLE, options()).await;
    assert_fails(&report, FailureKind::Wrong, Phase::Answer, "64 messages arrived");
}

#[tokio::test]
async fn a_huge_datagram_is_cut_and_still_answers() {
    let target = server(|_, request| vec![(reply(request, "200 OK") + &"x".repeat(60_000)).into_bytes()]).await;
    assert_answers(&run(target, AMPLE, options()).await, "SIP 200");
}

#[tokio::test]
async fn a_reply_from_another_address_is_not_heard() {
    let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = target.local_addr().unwrap();
    tokio::spawn(async move {
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut buffer = [0; 2048];
        loop {
            let (length, peer) = target.recv_from(&mut buffer).await.unwrap();
            let answer = reply(std::str::from_utf8(&buffer[..length]).unwrap(), "200 OK");
            let _ = stranger.send_to(answer.as_bytes(), peer).await;
        }
    });
    assert_silent_at_the_limit(&run(address, SHORT, options()).await, Phase::Answer, SHORT);
}

#[tokio::test]
async fn a_check_asks_from_the_address_it_was_given_and_says_so() {
    let (sender, mut requests) = mpsc::unbounded_channel();
    let target = server(move |_, request| {
        sender.send(request.to_owned()).unwrap();
        vec![reply(request, "200 OK").into_bytes()]
    })
    .await;
    let check = Check { source: Some("127.0.0.3".parse().unwrap()), ..Check::new(target, AMPLE, options()) };
    assert_answers(&check.run().await, "SIP 200");
    let request = requests.recv().await.unwrap();
    assert!(request.contains("\r\nVia: SIP/2.0/UDP 127.0.0.3:") && request.contains(";rport;"), "{request}");
}
