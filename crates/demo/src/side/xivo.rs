//! What users of a XiVO come for: the web application, its logon, and its sockets.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, CONTENT_SECURITY_POLICY, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::SideName;
use super::answer::{self, Answer};
use super::socket::{self, Subprotocol, Talk};
use super::state::State;

const PAGE: &str = include_str!("page.html");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'";
/// Seconds a token is good for, as XiVO's web application expects it.
const TTL: u64 = 3600;
/// A login and a password.
const MOST_LOGIN: usize = 64 << 10;

pub(super) async fn answer(mut request: Request<Incoming>, state: &Arc<State>) -> Answer {
    let path = request.uri().path();
    let application = |base: &str| path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match path {
        "/xuc/api/2.0/cti" => socket::answer(request, state, Talk::Ticks, Subprotocol::None),
        "/wssip" => socket::answer(request, state, Talk::Echo, Subprotocol::Sip),
        _ if path.starts_with("/wssip-") => socket::answer(request, state, Talk::Echo, Subprotocol::Sip),
        "/xuc/api/2.0/auth/login" => log_in(&mut request).await,
        "/xuc/api/2.0/auth/check" => check(&request),
        "/version" => answer::text(StatusCode::OK, concat!("demo ", env!("CARGO_PKG_VERSION"), "\n")),
        _ if application("/ucassistant") || application("/ccagent") => page(state.name),
        _ => {
            answer::drain(&mut request).await;
            answer::not_found()
        }
    }
}

fn page(side: SideName) -> Answer {
    let title = match side {
        SideName::Main => "Main",
        SideName::Standby => "Standby",
        SideName::Shared => "Shared",
    };
    let page = PAGE.replace("{side}", side.word()).replace("{title}", title);
    let mut answer = answer::html(StatusCode::OK, page);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    answer
}

async fn log_in(request: &mut Request<Incoming>) -> Answer {
    if request.method() != Method::POST {
        return answer::only("POST");
    }
    let body = match answer::body(request, MOST_LOGIN).await {
        Ok(body) => body,
        Err(nonsense) => return nonsense.into(),
    };
    let asked: Option<Value> = if body.is_empty() { Some(json!({})) } else { serde_json::from_slice(&body).ok() };
    match asked.as_ref().map(|asked| asked.get("login").and_then(Value::as_str).unwrap_or("demo")) {
        Some(login) => answer::json(StatusCode::OK, &json!({ "login": login, "token": token(login), "TTL": TTL })),
        None => answer::json(StatusCode::BAD_REQUEST, &json!({ "error": "JsonBodyError" })),
    }
}

fn check(request: &Request<Incoming>) -> Answer {
    let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer "));
    match token.and_then(|token| Some((token, login(token)?))) {
        Some((token, login)) => answer::json(StatusCode::OK, &json!({ "login": login, "token": token, "TTL": TTL })),
        None => answer::json(StatusCode::UNAUTHORIZED, &json!({ "error": "BearerNotFound" })),
    }
}

/// Three segments that look like a JWT. Nobody signs it: both sides take the other's.
fn token(login: &str) -> String {
    let payload = json!({ "login": login, "userType": "cti", "acls": [] }).to_string();
    [br#"{"typ":"JWT","alg":"none"}"#.as_slice(), payload.as_bytes(), b"demo"]
        .map(|segment| URL_SAFE_NO_PAD.encode(segment))
        .join(".")
}

/// Whom a token is for.
fn login(token: &str) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let payload: Value = serde_json::from_slice(&payload).ok()?;
    payload.get("login")?.as_str().map(str::to_owned)
}
