//! Request targets (RFC 9112 section 3.2) as clients send them, brought into the one form that everything behind may rely
//! on: origin form, made of bytes a URI may hold.

use std::ops::Range;

use bytes::BytesMut;

use crate::traffic::route::path;

/// Longest target: what the URI type of everything behind can hold (`http::Uri` counts in 16 bits).
const LONGEST: usize = u16::MAX as usize - 1;

/// What a target asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form<'a> {
    /// A path, maybe with a query; or the asterisk, which is no path and is refused where paths are judged.
    Origin,
    /// A whole URL: its authority counts in place of `Host` (RFC 9112 section 3.2.2).
    Absolute {
        /// Host, and port where it is not the scheme's own.
        authority: &'a str,
        /// Path and query; may lack the path.
        rest: &'a str,
    },
}

/// Why there is no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoTarget {
    /// The target is longer than anybody behind could hold.
    TooLong,
    /// The target is no path, or a URL that is not for a web server.
    NotHttp,
}

/// Tells the form of a target.
pub(super) fn form(target: &str) -> Result<Form<'_>, NoTarget> {
    if target.len() > LONGEST {
        return Err(NoTarget::TooLong);
    }
    if target.starts_with('/') || target == "*" {
        return Ok(Form::Origin);
    }
    let (scheme, rest) = target.split_once("://").ok_or(NoTarget::NotHttp)?;
    let own_port = match () {
        () if scheme.eq_ignore_ascii_case("https") => ":443",
        () if scheme.eq_ignore_ascii_case("http") => ":80",
        () => return Err(NoTarget::NotHttp),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    // A name and password in front of the host are for nobody here, and parsers disagree about them.
    if authority.is_empty() || authority.contains('@') {
        return Err(NoTarget::NotHttp);
    }
    // The scheme's own port says nothing, and the router's names have none.
    Ok(Form::Absolute { authority: authority.strip_suffix(own_port).unwrap_or(authority), rest })
}

/// Percent-encodes what a URI may not hold in the target of the head that `buf` begins with, once its first line is whole.
///
/// Clients do send such bytes (`"`, `<`, UTF-8 and Latin-1 as it comes); parsers behind would refuse the request without
/// a word of ours. What ends lines or words is left as it is: no encoding may turn two readings of a head into one.
/// Returns whether it was.
pub(super) fn encode(buf: &mut BytesMut) -> bool {
    let Some(line) = first_line(buf) else { return false };
    let Some((start, end)) = place(buf, line) else { return true };
    let Some(encoded) = path::encoded(&buf[start..end]) else { return true };
    let rest = buf.split_off(end);
    buf.truncate(start);
    buf.extend_from_slice(encoded.as_bytes());
    buf.extend_from_slice(&rest);
    true
}

/// Where the first line is that is not empty, once it is whole.
fn first_line(buf: &[u8]) -> Option<Range<usize>> {
    let begin = buf.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let length = buf[begin..].iter().position(|byte| *byte == b'\n')?;
    Some(begin..begin + length)
}

/// Where the target is: between the first and the last space of its line.
fn place(buf: &[u8], line: Range<usize>) -> Option<(usize, usize)> {
    let begin = line.start;
    let line = &buf[line];
    let (first, last) = (line.iter().position(|byte| *byte == b' ')?, line.iter().rposition(|byte| *byte == b' ')?);
    (first < last).then_some((begin + first + 1, begin + last))
}

/// Method and path of a head that was refused, as far as they can be made out: for the access log. A `-` stands for what
/// cannot.
pub fn glimpse(head: &[u8]) -> (http::Method, String) {
    const NONE: &[u8] = b"-";
    let line = head.trim_ascii_start();
    let line = line.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let method = words.next().and_then(|word| http::Method::from_bytes(word).ok());
    let target = words.next().filter(|target| !target.is_empty());
    let (Some(method), Some(target)) = (method, target) else {
        return (http::Method::from_bytes(NONE).expect("a token"), "-".to_owned());
    };
    let target = String::from_utf8_lossy(target);
    // An authority may hold a password.
    let target = match form(&target) {
        Ok(Form::Absolute { rest, .. }) => rest.to_owned(),
        Ok(Form::Origin) => target.into_owned(),
        Err(NoTarget::TooLong) if target.starts_with('/') => target.into_owned(),
        Err(_) => "-".to_owned(),
    };
    (method, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_path_or_a_url_of_the_web() {
        for target in ["/", "/a?b", "*", "//a/b", "/?to=http://b/"] {
            assert_eq!(form(target), Ok(Form::Origin), "{target}");
        }
        for (target, authority, rest) in [
            ("https://a/b?c", "a", "/b?c"),
            ("HTTPS://A:443/b", "A", "/b"),
            ("http://a:80/", "a", "/"),
            ("http://a:443/", "a:443", "/"),
            ("https://a:8443", "a:8443", ""),
            ("https://a?b", "a", "?b"),
            ("https://a\\b/c", "a\\b", "/c"),
        ] {
            assert_eq!(form(target), Ok(Form::Absolute { authority, rest }), "{target}");
        }
        for target in [
            "a",
            "a:443",
            "?a",
            "#a",
            "javascript://a/%0aalert(1)",
            "ftp://a/",
            "ws://a/",
            "file:///etc/passwd",
            "https:/a",
            "https:a",
            "https:///a",
            "https://?a",
            "https://u:p@a/",
            "://a/",
            "\\a",
            "..",
        ] {
            assert_eq!(form(target), Err(NoTarget::NotHttp), "{target}");
        }
        assert_eq!(form(&"/".repeat(LONGEST + 1)), Err(NoTarget::TooLong));
        assert_eq!(form(&"/".repeat(LONGEST)), Ok(Form::Origin));
    }

    #[test]
    fn what_no_uri_may_hold_is_encoded_and_nothing_else_moves() {
        for (head, expected) in [
            (&b"GET /a HTTP/1.1\r\nHost: \"\r\n\r\n"[..], &b"GET /a HTTP/1.1\r\nHost: \"\r\n\r\n"[..]),
            (b"GET /\"<>?\"<>` HTTP/1.1\r\nX: <\r\n", b"GET /%22%3C%3E?%22%3C%3E%60 HTTP/1.1\r\nX: <\r\n"),
            (b"\r\n\nGET /caf\xc3\xa9 HTTP/1.1\n", b"\r\n\nGET /caf%C3%A9 HTTP/1.1\n"),
            (b"GET /caf\xe9?\xff HTTP/1.0\r\nbody \xff", b"GET /caf%E9?%FF HTTP/1.0\r\nbody \xff"),
            (b"GET /a b\" HTTP/1.1\r\n", b"GET /a b%22 HTTP/1.1\r\n"),
            (b"GET /\" HTTP/1.1", b"GET /\" HTTP/1.1"),
            (b"GET\r\n\"", b"GET\r\n\""),
            (b"", b""),
        ] {
            let mut buf = BytesMut::from(head);
            encode(&mut buf);
            assert_eq!(buf, expected, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn a_refused_head_is_named_without_what_could_be_a_secret() {
        for (head, method, target) in [
            (&b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n"[..], "GET", "/a?b=c"),
            (b"\r\nPOST https://u:secret@a/b HTTP/1.1\r\n", "POST", "-"),
            (b"GET https://a/b HTTP/1.1\r\n", "GET", "/b"),
            (b"CONNECT a:443 HTTP/1.1\r\n", "CONNECT", "-"),
            (b"GET /unfin", "GET", "/unfin"),
            (b"\x16\x03\x01 hello", "-", "-"),
            (b"secret", "-", "-"),
            (b"", "-", "-"),
        ] {
            let (got, path) = glimpse(head);
            assert_eq!((got.as_str(), &*path), (method, target), "{}", head.escape_ascii());
        }
    }
}
