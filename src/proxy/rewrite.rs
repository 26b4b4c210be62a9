//! Answers that name an upstream are made to name the FQDN, or the browser would leave the front door.

use http::HeaderMap;
use http::header::{CONTENT_LOCATION, HeaderName, HeaderValue, LOCATION, SET_COOKIE};

use crate::config::Config;
use crate::route::host_of;

/// Authorities that are upstreams of this site.
#[derive(Debug, Default)]
pub struct Insiders {
    /// Lower case: hosts, and `host:port`.
    names: Vec<String>,
}

impl Insiders {
    /// All backends of a configuration, by address and by name.
    pub fn new(config: &Config) -> Self {
        let mut names = Vec::new();
        for placed in crate::upstream::placed(config) {
            let address = placed.backend.address;
            names.push(address.to_string());
            names.push(match address.ip() {
                std::net::IpAddr::V4(ip) => ip.to_string(),
                std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            });
            let name = placed.backend.name.to_ascii_lowercase();
            let name = name.split_once("://").map_or(&*name, |(_, rest)| rest).trim_end_matches('/');
            names.push(name.to_owned());
        }
        names.sort();
        names.dedup();
        Self { names }
    }

    fn holds(&self, authority: &str) -> bool {
        let authority = authority.to_ascii_lowercase();
        let known = |name: &str| self.names.binary_search_by(|n| n.as_str().cmp(name)).is_ok();
        known(&authority) || known(host_of(&authority))
    }

    /// Rewrites `Location`, `Content-Location` and cookie domains in place. `host` is what the client asked for.
    pub fn rewrite(&self, headers: &HeaderMap, host: &str) -> Vec<(HeaderName, Vec<HeaderValue>)> {
        let mut changes = Vec::new();
        for name in [LOCATION, CONTENT_LOCATION] {
            if let Some(value) = headers.get(&name)
                && let Some(new) = value.to_str().ok().and_then(|value| self.location(value, host))
            {
                changes.push((name, vec![new]));
            }
        }
        if headers.contains_key(SET_COOKIE) {
            let old: Vec<&HeaderValue> = headers.get_all(SET_COOKIE).iter().collect();
            let new: Vec<HeaderValue> = old.iter().map(|v| self.cookie(v).unwrap_or_else(|| (*v).clone())).collect();
            if old.iter().zip(&new).any(|(old, new)| *old != new) {
                changes.push((SET_COOKIE, new));
            }
        }
        changes
    }

    fn location(&self, value: &str, host: &str) -> Option<HeaderValue> {
        let (scheme, rest) = match value.split_once("//") {
            Some((scheme @ ("http:" | "https:" | ""), rest)) => (scheme, rest),
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let ours = authority.eq_ignore_ascii_case(host) || host_of(authority).eq_ignore_ascii_case(host_of(host));
        // An upstream that believes it is spoken to over http says so; the front door has no http.
        let downgraded = ours && scheme == "http:";
        if !downgraded && !self.holds(authority) {
            return None;
        }
        HeaderValue::from_str(&format!("https://{host}{target}")).ok()
    }

    /// Drops a `Domain` that names an upstream: the cookie is then the FQDN's own (RFC 6265 section 5.3).
    fn cookie(&self, value: &HeaderValue) -> Option<HeaderValue> {
        let text = value.to_str().ok()?;
        let names_insider = |attribute: &str| {
            attribute.split_once('=').is_some_and(|(name, domain)| {
                name.trim().eq_ignore_ascii_case("domain") && self.holds(domain.trim().trim_start_matches('.'))
            })
        };
        let mut dropped = false;
        let kept: Vec<&str> = text
            .split(';')
            .enumerate()
            .filter(|(position, attribute)| {
                let drop = *position > 0 && names_insider(attribute);
                dropped |= drop;
                !drop
            })
            .map(|(_, attribute)| attribute)
            .collect();
        if !dropped {
            return None;
        }
        HeaderValue::from_str(&kept.join(";")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insiders() -> Insiders {
        let mut names: Vec<String> = ["10.0.0.21", "10.0.0.21:443", "cc.lan:8443", "cc.lan"].map(String::from).to_vec();
        names.sort();
        Insiders { names }
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
}
