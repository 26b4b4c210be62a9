//! Answers of our own on Pingora's sessions: always a page, never JSON (XiVO's web application erases its user's
//! credentials when `auth/check` is answered with JSON it does not expect).

use std::net::SocketAddr;

use http::header::{ALLOW, HeaderValue, RETRY_AFTER};
use http::{Method, Version};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::proxy::Session;

use super::context::{Context, Ending};
use super::record::{self, Seen};
use super::{accept_language, answer, host};
use crate::telemetry::logging::access::Protocol;
use crate::traffic::edge::Edge;
use crate::traffic::pages::{Answer, ErrorPage};
use crate::traffic::route::Refusal;

/// The page a refusal is answered with.
pub fn page_of(refusal: Refusal) -> ErrorPage {
    match refusal {
        Refusal::NoHost | Refusal::BadPath(_) | Refusal::Token => ErrorPage::BadRequest,
        Refusal::WrongHost => ErrorPage::Misdirected,
        Refusal::NoRoute => ErrorPage::NotFound,
        Refusal::UpgradeNotAllowed | Refusal::Subprotocol | Refusal::Method => ErrorPage::Forbidden,
        Refusal::MethodNotAllowed { .. } => ErrorPage::MethodNotAllowed,
        Refusal::Maintenance { .. } => ErrorPage::Maintenance,
    }
}

/// How a request that ended without an upstream's answer is answered.
pub fn page_of_ending(ending: Ending) -> Option<ErrorPage> {
    Some(match ending {
        Ending::Refused(refusal) => page_of(refusal),
        Ending::Malformed => ErrorPage::BadRequest,
        Ending::HeadTooLarge => ErrorPage::HeadTooLarge,
        Ending::BodyTooLarge => ErrorPage::ContentTooLarge,
        Ending::ClientSlow => ErrorPage::RequestTimeout,
        Ending::OverRate => ErrorPage::TooManyRequests,
        Ending::Lost | Ending::BadAnswer => ErrorPage::BadGateway,
        Ending::TimedOut => ErrorPage::GatewayTimeout,
        Ending::Internal => ErrorPage::Internal,
        Ending::Waiting | Ending::Draining | Ending::ParkedTooLong | Ending::ParkingFull | Ending::NoMemory => {
            return None;
        }
        Ending::Served | Ending::Truncated | Ending::ClientGone => return None,
    })
}

/// Answers with an error page.
///
/// # Errors
/// The client does not take it.
pub async fn error(edge: &Edge, session: &mut Session, ctx: &Context, page: ErrorPage) -> Result<()> {
    let answer = edge.pages.errors.answer(page, accept_language(session));
    send(edge, session, ctx, answer).await
}

/// Answers a request that failed, as far as it still can be answered. Returns the status, 0 for none.
pub async fn ending(edge: &Edge, session: &mut Session, ctx: &Context) -> u16 {
    // A page behind a head would be read as more of that answer.
    if final_response(session).is_some() || matches!(ctx.ending, Ending::ClientGone | Ending::Truncated) {
        return 0;
    }
    let answer = match page_of_ending(ctx.ending) {
        Some(page) => edge.pages.errors.answer(page, accept_language(session)),
        None => {
            let header = session.req_header();
            edge.pages.waiting.for_request(&header.method, &header.headers)
        }
    };
    let status = answer.status.as_u16();
    match send(edge, session, ctx, answer).await {
        Ok(()) => status,
        // The client is gone.
        Err(_) => 0,
    }
}

async fn send(edge: &Edge, session: &mut Session, ctx: &Context, answer: Answer<'_>) -> Result<()> {
    let mut header = ResponseHeader::build(answer.status, Some(answer.headers.len()))?;
    for (name, value) in answer.headers {
        header.append_header(name.clone(), value.clone())?;
    }
    if let Some(seconds) = ctx.retry_after() {
        header.insert_header(RETRY_AFTER, HeaderValue::from(seconds))?;
    }
    if let Ending::Refused(Refusal::MethodNotAllowed { route }) = ctx.ending
        && let Some(route) = ctx.site.router.routes().get(route)
    {
        // A 405 must say what would have been allowed (RFC 9110 section 15.5.6).
        let methods: Vec<_> = route.methods.iter().map(Method::as_str).collect();
        header.insert_header(ALLOW, methods.join(", "))?;
    }
    let ours = ctx.route.as_ref().map_or(&ctx.site.config.headers, |route| &route.headers);
    answer::add_missing(&mut header, ours)?;
    // The head must say `close` then: no request is read behind this one.
    if edge.drain.has_begun() {
        ctx.take_no_more();
    }
    let bare = session.req_header().method == Method::HEAD;
    session.write_response_header(Box::new(header), bare).await?;
    // Pingora ends an h2 stream with a body only, be it none.
    session.write_response_body((!bare).then_some(answer.body), true).await
}

/// The response a client was given; a 1xx is none.
pub fn final_response(session: &Session) -> Option<&ResponseHeader> {
    session.response_written().filter(|response| !response.status.is_informational())
}

/// The client's address.
pub fn client(session: &Session) -> SocketAddr {
    match session.client_addr() {
        Some(PingoraAddr::Inet(address)) => *address,
        _ => SocketAddr::from(([0, 0, 0, 0], 0)),
    }
}

/// Counts a request and hands its line to the access log.
pub fn record(edge: &Edge, session: &Session, ctx: &Context) {
    let header = session.req_header();
    let target = header.uri.path_and_query().map_or("/", |target| target.as_str());
    let seen = Seen {
        client: client(session),
        protocol: if header.version == Version::HTTP_2 { Protocol::H2 } else { Protocol::H1 },
        method: header.method.clone(),
        target,
        host: host(header),
        status: final_response(session).map(|response| response.status.as_u16()),
        bytes_out: u64::try_from(session.body_bytes_sent()).unwrap_or(u64::MAX),
    };
    record::request(edge, ctx, seen);
}
