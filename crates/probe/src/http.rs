//! The HTTP/1.1 check: one request, and is the answer the expected one? Redirects are answers, not directions.

use std::fmt::{self, Debug};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::IgnoredAny;

use crate::failure::{Failure, FailureKind};
use crate::status::StatusSet;
use crate::tls::Tls;
use crate::wire::Wire;

/// A status line and headers beyond this are no answer to a health check.
const HEAD_LIMIT: usize = 32 * 1024;
const DEFAULT_BODY_LIMIT: usize = 64 * 1024;

/// One request and what must come back.
#[derive(Clone)]
pub struct HttpCheck {
    /// The method; `GET` unless there is a reason.
    pub method: Method,
    /// What to ask for.
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
    /// TLS below it: `https`.
    pub tls: Option<Tls>,
}

/// What an answer's body must be.
#[derive(Clone, PartialEq, Eq)]
pub enum BodyExpectation {
    /// It contains these bytes.
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

    /// Asks over TLS.
    #[must_use]
    pub fn over(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone().into();
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static("bascule-probe"));
        for name in self.headers.keys() {
            headers.remove(name);
        }
        headers.extend(self.headers.clone());
        headers.insert(HOST, host_header(&self.host));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        request
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

pub(crate) async fn ask(check: &HttpCheck, wire: Wire) -> Result<String, Failure> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .handshake(TokioIo::new(wire))
        .await
        .map_err(|error| failure(&error))?;
    let mut connection = pin!(connection);
    let mut connected = true;
    let outcome = {
        let mut exchange = pin!(exchange(check, &mut sender));
        // The connection moves the bytes, the exchange waits for them. Both live in this one future, so dropping it
        // closes the socket.
        poll_fn(|cx| {
            if connected && connection.as_mut().poll(cx).is_ready() {
                connected = false;
            }
            exchange.as_mut().poll(cx)
        })
        .await
    };
    drop(sender);
    if connected {
        // One step more lets TLS say goodbye; nobody waits for it.
        poll_fn(|cx| {
            let _ = connection.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
    }
    outcome
}

async fn exchange(check: &HttpCheck, sender: &mut http1::SendRequest<Full<Bytes>>) -> Result<String, Failure> {
    let response = sender.send_request(check.request()).await.map_err(|error| failure(&error))?;
    let status = response.status().as_u16();
    if !check.status.contains(status) {
        return Err(Failure::wrong(format_args!("HTTP {status} (expected {})", check.status)));
    }
    let body = read(response, check.body_limit).await?;
    for expectation in &check.expect {
        expectation.verify(&body).map_err(|what| Failure::wrong(format_args!("HTTP {status}, but the body {what}")))?;
    }
    Ok(format!("HTTP {status}"))
}

struct Body {
    bytes: Vec<u8>,
    cut: bool,
}

/// Reads up to `limit` bytes, and to the end if that comes first: an answer that breaks off is not an answer.
async fn read(response: Response<Incoming>, limit: usize) -> Result<Body, Failure> {
    let mut incoming = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(|error| failure(&error))?.into_data() else { continue };
        let room = limit - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok(Body { bytes, cut: true });
        }
    }
    Ok(Body { bytes, cut: false })
}

impl BodyExpectation {
    /// Completes "the body …".
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

fn failure(error: &hyper::Error) -> Failure {
    if let Some(failure) = Failure::below(error) {
        return failure;
    }
    // A request that was never sent carries the reason why not.
    if let Some(cause) = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<hyper::Error>()) {
        return failure(cause);
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return Failure::new(FailureKind::Reset, "connection closed before the answer was complete");
    }
    if error.is_parse_too_large() {
        return Failure::wrong("the answer's headers are too large");
    }
    Failure::wrong(format_args!("not an HTTP/1.1 answer ({error})"))
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
