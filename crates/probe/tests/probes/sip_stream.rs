//! SIP over TCP and TLS: the answer may come in any pieces, after anything.

use std::net::SocketAddr;

use probe::{FailureKind, Kind, Phase, SipCheck, SipTransport};
use tokio::io::AsyncWriteExt;

use crate::server::{
    AMPLE, Authority, SHORT, answering, assert_answers, assert_fails, closed, drain, failure, named, read_head, run,
    serve,
};
use crate::sip_udp::reply;

fn options() -> Kind {
    Kind::Sip(SipCheck::new(SipTransport::Tcp))
}

/// Sends what `answer` makes of the request, in pieces of `size` bytes, and keeps the connection.
async fn server(size: usize, answer: impl Fn(&str) -> String + Send + Sync + Clone + 'static) -> SocketAddr {
    serve(move |mut stream| {
        let answer = answer.clone();
        async move {
            stream.set_nodelay(true).unwrap();
            let request = read_head(&mut stream).await;
            for piece in answer(&request).as_bytes().chunks(size) {
                if stream.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            drain(&mut stream).await;
        }
    })
    .await
}

#[tokio::test]
async fn an_answer_is_read_byte_by_byte() {
    for size in [1, 2, 3, 7, 100_000] {
        let target = server(size, |request| reply(request, "200 OK")).await;
        assert_answers(&run(target, AMPLE, options()).await, "SIP 200");
    }
}

#[tokio::test]
async fn what_comes_before_the_answer_is_skipped_body_and_all() {
    let before = |request: &str| {
        let trying = reply(request, "100 Trying").replace("Content-Length: 0", "l: 40")
            + &"SIP/2.0 503 In A Body\r\n\r\n".repeat(2)[..40];
        let theirs = "OPTIONS sip:probe SIP/2.0\r\nCall-ID: theirs\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
        let other = reply(request, "503 Not Yours").replace("Call-ID: ", "Call-ID: x");
        format!("\r\n\r\n{trying}{theirs}\r\n{other}{}", reply(request, "404 Not Found"))
    };
    for size in [1, 5, 100_000] {
        assert_answers(&run(server(size, before).await, AMPLE, options()).await, "SIP 404");
    }
}

#[tokio::test]
async fn it_works_over_tls() {
    let authority = Authority::new();
    let acceptor = authority.issue("10.0.0.11", -1, 30).acceptor();
    let target = serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let request = read_head(&mut stream).await;
            assert!(request.contains("Via: SIP/2.0/TLS 127.0.0.1:"), "{request}");
            let _ = stream.write_all(reply(&request, "200 OK").as_bytes()).await;
            let _ = stream.flush().await;
            drain(&mut stream).await;
        }
    })
    .await;
    let tls = named(&authority.trust(), "10.0.0.11", &[]);
    let report = run(target, AMPLE, Kind::Sip(SipCheck::new(SipTransport::Tls(tls)))).await;
    assert_answers(&report, "SIP 200");
    assert!(report.certificate.is_some());
}

#[tokio::test]
async fn a_closed_port_is_refused_and_an_answer_that_breaks_off_is_a_reset() {
    assert_fails(&run(closed().await, AMPLE, options()).await, FailureKind::Refused, Phase::Connect, "refused");
    for answer in ["", "SIP/2.0 200 OK\r\nVia: "] {
        let report = run(answering(answer).await, AMPLE, options()).await;
        assert_fails(&report, FailureKind::Reset, Phase::Answer, "closed before");
    }
}

#[tokio::test]
async fn what_is_not_sip_is_wrong() {
    let table = [
        ("HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(), "its first line is not SIP's"),
        ("SIP/2.0 200 OK\r\nContent-Length: -1\r\n\r\n".to_owned(), "Content-Length is invalid"),
        ("SIP/2.0 100 Trying\r\nContent-Length: 4000000000\r\n\r\n".to_owned(), "a body of 4000000000 bytes"),
        (format!("SIP/2.0 200 OK\r\n{}", "X: y\r\n".repeat(10_000)), "its head is larger than 16384 bytes"),
        ("x".repeat(1_000_000), "its head is larger than 16384 bytes"),
    ];
    for (answer, words) in table {
        let target = server(100_000, move |_| answer.clone()).await;
        assert_fails(&run(target, AMPLE, options()).await, FailureKind::Wrong, Phase::Answer, words);
    }
}

#[tokio::test]
async fn messages_without_end_are_given_up() {
    let target =
        server(100_000, |request| reply(request, "200 OK").replace("Call-ID: ", "Call-ID: x").repeat(1000)).await;
    assert_fails(&run(target, AMPLE, options()).await, FailureKind::Wrong, Phase::Answer, "64 messages arrived");
    let target = server(100_000, |request| reply(request, "200 OK").replace("Call-ID: ", "Call-ID: x")).await;
    let report = run(target, SHORT, options()).await;
    assert_eq!(failure(&report).kind, FailureKind::Wrong);
    assert!(report.timings.total >= SHORT);
}
