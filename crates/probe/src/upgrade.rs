//! Is an answer of 101 the one to this WebSocket upgrade (RFC 6455 section 4.2.2)? Checks and traffic ask the same.

use http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Version};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::answer::Head;

/// What an upgrade offered, as its answer must keep to.
#[derive(Debug, Clone, Default)]
pub struct Offer<'a> {
    /// The value of its `Sec-WebSocket-Key`, as sent.
    pub key: &'a [u8],
    /// The subprotocols that it offers, in any number of lines.
    pub subprotocols: Vec<&'a [u8]>,
    /// The names of its extensions.
    pub extensions: Vec<&'a [u8]>,
}

/// Why a 101 opens no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// HTTP/1.0 knows no upgrade (RFC 9110 section 7.8).
    #[error("the answer to the upgrade is HTTP/1.0")]
    Old,
    /// `Upgrade` is not exactly `websocket`, or `Connection` does not name it.
    #[error("the answer to the upgrade lacks `Upgrade: websocket` or `Connection: Upgrade`")]
    NotWebSocket,
    /// `Sec-WebSocket-Accept` does not belong to the key.
    #[error("the upgrade's Sec-WebSocket-Accept does not match: not a WebSocket server, or a cache in between")]
    Accept,
    /// A subprotocol nobody offered, or several.
    #[error("the server chose a subprotocol that was not offered")]
    Subprotocol,
    /// The server chose an extension nobody offered.
    #[error("the server chose an extension that was not offered")]
    Extension,
}

impl Offer<'_> {
    /// Whether a 101 accepts this offer and nothing else.
    ///
    /// # Errors
    /// The status is another, or the answer accepts another offer than this one (RFC 6455 section 4.1).
    pub fn verify(&self, head: &Head) -> Result<(), NotOpened> {
        if head.version != Version::HTTP_11 {
            return Err(NotOpened::Old);
        }
        let protocols: Vec<&[u8]> = all(&head.headers, &UPGRADE).collect();
        let websocket = matches!(protocols[..], [one] if one.eq_ignore_ascii_case(b"websocket"));
        if !websocket || !all(&head.headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade")) {
            return Err(NotOpened::NotWebSocket);
        }
        let accept = derive_accept_key(self.key);
        let mut accepts = head.headers.get_all(SEC_WEBSOCKET_ACCEPT).iter().map(HeaderValue::as_bytes);
        // There must be exactly one: of two, one reader takes the first and another the last.
        if accepts.next() != Some(accept.as_bytes()) || accepts.next().is_some() {
            return Err(NotOpened::Accept);
        }
        let mut chosen = all(&head.headers, &SEC_WEBSOCKET_PROTOCOL);
        if chosen.next().is_some_and(|chosen| !self.subprotocols.contains(&chosen)) || chosen.next().is_some() {
            return Err(NotOpened::Subprotocol);
        }
        let offered = |name: &[u8]| self.extensions.iter().any(|offer| offer.eq_ignore_ascii_case(name));
        if !all(&head.headers, &SEC_WEBSOCKET_EXTENSIONS).all(|extension| offered(name_of(extension))) {
            return Err(NotOpened::Extension);
        }
        Ok(())
    }
}

/// The items of a comma-separated list; empty ones are none (RFC 9110 section 5.6.1).
pub fn items(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

/// An extension's name, without its parameters.
#[must_use]
pub fn name_of(extension: &[u8]) -> &[u8] {
    extension.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

fn all<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().flat_map(|value| items(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";
    /// The answer to `KEY`, in RFC 6455 section 1.3.
    const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    fn verified(line: &str, fields: &str) -> Result<(), NotOpened> {
        let offer = Offer { key: KEY, subprotocols: vec![b"sip", b"chat"], extensions: vec![b"permessage-deflate"] };
        let answer = format!("{line}\r\n{fields}\r\n");
        offer.verify(&Head::parse(answer.as_bytes()).unwrap().unwrap().1)
    }

    #[test]
    fn a_101_accepts_what_was_offered_and_nothing_else() {
        const LINE: &str = "HTTP/1.1 101 Switching Protocols";
        const UPGRADE: &str = "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n";
        let table = [
            (format!("{UPGRADE}{ACCEPT}"), Ok(())),
            (format!("{UPGRADE}{ACCEPT}Sec-WebSocket-Protocol: sip\r\n"), Ok(())),
            (format!("{UPGRADE}{ACCEPT}Sec-WebSocket-Extensions: Permessage-Deflate; x=1\r\n"), Ok(())),
            (format!("Upgrade : websocket\r\nConnection:\r\n upgrade\r\n{ACCEPT}"), Ok(())),
            (ACCEPT.to_owned(), Err(NotOpened::NotWebSocket)),
            (format!("Upgrade: websocket\r\n{ACCEPT}"), Err(NotOpened::NotWebSocket)),
            (format!("Connection: upgrade\r\n{ACCEPT}"), Err(NotOpened::NotWebSocket)),
            (format!("Upgrade: h2c\r\nConnection: upgrade\r\n{ACCEPT}"), Err(NotOpened::NotWebSocket)),
            (format!("Upgrade: websocket, h2c\r\nConnection: upgrade\r\n{ACCEPT}"), Err(NotOpened::NotWebSocket)),
            (UPGRADE.to_owned(), Err(NotOpened::Accept)),
            (format!("{UPGRADE}Sec-WebSocket-Accept: x\r\n"), Err(NotOpened::Accept)),
            (format!("{UPGRADE}{ACCEPT}{ACCEPT}"), Err(NotOpened::Accept)),
            (format!("{UPGRADE}{ACCEPT}Sec-WebSocket-Protocol: SIP\r\n"), Err(NotOpened::Subprotocol)),
            (format!("{UPGRADE}{ACCEPT}Sec-WebSocket-Protocol: sip, chat\r\n"), Err(NotOpened::Subprotocol)),
            (format!("{UPGRADE}{ACCEPT}Sec-WebSocket-Extensions: x-other\r\n"), Err(NotOpened::Extension)),
        ];
        for (fields, expected) in table {
            assert_eq!(verified(LINE, &fields), expected, "{fields}");
        }
        let whole = format!("{UPGRADE}{ACCEPT}");
        assert_eq!(verified("HTTP/1.0 101 Switching Protocols", &whole), Err(NotOpened::Old));
    }
}
