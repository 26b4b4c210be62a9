//! Everything a test wants an upstream to do, right or wrong. Under `/xuc`, so that the preset's routes carry it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::{CONTENT_LENGTH, HeaderValue, LOCATION, SET_COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};

use super::answer::{self, Answer, Body, Gone, Nonsense};
use super::socket::{self, Subprotocol, Talk};
use super::state::State;

const CHUNK: usize = 64 << 10;
static FILLER: [u8; CHUNK] = [b'x'; CHUNK];
const MOST_BYTES: u64 = 16 << 30;
const MOST_MS: u64 = 600_000;
/// What a client of a test may be made to buffer at once.
const MOST_FRAME: u64 = 16 << 20;
/// Digits of a 64-bit number.
const MOST_DIGITS: usize = 20;

/// Answers a request below `/xuc/lab/`, or ends its connection.
pub(super) async fn answer(mut request: Request<Incoming>, state: &Arc<State>) -> Result<Answer, Gone> {
    let uri = request.uri().clone();
    let (path, query) = (uri.path(), uri.query());
    let what = path.strip_prefix("/xuc/lab/").unwrap_or_default();
    if let Some(what) = what.strip_prefix("ws/") {
        return Ok(match talk(what, query) {
            Ok(Some(talk)) => socket::answer(request, state, talk, Subprotocol::None),
            Ok(None) => answer::not_found(),
            Err(nonsense) => nonsense.into(),
        });
    }
    if what == "count" {
        return Ok(count(&mut request, state).await);
    }
    if !answer::drain(&mut request).await {
        return Err(Gone);
    }
    let answer = match what {
        "slow" => slow(query).await,
        "big" => big(query),
        "half" => half(query),
        "redirect" => Ok(redirect(query, state)),
        "cookie" => Ok(cookie(state)),
        "headers" => Ok(answer::text(StatusCode::OK, head(&request))),
        "status" => status(query),
        "hang" => std::future::pending().await,
        "early-close" => return Err(Gone),
        _ => Ok(answer::not_found()),
    };
    Ok(answer.unwrap_or_else(Answer::from))
}

fn talk(what: &str, query: Option<&str>) -> Result<Option<Talk>, Nonsense> {
    let size = |key, default| answer::number(query, key, default, MOST_FRAME).map(|n| n as usize);
    Ok(Some(match what {
        "echo" => Talk::Echo,
        "idle" => Talk::Nothing,
        "flood" => Talk::Flood { frame: size("frame", 1024)?, count: answer::number(query, "count", 1000, u64::MAX)? },
        "fragmented" => Talk::Fragmented {
            bytes: answer::number(query, "bytes", 8 << 20, MOST_BYTES)?,
            chunk: size("chunk", 64 << 10)?.max(1),
            pause: Duration::from_millis(answer::number(query, "pause_ms", 0, MOST_MS)?),
        },
        "stall" => Talk::Stall,
        _ => return Ok(None),
    }))
}

/// A number is in the ledger before its sender is told; `ms=` is how long before.
async fn count(request: &mut Request<Incoming>, state: &State) -> Answer {
    match *request.method() {
        Method::GET => answer::text(StatusCode::OK, format!("{}\n", state.counted.load(Ordering::Relaxed))),
        Method::POST => {
            let body = match answer::body(request, MOST_DIGITS + 2).await {
                Ok(body) => body,
                Err(nonsense) => return nonsense.into(),
            };
            let number = std::str::from_utf8(&body).map(str::trim).unwrap_or_default();
            if number.is_empty() || number.len() > MOST_DIGITS || !number.bytes().all(|b| b.is_ascii_digit()) {
                return answer::bad("post one number");
            }
            if let Err(error) = state.ledger.as_ref().map_or(Ok(()), |ledger| ledger.append(number)) {
                return answer::text(StatusCode::INSUFFICIENT_STORAGE, format!("{error}\n"));
            }
            state.counted.fetch_add(1, Ordering::Relaxed);
            match answer::number(request.uri().query(), "ms", 0, MOST_MS) {
                Ok(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                Err(nonsense) => return nonsense.into(),
            };
            answer::text(StatusCode::OK, format!("{number}\n"))
        }
        _ => answer::only("GET, POST"),
    }
}

async fn slow(query: Option<&str>) -> Result<Answer, Nonsense> {
    let ms = answer::number(query, "ms", 1000, MOST_MS)?;
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(answer::text(StatusCode::OK, format!("{ms} ms later\n")))
}

fn status(query: Option<&str>) -> Result<Answer, Nonsense> {
    let code = answer::number(query, "code", 200, 599)?;
    let status =
        u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok()).filter(|s| s.as_u16() >= 200);
    let status = status.ok_or_else(|| Nonsense("write a code from 200 to 599".to_owned()))?;
    Ok(answer::html(status, format!("<!DOCTYPE html><title>{code}</title><h1>{code}</h1>\n")))
}

fn redirect(query: Option<&str>, state: &State) -> Answer {
    let to = answer::value(query, "to").unwrap_or("/ucassistant");
    let location = format!("{}://{}{to}", state.scheme, state.address);
    let Ok(location) = HeaderValue::from_str(&location) else { return answer::bad("to= makes no Location") };
    let mut answer = answer::text(StatusCode::FOUND, "elsewhere\n");
    answer.headers_mut().insert(LOCATION, location);
    answer
}

fn cookie(state: &State) -> Answer {
    let cookie = format!("demo={}; Domain={}; Path=/; HttpOnly", state.name.word(), state.address.ip());
    let mut answer = answer::text(StatusCode::OK, "have a cookie\n");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        answer.headers_mut().insert(SET_COOKIE, cookie);
    }
    answer
}

/// The request head as it came, names in lower case.
fn head(request: &Request<Incoming>) -> Vec<u8> {
    let mut head = format!("{} {} {:?}\n", request.method(), request.uri(), request.version()).into_bytes();
    for (name, value) in request.headers() {
        head.extend(name.as_str().as_bytes());
        head.extend(b": ");
        head.extend(value.as_bytes());
        head.push(b'\n');
    }
    head
}

fn big(query: Option<&str>) -> Result<Answer, Nonsense> {
    let bytes = answer::number(query, "bytes", 1 << 20, MOST_BYTES)?;
    Ok(announced(bytes, StreamBody::new(filler(bytes)).boxed_unsync()))
}

/// Announces `bytes`, sends half of them, and ends the connection.
fn half(query: Option<&str>) -> Result<Answer, Nonsense> {
    let bytes = answer::number(query, "bytes", 1000, MOST_BYTES)?;
    if bytes == 0 {
        return Err(Nonsense("bytes=0 has no half".to_owned()));
    }
    let end = stream::once(async {
        // Lets what was sent leave before the end.
        tokio::task::yield_now().await;
        Err(Gone)
    });
    Ok(announced(bytes, StreamBody::new(filler(bytes / 2).chain(end)).boxed_unsync()))
}

fn filler(bytes: u64) -> impl Stream<Item = Result<Frame<Bytes>, Gone>> {
    stream::unfold(bytes, |left| async move {
        let size = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        (size > 0).then(|| (Ok(Frame::data(Bytes::from_static(&FILLER[..size]))), left - size as u64))
    })
}

fn announced(bytes: u64, body: Body) -> Answer {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_LENGTH, bytes.into());
    answer
}
