//! The number of a request, by which it is found again in every log it passes.

use std::fmt;

use serde::{Serialize, Serializer};

/// 128 random bits that name one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(u128);

impl RequestId {
    /// A new one. Not a secret: it is fast rather than unpredictable.
    pub fn random() -> Self {
        Self(fastrand::u128(..))
    }

    /// The one with these bits.
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// As 32 hexadecimal digits.
    pub fn digits(self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        digits
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::RequestId;

    #[test]
    fn a_request_has_one_name_however_it_is_written() {
        for bits in [0, 7, u128::MAX, 0x0123_4567_89ab_cdef_0011_2233_4455_6677] {
            let id = RequestId::new(bits);
            assert_eq!(id.digits(), *id.to_string().as_bytes());
        }
    }
}
