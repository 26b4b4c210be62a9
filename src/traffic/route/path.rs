//! Path normalisation (RFC 3986 section 6.2.2) before routing, so that a prefix cannot be escaped.

use std::borrow::Cow;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// The path does not start with `/`.
    #[error("the path does not start with /")]
    Relative,
    /// A `%` without two hexadecimal digits.
    #[error("the path holds a broken percent-encoding")]
    Encoding,
    /// A control character, raw or encoded, or a byte no URI may hold.
    #[error("the path holds a character that is not allowed")]
    Character,
    /// `..` climbs above the root.
    #[error("the path climbs above its root")]
    Escape,
    /// An encoded slash or backslash, where servers disagree about segments.
    #[error("the path hides a separator")]
    Separator,
}

/// Brings a raw path (without query) into the one form routes are matched against and upstreams are sent.
///
/// Unreserved characters are decoded, dot segments resolved, empty segments merged. Borrowed when nothing changes.
///
/// # Errors
/// The path has no such form: a broken escape, a byte no URI may hold, a hidden separator, a climb above the root.
pub fn normalise(raw: &str) -> Result<Cow<'_, str>, BadPath> {
    let bytes = raw.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(BadPath::Relative);
    }
    if is_plain(bytes) {
        return Ok(Cow::Borrowed(raw));
    }
    let decoded = decode_unreserved(bytes)?;
    resolve(&decoded).map(Cow::Owned)
}

/// Whether the path is in its normal form already: the common case, without allocation.
fn is_plain(path: &[u8]) -> bool {
    let mut previous = 0;
    for &byte in path {
        let dubious = match byte {
            b'%' | b'\\' => true,
            b'/' | b'.' => previous == b'/',
            _ => !is_path_byte(byte),
        };
        if dubious {
            return false;
        }
        previous = byte;
    }
    true
}

/// `pchar` of RFC 3986 without `%`, and `/`.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
}

fn decode_unreserved(path: &[u8]) -> Result<String, BadPath> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            // Browsers send a few bytes RFC 3986 forbids ({ } | ^ ` " < >) as they are: encode those, refuse the rest.
            match byte {
                // Some take it for a slash, and see other segments than the router.
                b'\\' => return Err(BadPath::Separator),
                _ if is_path_byte(byte) => out.push(char::from(byte)),
                b'{' | b'}' | b'|' | b'^' | b'`' | b'"' | b'<' | b'>' | b'[' | b']' | 0x80.. => encode(byte, &mut out),
                _ => return Err(BadPath::Character),
            }
            rest = tail;
            continue;
        }
        let [high, low, after @ ..] = tail else { return Err(BadPath::Encoding) };
        let value = hex(*high).zip(hex(*low)).map(|(h, l)| h << 4 | l).ok_or(BadPath::Encoding)?;
        match value {
            b'/' | b'\\' => return Err(BadPath::Separator),
            0..0x20 | 0x7f => return Err(BadPath::Character),
            // Unreserved ones alone are decoded, so once: `%252e` stays what it is, and no second decoding makes a dot
            // of it.
            _ if value.is_ascii_alphanumeric() || b"-._~".contains(&value) => out.push(char::from(value)),
            _ => encode(value, &mut out),
        }
        rest = after;
    }
    Ok(out)
}

/// Percent-encodes the bytes of a target that no URI may hold, path and query alike; none if there are none.
///
/// A backslash stays in a path, where [`normalise`] refuses it, and becomes data in a query.
pub fn encoded(target: &[u8]) -> Option<String> {
    let end = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let first = path.iter().any(|byte| is_foreign(*byte)) || query.iter().any(|byte| is_foreign_query(*byte));
    first.then(|| {
        let mut out = String::with_capacity(target.len() + 16);
        path.iter().for_each(|byte| add(*byte, is_foreign(*byte), &mut out));
        query.iter().for_each(|byte| add(*byte, is_foreign_query(*byte), &mut out));
        out
    })
}

/// Brings a query (without `?`) into a form any URI parser takes. Borrowed when nothing changes; what keys and values
/// mean is the upstream's affair.
pub fn query(raw: &str) -> Cow<'_, str> {
    if !raw.bytes().any(is_foreign_query) {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len() + 16);
    raw.bytes().for_each(|byte| add(byte, is_foreign_query(byte), &mut out));
    Cow::Owned(out)
}

/// What clients send as it is though RFC 3986 has no place for it.
fn is_foreign(byte: u8) -> bool {
    matches!(byte, b'{' | b'}' | b'|' | b'^' | b'`' | b'"' | b'<' | b'>' | 0x80..)
}

fn is_foreign_query(byte: u8) -> bool {
    is_foreign(byte) || byte == b'\\'
}

fn add(byte: u8, foreign: bool, out: &mut String) {
    match foreign {
        true => encode(byte, out),
        // What is not foreign is ASCII.
        false => out.push(char::from(byte)),
    }
}

fn encode(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

fn resolve(path: &str) -> Result<String, BadPath> {
    let mut out = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "" | "." if last => out.push('/'),
            "" | "." => {}
            // `..;x` is a dot segment to some servlet containers.
            _ if segment == ".." || segment.starts_with("..;") => {
                // Refused, where RFC 3986 would stay at the root: whoever climbs above it wants to escape.
                let parent = out.rfind('/').ok_or(BadPath::Escape)?;
                out.truncate(parent);
                if last {
                    out.push('/');
                }
            }
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for (raw, normal) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a//b", "/a/b"),
            ("//a", "/a"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a/", "/a/"),
            ("/%61", "/a"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/%2E/b", "/a/b"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%20b", "/a%20b"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a.b/..c", "/a.b/..c"),
            ("/a%252e", "/a%252e"),
            ("/assets/..;/xuc", "/xuc"),
            ("/{id}", "/%7Bid%7D"),
        ] {
            assert_eq!(normalise(raw).as_deref(), Ok(normal), "{raw}");
        }
    }

    #[test]
    fn an_ambiguous_path_is_refused() {
        for (raw, why) in [
            ("", BadPath::Relative),
            ("*", BadPath::Relative),
            ("/..", BadPath::Escape),
            ("/a/../../b", BadPath::Escape),
            ("/a%2fb", BadPath::Separator),
            ("/a%5Cb", BadPath::Separator),
            ("/a\\b", BadPath::Separator),
            ("/a%00", BadPath::Character),
            ("/a%0d%0aX", BadPath::Character),
            ("/a b", BadPath::Character),
            ("/a%", BadPath::Encoding),
            ("/a%2", BadPath::Encoding),
            ("/a%zz", BadPath::Encoding),
            ("/a%+1", BadPath::Encoding),
        ] {
            assert_eq!(normalise(raw), Err(why), "{raw}");
        }
    }

    #[test]
    fn a_query_is_made_of_bytes_a_uri_may_hold() {
        for (raw, sent) in [
            ("a=b&c[]=%zz", "a=b&c[]=%zz"),
            ("q={\"a\":\"<b>\"}", "q=%7B%22a%22:%22%3Cb%3E%22%7D"),
            ("q=`^|\\", "q=%60%5E%7C%5C"),
            ("q=é", "q=%C3%A9"),
        ] {
            assert_eq!(query(raw), sent);
            assert_eq!(query(&query(raw)), sent);
            assert_eq!(
                encoded(format!("/?{raw}").as_bytes()).unwrap_or_else(|| format!("/?{raw}")),
                format!("/?{sent}")
            );
        }
        assert_eq!(encoded(b"/a\\b?\\").as_deref(), Some("/a\\b?%5C"));
    }

    #[test]
    fn normalising_twice_changes_nothing_and_never_leaves_a_dot_segment() {
        let alphabet = ["/", ".", "..", "a", "%2e", "%2F", "%", "\\", "é", ";", "%41"];
        for a in alphabet {
            for b in alphabet {
                for c in alphabet {
                    for d in alphabet {
                        let raw = format!("/{a}{b}{c}{d}");
                        let Ok(once) = normalise(&raw) else { continue };
                        assert_eq!(normalise(&once).as_deref(), Ok(&*once), "{raw}");
                        assert!(once.split('/').all(|s| s != "." && s != ".."), "{raw} -> {once}");
                        assert!(!once.contains("//"), "{raw} -> {once}");
                    }
                }
            }
        }
    }
}
