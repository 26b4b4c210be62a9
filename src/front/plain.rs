//! The plain HTTP port: says where the site is, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;

use super::admission::Admitted;
use super::head::{self, FIELDS, HeadLimits, NoHead};
use super::raw;
use crate::edge::Edge;
use crate::waiting::ErrorPage;

/// Nobody keeps a connection to be redirected again.
const IDLE: Duration = Duration::from_secs(10);

/// Answers one request and closes.
pub async fn serve(edge: Arc<Edge>, tcp: TcpStream, admitted: Admitted) {
    tokio::select! {
        () = answer(edge, tcp) => {}
        () = admitted.activity().given_up() => {}
    }
}

async fn answer(edge: Arc<Edge>, mut tcp: TcpStream) {
    let site = edge.site();
    let limits = &site.config.limits;
    let head_limits = HeadLimits {
        idle: IDLE,
        whole: limits.request_head,
        bytes: limits.head_bytes.get(),
        fields: limits.head_fields.get(),
    };
    let mut buf = BytesMut::new();
    let error = |page| raw::page(&edge.pages.errors.answer(page, None));
    let message = match head::read(&mut tcp, &mut buf, head_limits).await {
        Ok(_) => redirect(&edge, &buf).unwrap_or_else(error),
        Err(NoHead::Gone) => return,
        Err(NoHead::TooLate) => error(ErrorPage::RequestTimeout),
        Err(NoHead::TooLarge) => error(ErrorPage::HeadTooLarge),
        Err(NoHead::Malformed(_) | NoHead::UnknownCoding) => error(ErrorPage::BadRequest),
        Err(NoHead::Method) => error(ErrorPage::Forbidden),
    };
    raw::finish(&mut tcp, &message, limits.write_stall).await;
}

fn redirect(edge: &Edge, head: &[u8]) -> Result<Vec<u8>, ErrorPage> {
    let site = edge.site();
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    // It parsed a moment ago.
    let _ = request.parse(head);
    let host = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("host"));
    let host = host.and_then(|field| std::str::from_utf8(field.value).ok()).unwrap_or_default();
    if !site.router.is_ours(host) {
        return Err(ErrorPage::Misdirected);
    }
    let target = request.path.filter(|path| path.starts_with('/')).ok_or(ErrorPage::BadRequest)?;
    // A method other than GET must not become one (RFC 9110 section 15.4.9).
    let status = match request.method {
        Some("GET" | "HEAD") => "301 Moved Permanently",
        _ => "308 Permanent Redirect",
    };
    let port = site.config.listen.https.first().map_or(443, |address| address.port());
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let name = crate::route::host_of(host);
    Ok(format!(
        "HTTP/1.1 {status}\r\nLocation: https://{name}{port}{target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .into_bytes())
}
