//! Making answers, and reading what is asked.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::Value;

/// No test sends more; a body is read whole, and kept only where it is wanted.
pub(super) const MOST_BODY: usize = 64 << 20;

/// The connection ends without a further byte.
#[derive(Debug, thiserror::Error)]
#[error("the connection ends here")]
pub(super) struct Gone;

pub(super) type Body = UnsyncBoxBody<Bytes, Gone>;
pub(super) type Answer = Response<Body>;

pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn of(status: StatusCode, kind: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(whole(bytes));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    of(status, "text/plain; charset=utf-8", text)
}

pub(super) fn html(status: StatusCode, page: impl Into<Bytes>) -> Answer {
    of(status, "text/html; charset=utf-8", page)
}

pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
    of(status, "application/json", value.to_string())
}

/// What is asked makes no sense: why.
#[derive(Debug)]
pub(super) struct Nonsense(pub(super) String);

impl From<Nonsense> for Answer {
    fn from(Nonsense(why): Nonsense) -> Self {
        text(StatusCode::BAD_REQUEST, format!("{why}\n"))
    }
}

pub(super) fn bad(why: &str) -> Answer {
    Nonsense(why.to_owned()).into()
}

pub(super) fn not_found() -> Answer {
    text(StatusCode::NOT_FOUND, "there is nothing here\n")
}

pub(super) fn only(method: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "not with this method\n");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
    answer
}

/// The body, at most `most` bytes of it.
pub(super) async fn body(request: &mut Request<Incoming>, most: usize) -> Result<Bytes, Nonsense> {
    match Limited::new(request.body_mut(), most).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(Nonsense(error.to_string())),
    }
}

/// Reads the rest of the body and forgets it; false: there is no end within bounds.
pub(super) async fn drain(request: &mut Request<Incoming>) -> bool {
    let mut left = MOST_BODY;
    while let Some(frame) = request.body_mut().frame().await {
        let Ok(frame) = frame else { return false };
        let size = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(size) else { return false };
        left = rest;
    }
    true
}

/// A value of the query, as it is written.
pub(super) fn value<'a>(query: Option<&'a str>, key: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

/// A number of the query.
pub(super) fn number(query: Option<&str>, key: &str, default: u64, most: u64) -> Result<u64, Nonsense> {
    let Some(text) = value(query, key) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| Nonsense(format!("{key}={text}: write a number from 0 to {most}")))
}
