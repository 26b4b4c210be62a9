//! WebSockets: the upgrade, a sign of life, an orderly end.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use http::uri::{Authority as Host, PathAndQuery};
use probe::{Exchange, FailureKind, Kind, Phase, WebSocketCheck};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::{accept_async, accept_hdr_async};

use crate::server::{
    AMPLE, Authority, SHORT, answering, assert_answers, assert_fails, assert_silent_at_the_limit, drain, failure,
    named, read_head, run, serve,
};

fn check(exchange: Exchange) -> WebSocketCheck {
    let path = PathAndQuery::from_static("/xuc/api/2.0/cti?token=secret");
    WebSocketCheck { exchange, ..WebSocketCheck::new(path, Host::from_static("cc.example.org")) }
}

pub(crate) fn open(exchange: Exchange) -> Kind {
    Kind::WebSocket(check(exchange))
}

fn echo(text: &str) -> Kind {
    open(Exchange::Echo(text.to_owned()))
}

/// Greets, echoes, answers pings, and tells how it ended.
async fn echo_server(stream: impl AsyncRead + AsyncWrite + Unpin) -> &'static str {
    let Ok(mut socket) = accept_async(stream).await else { return "no handshake" };
    let _ = socket.send(Message::text("hello")).await;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(_) => socket.send(message).await.unwrap(),
            Message::Close(_) => return "closed in order",
            _ => {}
        }
    }
    "broke off"
}

async fn echoing() -> SocketAddr {
    serve(|stream| async move {
        echo_server(stream).await;
    })
    .await
}

/// Completes the upgrade by hand, so that what follows can be anything.
async fn after_upgrade(bytes: Vec<u8>) -> SocketAddr {
    serve(move |mut stream| {
        let bytes = bytes.clone();
        async move {
            let request = read_head(&mut stream).await;
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let accept = derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.write_all(&bytes).await;
            drain(&mut stream).await;
        }
    })
    .await
}

#[tokio::test]
async fn an_open_websocket_is_up() {
    let target = echoing().await;
    assert_answers(&run(target, AMPLE, open(Exchange::Nothing)).await, "WebSocket open");
    assert_answers(&run(target, AMPLE, open(Exchange::Ping)).await, "WebSocket answers pings");
    let report = run(target, AMPLE, echo("are you there?")).await;
    assert_answers(&report, "WebSocket echoes");
    assert!(report.timings.first_byte.is_some());
}

#[tokio::test]
async fn the_probe_closes_in_order() {
    let (sender, mut ends) = mpsc::unbounded_channel();
    let target = serve(move |stream| {
        let ends = sender.clone();
        async move { ends.send(echo_server(stream).await).unwrap() }
    })
    .await;
    for exchange in [Exchange::Nothing, Exchange::Ping, Exchange::Echo("x".into())] {
        assert!(run(target, AMPLE, open(exchange)).await.is_up());
        assert_eq!(ends.recv().await, Some("closed in order"));
    }
}

#[tokio::test]
async fn it_works_over_tls() {
    let authority = Authority::new();
    let acceptor = authority.issue("cc.example.org", -1, 30).acceptor();
    let target = serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                echo_server(stream).await;
            }
        }
    })
    .await;
    let tls = named(&authority.trust(), "cc.example.org", probe::tls::ALPN_HTTP1);
    let report = run(target, AMPLE, Kind::WebSocket(check(Exchange::Ping).over(tls))).await;
    assert_answers(&report, "WebSocket answers pings");
    assert!(report.certificate.is_some());
}

#[tokio::test]
async fn a_target_that_passed_but_never_says_goodbye_is_up_in_time() {
    let target = after_upgrade(Vec::new()).await;
    let report = run(target, AMPLE, open(Exchange::Nothing)).await;
    assert_answers(&report, "WebSocket open");
    // Even if the limit strikes first.
    let report = run(target, std::time::Duration::from_millis(60), open(Exchange::Nothing)).await;
    assert_answers(&report, "WebSocket open");
}

#[tokio::test]
async fn a_proxy_in_front_of_a_dead_server_does_not_answer_pings() {
    let target = after_upgrade(Vec::new()).await;
    assert_silent_at_the_limit(&run(target, SHORT, open(Exchange::Ping)).await, Phase::Answer, SHORT);
    assert_silent_at_the_limit(&run(target, SHORT, echo("x")).await, Phase::Answer, SHORT);
}

#[tokio::test]
async fn a_wrong_accept_key_is_wrong() {
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    for accept in ["", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"] {
        let target = answering(format!("{upgrade}{accept}\r\n")).await;
        let report = run(target, AMPLE, open(Exchange::Nothing)).await;
        assert_fails(&report, FailureKind::Wrong, Phase::Answer, "Sec-WebSocket-Accept does not match");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_upgrade_is_wrong_and_named() {
    let table = [
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
            FailureKind::Status(403),
            "HTTP 403 instead of a WebSocket",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", FailureKind::Status(200), "HTTP 200 instead of a WebSocket"),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n", FailureKind::Wrong, "Upgrade"),
        ("nonsense\r\n\r\n", FailureKind::Wrong, ""),
    ];
    for (answer, kind, words) in table {
        let report = run(answering(answer).await, AMPLE, open(Exchange::Nothing)).await;
        assert_fails(&report, kind, Phase::Answer, words);
        assert!(!report.detail().contains("secret"));
    }
}

#[tokio::test]
async fn an_upgrade_that_breaks_off_is_a_reset() {
    for answer in ["", "HTTP/1.1 101 Switching Proto"] {
        let report = run(answering(answer).await, AMPLE, open(Exchange::Nothing)).await;
        assert_fails(&report, FailureKind::Reset, Phase::Answer, "closed before");
    }
}

#[tokio::test]
async fn a_server_must_agree_to_the_subprotocol() {
    let sip = || WebSocketCheck { subprotocol: Some(HeaderValue::from_static("sip")), ..check(Exchange::Nothing) };
    let report = run(echoing().await, AMPLE, Kind::WebSocket(sip())).await;
    assert_fails(&report, FailureKind::Wrong, Phase::Answer, "does not agree to the subprotocol");
    let agreeing = serve(|stream| async move {
        use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
        #[allow(clippy::result_large_err, reason = "the library's own signature")]
        let agree = |request: &Request, mut response: Response| {
            let asked = request.headers().get("sec-websocket-protocol").cloned().unwrap();
            response.headers_mut().insert("sec-websocket-protocol", asked);
            Ok(response)
        };
        if let Ok(mut socket) = accept_hdr_async(stream, agree).await {
            while let Some(Ok(_)) = socket.next().await {}
        }
    })
    .await;
    assert_answers(&run(agreeing, AMPLE, Kind::WebSocket(sip())).await, "WebSocket open");
}

#[tokio::test]
async fn a_server_that_closes_or_babbles_instead_of_answering_is_wrong() {
    let closing = after_upgrade(vec![0x88, 2, 0x03, 0xf4]).await;
    assert_fails(
        &run(closing, AMPLE, open(Exchange::Ping)).await,
        FailureKind::Wrong,
        Phase::Answer,
        "closed instead of answering",
    );
    let babbling = after_upgrade([0x81, 1, b'x'].repeat(1000)).await;
    assert_fails(&run(babbling, AMPLE, echo("y")).await, FailureKind::Wrong, Phase::Answer, "none of them the answer");
}

#[tokio::test]
async fn hostile_frames_are_wrong_and_never_kept() {
    let table: [(&str, Vec<u8>); 6] = [
        ("a frame of 2^63 bytes", vec![0x81, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("a frame of 100 KiB", [&[0x82, 127, 0, 0, 0, 0, 0, 1, 0x90, 0][..], &[0; 0x19000]].concat()),
        (
            "fragments without end",
            [vec![0x02, 126, 0x80, 0], vec![0; 0x8000], [&[0x00, 126, 0x80, 0][..], &[0; 0x8000]].concat().repeat(4)]
                .concat(),
        ),
        ("reserved bits", vec![0xf1, 0]),
        ("a masked frame", vec![0x81, 0x81, 1, 2, 3, 4, b'x']),
        ("text that is not UTF-8", vec![0x81, 2, 0xff, 0xff]),
    ];
    for (what, frames) in table {
        let report = run(after_upgrade(frames).await, AMPLE, open(Exchange::Ping)).await;
        assert_eq!(failure(&report).kind, FailureKind::Wrong, "{what}: {}", report.detail());
    }
}

#[tokio::test]
async fn an_upgrade_that_traffic_takes_is_taken() {
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    for head in ["X: folded\r\n here\r\n", "X : y\r\n", "Connection: keep-alive\r\n", &many] {
        let head = head.to_owned();
        let target = serve(move |mut stream| {
            let head = head.clone();
            async move {
                let request = read_head(&mut stream).await;
                let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
                let accept = derive_accept_key(key.as_bytes());
                let answer = format!(
                    "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n{head}Upgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
                drain(&mut stream).await;
            }
        })
        .await;
        assert_answers(&run(target, AMPLE, open(Exchange::Nothing)).await, "WebSocket open");
    }
}

#[tokio::test]
async fn upgrade_headers_without_end_are_given_up() {
    let target = serve(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n").await;
        while stream.write_all(&b"X-Flood: yes\r\n".repeat(1000)).await.is_ok() {}
    })
    .await;
    let report = run(target, AMPLE, open(Exchange::Nothing)).await;
    assert_fails(&report, FailureKind::Wrong, Phase::Answer, "headers are too large");
}
