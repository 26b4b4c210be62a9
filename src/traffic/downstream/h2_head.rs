//! Heads over h2 that the library lets pass though they could be read in two ways (RFC 9113 sections 8.1.1 and 8.3.1).

use http::Method;
use http::header::{CONTENT_LENGTH, HOST};
use http::request::Parts;
use pingora::http::authority::{RawTargetAuthority, raw_target_authority};

/// Marks a head, among its extensions, as one that is answered and not carried.
#[derive(Debug, Clone, Copy)]
pub struct Malformed;

/// Whether a request can be read in one way only.
pub fn is_well_formed(head: &Parts) -> bool {
    has_one_length(head) && has_one_authority(head) && has_a_target(head) && is_of_the_web(head)
}

/// Two that are equal are one to some and two to others.
fn has_one_length(head: &Parts) -> bool {
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => true,
        (Some(length), None) => !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit),
        (Some(_), Some(_)) => false,
    }
}

/// `:authority`, or `Host` in its place, or both and equal; and nobody's password.
fn has_one_authority(head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let one = match (host, authority) {
        (None, None) => return false,
        // Byte by byte, in case too: whoever writes one name in two ways leaves it to the reader which of them counts.
        (Some(host), Some(authority)) if host.as_bytes() != authority => return false,
        (Some(host), _) => host.as_bytes(),
        (None, Some(authority)) => authority,
    };
    another.is_none() && !one.contains(&b'@')
}

/// Nothing that ends a line or a word, and no second authority.
fn has_a_target(head: &Parts) -> bool {
    let target = head.uri.path_and_query().map_or(&[][..], |target| target.as_str().as_bytes());
    let one_word = !target.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r' | b' '));
    one_word && (head.method == Method::CONNECT || raw_target_authority(target) == RawTargetAuthority::None)
}

/// The scheme is known beside an authority only, and a CONNECT has none.
fn is_of_the_web(head: &Parts) -> bool {
    let scheme = head.uri.scheme_str();
    scheme.is_none_or(|scheme| ["https", "http"].iter().any(|web| scheme.eq_ignore_ascii_case(web)))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_malformed() {
        const URI: &str = "https://edge.example.org/xuc?a=b";
        const NAME: &str = "edge.example.org";
        let well = |uri, fields: &[(&str, &str)]| is_well_formed(&head(uri, fields));
        assert!(well(URI, &[]));
        assert!(well("HTTP://edge.example.org/xuc", &[("content-length", "007")]));
        assert!(well(URI, &[("host", NAME)]));
        assert!(well("/xuc", &[("host", NAME)]));
        for fields in [
            &[("host", "EDGE.example.org")][..],
            &[("host", NAME), ("host", NAME)],
            &[("content-length", "1"), ("content-length", "1")],
            &[("content-length", "1, 1")],
            &[("content-length", "")],
            &[("content-length", "+1")],
        ] {
            assert!(!well(URI, fields), "{fields:?}");
        }
        assert!(!well("/xuc", &[]));
        assert!(!well("/xuc", &[("host", "u:p@edge.example.org")]));
        assert!(!well("https://u:p@edge.example.org/", &[]));
        assert!(!well("javascript://edge.example.org/", &[]));
    }
}
