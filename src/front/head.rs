//! Reads the head of an HTTP/1 request (RFC 9112) under one deadline and one size, and refuses what two servers could
//! read in two ways. What it lets pass is parsed again by whoever carries it.

use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout, timeout_at};

/// Most header fields a head may have, whatever the configuration says.
pub const FIELDS: usize = 128;
/// Bytes of empty lines before a request that are forgiven (RFC 9112 section 2.2).
const LEADING: usize = 4;
/// What a connection reads at first: a browser's head fits.
const FIRST: usize = 2048;

/// What a head may use up.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Until the first byte.
    pub idle: Duration,
    /// From the first byte to the end of the head.
    pub whole: Duration,
    /// Size in bytes.
    pub bytes: usize,
    /// Header fields.
    pub fields: usize,
}

/// What kind of request a head begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ordinary request.
    Request {
        /// The head's length in bytes.
        length: usize,
        /// Whether a body follows it.
        body: Body,
    },
    /// A WebSocket upgrade (RFC 6455 section 4.1); the head's length in bytes.
    Upgrade(usize),
}

/// What body follows a head (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// None: neither `Content-Length` nor `Transfer-Encoding`, or a length of zero.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Why there is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoHead {
    /// The client left, or said nothing for as long as an idle connection may.
    Gone,
    /// The head was not complete in time.
    TooLate,
    /// The head is too large.
    TooLarge,
    /// It is not HTTP/1, or can be read in two ways.
    Malformed(&'static str),
    /// A transfer coding nobody here speaks.
    UnknownCoding,
    /// A method nobody here carries: `CONNECT` asks for a tunnel.
    Method,
}

/// Reads one head into `buf`, which then starts with it and may hold more.
pub async fn read<R: AsyncRead + Unpin>(
    stream: &mut R,
    buf: &mut BytesMut,
    limits: HeadLimits,
) -> Result<Kind, NoHead> {
    if buf.is_empty() {
        let mut first = [0; 1];
        match timeout(limits.idle, stream.read(&mut first)).await {
            Ok(Ok(1)) => {}
            _ => return Err(NoHead::Gone),
        }
        buf.reserve(FIRST);
        buf.extend_from_slice(&first);
    }
    let deadline = Instant::now() + limits.whole;
    let mut fresh = 0;
    loop {
        // Each leading line is skipped anew by every look at the head.
        if buf.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count() > LEADING {
            return Err(NoHead::Malformed("empty lines before the request"));
        }
        // A head ends with a line: bytes without one need no look.
        if buf[fresh..].contains(&b'\n')
            && let Some(kind) = inspect(buf, limits.fields)?
        {
            return Ok(kind);
        }
        if buf.len() >= limits.bytes {
            return Err(NoHead::TooLarge);
        }
        fresh = buf.len();
        if buf.capacity() == buf.len() {
            buf.reserve(FIRST.min(limits.bytes - buf.len()));
        }
        match timeout_at(deadline, stream.read_buf(buf)).await {
            Err(_) => return Err(NoHead::TooLate),
            Ok(Ok(0) | Err(_)) => return Err(NoHead::Gone),
            Ok(Ok(_)) => {}
        }
    }
}

/// Judges a head; none while it is incomplete.
fn inspect(buf: &[u8], most_fields: usize) -> Result<Option<Kind>, NoHead> {
    // Room for the most there may be, untouched where a head has fewer.
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(buf, &mut fields[..most_fields.min(FIELDS)]) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(NoHead::TooLarge),
        Err(_) => return Err(NoHead::Malformed("not an HTTP/1 request")),
    };
    judge(&request, length).map(Some)
}

fn judge(request: &httparse::Request<'_, '_>, length: usize) -> Result<Kind, NoHead> {
    if request.method == Some("CONNECT") {
        return Err(NoHead::Method);
    }
    let (mut hosts, mut lengths, mut codings) = (0, 0, 0);
    let mut announced = 0;
    let (mut upgrade, mut connection) = (false, false);
    for field in request.headers.iter() {
        let name = field.name;
        if name.eq_ignore_ascii_case("host") {
            hosts += 1;
            // RFC 9112 section 3.2.2: in absolute form the target names the host, too.
            let named = request.path.and_then(authority);
            if named.is_some_and(|named| !named.as_bytes().eq_ignore_ascii_case(field.value)) {
                return Err(NoHead::Malformed("target and Host name different hosts"));
            }
        } else if name.eq_ignore_ascii_case("content-length") {
            lengths += 1;
            let digits = std::str::from_utf8(field.value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            announced = digits
                .and_then(|digits| digits.parse().ok())
                .ok_or(NoHead::Malformed("Content-Length is not a number"))?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            codings += 1;
            if !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err(NoHead::UnknownCoding);
            }
        } else if name.eq_ignore_ascii_case("upgrade") {
            upgrade |= has_token(field.value, "websocket");
        } else if name.eq_ignore_ascii_case("connection") {
            connection |= has_token(field.value, "upgrade");
        }
    }
    let modern = request.version == Some(1);
    if hosts > 1 || (hosts == 0 && modern) {
        return Err(NoHead::Malformed("not exactly one Host"));
    }
    if lengths > 1 {
        return Err(NoHead::Malformed("more than one Content-Length"));
    }
    if codings > 1 || (codings == 1 && !modern) {
        return Err(NoHead::Malformed("Transfer-Encoding is ambiguous"));
    }
    if codings == 1 && lengths == 1 {
        return Err(NoHead::Malformed("Content-Length with Transfer-Encoding"));
    }
    let body = match (codings, announced) {
        (0, 0) => Body::None,
        (0, length) => Body::Length(length),
        _ => Body::Chunked,
    };
    match (upgrade, connection && modern && request.method == Some("GET")) {
        (false, _) => Ok(Kind::Request { length, body }),
        // RFC 6455 section 4.1: all of it, or it is no WebSocket.
        (true, false) => Err(NoHead::Malformed("half an upgrade")),
        (true, true) if body != Body::None => Err(NoHead::Malformed("an upgrade with a body")),
        (true, true) => Ok(Kind::Upgrade(length)),
    }
}

/// The authority of a target in absolute form.
fn authority(target: &str) -> Option<&str> {
    let (_, rest) = target.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '?']))?;
    rest.split(['/', '?', '#']).next()
}

/// Whether a comma-separated list holds `token`.
fn has_token(list: &[u8], token: &str) -> bool {
    list.split(|b| *b == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits =
        HeadLimits { idle: Duration::from_secs(75), whole: Duration::from_secs(10), bytes: 4096, fields: 20 };

    fn bare(head: &str) -> Result<Kind, NoHead> {
        Ok(Kind::Request { length: head.len(), body: Body::None })
    }

    async fn read_all(text: &str) -> Result<Kind, NoHead> {
        let mut buf = BytesMut::new();
        let whole = read(&mut text.as_bytes(), &mut buf, LIMITS).await;
        let (mut sender, mut receiver) = tokio::io::duplex(1);
        let owned = text.to_owned();
        let drip = tokio::spawn(async move {
            // The reader may leave early.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut sender, owned.as_bytes()).await;
        });
        let mut buf = BytesMut::new();
        let dripped = read(&mut receiver, &mut buf, LIMITS).await;
        drop(receiver);
        drip.await.unwrap();
        assert_eq!(whole, dripped, "{text}");
        whole
    }

    #[tokio::test]
    async fn a_request_is_let_pass_and_an_upgrade_recognised() {
        assert_eq!(read_all("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await, bare("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        let expected = Ok(Kind::Request { length: post.len(), body: Body::Length(3) });
        assert_eq!(read_all(&format!("{post}abc")).await, expected);
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let expected = Ok(Kind::Request { length: chunked.len(), body: Body::Chunked });
        assert_eq!(read_all(chunked).await, expected);
        let empty = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read_all(empty).await, bare(empty));
        assert_eq!(read_all("GET / HTTP/1.0\r\n\r\n").await, bare("GET / HTTP/1.0\r\n\r\n"));
        assert_eq!(
            read_all("GET https://A/b HTTP/1.1\r\nHost: a\r\n\r\n").await,
            bare("GET https://A/b HTTP/1.1\r\nHost: a\r\n\r\n")
        );
        assert_eq!(
            read_all("GET /?to=http://b/ HTTP/1.1\r\nHost: a\r\n\r\n").await,
            bare("GET /?to=http://b/ HTTP/1.1\r\nHost: a\r\n\r\n")
        );
        assert_eq!(read_all("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n").await, Err(NoHead::Method));
        let upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
        assert_eq!(read_all(upgrade).await, Ok(Kind::Upgrade(upgrade.len())));
        let h2c = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n";
        assert_eq!(read_all(h2c).await, bare(h2c));
    }

    #[tokio::test]
    async fn what_two_servers_read_in_two_ways_is_refused() {
        for head in [
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET https://b?://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "hello\r\n\r\n",
            "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ] {
            assert!(matches!(read_all(head).await, Err(NoHead::Malformed(_))), "{head}");
        }
        for coding in ["gzip", "chunked, gzip", "gzip, chunked", "xchunked", "chunked;x"] {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n");
            assert_eq!(read_all(&head).await, Err(NoHead::UnknownCoding), "{coding}");
        }
    }

    #[tokio::test]
    async fn a_large_head_is_refused_before_it_is_complete() {
        let mut endless = tokio::io::repeat(b'a');
        assert_eq!(read(&mut endless, &mut BytesMut::new(), LIMITS).await, Err(NoHead::TooLarge));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(30));
        assert_eq!(read_all(&many).await, Err(NoHead::TooLarge));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drip_ends_at_the_deadline() {
        let (mut sender, mut receiver) = tokio::io::duplex(64);
        let drip = tokio::spawn(async move {
            while tokio::io::AsyncWriteExt::write_all(&mut sender, b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let start = Instant::now();
        assert_eq!(read(&mut receiver, &mut BytesMut::new(), LIMITS).await, Err(NoHead::TooLate));
        assert_eq!(start.elapsed().as_secs(), 10);
        drop(receiver);
        drip.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_at_its_own_limit() {
        let (_sender, mut receiver) = tokio::io::duplex(64);
        assert_eq!(read(&mut receiver, &mut BytesMut::new(), LIMITS).await, Err(NoHead::Gone));
    }
}
