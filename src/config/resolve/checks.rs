//! Checks of a service's backends.

use http::header::{HeaderName, HeaderValue};
use settings::{Findings, KeyPath, quoted};

use super::super::file::{
    CheckFile, HttpCheckFile, Named, OneOrMany, Scheme, Short, SipCheckFile, StatusRange, WebSocketCheckFile,
};
use super::super::{Check, CheckKind, HttpCheck, SipCheck, SipTransport, UpstreamTls, WebSocketCheck, defaults};
use super::item;
use super::services::Spoken;

/// Resolves the checks at `at` of a service that is spoken to as `spoken` says.
pub(super) fn resolve(
    written: OneOrMany<Short<CheckFile>>,
    spoken: &Spoken,
    at: &KeyPath,
    findings: &mut Findings,
) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for (index, Short(check)) in written.0.into_iter().enumerate() {
        let at = item(at, index, findings);
        let Some((name, check)) = one(check, spoken, &at, findings) else { continue };
        let taken = |name: &str, checks: &[Check]| checks.iter().any(|other| other.name == name);
        // Reasons and metrics tell checks apart by name: two of one name would be one series.
        let name = match name {
            Some(name) if taken(&name, &checks) => {
                findings.error(
                    &at,
                    format!("another check of this service is called {}, too", quoted(&name)),
                    "give it a name of its own",
                );
                continue;
            }
            Some(name) => name,
            None => unused(&check.name, |name| taken(name, &checks)),
        };
        checks.push(Check { name, ..check });
    }
    checks
}

/// `kind`, or `kind-2`, `kind-3` and so on.
fn unused(kind: &str, taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|number| format!("{kind}-{number}"));
    std::iter::once(kind.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
}

/// The check, named after its kind, and the name the file gives it.
fn one(check: CheckFile, spoken: &Spoken, at: &KeyPath, findings: &mut Findings) -> Option<(Option<String>, Check)> {
    let (kind_name, name, port, kind) = match check {
        CheckFile { tcp: Some(Short(tcp)), tls: None, http: None, websocket: None, sip: None } => {
            ("tcp", tcp.name, tcp.port, Some(CheckKind::Tcp))
        }
        CheckFile { tcp: None, tls: Some(Short(tls)), http: None, websocket: None, sip: None } => {
            ("tls", tls.name, tls.port, spoken.tls.clone().map(CheckKind::Tls))
        }
        CheckFile { tcp: None, tls: None, http: Some(Short(mut http)), websocket: None, sip: None } => {
            let (name, port) = (http.name.take(), http.port);
            ("http", name, port, http_check(http, spoken, &at.key("http"), findings).map(CheckKind::Http))
        }
        CheckFile { tcp: None, tls: None, http: None, websocket: Some(Short(mut upgrade)), sip: None } => {
            let (name, port) = (upgrade.name.take(), upgrade.port);
            (
                "websocket",
                name,
                port,
                websocket_check(upgrade, spoken, &at.key("websocket"), findings).map(CheckKind::WebSocket),
            )
        }
        CheckFile { tcp: None, tls: None, http: None, websocket: None, sip: Some(Short(sip)) } => {
            // The backend's own port is its web server's: SIP is asked where SIP is.
            let port = sip.port.or(Some(defaults::SIP_PORT));
            ("sip", sip.name.clone(), port, Some(CheckKind::Sip(sip_check(sip))))
        }
        _ => {
            findings.error(
                at,
                "is not exactly one kind of check",
                "write one of tcp, tls, http, websocket and sip per item of the list",
            );
            return None;
        }
    };
    let at = at.key(kind_name);
    if port == Some(0) {
        findings.error(&at.key("port"), "0 is no port", "write a port from 1 to 65535");
    }
    if name.as_deref().is_some_and(|name| !super::services::is_plain_name(name)) {
        findings.error(&at.key("name"), "is no plain name", "write letters, digits, - and _");
    }
    Some((name, Check { name: kind_name.to_owned(), port, kind: kind? }))
}

fn http_check(written: HttpCheckFile, spoken: &Spoken, at: &KeyPath, findings: &mut Findings) -> Option<HttpCheck> {
    let method = written.method.as_deref().unwrap_or(defaults::CHECK_METHOD);
    let method = match http::Method::from_bytes(method.as_bytes()) {
        Ok(known) if known == http::Method::GET || known == http::Method::HEAD || known == http::Method::OPTIONS => {
            Some(known)
        }
        Ok(_) | Err(_) => {
            let remedy = "write GET, HEAD or OPTIONS: a check changes nothing";
            findings.error(&at.key("method"), format!("{} is not taken", quoted(method)), remedy);
            None
        }
    };
    let path = request_target(written.path, &at.key("path"), findings);
    let host = host(written.host, spoken, &at.key("host"), findings);
    let headers = headers(written.headers.unwrap_or_default(), &at.key("headers"), findings);
    Some(HttpCheck {
        tls: tls(written.scheme, spoken)?,
        method: method?,
        path: path?,
        host: host?,
        headers,
        status: ranges(written.status, defaults::HTTP_STATUS),
        body: written.body,
        json: written.json.unwrap_or(false),
    })
}

fn websocket_check(
    written: WebSocketCheckFile,
    spoken: &Spoken,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<WebSocketCheck> {
    let path = request_target(written.path, &at.key("path"), findings);
    let host = host(written.host, spoken, &at.key("host"), findings);
    if written.subprotocol.as_deref().is_some_and(|protocol| !is_token(protocol)) {
        findings.error(&at.key("subprotocol"), "is no subprotocol", "write one name, such as sip");
    }
    Some(WebSocketCheck {
        tls: tls(written.scheme, spoken)?,
        path: path?,
        host: host?,
        subprotocol: written.subprotocol,
        echo: written.echo,
    })
}

fn sip_check(written: SipCheckFile) -> SipCheck {
    SipCheck {
        transport: written.transport.unwrap_or(SipTransport::Udp),
        status: ranges(written.status, defaults::SIP_STATUS),
    }
}

/// TLS of a check: none when plain. Outer none: an error was noted where the settings stand.
fn tls(scheme: Option<Scheme>, spoken: &Spoken) -> Option<Option<UpstreamTls>> {
    match scheme.unwrap_or(spoken.scheme) {
        Scheme::Http => Some(None),
        Scheme::Https => spoken.tls.clone().map(Some),
    }
}

fn host(written: Option<String>, spoken: &Spoken, at: &KeyPath, findings: &mut Findings) -> Option<Option<String>> {
    match written {
        None => Some(spoken.host_name()),
        Some(word) if word == "fqdn" => Some(spoken.fqdn.clone()),
        Some(name) => super::services::authority(&name, at, findings).map(|_| Some(name)),
    }
}

fn request_target(written: Option<String>, at: &KeyPath, findings: &mut Findings) -> Option<String> {
    let path = written.unwrap_or_else(|| defaults::CHECK_PATH.to_owned());
    // A fragment would be dropped by the library without a word: the check would ask for something else than is
    // written.
    if path.starts_with('/') && !path.contains('#') && path.parse::<http::uri::PathAndQuery>().is_ok() {
        return Some(path);
    }
    findings.error(
        at,
        format!("{} is no path", quoted(&path)),
        "write an absolute path, with a query if need be, such as /health?deep=1",
    );
    None
}

/// Values may be credentials: they are never repeated in a message.
fn headers(written: Named<String>, at: &KeyPath, findings: &mut Findings) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields = Vec::new();
    for (name, value) in written.0 {
        let at = at.key(&name);
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            // A second `Host` would make the check a request that no server takes (RFC 9112 section 3.2).
            (Ok(field), _) if field == http::header::HOST => {
                findings.error(&at, "is set by host", "write host: beside headers")
            }
            (Ok(field), Ok(value)) => fields.push((field, value)),
            (Err(_), _) => findings.error(&at, "is no name of a header field", "write a name such as Accept"),
            (_, Err(_)) => findings.error(&at, "has a value no header field can have", "write printable ASCII"),
        }
    }
    fields
}

fn ranges(written: Option<OneOrMany<StatusRange>>, default: (u16, u16)) -> Vec<(u16, u16)> {
    let ranges: Vec<_> =
        written.map(|list| list.0).unwrap_or_default().into_iter().map(|StatusRange(low, high)| (low, high)).collect();
    if ranges.is_empty() { vec![default] } else { ranges }
}

/// Whether `text` is a token (RFC 9110 section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
