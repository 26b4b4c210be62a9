//! HTTP: answers in every framing, and answers that will not do.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::uri::{Authority as Host, PathAndQuery};
use probe::{BodyExpectation, FailureKind, HttpCheck, Kind, Phase, StatusSet};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::server::{
    AMPLE, Authority, answering, assert_answers, assert_fails, drain, failure, named, read_head, run, serve,
};

fn check(path: &'static str) -> HttpCheck {
    HttpCheck::get(PathAndQuery::from_static(path), Host::from_static("cc.example.org"))
}

pub(crate) fn get(path: &'static str) -> Kind {
    Kind::Http(check(path))
}

fn json_below_500() -> Kind {
    let status = "below 500".parse::<StatusSet>().unwrap();
    Kind::Http(check("/xuc/api/2.0/auth/check").expecting(status).expecting_body(BodyExpectation::Json))
}

fn containing(text: &'static str) -> Kind {
    Kind::Http(check("/").expecting_body(BodyExpectation::Contains(Bytes::from_static(text.as_bytes()))))
}

#[tokio::test]
async fn an_answer_is_read_in_every_framing() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nit works",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nit \r\n5;x=y\r\nworks\r\n0\r\nTrailer: t\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nit works",
        "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nit works",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nit works",
    ];
    for answer in answers {
        let report = run(answering(answer).await, AMPLE, containing("works")).await;
        assert_answers(&report, "HTTP 200");
        assert!(report.timings.first_byte.is_some() && report.certificate.is_none());
    }
}

#[tokio::test]
async fn an_answer_of_known_length_is_not_waited_for_beyond_its_end() {
    let target = serve(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        drain(&mut stream).await;
    })
    .await;
    assert_answers(&run(target, AMPLE, get("/")).await, "HTTP 200");
}

#[tokio::test]
async fn answers_without_a_body_need_none() {
    assert_answers(&run(answering("HTTP/1.1 204 No Content\r\n\r\n").await, AMPLE, get("/")).await, "HTTP 204");
    let head = Kind::Http(HttpCheck { method: http::Method::HEAD, ..check("/") });
    let target = answering("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await;
    assert_answers(&run(target, AMPLE, head).await, "HTTP 200");
}

#[tokio::test]
async fn the_request_is_the_one_that_was_asked_for() {
    let (sender, mut requests) = mpsc::unbounded_channel();
    let target = serve(move |mut stream| {
        let requests = sender.clone();
        async move {
            requests.send(read_head(&mut stream).await).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let mut check = check("/xuc/api/2.0/auth/check?a=b");
    check.headers.insert("user-agent", HeaderValue::from_static("me"));
    check.headers.insert("host", HeaderValue::from_static("elsewhere"));
    check.headers.insert("x-forwarded-for", HeaderValue::from_static("10.0.0.1"));
    assert_answers(&run(target, AMPLE, Kind::Http(check)).await, "HTTP 200");
    let request = requests.recv().await.unwrap().to_ascii_lowercase();
    assert!(request.starts_with("get /xuc/api/2.0/auth/check?a=b http/1.1\r\n"), "{request}");
    for line in ["host: cc.example.org", "connection: close", "user-agent: me", "x-forwarded-for: 10.0.0.1"] {
        assert_eq!(request.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {request}");
    }
    assert!(!request.contains("elsewhere") && !request.contains("bascule-probe"), "{request}");
}

#[tokio::test]
async fn an_answer_that_traffic_takes_is_taken() {
    let fields: String = (0..250).map(|n| format!("X-{n}: y\r\n")).collect();
    let large = format!("X: {}\r\n", "y".repeat(100_000));
    for head in ["X: folded\r\n here\r\n", "X : y\r\n", "Content-Length: 8\r\n", "X: caf\u{e9}\r\n", &fields, &large] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}Content-Length: 8\r\n\r\nit works");
        let report = run(answering(answer).await, AMPLE, containing("works")).await;
        assert_eq!(report.result.as_deref(), Ok("HTTP 200"), "{head:.100}");
    }
}

#[tokio::test]
async fn a_change_of_protocol_that_was_not_asked_for_is_wrong() {
    let target = answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").await;
    let any = Kind::Http(check("/").expecting("100-599".parse().unwrap()));
    assert_fails(&run(target, AMPLE, any).await, FailureKind::Wrong, Phase::Answer, "no upgrade was asked for");
}

#[tokio::test]
async fn a_status_outside_the_set_is_wrong_and_named() {
    let target = answering("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    assert_fails(
        &run(target, AMPLE, get("/")).await,
        FailureKind::Status(503),
        Phase::Answer,
        "HTTP 503 (expected 200-299)",
    );
    assert_fails(
        &run(target, AMPLE, json_below_500()).await,
        FailureKind::Status(503),
        Phase::Answer,
        "expected below 500",
    );
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let target = answering("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n").await;
    assert_fails(&run(target, AMPLE, get("/")).await, FailureKind::Status(302), Phase::Answer, "HTTP 302");
    let expected = Kind::Http(check("/").expecting(StatusSet::only(302)));
    assert_answers(&run(target, AMPLE, expected).await, "HTTP 302");
}

#[tokio::test]
async fn a_cc_works_when_it_refuses_a_token_in_json() {
    let json = answering("HTTP/1.1 401 Unauthorized\r\nContent-Length: 20\r\n\r\n{\"error\": \"NoToken\"}").await;
    assert_answers(&run(json, AMPLE, json_below_500()).await, "HTTP 401");
    let html = answering("HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\n<html></html>").await;
    let report = run(html, AMPLE, json_below_500()).await;
    assert_fails(&report, FailureKind::Wrong, Phase::Answer, "HTTP 404, but the body is not JSON (line 1, column 1)");
    let empty = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_fails(
        &run(empty, AMPLE, json_below_500()).await,
        FailureKind::Wrong,
        Phase::Answer,
        "is empty instead of JSON",
    );
}

#[tokio::test]
async fn a_text_that_is_missing_from_the_body_is_wrong() {
    let target = answering("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nsomehow").await;
    assert_answers(&run(target, AMPLE, containing("some")).await, "HTTP 200");
    assert_fails(
        &run(target, AMPLE, containing("works")).await,
        FailureKind::Wrong,
        Phase::Answer,
        "lacks the expected text",
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_reset() {
    let answers = [
        "",
        "HTTP/1.1 20",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ];
    for answer in answers {
        let report = run(answering(answer).await, AMPLE, get("/")).await;
        assert_fails(&report, FailureKind::Reset, Phase::Answer, "closed before the answer was complete");
    }
}

#[tokio::test]
async fn a_connection_that_is_reset_in_the_middle_is_a_reset() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"] {
        let target = serve(move |mut stream| async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            stream.set_zero_linger().unwrap();
        })
        .await;
        let report = run(target, AMPLE, get("/")).await;
        assert_fails(&report, FailureKind::Reset, Phase::Answer, "connection reset");
    }
}

#[tokio::test]
async fn what_is_not_http_is_wrong() {
    let answers: [&[u8]; 6] = [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ];
    for answer in answers {
        let report = run(answering(answer).await, AMPLE, get("/")).await;
        assert_eq!(failure(&report).kind, FailureKind::Wrong, "{answer:?}: {}", report.detail());
    }
}

#[tokio::test]
async fn a_server_that_speaks_first_does_not_speak_http() {
    let target = serve(|mut stream| async move {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        drain(&mut stream).await;
    })
    .await;
    assert_fails(&run(target, AMPLE, get("/")).await, FailureKind::Wrong, Phase::Answer, "not an HTTP/1.1 answer");
}

#[tokio::test]
async fn headers_without_end_are_given_up() {
    let floods: [&'static [u8]; 3] = [b"X-Flood: yes\r\n", b"x", b"\r\n"];
    for flood in floods {
        let target = serve(move |mut stream| async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX:").await;
            while stream.write_all(&flood.repeat(1000)).await.is_ok() {}
        })
        .await;
        // The last flood is a header's end and then a body of line breaks, which is cut at its limit.
        let report = run(target, AMPLE, containing("nothing of the sort")).await;
        assert_eq!(failure(&report).kind, FailureKind::Wrong, "{}", report.detail());
    }
}

#[tokio::test]
async fn a_huge_body_is_cut_at_its_limit() {
    let endless = || {
        serve(|mut stream| async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nit works").await;
            while stream.write_all(&[b' '; 8192]).await.is_ok() {}
        })
    };
    assert_answers(&run(endless().await, AMPLE, get("/")).await, "HTTP 200");
    assert_answers(&run(endless().await, AMPLE, containing("works")).await, "HTTP 200");
    let report = run(endless().await, AMPLE, containing("absent")).await;
    assert_fails(&report, FailureKind::Wrong, Phase::Answer, "lacks the expected text in its first 65536 bytes");
    assert_fails(
        &run(endless().await, AMPLE, json_below_500()).await,
        FailureKind::Wrong,
        Phase::Answer,
        "longer than 65536",
    );
    let none = Kind::Http(HttpCheck { body_limit: 0, ..check("/") });
    assert_answers(&run(endless().await, AMPLE, none).await, "HTTP 200");
}

#[tokio::test]
async fn https_works_and_reports_its_certificate() {
    let authority = Authority::new();
    let acceptor = authority.issue("cc.example.org", -1, 30).acceptor();
    let target = serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    let tls = named(&authority.trust(), "cc.example.org", probe::tls::ALPN_HTTP1);
    let report = run(target, AMPLE, Kind::Http(check("/").over(tls))).await;
    assert_answers(&report, "HTTP 200");
    assert!(report.timings.tls.is_some() && report.timings.first_byte.is_some());
    assert_eq!(report.certificate.unwrap().days_to_expiry, 30);
}

#[tokio::test]
async fn a_plain_server_on_a_tls_port_fails_in_its_handshake() {
    let plain = serve(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        drain(&mut stream).await;
    })
    .await;
    let tls = named(&Authority::new().trust(), "cc.example.org", &[]);
    let report = run(plain, AMPLE, Kind::Http(check("/").over(tls))).await;
    assert_fails(&report, FailureKind::Tls, Phase::Tls, "not TLS");
}

#[tokio::test]
async fn no_failure_repeats_what_the_request_held() {
    let answers = [
        "",
        "secret",
        "HTTP/1.1 500 secret\r\n\r\n",
        "HTTP/1.1 200 secret\r\nsecret: secret\r\nContent-Length: 6\r\n\r\nsecret",
        "HTTP/1.1 302 Found\r\nLocation: /?token=secret\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: secret\r\n\r\nsecret",
    ];
    let mut asking = check("/cti?token=secret").expecting_body(BodyExpectation::Json);
    asking.headers.insert("authorization", HeaderValue::from_static("Bearer secret"));
    asking.body = Bytes::from_static(b"secret");
    let asking = Arc::new(asking);
    for answer in answers {
        let report = run(answering(answer).await, AMPLE, Kind::Http(HttpCheck::clone(&asking))).await;
        assert!(!report.is_up() && !format!("{report:?}").contains("secret"), "{report:?}");
    }
}
