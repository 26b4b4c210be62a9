//! The few texts of an OPTIONS that an operator may choose. Nothing in them can end a header or a URI.

use std::fmt::{self, Display};
use std::str::FromStr;

const LONGEST: usize = 256;

/// A `sip:` or `sips:` URI without a password, at most 256 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipUri(String);

/// A `User-Agent` header's value: printable ASCII, at most 256 bytes; `bascule-probe` by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAgent(String);

/// Says what is wrong with a text meant for a SIP message. Does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSipText {
    /// The text is no SIP URI that a message may hold.
    #[error("a SIP URI begins with `sip:` or `sips:`, names a host, and holds neither blanks nor quotes, `<` or `>`")]
    Uri,
    /// A password would end up in every log on the way.
    #[error("a SIP URI of a probe must not hold a password")]
    Password,
    /// Not fit for a header.
    #[error("a User-Agent is one line of 1 to 256 printable ASCII characters")]
    UserAgent,
}

impl FromStr for SipUri {
    type Err = InvalidSipText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("sip:").or_else(|| text.strip_prefix("sips:")).ok_or(InvalidSipText::Uri)?;
        let clean = rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"' | b'\\'));
        let (user, host) = rest.rsplit_once('@').unwrap_or(("", rest));
        if !clean || text.len() > LONGEST || host.is_empty() {
            return Err(InvalidSipText::Uri);
        }
        if user.contains(':') {
            return Err(InvalidSipText::Password);
        }
        Ok(Self(text.to_owned()))
    }
}

impl Display for SipUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Default for UserAgent {
    fn default() -> Self {
        Self("bascule-probe".to_owned())
    }
}

impl FromStr for UserAgent {
    type Err = InvalidSipText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim_matches(' ');
        let clean = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if clean && (1..=LONGEST).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSipText::UserAgent)
        }
    }
}

impl Display for UserAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_uris_are_taken_as_they_are() {
        for text in ["sip:10.0.0.11", "sip:probe@xivo.example.org:5060;transport=udp", "sips:[::1]:5061"] {
            assert_eq!(text.parse::<SipUri>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn nothing_can_be_smuggled_into_a_message() {
        let long = format!("sip:{}", "a".repeat(300));
        for text in [
            "",
            "sip:",
            "sip:a@",
            "tel:123",
            "sip:a\r\nb",
            "sip:a b",
            "sip:a>",
            "<sip:a>",
            "sip:\"a\"@b",
            "sip:é",
            &long,
        ] {
            assert_eq!(text.parse::<SipUri>(), Err(InvalidSipText::Uri), "{text}");
        }
        for text in ["", " ", "a\r\nVia: b", "a\tb", &long] {
            assert_eq!(text.parse::<UserAgent>(), Err(InvalidSipText::UserAgent), "{text}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        let error = "sip:me:secret@cc".parse::<SipUri>().unwrap_err();
        assert_eq!(error, InvalidSipText::Password);
        assert!(!error.to_string().contains("secret"));
    }
}
