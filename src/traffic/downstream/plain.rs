//! The plain HTTP port: says where the site is, and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::admission::Admitted;
use super::connection::refusal;
use super::head::{self, FIELDS, HeadLimits};
use super::raw;
use crate::telemetry::logging::access::Protocol;
use crate::telemetry::metrics::Refusal;
use crate::traffic::edge::Edge;
use crate::traffic::http::record::{self, Unread};
use crate::traffic::pages::ErrorPage;

/// Nobody keeps a connection to be redirected again.
const IDLE: Duration = Duration::from_secs(10);

/// Answers one request and closes.
pub async fn serve(edge: Arc<Edge>, tcp: TcpStream, peer: SocketAddr, admitted: Admitted) {
    tokio::select! {
        () = answer(edge, tcp, peer) => {}
        () = admitted.activity().given_up() => {}
    }
}

async fn answer(edge: Arc<Edge>, mut tcp: TcpStream, peer: SocketAddr) {
    let site = edge.site();
    let limits = &site.config.limits;
    let head_limits = HeadLimits {
        idle: IDLE,
        whole: limits.request_head,
        bytes: limits.head_bytes.get(),
        fields: limits.head_fields.get(),
    };
    let mut buf = BytesMut::new();
    if head::begin(&mut tcp, &mut buf, IDLE).await.is_err() {
        return;
    }
    let began = Instant::now();
    let message = match head::read(&mut tcp, &mut buf, head_limits).await {
        Ok(_) => reply(&edge, &buf, peer, began),
        Err(no_head) => match refusal(&edge, no_head, Protocol::H1, peer, &buf, began) {
            Some(message) => message,
            None => return,
        },
    };
    raw::finish(&mut tcp, &message, limits.write_stall).await;
}

/// The redirect, or a page; counted and logged like any request.
fn reply(edge: &Edge, head: &[u8], client: SocketAddr, began: Instant) -> Vec<u8> {
    let unread = |status| Unread { client, protocol: Protocol::H1, head, began, status: Some(status) };
    match redirect(edge, head) {
        Ok((status, message)) => {
            record::answered(edge, unread(status));
            message
        }
        Err(page) => {
            let why = if page == ErrorPage::Misdirected { Refusal::BadHost } else { Refusal::BadPath };
            let answer = edge.pages.errors.answer(page, None);
            record::refused(edge, why, unread(answer.status.as_u16()));
            raw::page(&answer)
        }
    }
}

fn redirect(edge: &Edge, head: &[u8]) -> Result<(u16, Vec<u8>), ErrorPage> {
    let site = edge.site();
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    // It parsed a moment ago.
    let _ = request.parse(head);
    let host = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("host"));
    let host = match host {
        Some(field) => std::str::from_utf8(field.value).unwrap_or_default(),
        // HTTP/1.0 knows no Host; a later version without one was refused.
        None => site.router.default_name(),
    };
    // Names of the site alone: with whatever `Host` says in `Location`, the Edge would send browsers anywhere (an open
    // redirect).
    let host = site.router.canonical(host).ok_or(ErrorPage::Misdirected)?;
    let target = request.path.filter(|path| path.starts_with('/')).ok_or(ErrorPage::BadRequest)?;
    // A method other than GET must not become one (RFC 9110 section 15.4.9).
    let status = match request.method {
        Some("GET" | "HEAD") => (301, "Moved Permanently"),
        _ => (308, "Permanent Redirect"),
    };
    let port = site.config.listen.https.first().map_or(443, |address| address.port());
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let name = crate::traffic::route::host_of(&host);
    let (status, reason) = status;
    let message = format!(
        "HTTP/1.1 {status} {reason}\r\nLocation: https://{name}{port}{target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    Ok((status, message.into_bytes()))
}
