//! Token format check: keeps noise away from the upstreams, and is never a signature check.

use crate::config::Token;

/// Whether `query` carries what `demand` asks for.
pub fn admits(demand: Token, query: Option<&str>) -> bool {
    match demand {
        Token::None => true,
        Token::Present => token(query).is_some_and(|t| !t.is_empty()),
        Token::Jwt => token(query).is_some_and(is_jwt),
    }
}

/// The value of `token=` in a query.
pub fn token(query: Option<&str>) -> Option<&str> {
    query?.split('&').find_map(|pair| pair.strip_prefix("token="))
}

fn is_jwt(token: &str) -> bool {
    let mut segments = 0;
    token.split('.').all(|segment| {
        segments += 1;
        !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    }) && segments == 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_base64url_segments_make_a_token() {
        for (query, admitted) in [
            (Some("token=a.b.c"), true),
            (Some("x=1&token=aZ0-_.b.c&y=2"), true),
            (Some("token=a.b"), false),
            (Some("token=a.b.c.d"), false),
            (Some("token=a..c"), false),
            (Some("token=a.b.c%20"), false),
            (Some("token="), false),
            (Some("xtoken=a.b.c"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(admits(Token::Jwt, query), admitted, "{query:?}");
        }
    }

    #[test]
    fn a_sip_socket_needs_any_token() {
        assert!(admits(Token::Present, Some("token=x")));
        assert!(!admits(Token::Present, Some("token=")));
        assert!(!admits(Token::Present, None));
        assert!(admits(Token::None, None));
    }
}
