//! What a client asks when it asks for a WebSocket (RFC 6455 section 4.2.1), as far as an intermediary must look.

use std::borrow::Cow;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use probe::upgrade::{Offer, items, name_of};

use super::seen;
use crate::traffic::http::hop;
use crate::traffic::http::record::Seen;

/// What an upgrade asks for.
pub(super) struct Handshake<'a> {
    pub(super) host: Option<&'a str>,
    pub(super) target: &'a str,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    /// All that it offers, in however many lines.
    pub(super) subprotocols: Option<Cow<'a, str>>,
    pub(super) language: Option<&'a [u8]>,
    /// The fields that its `Connection` names as this connection's own.
    pub(super) options: Vec<&'a [u8]>,
    /// What the answer must keep to.
    pub(super) offer: Offer<'a>,
}

/// Why a request is no handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoHandshake {
    /// Of another version than 13.
    Version,
    /// The request can be read in two ways, or not at all.
    Malformed,
}

impl<'a> Handshake<'a> {
    /// Reads a request that asks for an upgrade.
    pub(super) fn of(request: &httparse::Request<'_, 'a>) -> Result<Self, NoHandshake> {
        let all = |name: &'static str| {
            request.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
        };
        let text = |value: &'a [u8]| std::str::from_utf8(value).map_err(|_| NoHandshake::Malformed);
        // Of two, one server takes the first and the next the last.
        let one = |name: &'static str| {
            let mut values = all(name);
            match (values.next(), values.next()) {
                (found, None) => Ok(found.map(<[u8]>::trim_ascii)),
                _ => Err(NoHandshake::Malformed),
            }
        };
        // First: RFC 6455 section 4.4 has a server say which versions it knows, whatever else of a handshake it cannot
        // read.
        if one("sec-websocket-version")? != Some(b"13") {
            return Err(NoHandshake::Version);
        }
        // RFC 6455 section 4.2.1: 16 bytes in base64. The upstream's answer is held against it.
        let key = one("sec-websocket-key")?.filter(|key| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16));
        let key = key.ok_or(NoHandshake::Malformed)?;
        let target = request.path.unwrap_or("/");
        // RFC 9112 section 3.2: no target holds a fragment.
        if target.contains('#') {
            return Err(NoHandshake::Malformed);
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let mut subprotocols: Option<Cow<'a, str>> = None;
        // A route's list must see them all: some servers read each line, others the first alone.
        for line in all("sec-websocket-protocol") {
            let line = text(line)?;
            subprotocols = Some(match subprotocols {
                None => line.into(),
                Some(before) => format!("{before}, {line}").into(),
            });
        }
        let offer = Offer {
            key,
            subprotocols: all("sec-websocket-protocol").flat_map(items).collect(),
            extensions: all("sec-websocket-extensions").flat_map(items).map(name_of).collect(),
        };
        Ok(Self {
            host: all("host").next().and_then(|host| std::str::from_utf8(host).ok()),
            target,
            path,
            query,
            subprotocols,
            language: all("accept-language").next(),
            options: hop::nominated(all("connection")).map_err(|_| NoHandshake::Malformed)?,
            offer,
        })
    }

    pub(super) fn seen(&self, client: SocketAddr, status: u16) -> Seen<'_> {
        seen(client, self.target, self.host, status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";

    fn read(target: &str, fields: &str) -> Result<Option<String>, NoHandshake> {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut parsed = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut parsed);
        request.parse(text.as_bytes()).unwrap();
        Handshake::of(&request).map(|asked| asked.subprotocols.map(Cow::into_owned))
    }

    #[test]
    fn a_handshake_has_one_version_and_one_key() {
        let whole = format!("Connection: keep-alive, Upgrade\r\n{KEY}{VERSION}");
        assert_eq!(read("/ws?a=b", &whole), Ok(None));
        for (fields, why) in [
            (KEY.to_owned(), NoHandshake::Version),
            (format!("{KEY}Sec-WebSocket-Version: 8\r\n"), NoHandshake::Version),
            (format!("{KEY}Sec-WebSocket-Version: 13, 8\r\n"), NoHandshake::Version),
            (format!("{KEY}{VERSION}{VERSION}"), NoHandshake::Malformed),
            (format!("{KEY}{VERSION}Sec-WebSocket-Version: 8\r\n"), NoHandshake::Malformed),
            (VERSION.to_owned(), NoHandshake::Malformed),
            (format!("{KEY}{KEY}{VERSION}"), NoHandshake::Malformed),
            (format!("{VERSION}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA====\r\n"), NoHandshake::Malformed),
            (format!("{VERSION}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA\r\n"), NoHandshake::Malformed),
            (format!("{VERSION}Sec-WebSocket-Key: ========================\r\n"), NoHandshake::Malformed),
            (format!("Connection: Upgrade, Sec-WebSocket-Key\r\n{KEY}{VERSION}"), NoHandshake::Malformed),
            (format!("Connection: Upgrade, Host\r\n{KEY}{VERSION}"), NoHandshake::Malformed),
        ] {
            assert_eq!(read("/ws", &fields), Err(why), "{fields}");
        }
        assert_eq!(read("/ws?a=b#c", &whole), Err(NoHandshake::Malformed));
    }

    #[test]
    fn subprotocols_in_several_lines_are_one_offer() {
        let fields = format!("{KEY}{VERSION}Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Protocol: other\r\n");
        assert_eq!(read("/ws", &fields), Ok(Some("sip, other".to_owned())));
    }
}
