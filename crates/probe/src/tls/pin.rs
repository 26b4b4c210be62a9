//! A pinned key: the SHA-256 of a certificate's SubjectPublicKeyInfo. It survives a renewal that keeps the key.

use std::fmt::{self, Debug, Display};
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// SHA-256 of a SubjectPublicKeyInfo in DER. Written in hexadecimal (colons allowed) or base64, with or without curl's
/// `sha256//`; shown in hexadecimal, as `sha256sum` and the configuration's example do, to be pasted there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

/// Says what a pin looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a pin is the SHA-256 of the server's SubjectPublicKeyInfo: 64 hexadecimal digits, or 44 characters of base64 (`sha256//…`)"
)]
pub struct InvalidPin;

impl Pin {
    /// Returns the SHA-256 of the key itself, in 32 bytes.
    #[must_use]
    pub const fn sha256(self) -> [u8; 32] {
        self.0
    }

    /// A pin from the hash itself.
    #[must_use]
    pub const fn new(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// The pin of `certificate`'s key.
    ///
    /// # Errors
    /// [`InvalidPin`] when it is no X.509 certificate, of whatever version.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, InvalidPin> {
        // The parser that also finds the key for the handshake's signature: two parsers could be made to see two keys.
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| InvalidPin)?;
        Ok(Self::of_key(parsed.public_key().raw))
    }

    pub(crate) fn of_key(subject_public_key_info: &[u8]) -> Self {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, subject_public_key_info).as_ref());
        Self(sha256)
    }
}

impl FromStr for Pin {
    type Err = InvalidPin;

    fn from_str(text: &str) -> Result<Self, InvalidPin> {
        let text = text.trim();
        let text = text.strip_prefix("sha256//").unwrap_or(text);
        let bytes = if text.len() == 44 { STANDARD.decode(text).ok() } else { hexadecimal(text) };
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(InvalidPin)
    }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let mut digits = text.chars().filter(|&character| character != ':').map(|character| character.to_digit(16));
    let mut bytes = Vec::with_capacity(32);
    while let Some(high) = digits.next() {
        if bytes.len() == 32 {
            return None;
        }
        bytes.push(u8::try_from(high? * 16 + digits.next()??).ok()?);
    }
    Some(bytes)
}

impl Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_in_hexadecimal_and_in_base64() {
        let pin = Pin::new(std::array::from_fn(|index| u8::try_from(index).unwrap() * 7));
        let plain: String = pin.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let colons = pin.0.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        let curl = format!("sha256//{}", STANDARD.encode(pin.0));
        assert_eq!(pin.to_string(), plain, "what is shown can be written");
        for text in [&plain, &colons, &curl, &curl["sha256//".len()..].to_owned(), &format!(" {curl}\n")] {
            assert_eq!(text.parse(), Ok(pin), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_pin_is_refused() {
        let table = [
            "".to_owned(),
            "sha256//".to_owned(),
            "a".repeat(63),
            "a".repeat(66),
            "g".repeat(64),
            "=".repeat(44),
            "é".repeat(64),
        ];
        for text in table {
            assert_eq!(text.parse::<Pin>(), Err(InvalidPin), "{text}");
        }
    }
}
