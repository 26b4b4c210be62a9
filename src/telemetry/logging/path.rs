//! Paths as logs may show them: no token, no value of a query.

use std::borrow::Cow;
use std::fmt;

use daemon::word;

/// Longest path shown, in characters.
const MOST_CHARS: usize = 300;
/// Most keys of a query shown.
const MOST_KEYS: usize = 12;
/// Longest key of a query shown; a longer one may be a value in disguise.
const KEY_CHARS: usize = 32;
/// Longest piece behind `/token/` that is taken for a word.
const WORD_CHARS: usize = 12;
/// Longer pieces of a path are no names.
const NAME_CHARS: usize = 96;
/// What announces a secret in the pieces that follow.
const TOKEN: &[u8] = b"token";
/// Stands for what is not shown.
const HIDDEN: &str = "…";

/// A request's path without secrets: values of the query, tokens in the path. Made from a request target only, so
/// none can be logged as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafePath(String);

impl SafePath {
    /// From a request target in origin form (`/path?query`).
    pub fn new(target: &str) -> Self {
        // RFC 9112 section 3.2: a target has no fragment. What stands there all the same may be anything.
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let mut safe = String::with_capacity(target.len().min(MOST_CHARS));
        add_path(path, &mut safe);
        if let Some(query) = query {
            safe.push('?');
            add_query(query, &mut safe);
        }
        Self(safe)
    }

    /// The text, without anything that could end a line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn add_path(path: &str, safe: &mut String) {
    let mut behind_token = false;
    for (place, piece) in path.split('/').enumerate() {
        if place > 0 {
            safe.push('/');
        }
        // `;name=value` (RFC 3986 section 3.3) is a query in other clothes.
        let (name, parameters) = piece.split_once(';').map_or((piece, false), |(name, _)| (name, true));
        match is_secret(&decoded(name), behind_token) {
            true => safe.push_str(HIDDEN),
            false => safe.push_str(&word(name)),
        }
        if parameters {
            safe.push(';');
            safe.push_str(HIDDEN);
        }
        behind_token |= name.as_bytes().windows(TOKEN.len()).any(|part| part.eq_ignore_ascii_case(TOKEN));
        // By characters, as `truncate` panics inside of one.
        if safe.len() > MOST_CHARS
            && let Some((end, _)) = safe.char_indices().nth(MOST_CHARS)
        {
            safe.truncate(end);
            safe.push_str(HIDDEN);
            break;
        }
    }
}

/// Keys only, and only those that look like keys.
fn add_query(query: &str, safe: &mut String) {
    for (place, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        if place > 0 {
            safe.push('&');
        }
        if place == MOST_KEYS {
            safe.push_str(HIDDEN);
            break;
        }
        let (key, value) = pair.split_once('=').map_or((pair, false), |(key, _)| (key, true));
        let plain = key.len() <= KEY_CHARS && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-[]".contains(&b));
        // A pair without `=` may be a bare value.
        safe.push_str(if plain && (value || key.len() <= WORD_CHARS) { key } else { HIDDEN });
        if value {
            safe.push('=');
            safe.push_str(HIDDEN);
        }
    }
}

/// A JSON Web Token anywhere, anything but a word behind `/token/`, and what is too long for a name.
fn is_secret(piece: &str, behind_token: bool) -> bool {
    // `eyJ` is `{"` in base64: with it each JSON Web Token begins (RFC 7519 section 3).
    let jwt = piece.contains("eyJ") && piece.contains('.');
    let is_word = piece.len() <= WORD_CHARS && piece.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b == b'_');
    jwt || (behind_token && !is_word) || (piece.len() > NAME_CHARS && piece.chars().count() > NAME_CHARS)
}

/// Percent-decoded as far as that goes, so that `%65yJ…` is seen for what it is.
fn decoded(piece: &str) -> Cow<'_, str> {
    if !piece.contains('%') {
        return Cow::Borrowed(piece);
    }
    let mut bytes = Vec::with_capacity(piece.len());
    let mut rest = piece.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (first, after) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                bytes.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::SafePath;

    fn safe(target: &str) -> String {
        SafePath::new(target).to_string()
    }

    #[test]
    fn e8_tokens_never_appear() {
        const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJsb2dpbiI6ImFsaWNlIn0.c2lnbmF0dXJl";
        for (target, shown) in [
            (format!("/xuc/api/2.0/cti?token={JWT}"), "/xuc/api/2.0/cti?token=…"),
            (format!("/wssip?a=1&token={JWT}&b"), "/wssip?a=…&token=…&b"),
            (format!("/wssip?{JWT}"), "/wssip?…"),
            ("/wssip?s3cr3tbutnotajwtatall".into(), "/wssip?…"),
            (format!("/wssip?{JWT}=1"), "/wssip?…=…"),
            (format!("/meetingrooms/token/validate/{JWT}"), "/meetingrooms/token/validate/…"),
            ("/meetingrooms/token/validate/4f3a9c".into(), "/meetingrooms/token/validate/…"),
            (format!("/video/{}", JWT.replace('e', "%65")), "/video/…"),
            (format!("/video/room;jwt={JWT}/x"), "/video/room;…/x"),
            (format!("/video/#{JWT}"), "/video/"),
            (format!("/a/{}", "x".repeat(97)), "/a/…"),
            ("/x?password=hunter2".into(), "/x?password=…"),
        ] {
            let seen = safe(&target);
            assert_eq!(seen, shown);
            assert!(!seen.contains("eyJ") && !seen.contains("hunter2"));
        }
    }

    #[test]
    fn ordinary_paths_stay_readable() {
        for path in
            ["/", "/ccagent", "/assets/main.3f4e5dab.chunk.js", "/xuc/api/2.0/auth/login", "/video/css/a.css", ""]
        {
            assert_eq!(safe(path), path);
        }
        assert_eq!(safe("/config?v=3"), "/config?v=…");
    }

    #[test]
    fn a_path_is_one_bounded_word_whatever_comes() {
        assert_eq!(safe("/a b\r\nx"), "/a\\u{20}b\\u{d}\\u{a}x");
        assert!(safe(&"/ab".repeat(5000)).chars().count() <= 310);
        assert!(safe(&format!("/x?{}", "k=v&".repeat(5000))).chars().count() <= 600);
        assert_eq!(safe("/%"), "/%");
        assert_eq!(safe("/%e9é"), "/%e9é");
    }
}
