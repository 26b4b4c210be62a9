//! Reads the head of an HTTP/1 request (RFC 9112) under one deadline and one size, and refuses what two servers could
//! read in two ways.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Version};
use pingora::http::{IntoCaseHeaderName, RequestHeader};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::target::{self, Form, NoTarget};
use crate::config::MOST_HEAD_FIELDS;

/// Room for header fields: as many as may be configured. With less, what `check` takes would be refused here.
pub const FIELDS: usize = MOST_HEAD_FIELDS;
/// Bytes of empty lines before a request that are forgiven (RFC 9112 section 2.2).
const LEADING: usize = 4;
/// What a connection reads at first: a browser's head fits.
const FIRST: usize = 2048;

/// What a head may use up.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// From the last answer, or the handshake, to the first byte.
    pub idle: Duration,
    /// From the first byte to the end of the head.
    pub whole: Duration,
    /// Size in bytes, from the request line to the empty line.
    pub bytes: usize,
    /// Header fields.
    pub fields: usize,
}

/// A head that was read, and where in it everything is: its parts are shared, not copied, once it is a request.
#[derive(Debug)]
pub struct Head {
    /// A request with its body's framing, or an upgrade: who carries it differs.
    pub kind: Kind,
    /// The client would send another request on this connection (RFC 9112 section 9.3).
    pub keeps_alive: bool,
    version: Version,
    method: Range<usize>,
    target: Range<usize>,
    fields: Vec<(Range<usize>, Range<usize>)>,
}

impl Head {
    /// The request, with its fields' names written as they came, of the bytes this head was read from.
    ///
    /// # Errors
    /// The target or a field cannot be told in the library's types.
    pub fn request(self, head: &Bytes) -> Result<RequestHeader, NoHead> {
        const UNREADABLE: NoHead = NoHead::Malformed("not an HTTP/1 request");
        let mut request = RequestHeader::build(&head[self.method], &head[self.target], Some(self.fields.len()))
            .map_err(|_| NoHead::Target)?;
        request.set_version(self.version);
        for (name, value) in self.fields {
            let value = HeaderValue::from_maybe_shared(head.slice(value)).map_err(|_| UNREADABLE)?;
            request.append_header(head.slice(name).into_case_header_name(), value).map_err(|_| UNREADABLE)?;
        }
        Ok(request)
    }
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
    /// The head has more bytes, or more fields, than it may have.
    TooLarge,
    /// What came is not HTTP/1, or can be read in two ways.
    Malformed(&'static str),
    /// A transfer coding nobody here speaks.
    UnknownCoding,
    /// A target that is neither a path nor a URL of the web.
    Target,
    /// A method nobody here carries: `CONNECT` asks for a tunnel.
    Method,
}

/// Waits for the first byte of a head, unless `buf` has it already.
///
/// # Errors
/// The client left, or said nothing for `idle`.
pub async fn begin<R: AsyncRead + Unpin>(stream: &mut R, buf: &mut BytesMut, idle: Duration) -> Result<(), NoHead> {
    if buf.is_empty() {
        // One byte: a kept connection that waits for its next request holds no buffer for it.
        let mut first = [0; 1];
        match timeout(idle, stream.read(&mut first)).await {
            Ok(Ok(1)) => {}
            _ => return Err(NoHead::Gone),
        }
        buf.reserve(FIRST);
        buf.extend_from_slice(&first);
    }
    Ok(())
}

/// Reads one head into `buf`, which then starts with it and may hold more.
///
/// The head is in one form then: its target is a path of bytes a URI may hold, its `Host` what the client asked for.
///
/// # Errors
/// Why there is no head, and what the client is answered: too slow, too large, ambiguous, or gone.
pub async fn read<R: AsyncRead + Unpin>(
    stream: &mut R,
    buf: &mut BytesMut,
    limits: HeadLimits,
) -> Result<Head, NoHead> {
    begin(stream, buf, limits.idle).await?;
    let mut has_line = false;
    // For the whole head. A limit for each read is what slow clients live on: one byte at a time, a head lasts for ever
    // (Slowloris).
    let deadline = Instant::now() + limits.whole;
    let mut fresh = 0;
    loop {
        // Each leading line is skipped anew by every look at the head.
        if buf.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count() > LEADING {
            return Err(NoHead::Malformed("empty lines before the request"));
        }
        // A head ends with a line: bytes without one need no look.
        if buf[fresh..].contains(&b'\n') {
            if !has_line {
                // Once, when the first line is whole, and before the parser sees it, which refuses what is encoded
                // here.
                has_line = target::encode(buf);
            }
            match inspect(buf, limits.fields)? {
                Some(Inspected::Head(head)) => return Ok(head),
                Some(Inspected::Rewritten { length, instead }) => {
                    // Judged again in the new form, so that there is no rule for absolute form that the other lacks. It
                    // is in origin form then, so this happens once.
                    let rest = buf.split_off(length);
                    buf.clear();
                    buf.extend_from_slice(&instead);
                    buf.extend_from_slice(&rest);
                    fresh = 0;
                    continue;
                }
                None => {}
            }
        }
        // Behind the look: a head that is whole passes, however much of its body came with it.
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

enum Inspected {
    /// The head can be read in one way only.
    Head(Head),
    /// The head came in absolute form: the same in origin form, to be read in the place of its `length` bytes.
    Rewritten { length: usize, instead: Vec<u8> },
}

/// Judges a head; none while it is incomplete.
fn inspect(buf: &[u8], most_fields: usize) -> Result<Option<Inspected>, NoHead> {
    // Room for the most there may be, untouched where a head has fewer.
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(buf, &mut fields[..most_fields.min(FIELDS)]) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(NoHead::TooLarge),
        Err(_) => return Err(NoHead::Malformed("not an HTTP/1 request")),
    };
    // Before the target's form: CONNECT has a form of its own, and is to be told as what it is.
    let (kind, keeps_alive) = judge(&request, length)?;
    let target = request.path.unwrap_or_default();
    match target::form(target) {
        Ok(Form::Origin) => {}
        Ok(Form::Absolute { authority, rest }) => {
            let instead = in_origin_form(&request, authority, rest);
            return Ok(Some(Inspected::Rewritten { length, instead }));
        }
        Err(NoTarget::TooLong) => return Err(NoHead::TooLarge),
        Err(NoTarget::NotHttp) => return Err(NoHead::Target),
    }
    let fields = request.headers.iter();
    Ok(Some(Inspected::Head(Head {
        kind,
        keeps_alive,
        version: if request.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 },
        method: place(buf, request.method.unwrap_or_default().as_bytes()),
        target: place(buf, target.as_bytes()),
        fields: fields.map(|field| (place(buf, field.name.as_bytes()), place(buf, field.value))).collect(),
    })))
}

/// Where in `whole` its `part` is; an empty one may be nowhere.
fn place(whole: &[u8], part: &[u8]) -> Range<usize> {
    if part.is_empty() {
        return 0..0;
    }
    let start = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
    start..start + part.len()
}

/// The head anew, for one that came in absolute form.
fn in_origin_form(request: &httparse::Request<'_, '_>, authority: &str, rest: &str) -> Vec<u8> {
    let method = request.method.unwrap_or_default();
    let target = match rest {
        // RFC 9112 section 3.2.4.
        "" if method == "OPTIONS" => "*".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    let minor = request.version.unwrap_or(1);
    let mut head = format!("{method} {target} HTTP/1.{minor}\r\nHost: {authority}\r\n").into_bytes();
    for field in request.headers.iter().filter(|field| !field.name.eq_ignore_ascii_case("host")) {
        for part in [field.name.as_bytes(), b": ", field.value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// What a head begins, and whether the connection may go on behind it.
fn judge(request: &httparse::Request<'_, '_>, length: usize) -> Result<(Kind, bool), NoHead> {
    if request.method == Some("CONNECT") {
        return Err(NoHead::Method);
    }
    let (mut hosts, mut lengths, mut codings) = (0, 0, 0);
    let mut announced = 0;
    let (mut upgrade, mut connection) = (false, false);
    let (mut close, mut keep_alive) = (false, false);
    for field in request.headers.iter() {
        let name = field.name;
        if name.eq_ignore_ascii_case("host") {
            hosts += 1;
            // Some read a user name in front of the host as part of it, others skip it: the two would route
            // differently.
            if field.value.contains(&b'@') {
                return Err(NoHead::Malformed("Host with a user name"));
            }
        } else if name.eq_ignore_ascii_case("content-length") {
            lengths += 1;
            announced = length_of(field.value)?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            codings += 1;
            // Whoever skips a coding that they do not know guesses where the body ends (RFC 9112 section 6.1).
            if !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err(NoHead::UnknownCoding);
            }
        } else if name.eq_ignore_ascii_case("upgrade") {
            // Any other protocol is ignored (RFC 9110 section 7.8 lets a server do so), and the request carried without
            // it.
            upgrade |= has_token(field.value, "websocket");
        } else if name.eq_ignore_ascii_case("connection") {
            connection |= has_token(field.value, "upgrade");
            close |= has_token(field.value, "close");
            keep_alive |= has_token(field.value, "keep-alive");
        }
    }
    let modern = request.version == Some(1);
    // RFC 9112 section 3.2 asks for 400 in both cases. With two, the route would be one server's and the answer
    // another's.
    if hosts > 1 || (hosts == 0 && modern) {
        return Err(NoHead::Malformed("not exactly one Host"));
    }
    // Equal ones, too: RFC 9110 section 8.6 leaves it to each recipient to refuse or to fold them.
    if lengths > 1 {
        return Err(NoHead::Malformed("more than one Content-Length"));
    }
    // A message of HTTP/1.0 with chunks counts as faulty, since those before us may not have read them (RFC 9112
    // section 6.1).
    if codings > 1 || (codings == 1 && !modern) {
        return Err(NoHead::Malformed("Transfer-Encoding is ambiguous"));
    }
    // What one takes for the body is the next request to another: request smuggling (RFC 9112 section 11.2).
    if codings == 1 && lengths == 1 {
        return Err(NoHead::Malformed("Content-Length with Transfer-Encoding"));
    }
    let body = match (codings, announced) {
        (0, 0) => Body::None,
        (0, length) => Body::Length(length),
        _ => Body::Chunked,
    };
    let kind = match (upgrade, connection && modern && request.method == Some("GET")) {
        (false, _) => Kind::Request { length, body },
        // RFC 6455 section 4.1: all of it, or it is no WebSocket.
        (true, false) => return Err(NoHead::Malformed("half an upgrade")),
        // What follows the head is frames to one reader and a body to the other.
        (true, true) if body != Body::None => return Err(NoHead::Malformed("an upgrade with a body")),
        (true, true) => Kind::Upgrade(length),
    };
    Ok((kind, !close && (modern || keep_alive)))
}

/// A `Content-Length`: digits alone, and no more than anybody behind can count.
fn length_of(value: &[u8]) -> Result<u64, NoHead> {
    // Rust's own parser takes a sign; and servers that count in 63 bits are met behind the Edge.
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok()).filter(|length| i64::try_from(*length).is_ok());
    length.ok_or(NoHead::Malformed("Content-Length is not a number"))
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

    async fn read<R: AsyncRead + Unpin>(
        stream: &mut R,
        buf: &mut BytesMut,
        limits: HeadLimits,
    ) -> Result<Kind, NoHead> {
        super::read(stream, buf, limits).await.map(|head| head.kind)
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
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
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
    async fn a_head_has_one_form_when_it_was_read() {
        for (sent, expected) in [
            ("GET https://A/b HTTP/1.1\r\nHost: c\r\nX: y\r\n\r\n", "GET /b HTTP/1.1\r\nHost: A\r\nX: y\r\n\r\n"),
            ("GET http://a:80?b HTTP/1.0\r\n\r\n", "GET /?b HTTP/1.0\r\nHost: a\r\n\r\n"),
            ("GET https://b?://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?://a/ HTTP/1.1\r\nHost: b\r\n\r\n"),
            ("OPTIONS https://a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("GET /é?\"<> HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%C3%A9?%22%3C%3E HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("GET https://a/` HTTP/1.1\nHost: a\n\n", "GET /%60 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ] {
            let mut buf = BytesMut::new();
            let kind = read(&mut format!("{sent}more").as_bytes(), &mut buf, LIMITS).await;
            assert_eq!(kind, bare(expected), "{sent}");
            assert_eq!(buf, format!("{expected}more").as_bytes(), "{sent}");
            assert_eq!(read_all(sent).await, bare(expected), "{sent}");
        }
        for target in ["javascript://a/", "ftp://a/", "a", "?b", "https://u@a/", "http:/a"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(read_all(&head).await, Err(NoHead::Target), "{target}");
        }
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(70_000));
        let roomy = HeadLimits { bytes: 1 << 20, ..LIMITS };
        assert_eq!(read(&mut long.as_bytes(), &mut BytesMut::new(), roomy).await, Err(NoHead::TooLarge));
    }

    #[tokio::test]
    async fn a_request_is_the_head_as_it_came() {
        let sent = "\r\nPUT /a?b HTTP/1.1\r\nhoSt:  a \r\nX-Empty:\r\nX-Latin: caf\u{e9}\r\nx-latin: 2\r\n\r\n";
        let mut buf = BytesMut::new();
        let head = super::read(&mut sent.as_bytes(), &mut buf, LIMITS).await.unwrap();
        let request = head.request(&buf.freeze()).unwrap();
        assert_eq!((request.method.as_str(), request.raw_path()), ("PUT", &b"/a?b"[..]));
        assert_eq!(request.version, Version::HTTP_11);
        let mut fields = Vec::new();
        request.header_to_h1_wire(&mut fields);
        assert_eq!(String::from_utf8_lossy(&fields), "hoSt: a\r\nX-Empty: \r\nX-Latin: caf\u{e9}\r\nx-latin: 2\r\n");
    }

    #[tokio::test]
    async fn a_connection_goes_on_as_the_client_says() {
        for (version, fields, goes_on) in [
            (1, "", true),
            (1, "Connection: keep-alive\r\n", true),
            (1, "Connection: x, Close\r\n", false),
            (1, "Connection: keep-alive\r\nConnection: close\r\n", false),
            (0, "", false),
            (0, "Connection: Keep-Alive\r\n", true),
        ] {
            let sent = format!("GET / HTTP/1.{version}\r\nHost: a\r\n{fields}\r\n");
            let head = super::read(&mut sent.as_bytes(), &mut BytesMut::new(), LIMITS).await.unwrap();
            assert_eq!(head.keeps_alive, goes_on, "{sent}");
        }
    }

    #[tokio::test]
    async fn a_body_of_no_bytes_is_none() {
        let upgrade =
            "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read_all(upgrade).await, Ok(Kind::Upgrade(upgrade.len())));
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 00\r\n\r\n";
        assert_eq!(read_all(post).await, bare(post));
    }

    #[tokio::test]
    async fn a_large_head_is_refused_before_it_is_complete() {
        let mut endless = tokio::io::repeat(b'a');
        assert_eq!(read(&mut endless, &mut BytesMut::new(), LIMITS).await, Err(NoHead::TooLarge));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(30));
        assert_eq!(read_all(&many).await, Err(NoHead::TooLarge));
    }

    #[tokio::test]
    async fn a_head_may_have_as_many_fields_as_may_be_configured() {
        let limits = HeadLimits { fields: MOST_HEAD_FIELDS, ..LIMITS };
        let head = |fields: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(fields - 1));
        for fields in [129, MOST_HEAD_FIELDS] {
            let head = head(fields);
            assert_eq!(read(&mut head.as_bytes(), &mut BytesMut::new(), limits).await, bare(&head), "{fields}");
        }
        let more = head(MOST_HEAD_FIELDS + 1);
        assert_eq!(read(&mut more.as_bytes(), &mut BytesMut::new(), limits).await, Err(NoHead::TooLarge));
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

#[cfg(test)]
mod fuzz;
