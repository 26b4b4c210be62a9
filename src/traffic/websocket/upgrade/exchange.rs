//! The two heads of a WebSocket upgrade (RFC 6455 section 4): what the upstream is asked, what the client is answered.

use bytes::BytesMut;
use http::{HeaderMap, StatusCode};
use probe::answer::{self, Framing, Head, NoAnswer as NoHead};
use probe::upgrade::{NotOpened, Offer};
use tokio::io::AsyncRead;

use crate::config::HostHeader;
use crate::traffic::http::forward::{ForwardedHeaders, may_pass};
use crate::traffic::http::hop;

/// Fields of a request that we write ourselves, besides those of the connection. An upgrade has no body.
fn is_ours(name: &str) -> bool {
    hop::is_of_one_connection(name) || ["host", "content-length"].iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

/// Writes the request an upstream is sent for the client's `request`, whose `Connection` names `options`.
pub(super) fn request(
    request: &httparse::Request<'_, '_>,
    options: &[&[u8]],
    target: &str,
    forwarded: &ForwardedHeaders,
    host: &HostHeader,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut line = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    };
    line(b"Host", forwarded.upstream_host(host).as_bytes());
    line(b"Connection", b"Upgrade");
    line(b"Upgrade", b"websocket");
    // Those of the connection and what the client's `Connection` names stay here (RFC 9110 section 7.6.1); what it
    // claims about itself is replaced below.
    let passes = |name: &str| !is_ours(name) && !hop::names(options, name) && may_pass(name);
    for field in request.headers.iter().filter(|field| passes(field.name)) {
        line(field.name.as_bytes(), field.value);
    }
    for (name, value) in forwarded.headers() {
        line(name.as_bytes(), value.as_bytes());
    }
    let mut head = format!("GET {target} HTTP/1.1\r\n").into_bytes();
    head.append(&mut out);
    head.extend_from_slice(b"\r\n");
    head
}

/// What an upstream answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, without those of the connection.
    pub headers: HeaderMap,
    /// How its body is framed; a 101 has none.
    pub framing: Framing,
    /// What came behind the head.
    pub rest: BytesMut,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// None came, or none that is HTTP.
    #[error(transparent)]
    Head(#[from] NoHead),
    /// A 101, but not to this upgrade: a browser would refuse it, too.
    #[error(transparent)]
    NotOpened(#[from] NotOpened),
}

/// Reads an upstream's answer to `offer`. The caller sets the time limit.
pub(super) async fn answer<R: AsyncRead + Unpin>(stream: &mut R, offer: &Offer<'_>) -> Result<Answer, NoAnswer> {
    let mut rest = BytesMut::with_capacity(1024);
    // Interim answers before the 101 are for nobody.
    let mut head = Head::read(stream, &mut rest).await?;
    let framing = answer::framing(head.status, &head.headers, false).map_err(NoHead::from)?;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        // What a browser would refuse is refused here, as 502, before the client is told that its session is open.
        offer.verify(&head)?;
    }
    for name in hop::not_for_clients(&head.headers) {
        head.headers.remove(name);
    }
    // Written anew, by the framing.
    head.headers.remove(http::header::CONTENT_LENGTH);
    Ok(Answer { status: head.status, headers: head.headers, framing, rest })
}

/// Writes the head the client is answered with.
pub(super) fn reply(answer: &Answer) -> Vec<u8> {
    let reason = answer.status.canonical_reason().unwrap_or("Unknown");
    let mut out = format!("HTTP/1.1 {} {reason}\r\n", answer.status.as_u16()).into_bytes();
    for (name, value) in &answer.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(match answer.status {
        StatusCode::SWITCHING_PROTOCOLS => b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
        // RFC 9110 section 15.5.22: it says to what.
        StatusCode::UPGRADE_REQUIRED => b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n",
        _ => b"Connection: close\r\n",
    });
    match answer.framing {
        Framing::Nothing => {}
        Framing::Length(length) => out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes()),
        // The client is of HTTP/1.1, or it could not upgrade; and sees whether it got all.
        Framing::Chunked | Framing::UntilClosed => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::logging::RequestId;

    #[test]
    fn an_upstream_is_asked_without_hostile_or_hop_by_hop_headers() {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut parsed = httparse::Request::new(&mut fields);
        let head = b"GET /cti?token=a.b.c HTTP/1.1\r\nHost: edge.example.org\r\nConnection: Upgrade, X-Evil\r\n\
            Upgrade: websocket\r\nX-Evil: of this hop\r\nTE: trailers\r\nX-Forwarded-For: 10.0.0.1\r\nSec-WebSocket-Key: abc\r\nTransfer-Encoding: chunked\r\n\r\n";
        parsed.parse(head).unwrap();
        let forwarded = ForwardedHeaders::new("192.0.2.1".parse().unwrap(), "edge.example.org", RequestId::random());
        let text = String::from_utf8(request(
            &parsed,
            &[b"Upgrade", b"x-evil"],
            "/cti?token=a.b.c",
            &forwarded,
            &HostHeader::Fqdn,
        ))
        .unwrap();
        assert!(text.starts_with("GET /cti?token=a.b.c HTTP/1.1\r\nHost: edge.example.org\r\n"), "{text}");
        assert!(text.contains("\r\nSec-WebSocket-Key: abc\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        assert!(text.contains("\r\nx-forwarded-for: 192.0.2.1\r\n") && !text.contains("10.0.0.1"), "{text}");
        assert!(!text.contains("chunked") && !text.contains("X-Evil") && !text.contains("TE:"), "{text}");
    }

    /// RFC 6455 section 1.3.
    const OFFER: Offer<'_> =
        Offer { key: b"dGhlIHNhbXBsZSBub25jZQ==", subprotocols: Vec::new(), extensions: Vec::new() };
    const ACCEPTED: &str = "HTTP/1.1 101 Switching\r\nConnection: upgrade, x-hop\r\nX-Hop: y\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    async fn answered(text: &str) -> Result<Answer, NoAnswer> {
        answer(&mut text.as_bytes(), &OFFER).await
    }

    #[tokio::test]
    async fn what_follows_a_101_is_kept_and_what_comes_before_is_passed_over() {
        for before in ["", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"] {
            let accepted = answered(&format!("{before}{ACCEPTED}frame")).await.unwrap();
            assert_eq!((accepted.status.as_u16(), &accepted.rest[..]), (101, &b"frame"[..]));
            let reply = String::from_utf8(reply(&accepted)).unwrap();
            assert!(reply.contains("sec-websocket-accept: s3p") && !reply.contains("x-hop"), "{reply}");
            assert!(reply.ends_with("Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), "{reply}");
        }
    }

    #[tokio::test]
    async fn a_refusal_says_how_long_its_body_is() {
        for (fields, expected) in [
            ("403 No\r\nContent-Length: 2\r\nContent-Length: 2\r\n", "Connection: close\r\nContent-Length: 2\r\n\r\n"),
            ("403 No\r\nTransfer-Encoding: chunked\r\n", "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"),
            ("200 Ok\r\n", "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"),
            ("204 No\r\nContent-Length: 2\r\n", "204 No Content\r\nConnection: close\r\n\r\n"),
            (
                "426 No\r\nUpgrade: h2c\r\nContent-Length: 0\r\n",
                "Connection: Upgrade, close\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
            ),
        ] {
            let refused = answered(&format!("HTTP/1.1 {fields}\r\n")).await.unwrap();
            let reply = String::from_utf8(reply(&refused)).unwrap();
            assert!(reply.ends_with(expected), "{reply}");
            assert_eq!(
                reply.to_ascii_lowercase().matches("content-length").count(),
                usize::from(expected.contains("Length"))
            );
        }
    }

    #[tokio::test]
    async fn a_broken_answer_is_an_error() {
        let foreign = ACCEPTED.replace("s3p", "x3p");
        for broken in [
            "",
            "HTTP/1.1 101 Sw",
            "hello\r\n\r\n",
            "HTTP/1.1 403 No\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 101 Switching\r\n\r\n",
            &foreign,
        ] {
            assert!(answered(broken).await.is_err(), "{broken:?}");
        }
        let mut endless = tokio::io::repeat(b'H');
        let endless = answer(&mut endless, &OFFER).await;
        assert!(matches!(endless, Err(NoAnswer::Head(NoHead::Faulty(_)))));
    }
}

#[cfg(test)]
mod fuzz;
