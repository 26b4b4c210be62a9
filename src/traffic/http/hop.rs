//! Fields that concern one connection alone (RFC 9110 section 7.6.1): an intermediary passes none of them on. Pingora
//! leaves them out of requests; upgrades, and the answers to both, are ours.

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, HeaderValue};
use probe::upgrade::items;

/// Of one connection, whether `Connection` names them or not.
const OF_ONE_CONNECTION: [&str; 10] = [
    "connection",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "http2-settings",
];
/// Would lead clients past the front door.
const PAST_THE_DOOR: &str = "alt-svc";
/// Most options of one request's `Connection`: Pingora's own limit, for each is compared with each field.
const MOST_OPTIONS: usize = 9;

/// Whether a field is one connection's own.
pub fn is_of_one_connection(name: &str) -> bool {
    OF_ONE_CONNECTION.iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// A request's `Connection` names what it must not, or too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadConnection;

/// The fields that a request's `Connection` names, for [`names`].
///
/// Refused like Pingora does: what is no field's name, and what upstreams rely on. An upgrade without its own fields
/// is none.
///
/// # Errors
/// The request's `Connection` names what is no field, or what upstreams rely on.
pub fn nominated<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Vec<&'a [u8]>, BadConnection> {
    // No more is collected than is allowed, and one, however long the field is.
    let options: Vec<&[u8]> = values.flat_map(items).take(MOST_OPTIONS + 1).collect();
    let sound = |option: &&[u8]| HeaderName::from_bytes(option).is_ok_and(|name| !is_relied_on(name.as_str()));
    match options.len() <= MOST_OPTIONS && options.iter().all(sound) {
        true => Ok(options),
        false => Err(BadConnection),
    }
}

fn is_relied_on(name: &str) -> bool {
    // Whoever is asked drops what `Connection` names (RFC 9110 section 7.6.1): a client could take away what the Edge
    // says about it.
    matches!(name, "host" | "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto") || is_handshake(name)
}

fn is_handshake(name: &str) -> bool {
    name.starts_with("sec-websocket-")
}

/// Whether `options` name a field.
pub fn names(options: &[&[u8]], field: &str) -> bool {
    options.iter().any(|option| option.eq_ignore_ascii_case(field.as_bytes()))
}

/// The fields of an upstream's answer that no client may see: those of its connection, and `Alt-Svc`.
///
/// Its `Connection` cannot name the body's length away, which is the message's, nor the handshake of an upgrade.
pub fn not_for_clients(headers: &HeaderMap) -> Vec<HeaderName> {
    // Nearly every answer says no more than `keep-alive` or `close`.
    let options: Vec<&[u8]> = headers.get_all(CONNECTION).iter().map(HeaderValue::as_bytes).flat_map(items).collect();
    let hidden = |name: &HeaderName| {
        let name = name.as_str();
        let own = is_of_one_connection(name) || name == PAST_THE_DOOR;
        own || (names(&options, name) && name != "content-length" && !is_handshake(name))
    };
    headers.keys().filter(|name| hidden(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connection_names_is_found_or_refused() {
        let options = |values: &[&'static str]| nominated(values.iter().map(|value| value.as_bytes()));
        assert_eq!(options(&["keep-alive, Upgrade", " X-Hop ,,"]), Ok(vec![&b"keep-alive"[..], b"Upgrade", b"X-Hop"]));
        assert_eq!(options(&[]), Ok(vec![]));
        let many = "a, ".repeat(10);
        for bad in ["Upgrade, Host", "x-forwarded-FOR", "Sec-WebSocket-Key, upgrade", "a b", "\"x\"", ":path", &many] {
            assert_eq!(nominated([bad.as_bytes()].into_iter()), Err(BadConnection), "{bad}");
        }
    }

    #[test]
    fn an_answer_keeps_what_is_meant_for_clients() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "X-Hop, close"),
            ("connection", "content-length, sec-websocket-accept"),
            ("x-hop", "1"),
            ("x-end", "1"),
            ("content-length", "5"),
            ("sec-websocket-accept", "x"),
            ("keep-alive", "timeout=5"),
            ("trailer", "x"),
            ("proxy-authenticate", "Basic"),
            ("alt-svc", "h3=\":443\""),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        for name in not_for_clients(&headers) {
            headers.remove(name);
        }
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "sec-websocket-accept", "x-end"]);
    }
}
