//! The HTTP/1.1 check: one request, and is the answer the expected one? Redirects are answers, not directions.

use std::fmt::{self, Debug};
use std::io;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, USER_AGENT};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::de::IgnoredAny;
use tokio::io::AsyncWriteExt;

use crate::answer::{self, Faulty, Head, NoAnswer};
use crate::failure::Failure;
use crate::status::StatusSet;
use crate::tls::Tls;
use crate::wire::Wire;

const DEFAULT_BODY_LIMIT: usize = 64 * 1024;

/// One request and what must come back.
#[derive(Clone)]
pub struct HttpCheck {
    /// The method; `GET` unless there is a reason.
    pub method: Method,
    /// What to ask for, with its query.
    pub path: PathAndQuery,
    /// The `Host` header, with the port if it is not the scheme's own.
    pub host: Authority,
    /// Further headers; they may replace `User-Agent`, but not `Host` and `Connection`.
    pub headers: HeaderMap,
    /// The request's body, mostly empty.
    pub body: Bytes,
    /// The statuses that count as working.
    pub status: StatusSet,
    /// What the answer's body must be; all of them.
    pub expect: Vec<BodyExpectation>,
    /// How much of the answer's body is read, in bytes; 64 KiB unless changed.
    pub body_limit: usize,
    /// The TLS below it, for `https`; none: in the clear.
    pub tls: Option<Tls>,
}

/// What an answer's body must be.
#[derive(Clone, PartialEq, Eq)]
pub enum BodyExpectation {
    /// The body contains these bytes somewhere.
    Contains(Bytes),
    /// It is one JSON value, whichever. (An error page of a proxy in between is not.)
    Json,
}

impl HttpCheck {
    /// `GET path`, any success (2xx), any body, no TLS.
    #[must_use]
    pub fn get(path: PathAndQuery, host: Authority) -> Self {
        Self {
            method: Method::GET,
            path,
            host,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            status: StatusSet::success(),
            expect: Vec::new(),
            body_limit: DEFAULT_BODY_LIMIT,
            tls: None,
        }
    }

    /// Replaces the statuses that count as working.
    #[must_use]
    pub fn expecting(self, status: StatusSet) -> Self {
        Self { status, ..self }
    }

    /// Adds an expectation about the body.
    #[must_use]
    pub fn expecting_body(mut self, expectation: BodyExpectation) -> Self {
        self.expect.push(expectation);
        self
    }

    /// Asks over TLS, under these rules of trust.
    #[must_use]
    pub fn over(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// The request as it is sent.
    fn request(&self) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static("bascule-probe"));
        for name in self.headers.keys() {
            headers.remove(name);
        }
        headers.extend(self.headers.clone());
        headers.insert(HOST, host_header(&self.host));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        // The body is whole: no other framing may be said.
        headers.remove(TRANSFER_ENCODING);
        headers.remove(CONTENT_LENGTH);
        // A server may wait for the length of a body that such a method announces (RFC 9110 section 8.6).
        if !self.body.is_empty() || matches!(self.method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        }
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        write_fields(&mut out, &headers);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        out
    }
}

/// Writes the fields of a request.
pub(crate) fn write_fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
}

impl Debug for HttpCheck {
    /// Leaves out the query, header values and body: they may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCheck")
            .field("method", &self.method)
            .field("path", &self.path.path())
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("status", &self.status)
            .field("expect", &self.expect)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Debug for BodyExpectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contains(bytes) => write!(f, "Contains({} bytes)", bytes.len()),
            Self::Json => f.write_str("Json"),
        }
    }
}

/// Without the `user:password@` an authority may carry: it never belongs into `Host`.
pub(crate) fn host_header(authority: &Authority) -> HeaderValue {
    let text = authority.as_str();
    let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
    HeaderValue::from_str(text).expect("an authority is visible ASCII")
}

pub(crate) async fn ask(check: &HttpCheck, mut wire: Wire) -> Result<String, Failure> {
    let outcome = exchange(check, &mut wire).await;
    wire.end_tls().await;
    outcome
}

async fn exchange(check: &HttpCheck, wire: &mut Wire) -> Result<String, Failure> {
    let asked = check.request();
    // What refuses a request's end may have answered its beginning.
    let sent = send(wire, &asked).await;
    let mut buf = BytesMut::new();
    let head = match (Head::read(wire, &mut buf).await, sent) {
        (Ok(head), _) => head,
        (Err(_), Err(error)) => return Err(Failure::of_io(&error)),
        (Err(error), Ok(())) => return Err(failure(&error)),
    };
    let status = head.status.as_u16();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(failure(&Faulty::Unasked101.into()));
    }
    // The status alone decides against it: the body of an error page need not be read.
    if !check.status.contains(status) {
        return Err(Failure::status(status, format_args!("HTTP {status} (expected {})", check.status)));
    }
    let framing = answer::framing(head.status, &head.headers, check.method == Method::HEAD);
    let framing = framing.map_err(|faulty| failure(&faulty.into()))?;
    let body = read(wire, &mut buf, answer::Body::new(framing), check.body_limit).await?;
    for expectation in &check.expect {
        expectation.verify(&body).map_err(|what| Failure::wrong(format_args!("HTTP {status}, but the body {what}")))?;
    }
    Ok(format!("HTTP {status}"))
}

async fn send(wire: &mut Wire, bytes: &[u8]) -> io::Result<()> {
    wire.write_all(bytes).await?;
    wire.flush().await
}

struct Body {
    bytes: Vec<u8>,
    cut: bool,
}

/// Reads up to `limit` bytes, and to the end if that comes first: an answer that breaks off is not an answer.
async fn read(wire: &mut Wire, buf: &mut BytesMut, mut incoming: answer::Body, limit: usize) -> Result<Body, Failure> {
    let mut bytes = Vec::new();
    while let Some(data) = incoming.next(wire, buf).await.map_err(|error| failure(&error))? {
        let room = limit - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok(Body { bytes, cut: true });
        }
    }
    Ok(Body { bytes, cut: false })
}

impl BodyExpectation {
    /// Tells what is wrong with a body: completes "the body …".
    fn verify(&self, body: &Body) -> Result<(), String> {
        match self {
            Self::Contains(wanted) if contains(&body.bytes, wanted) => Ok(()),
            Self::Contains(_) if body.cut => {
                Err(format!("lacks the expected text in its first {} bytes", body.bytes.len()))
            }
            Self::Contains(_) => Err("lacks the expected text".to_owned()),
            Self::Json if body.cut => Err(format!("is longer than {} bytes: not checked for JSON", body.bytes.len())),
            Self::Json => match serde_json::from_slice::<IgnoredAny>(&body.bytes) {
                Ok(IgnoredAny) => Ok(()),
                Err(_) if body.bytes.is_empty() => Err("is empty instead of JSON".to_owned()),
                Err(error) => Err(format!("is not JSON (line {}, column {})", error.line(), error.column())),
            },
        }
    }
}

/// Linear for the texts that matter; the limit on the body bounds the rest.
fn contains(text: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || text.windows(wanted.len()).any(|window| window == wanted)
}

pub(crate) fn failure(error: &NoAnswer) -> Failure {
    match error {
        NoAnswer::Broken(error) => Failure::of_io(error),
        NoAnswer::Faulty(Faulty::HeadTooLarge) => Failure::wrong(Faulty::HeadTooLarge),
        NoAnswer::Faulty(Faulty::Unparseable) => Failure::wrong("not an HTTP/1.1 answer"),
        NoAnswer::Faulty(faulty) => Failure::wrong(format_args!("not an HTTP/1.1 answer ({faulty})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Body {
        Body { bytes: text.as_bytes().to_vec(), cut: false }
    }

    #[test]
    fn json_is_one_value_and_nothing_else() {
        for text in ["{}", "[1, 2]", "\"text\"", "null", " {\"error\": {\"code\": 401}} \n"] {
            assert_eq!(BodyExpectation::Json.verify(&body(text)), Ok(()), "{text}");
        }
        for text in ["", "<html>", "{", "{} {}", "{\"a\": }", "ok"] {
            assert!(BodyExpectation::Json.verify(&body(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn deeply_nested_json_does_not_exhaust_the_stack() {
        let _ = BodyExpectation::Json.verify(&body(&"[".repeat(1_000_000)));
    }

    #[test]
    fn a_body_that_was_cut_is_not_taken_for_json() {
        assert!(BodyExpectation::Json.verify(&Body { bytes: b"12".to_vec(), cut: true }).is_err());
    }

    #[test]
    fn the_host_header_never_carries_a_password() {
        assert_eq!(host_header(&Authority::from_static("me:secret@cc.example.org:8443")), "cc.example.org:8443");
    }

    #[test]
    fn what_may_hold_a_token_is_not_shown() {
        let mut check = HttpCheck::get(PathAndQuery::from_static("/cti?token=secret"), Authority::from_static("cc"))
            .expecting_body(BodyExpectation::Contains(Bytes::from_static(b"secret")));
        check.headers.insert("authorization", HeaderValue::from_static("Bearer secret"));
        let shown = format!("{check:?}");
        assert!(!shown.contains("secret") && shown.contains("/cti") && shown.contains("authorization"), "{shown}");
    }
}
