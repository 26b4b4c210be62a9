//! Addresses as people write them. Names are not resolved: the Edge must work when DNS does not.

use std::net::{IpAddr, Ipv6Addr};

use settings::address::Refusal;
pub(super) use settings::address::{is_hostname, listener};
use settings::{nearest, quoted};

use super::file::Scheme;

const WRITE_AN_ADDRESS: &str = "write an IP address (10.0.0.21, 10.0.0.21:8443, [2001:db8::1]:443, https://10.0.0.21); names are not resolved here, so that a dead DNS stops nobody";

/// An upstream address as written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) scheme: Option<Scheme>,
    pub(super) ip: IpAddr,
    pub(super) port: Option<u16>,
    /// Without scheme and trailing slash; an authority.
    pub(super) authority: String,
}

/// Reads `10.0.0.21`, with or without port, as IPv6, or as URL without path.
pub(super) fn upstream(text: &str) -> Result<Written, Refusal> {
    let (scheme, rest) = match text.split_once("://") {
        None => (None, text),
        Some(("https", rest)) => (Some(Scheme::Https), rest),
        Some(("http", rest)) => (Some(Scheme::Http), rest),
        Some((other, _)) => {
            let near =
                nearest(other, ["https", "http"]).map(|near| format!(", did you mean {near}")).unwrap_or_default();
            return Err((
                format!("{} has the scheme {other:?}{near}", quoted(text)),
                "write https:// or http://, or leave the scheme out",
            ));
        }
    };
    let rest = if scheme.is_some() { rest.strip_suffix('/').unwrap_or(rest) } else { rest };
    // Requests keep their own path, so that one written here would be dropped without a word.
    if rest.parse::<IpAddr>().is_err() && rest.contains(['/', '?', '#', '@']) {
        return Err((
            format!("{} is more than an address", quoted(text)),
            "leave path, query and user out; requests keep their own path",
        ));
    }
    let (ip, port) =
        ip_and_port(rest).ok_or_else(|| (format!("{} is not an address", quoted(text)), WRITE_AN_ADDRESS))?;
    // Linux takes a connection to 0.0.0.0 for one to itself: the Edge would ask whoever listens on its own machine.
    if ip.is_unspecified() || ip.is_multicast() {
        return Err((format!("{} is no address of a host", quoted(text)), "write the address the service listens on"));
    }
    if port == Some(0) {
        return Err((format!("{} has the port 0", quoted(text)), "write a port from 1 to 65535, or leave it out"));
    }
    // An authority has brackets around IPv6 (RFC 3986 section 3.2.2): redirects are compared with it.
    let authority = if rest.parse::<Ipv6Addr>().is_ok() { format!("[{rest}]") } else { rest.to_owned() };
    Ok(Written { scheme, ip, port, authority })
}

fn ip_and_port(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some((ip, None));
    }
    if let Some(bracketed) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return bracketed.parse::<Ipv6Addr>().ok().map(|ip| (ip.into(), None));
    }
    let (host, port) = text.rsplit_once(':')?;
    // `u16` reads `+80`, too.
    let port = port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()))?;
    let ip = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok()?.into(),
        None => host.parse::<std::net::Ipv4Addr>().ok()?.into(),
    };
    Some((ip, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(scheme: Option<Scheme>, ip: &str, port: Option<u16>, authority: &str) -> Written {
        Written { scheme, ip: ip.parse().unwrap(), port, authority: authority.to_owned() }
    }

    #[test]
    fn every_documented_form_of_an_upstream_address_is_read() {
        for (text, expected) in [
            ("10.0.0.21", written(None, "10.0.0.21", None, "10.0.0.21")),
            ("10.0.0.21:8443", written(None, "10.0.0.21", Some(8443), "10.0.0.21:8443")),
            ("http://127.0.0.1:8080", written(Some(Scheme::Http), "127.0.0.1", Some(8080), "127.0.0.1:8080")),
            ("https://10.0.0.21/", written(Some(Scheme::Https), "10.0.0.21", None, "10.0.0.21")),
            ("2001:db8::1", written(None, "2001:db8::1", None, "[2001:db8::1]")),
            ("[2001:db8::1]", written(None, "2001:db8::1", None, "[2001:db8::1]")),
            ("[2001:db8::1]:8443", written(None, "2001:db8::1", Some(8443), "[2001:db8::1]:8443")),
            ("http://[2001:db8::1]:8080", written(Some(Scheme::Http), "2001:db8::1", Some(8080), "[2001:db8::1]:8080")),
        ] {
            assert_eq!(upstream(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_upstream_address_is_refused() {
        for text in [
            "",
            "10.0.0.300",
            "10.0.0",
            "cc.example.org",
            "cc.example.org:443",
            "10.0.0.21:",
            "10.0.0.21:0",
            "10.0.0.21:+80",
            "10.0.0.21:70000",
            "https://10.0.0.21/xuc",
            "https://user@10.0.0.21",
            "ftp://10.0.0.21",
            "[2001:db8::1",
            "[10.0.0.1]:80",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "10.0.0.21 ",
            "fe80::1%eth0",
            "https://",
            "10.0.0.0/24",
        ] {
            assert!(upstream(text).is_err(), "{text:?}");
        }
    }
}
