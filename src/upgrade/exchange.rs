//! The two heads of a WebSocket upgrade (RFC 6455 section 4): what the upstream is asked, what the client is answered.

use std::io;

use bytes::{Buf, BytesMut};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::config::HostHeader;
use crate::front::head::FIELDS;
use crate::proxy::forward::{Said, may_pass};

/// Largest head an upstream may answer with.
const ANSWER_HEAD: usize = 16 * 1024;
/// Largest body of a refusal that is passed on.
const ANSWER_BODY: usize = 64 * 1024;

/// Headers that concern one connection alone (RFC 9110 section 7.6.1), or that we write ourselves.
const OURS: [&str; 12] = [
    "host",
    "connection",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "content-length",
    "http2-settings",
];

fn is_ours(name: &str) -> bool {
    OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

/// Writes the request an upstream is sent for the client's `request`.
pub(super) fn request(request: &httparse::Request<'_, '_>, target: &str, said: &Said, host: &HostHeader) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut line = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    };
    line(b"Host", said.upstream_host(host).as_bytes());
    line(b"Connection", b"Upgrade");
    line(b"Upgrade", b"websocket");
    for field in request.headers.iter().filter(|field| !is_ours(field.name) && may_pass(field.name)) {
        line(field.name.as_bytes(), field.value);
    }
    for (name, value) in said.headers() {
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
    /// Its headers, without those of the connection.
    pub headers: HeaderMap,
    /// For a 101: what came behind the head. Else: the body, when it is small and its length known.
    pub rest: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// The connection broke.
    #[error("the upstream broke off: {0}")]
    Broken(#[from] io::Error),
    /// Not HTTP/1, or too large.
    #[error("the upstream's answer is not HTTP: {0}")]
    Malformed(&'static str),
}

/// Reads an upstream's answer. The caller sets the time limit.
pub(super) async fn answer<R: AsyncRead + Unpin>(stream: &mut R) -> Result<Answer, NoAnswer> {
    let mut buf = BytesMut::with_capacity(1024);
    loop {
        let Some((length, status, headers, announced)) = parse(&buf)? else {
            if buf.len() > ANSWER_HEAD {
                return Err(NoAnswer::Malformed("head too large"));
            }
            if stream.read_buf(&mut buf).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            continue;
        };
        buf.advance(length);
        // 1xx before the 101 are for nobody.
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            continue;
        }
        let mut rest = buf.to_vec();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let wanted = announced.filter(|length| *length <= ANSWER_BODY).unwrap_or(0);
            rest.truncate(wanted);
            let missing = wanted - rest.len();
            let from = rest.len();
            rest.resize(wanted, 0);
            if missing > 0 {
                stream.read_exact(&mut rest[from..]).await?;
            }
        }
        return Ok(Answer { status, headers, rest });
    }
}

type Parsed = (usize, StatusCode, HeaderMap, Option<usize>);

fn parse(buf: &[u8]) -> Result<Option<Parsed>, NoAnswer> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(buf) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(NoAnswer::Malformed("unparseable head")),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(NoAnswer::Malformed("no status"))?;
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    let mut announced = None;
    for field in response.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            announced = std::str::from_utf8(field.value).ok().and_then(|text| text.trim().parse().ok());
        }
        if is_ours(field.name) {
            continue;
        }
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    Ok(Some((length, status, headers, announced)))
}

/// Writes the head (and body) the client is answered with.
pub(super) fn reply(answer: &Answer) -> Vec<u8> {
    let mut out =
        format!("HTTP/1.1 {} {}\r\n", answer.status.as_u16(), answer.status.canonical_reason().unwrap_or("Unknown"))
            .into_bytes();
    for (name, value) in &answer.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    } else {
        out.extend_from_slice(format!("Connection: close\r\nContent-Length: {}\r\n\r\n", answer.rest.len()).as_bytes());
        out.extend_from_slice(&answer.rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::RequestId;

    #[test]
    fn an_upstream_is_asked_without_hostile_or_hop_by_hop_headers() {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut parsed = httparse::Request::new(&mut fields);
        let head = b"GET /cti?token=a.b.c HTTP/1.1\r\nHost: edge.example.org\r\nConnection: Upgrade, X-Evil\r\n\
            Upgrade: websocket\r\nX-Forwarded-For: 10.0.0.1\r\nSec-WebSocket-Key: abc\r\nTransfer-Encoding: chunked\r\n\r\n";
        parsed.parse(head).unwrap();
        let said = Said::new("192.0.2.1".parse().unwrap(), "edge.example.org", RequestId::random());
        let text = String::from_utf8(request(&parsed, "/cti?token=a.b.c", &said, &HostHeader::Fqdn)).unwrap();
        assert!(text.starts_with("GET /cti?token=a.b.c HTTP/1.1\r\nHost: edge.example.org\r\n"), "{text}");
        assert!(text.contains("\r\nSec-WebSocket-Key: abc\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        assert!(text.contains("\r\nx-forwarded-for: 192.0.2.1\r\n") && !text.contains("10.0.0.1"), "{text}");
        assert!(!text.contains("chunked") && !text.contains("X-Evil"), "{text}");
    }

    #[tokio::test]
    async fn an_answer_is_read_whole_and_what_follows_a_101_is_kept() {
        let mut stream: &[u8] =
            b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nframe";
        let accepted = answer(&mut stream).await.unwrap();
        assert_eq!((accepted.status.as_u16(), &accepted.rest[..]), (101, &b"frame"[..]));
        assert!(!accepted.headers.contains_key("connection"));
        let mut stream: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nnomore";
        let refused = answer(&mut stream).await.unwrap();
        assert_eq!((refused.status.as_u16(), &refused.rest[..]), (403, &b"no"[..]));
        assert!(String::from_utf8(reply(&refused)).unwrap().ends_with("Content-Length: 2\r\n\r\nno"));
    }

    #[tokio::test]
    async fn what_comes_before_the_101_is_passed_over() {
        let mut stream: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching\r\n\r\nframe";
        let accepted = answer(&mut stream).await.unwrap();
        assert_eq!((accepted.status.as_u16(), &accepted.rest[..]), (101, &b"frame"[..]));
    }

    #[tokio::test]
    async fn a_broken_answer_is_an_error() {
        for broken in
            [&b""[..], b"HTTP/1.1 101 Sw", b"hello\r\n\r\n", b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nno"]
        {
            assert!(answer(&mut &broken[..]).await.is_err(), "{broken:?}");
        }
        let mut endless = tokio::io::repeat(b'H');
        assert!(matches!(answer(&mut endless).await, Err(NoAnswer::Malformed(_))));
    }
}
