//! What an upstream is told about a request: forwarding headers of our own, hostile ones removed.

use std::net::IpAddr;

use http::header::{COOKIE, HOST, HeaderName, HeaderValue};
use pingora::http::RequestHeader;

use crate::config::HostHeader;
use crate::telemetry::logging::RequestId;

/// Headers by which a client could pretend to be a proxy. `X-Request-Id` is ours alone too.
const CLAIMS: [&str; 12] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-prefix",
    "x-forwarded-scheme",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "x-request-id",
];

/// Names one request in every log it passes.
pub const X_REQUEST_ID: &str = "x-request-id";

/// Whether a client's header may pass.
///
/// A name with `_` may not: behind CGI-like interfaces it is the same as one with `-`, by which a claim could slip through.
pub fn may_pass(name: &str) -> bool {
    // Most names begin otherwise.
    let may_claim = matches!(name.as_bytes(), [b'f' | b'F' | b't' | b'T' | b'x' | b'X', ..]);
    let claims = may_claim && CLAIMS.iter().any(|claim| name.eq_ignore_ascii_case(claim));
    !(claims || name.contains('_'))
}

/// What we say about a request.
#[derive(Debug, Clone)]
pub struct ForwardedHeaders {
    /// Where it comes from.
    pub client: HeaderValue,
    /// What it asked for: `Host` as sent.
    pub host: HeaderValue,
    /// Its identity.
    pub id: HeaderValue,
}

impl ForwardedHeaders {
    /// About a request from `client` for `host`.
    pub fn new(client: IpAddr, host: &str, id: RequestId) -> Self {
        const UNKNOWN: HeaderValue = HeaderValue::from_static("unknown");
        Self {
            client: HeaderValue::try_from(client.to_canonical().to_string()).unwrap_or(UNKNOWN),
            host: HeaderValue::from_str(host).unwrap_or(UNKNOWN),
            id: HeaderValue::from_bytes(&id.digits()).unwrap_or(UNKNOWN),
        }
    }

    /// The headers, in the order they are sent.
    pub fn headers(&self) -> [(&'static str, HeaderValue); 5] {
        [
            ("x-forwarded-for", self.client.clone()),
            ("x-real-ip", self.client.clone()),
            ("x-forwarded-proto", HeaderValue::from_static("https")),
            ("x-forwarded-host", self.host.clone()),
            (X_REQUEST_ID, self.id.clone()),
        ]
    }

    /// The `Host` a backend is asked for.
    pub fn upstream_host(&self, host: &HostHeader) -> HeaderValue {
        match host {
            HostHeader::Fqdn => self.host.clone(),
            HostHeader::Fixed(value) => value.clone(),
        }
    }
}

/// Replaces what the client claimed by what we know.
///
/// # Errors
/// A field's value cannot be sent.
pub fn apply(request: &mut RequestHeader, forwarded: &ForwardedHeaders, host: &HostHeader) -> pingora::Result<()> {
    let hostile: Vec<HeaderName> = request.headers.keys().filter(|name| !may_pass(name.as_str())).cloned().collect();
    // Removed first, then said: what is ours is not appended to what a client claimed. The Edge is the first proxy, so
    // nothing that stands there can be true.
    for name in &hostile {
        request.remove_header(name);
    }
    for (name, value) in forwarded.headers() {
        request.insert_header(name, value)?;
    }
    if let Some(cookie) = joined_cookie(request) {
        request.insert_header(COOKIE, cookie)?;
    }
    request.insert_header(HOST, forwarded.upstream_host(host))
}

/// One `Cookie` of several: browsers split it over h2, and it must be whole again for HTTP/1 (RFC 9113 section 8.2.3).
fn joined_cookie(request: &RequestHeader) -> Option<HeaderValue> {
    let mut crumbs = request.headers.get_all(COOKIE).iter();
    let (first, second) = (crumbs.next()?, crumbs.next()?);
    let mut whole = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb.as_bytes());
    }
    HeaderValue::from_bytes(&whole).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn crumbs_of_a_cookie_are_joined() {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        let forwarded = ForwardedHeaders::new("192.0.2.9".parse().unwrap(), "edge.example.org", RequestId::new(7));
        for crumb in ["a=1", "b=2", "c=3"] {
            request.append_header("cookie", crumb).unwrap();
        }
        apply(&mut request, &forwarded, &HostHeader::Fqdn).unwrap();
        let cookies: Vec<_> = request.headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    use super::*;

    #[test]
    fn no_claim_passes_however_it_is_written() {
        for claim in CLAIMS {
            assert!(!may_pass(claim) && !may_pass(&claim.to_ascii_uppercase()), "{claim}");
        }
        assert!(may_pass("accept") && may_pass("te") && may_pass("x-requested-with") && !may_pass("a_b"));
    }

    #[test]
    fn what_a_client_claims_is_replaced() {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in [
            ("Host", "edge.example.org"),
            ("X-Forwarded-For", "10.0.0.1"),
            ("X-Forwarded-For", "10.0.0.2"),
            ("X_Forwarded_For", "10.0.0.3"),
            ("Forwarded", "for=10.0.0.4"),
            ("X-Real-IP", "10.0.0.5"),
            ("X-Request-Id", "mine"),
            ("X-Forwarded-Proto", "http"),
            ("Accept", "text/html"),
        ] {
            request.append_header(name, value).unwrap();
        }
        let id = RequestId::new(7);
        let forwarded = ForwardedHeaders::new("::ffff:192.0.2.9".parse().unwrap(), "edge.example.org", id);
        apply(&mut request, &forwarded, &HostHeader::Fqdn).unwrap();
        let all = |name: &str| request.headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all("x-forwarded-for"), ["192.0.2.9"]);
        assert_eq!(all("x-real-ip"), ["192.0.2.9"]);
        assert_eq!(all("x-forwarded-proto"), ["https"]);
        assert_eq!(all("x-forwarded-host"), ["edge.example.org"]);
        assert_eq!(all("x-request-id"), ["00000000000000000000000000000007"]);
        assert_eq!(all("host"), ["edge.example.org"]);
        assert_eq!(all("accept"), ["text/html"]);
        assert!(all("forwarded").is_empty() && all("x_forwarded_for").is_empty());
    }
}
