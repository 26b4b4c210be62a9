//! Answers that name an upstream are made to name the FQDN, or the browser would leave the front door.
//!
//! Read as browsers read them: in any case, with `\` for `/`, with a user name, another port or a final dot, and with
//! bytes that are no ASCII. `Access-Control-Allow-Origin` is left alone: it names who may read an answer, not where to go.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{CONTENT_LOCATION, HeaderName, HeaderValue, LINK, LOCATION, REFRESH, SET_COOKIE};

use crate::config::Config;
use crate::traffic::route::host_of;

/// Hosts that are upstreams of this site, and the site's own names.
#[derive(Debug, Default)]
pub struct UpstreamNames {
    /// Upstreams' hosts in normal form, sorted. Their ports do not matter: none of them is the front door's.
    upstreams: Vec<String>,
    /// The FQDN and its aliases, in normal form.
    own: Vec<String>,
}

impl UpstreamNames {
    /// All backends of a configuration, by address and by name.
    pub fn new(config: &Config) -> Self {
        let mut upstreams = Vec::new();
        for placed in crate::traffic::upstream::placed(config) {
            upstreams.push(placed.backend.address.ip().to_canonical().to_string());
            let name = &*placed.backend.name;
            // The file may name a backend by a URL; what redirects name is its authority.
            let name = name.split_once("://").map_or(name, |(_, rest)| rest).trim_end_matches('/');
            upstreams.push(normal_host(name));
        }
        upstreams.sort();
        upstreams.dedup();
        let own = std::iter::once(&config.fqdn).chain(&config.aliases).map(|name| normal_host(name)).collect();
        Self { upstreams, own }
    }

    fn is_upstream(&self, host: &str) -> bool {
        self.upstreams.binary_search_by(|known| known.as_str().cmp(host)).is_ok()
    }

    /// What of `headers` must be replaced, and by which values. `host` is what the client asked for.
    pub fn rewrite(&self, headers: &HeaderMap, host: &str) -> Vec<(HeaderName, Vec<HeaderValue>)> {
        type Rule = fn(&UpstreamNames, &[u8], &str) -> Option<Vec<u8>>;
        const RULES: [(HeaderName, Rule); 5] = [
            (LOCATION, UpstreamNames::location),
            (CONTENT_LOCATION, UpstreamNames::location),
            (REFRESH, UpstreamNames::refresh),
            (LINK, UpstreamNames::link),
            (SET_COOKIE, UpstreamNames::cookie),
        ];
        let mut changes = Vec::new();
        for (name, rule) in RULES {
            let new = |value: &HeaderValue| {
                let new = rule(self, value.as_bytes(), host)?;
                HeaderValue::from_bytes(&new).ok()
            };
            let all = headers.get_all(&name);
            // Most answers need no change, and no allocation.
            if all.iter().any(|value| new(value).is_some()) {
                let values = all.iter().map(|value| new(value).unwrap_or_else(|| value.clone())).collect();
                changes.push((name, values));
            }
        }
        changes
    }

    fn location(&self, value: &[u8], host: &str) -> Option<Vec<u8>> {
        let (secure, authority, target) = split(value)?;
        let named = normal_host(std::str::from_utf8(authority).ok()?);
        // An upstream that believes it is spoken to over http says so; the front door has no http.
        let ours = self.own.contains(&named) || named == normal_host(host);
        // Any other place is left alone: it may be an identity provider's.
        if !(self.is_upstream(&named) || ours && secure == Some(false)) {
            return None;
        }
        Some([b"https://", host.as_bytes(), target].concat())
    }

    /// `5; url=http://…`, with or without `url=` and quotes, as HTML reads it.
    fn refresh(&self, value: &[u8], host: &str) -> Option<Vec<u8>> {
        let after = value.iter().position(|byte| matches!(byte, b';' | b','))? + 1;
        let mut start = after + blanks(&value[after..]);
        if value[start..].get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"url")) {
            let equals = start + 3 + blanks(&value[start + 3..]);
            if value.get(equals) == Some(&b'=') {
                start = equals + 1 + blanks(&value[equals + 1..]);
            }
        }
        let quote = value.get(start).copied().filter(|byte| matches!(byte, b'"' | b'\''));
        start += usize::from(quote.is_some());
        let rest = &value[start..];
        let length = rest.iter().position(|byte| Some(*byte) == quote).unwrap_or(rest.len());
        let new = self.location(&rest[..length], host)?;
        Some([&value[..start], &new, &rest[length..]].concat())
    }

    /// Each `<…>` of a list of links (RFC 8288).
    fn link(&self, value: &[u8], host: &str) -> Option<Vec<u8>> {
        let (mut out, mut rest, mut changed) = (Vec::new(), value, false);
        while let Some(open) = rest.iter().position(|byte| *byte == b'<') {
            let Some(length) = rest[open + 1..].iter().position(|byte| *byte == b'>') else { break };
            let (before, target) = (&rest[..=open], &rest[open + 1..open + 1 + length]);
            out.extend_from_slice(before);
            let new = self.location(target, host);
            changed |= new.is_some();
            out.extend_from_slice(new.as_deref().unwrap_or(target));
            rest = &rest[open + 1 + length..];
        }
        out.extend_from_slice(rest);
        changed.then_some(out)
    }

    /// Drops a `Domain` that names an upstream: the cookie is then the FQDN's own (RFC 6265 section 5.3).
    fn cookie(&self, value: &[u8], _: &str) -> Option<Vec<u8>> {
        let names_upstream = |attribute: &[u8]| {
            let equals = attribute.iter().position(|byte| *byte == b'=')?;
            let (name, domain) = (attribute[..equals].trim_ascii(), attribute[equals + 1..].trim_ascii());
            let domain = std::str::from_utf8(domain).ok()?.trim_start_matches('.');
            Some(name.eq_ignore_ascii_case(b"domain") && self.is_upstream(&normal_host(domain)))
        };
        let attributes = value.split(|byte| *byte == b';').enumerate();
        // The first part is the cookie itself, whose value may look like an attribute.
        let is_dropped = |position: usize, part: &[u8]| position > 0 && names_upstream(part) == Some(true);
        let kept: Vec<&[u8]> =
            attributes.filter(|(position, part)| !is_dropped(*position, part)).map(|(_, part)| part).collect();
        let new = kept.join(&b';');
        (new.len() != value.len()).then_some(new)
    }
}

fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Takes a reference with an authority apart: whether it is `https` (none: the page's own scheme), the authority and
/// what follows. None for a path, and for schemes that are not the web's.
fn split(value: &[u8]) -> Option<(Option<bool>, &[u8], &[u8])> {
    let starts = |scheme: &[u8]| value.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let (secure, rest) = match () {
        () if starts(b"https:") => (Some(true), &value[6..]),
        () if starts(b"http:") => (Some(false), &value[5..]),
        () => (None, value),
    };
    // Browsers take a backslash for a slash (WHATWG URL), so that `\\host` is another host to them.
    let [b'/' | b'\\', b'/' | b'\\', rest @ ..] = rest else { return None };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'\\' | b'?' | b'#')).unwrap_or(rest.len());
    Some((secure, &rest[..end], &rest[end..]))
}

/// A host in one form: without user, port and final dot, in lower case; an address as it is written canonically.
fn normal_host(authority: &str) -> String {
    // The last one: a user name may hold others, and what follows the last is where a browser goes.
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // An address of IPv6 without brackets has no port.
    let host = if authority.parse::<IpAddr>().is_ok() { authority } else { host_of(authority) };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insiders() -> UpstreamNames {
        let upstreams = ["10.0.0.21", "cc.lan", "fd00::21"].map(String::from).to_vec();
        let own = ["edge.example.org", "alias.example.org"].map(String::from).to_vec();
        UpstreamNames { upstreams, own }
    }

    fn location(value: &'static str) -> Option<String> {
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(value))]);
        let changes = insiders().rewrite(&headers, "edge.example.org");
        changes.first().map(|(_, values)| values[0].to_str().unwrap().to_owned())
    }

    #[test]
    fn a_redirect_to_an_upstream_becomes_one_to_the_fqdn() {
        for (from, to) in [
            ("https://10.0.0.21/ccagent?x=1#y", Some("https://edge.example.org/ccagent?x=1#y")),
            ("http://10.0.0.21:443/", Some("https://edge.example.org/")),
            ("//CC.lan:8443/a", Some("https://edge.example.org/a")),
            ("https://cc.lan", Some("https://edge.example.org")),
            ("http://edge.example.org/a", Some("https://edge.example.org/a")),
            ("https://edge.example.org/a", None),
            ("/a", None),
            ("a", None),
            ("https://elsewhere.org/https://10.0.0.21/", None),
            ("https://10.0.0.210/", None),
            ("mailto:x@10.0.0.21", None),
            ("HTTP://CC.LAN/a", Some("https://edge.example.org/a")),
            ("Https://10.0.0.21:8443", Some("https://edge.example.org")),
            ("http://cc.lan.:80/a?b", Some("https://edge.example.org/a?b")),
            ("http://user:word@10.0.0.21/a", Some("https://edge.example.org/a")),
            ("http://[fd00:0::21]:80/a", Some("https://edge.example.org/a")),
            ("http://[::ffff:10.0.0.21]/a", Some("https://edge.example.org/a")),
            ("http:\\\\cc.lan\\a", Some("https://edge.example.org\\a")),
            ("http://alias.example.org/a", Some("https://edge.example.org/a")),
            ("HTTP://EDGE.example.org.:80/a", Some("https://edge.example.org/a")),
            ("https://alias.example.org/a", None),
            ("http://cc.lan@elsewhere.org/a", None),
            ("http://elsewhere.org\\@cc.lan/a", None),
            ("//", None),
            ("http:", None),
            ("", None),
        ] {
            assert_eq!(location(from).as_deref(), to, "{from}");
        }
    }

    #[test]
    fn a_cookie_of_an_upstream_becomes_the_fqdns_own() {
        let mut headers = HeaderMap::new();
        for cookie in
            ["a=1; Domain=10.0.0.21; Path=/", "b=2; domain=.cc.lan", "c=Domain=10.0.0.21", "d=4; Domain=example.org"]
        {
            headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
        }
        let changes = insiders().rewrite(&headers, "edge.example.org");
        let values: Vec<&str> = changes[0].1.iter().map(|v| v.to_str().unwrap()).collect();
        assert_eq!(values, ["a=1; Path=/", "b=2", "c=Domain=10.0.0.21", "d=4; Domain=example.org"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_carried_along() {
        let rewritten = |name: HeaderName, value: &[u8]| {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_bytes(value).unwrap())]);
            let changes = insiders().rewrite(&headers, "edge.example.org");
            changes.first().map(|(_, values)| values[0].as_bytes().to_vec())
        };
        let location = rewritten(LOCATION, "http://cc.lan/caf\u{e9}".as_bytes());
        assert_eq!(location.as_deref(), Some("https://edge.example.org/caf\u{e9}".as_bytes()));
        assert_eq!(rewritten(LOCATION, b"http://cc.lan/\xff").as_deref(), Some(&b"https://edge.example.org/\xff"[..]));
        assert_eq!(rewritten(LOCATION, b"http://\xff/"), None);
        let cookie = rewritten(SET_COOKIE, b"a=\xff; Domain=.CC.lan.; Path=/");
        assert_eq!(cookie.as_deref(), Some(&b"a=\xff; Path=/"[..]));
    }

    #[test]
    fn a_refresh_and_a_link_lead_to_the_fqdn_too() {
        for (name, from, to) in [
            (REFRESH, "5; url=http://cc.lan/a", Some("5; url=https://edge.example.org/a")),
            (REFRESH, "0;URL = 'HTTP://10.0.0.21/a'", Some("0;URL = 'https://edge.example.org/a'")),
            (REFRESH, "0,\"//cc.lan/a\" x", Some("0,\"https://edge.example.org/a\" x")),
            (REFRESH, "5; http://cc.lan", Some("5; https://edge.example.org")),
            (REFRESH, "5; url=/a", None),
            (REFRESH, "5", None),
            (REFRESH, "5;", None),
            (REFRESH, "5; url", None),
            (REFRESH, "5; url='", None),
            (
                LINK,
                "</a>; rel=x, <http://cc.lan/b>; title=\"<\"; rel=y",
                Some("</a>; rel=x, <https://edge.example.org/b>; title=\"<\"; rel=y"),
            ),
            (LINK, "<http://elsewhere.org/>", None),
            (LINK, "<http://cc.lan/", None),
        ] {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(from))]);
            let changes = insiders().rewrite(&headers, "edge.example.org");
            assert_eq!(changes.first().map(|(_, values)| values[0].to_str().unwrap()), to, "{from}");
        }
    }
}
