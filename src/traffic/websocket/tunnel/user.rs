//! Whose socket it is: sockets of one user are closed together. The token is read, never verified, never kept.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

/// Beyond any token a XiVO issues, and short enough to decode on the request path.
const TOKEN_LIMIT: usize = 8 * 1024;
const LOGIN_LIMIT: usize = 128;
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key by which sessions belong together. Anybody may claim any login: use it to group, never to allow.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum User {
    /// The login a token claims.
    Login(Arc<str>),
    /// Where the connection comes from, when no token tells more.
    Address(IpAddr),
}

impl User {
    /// Reads the login from `token=` in a query string, else takes the client's address.
    pub fn of(query: Option<&str>, client: IpAddr) -> Self {
        let login = query.and_then(token).and_then(login);
        login.map_or(Self::Address(client.to_canonical()), |login| Self::Login(login.into()))
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login(login) => f.write_str(login),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Deserialize)]
struct Claims {
    login: Option<String>,
    sub: Option<String>,
}

fn token(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("token=")).filter(|token| token.len() <= TOKEN_LIMIT)
}

fn login(token: &str) -> Option<String> {
    let mut segments = token.split('.');
    let (header, payload, signature) = (segments.next()?, segments.next()?, segments.next()?);
    // Of the form alone, as nothing here is verified: the key only says which sockets end together.
    if segments.next().is_some() || ![header, payload, signature].into_iter().all(is_base64url) {
        return None;
    }
    let claims: Claims = serde_json::from_slice(&BASE64URL.decode(payload).ok()?).ok()?;
    // XiVO's tokens bear a login; `sub` is what others have (RFC 7519 section 4.1.2).
    claims.login.filter(|login| !login.is_empty()).or(claims.sub).filter(|login| is_presentable(login))
}

fn is_base64url(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'='))
}

/// A login ends up in an operator's terminal and in log lines.
fn is_presentable(login: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || c.is_ascii_graphic();
    !login.is_empty() && login.len() <= LOGIN_LIMIT && login.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn query(payload: &str) -> String {
        format!("a=b&token=e30.{}.c2ln&c=d", URL_SAFE_NO_PAD.encode(payload))
    }

    fn user(query: &str) -> String {
        User::of(Some(query), CLIENT).to_string()
    }

    #[test]
    fn the_login_is_read_from_the_payload_else_the_subject() {
        assert_eq!(user(&query(r#"{"login":"jdoe","sub":"x","exp":1}"#)), "jdoe");
        assert_eq!(user(&query(r#"{"sub":"jdoe"}"#)), "jdoe");
        assert_eq!(user(&query(r#"{"login":"","sub":"jdoe"}"#)), "jdoe");
        assert_eq!(user(&query(r#"{"login":"zoé@example.org"}"#)), "zoé@example.org");
    }

    #[test]
    fn padding_does_no_harm() {
        assert_eq!(user(&format!("token=e30=.{}.c2ln", URL_SAFE.encode(r#"{"login":"a"}"#))), "a");
    }

    #[test]
    fn whatever_is_malformed_leaves_the_address() {
        let long = query(&format!(r#"{{"login":"{}"}}"#, "a".repeat(LOGIN_LIMIT + 1)));
        let huge = format!("{}{}", query(r#"{"login":"a"}"#).replace("&c=d", ""), "a".repeat(TOKEN_LIMIT));
        let cases = [
            "",
            "token=",
            "token",
            "xtoken=e30.e30.e30",
            "token=e30.e30",
            "token=e30.e30.e30.e30",
            "token=..",
            "token=e30.!!!.e30",
            "token=e30.////.e30",
            "token=e30.e30.e30",
            &long,
            &huge,
            &query("not json"),
            &query(r#"{"login":42}"#),
            &query(r#"["jdoe"]"#),
            &query(r#"{"login":"a\nb"}"#),
            &query(r#"{"login":"a\u001b[2Jb"}"#),
            &query(r#"{"login":"a\u202eb"}"#),
            &query(&"[".repeat(2000)),
        ];
        for case in cases {
            assert_eq!(user(case), "192.0.2.7", "{case}");
        }
        assert_eq!(User::of(None, "::ffff:192.0.2.7".parse().unwrap()).to_string(), "192.0.2.7");
    }

    #[test]
    fn a_token_appears_in_no_rendering_of_its_user() {
        let user = User::of(Some(&query(r#"{"login":"jdoe"}"#)), CLIENT);
        assert_eq!(format!("{user} {user:?} {user:#?}"), "jdoe jdoe jdoe");
    }
}
