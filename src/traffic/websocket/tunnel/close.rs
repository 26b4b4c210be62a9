//! Close frames of our own, for either end (RFC 6455 sections 5.5.1 and 7.4).

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// The most bytes of a reason: a control frame carries 125, the code takes two.
const REASON_LIMIT: usize = 123;
const FIN_CLOSE: u8 = 0x88;
const MASKED: u8 = 0x80;

/// A status code that may travel, with a reason that fits. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    code: u16,
    reason: Arc<str>,
}

/// The code is reserved, or none of RFC 6455's and its registry's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("close code {0} may not be sent: use 1000-1003, 1007-1014 or 3000-4999")]
pub struct UnsendableCode(pub u16);

impl Close {
    /// Takes a code an endpoint may send; a reason beyond 123 bytes is cut before the character that does not fit.
    ///
    /// # Errors
    /// RFC 6455 section 7.4 forbids to send this code.
    pub fn new(code: u16, reason: &str) -> Result<Self, UnsendableCode> {
        match code {
            // 1004 to 1006 and 1015 never travel, and nobody has registered the others (RFC 6455 section 7.4).
            1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Self::of(code, reason)),
            _ => Err(UnsendableCode(code)),
        }
    }

    /// 1012: what a route says on a switch unless it is configured otherwise.
    pub fn service_restart() -> Self {
        Self::of(1012, "service restart")
    }

    /// 1001: this end goes away.
    pub fn going_away() -> Self {
        Self::of(1001, "going away")
    }

    /// 1012, so that the client comes back at once: the upstream is gone and never said why.
    pub(super) fn upstream_lost() -> Self {
        Self::of(1012, "upstream lost")
    }

    /// 1002: the peer's frames make no sense.
    pub(super) fn protocol_error() -> Self {
        Self::of(1002, "protocol error")
    }

    /// 1000: the answer to a Close that the upstream did not answer.
    pub(super) fn normal() -> Self {
        Self::of(1000, "")
    }

    /// The status code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The reason, at most 123 bytes.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The frame as a server sends it.
    pub(super) fn to_client(&self) -> Vec<u8> {
        // A server masks nothing (RFC 6455 section 5.1); a browser fails a connection whose frames are masked.
        let mut frame = vec![FIN_CLOSE, self.payload_length()];
        frame.extend(self.payload());
        frame
    }

    /// The frame as a client sends it. A mask guards middleboxes against payloads an attacker chose; this one is ours.
    pub(super) fn to_upstream(&self, mask: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![FIN_CLOSE, MASKED | self.payload_length()];
        frame.extend(mask);
        frame.extend(self.payload().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        frame
    }

    fn of(code: u16, reason: &str) -> Self {
        let mut end = reason.len().min(REASON_LIMIT);
        // A reason is UTF-8 (RFC 6455 section 5.5.1), and half a character is none.
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Self { code, reason: Arc::from(&reason[..end]) }
    }

    fn payload(&self) -> impl Iterator<Item = u8> + '_ {
        self.code.to_be_bytes().into_iter().chain(self.reason.bytes())
    }

    #[expect(clippy::cast_possible_truncation, reason = "at most 125")]
    fn payload_length(&self) -> u8 {
        (2 + self.reason.len()) as u8
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_to_the_client_is_unmasked() {
        assert_eq!(Close::new(1012, "bye").unwrap().to_client(), b"\x88\x05\x03\xf4bye");
    }

    #[test]
    fn a_close_to_the_upstream_is_masked() {
        let frame = Close::new(1001, "bye").unwrap().to_upstream([1, 2, 3, 4]);
        assert_eq!(frame[..6], [0x88, 0x85, 1, 2, 3, 4]);
        let plain: Vec<u8> = frame[6..].iter().zip([1, 2, 3, 4].iter().cycle()).map(|(a, b)| a ^ b).collect();
        assert_eq!(plain, b"\x03\xe9bye");
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let close = Close::new(4000, &"é".repeat(80)).unwrap();
        assert_eq!(close.reason(), "é".repeat(61), "122 bytes: half a character would be the 123rd");
        assert_eq!(close.to_client().len(), 2 + 2 + 122);
        assert_eq!(Close::new(4000, &"a".repeat(500)).unwrap().to_client().len(), 2 + 125);
    }

    #[test]
    fn a_reserved_code_is_refused() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            assert_eq!(Close::new(code, ""), Err(UnsendableCode(code)));
        }
    }
}
