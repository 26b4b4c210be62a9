//! Requests over h2 that are refused before anybody of ours sees them.
//!
//! The h2 library resets a stream, or ends the connection, when a head is malformed (RFC 9113 section 8.1.1), without calling
//! us. What it sends can be seen, though: the frames that go out say that a request was refused, not which one.

/// A frame's head (RFC 9113 section 4.1).
const HEAD: usize = 9;
/// Bytes of a payload that are looked at: the last stream and the reason of a GOAWAY.
const LOOKED_AT: usize = 8;

const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;

/// Watches the frames that leave on one h2 connection. It holds no payload.
#[derive(Debug, Default)]
pub struct Refusals {
    head: [u8; HEAD + LOOKED_AT],
    /// Bytes of this frame that were seen.
    seen: usize,
}

impl Refusals {
    /// Takes note of bytes that leave; returns how many requests they refuse.
    pub fn advance(&mut self, mut bytes: &[u8]) -> u64 {
        let mut refused = 0;
        while !bytes.is_empty() {
            let end = match self.seen < HEAD {
                true => HEAD,
                false => HEAD + self.length(),
            };
            let step = (end - self.seen).min(bytes.len());
            for (place, byte) in self.head[self.seen.min(HEAD + LOOKED_AT)..].iter_mut().zip(&bytes[..step]) {
                *place = *byte;
            }
            self.seen += step;
            bytes = &bytes[step..];
            if self.seen >= HEAD && self.seen == HEAD + self.length() {
                refused += u64::from(self.refuses());
                self.seen = 0;
            }
        }
        refused
    }

    fn length(&self) -> usize {
        self.head[..3].iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
    }

    /// Whether the frame that is whole refuses a request of which nobody else tells.
    fn refuses(&self) -> bool {
        let payload = &self.head[HEAD..];
        let number = |at: usize| payload[at..at + 4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        match (self.head[3], self.length()) {
            // Ours are CANCEL, INTERNAL_ERROR and NO_ERROR.
            (RST_STREAM, 4) => number(0) == PROTOCOL_ERROR,
            // Nobody of ours ends a connection with an error, so each other reason is the library's, and the request it
            // was about is told by nobody.
            (GOAWAY, 8..) => number(4) != NO_ERROR,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn what_refuses_a_request_is_seen_however_it_is_cut() {
        let refusing = [
            frame(RST_STREAM, &[0, 0, 0, 1]),
            frame(GOAWAY, &[0, 0, 0, 1, 0, 0, 0, 9]),
            frame(GOAWAY, &[&[0, 0, 0, 1, 0, 0, 0, 1][..], &[7; 300]].concat()),
        ];
        let harmless = [
            frame(RST_STREAM, &[0, 0, 0, 8]),
            frame(RST_STREAM, &[0, 0, 0, 2]),
            frame(GOAWAY, &[0, 0, 0, 1, 0, 0, 0, 0]),
            frame(1, &[0x8c]),
            frame(0, &[0, 0, 0, 1]),
            frame(0, &[3; 70_000]),
            frame(4, &[]),
        ];
        let all: Vec<u8> = refusing.iter().chain(&harmless).chain(&refusing).flatten().copied().collect();
        for size in [1, 2, 3, 8, 9, 10, 13, 1000, all.len()] {
            let mut refusals = Refusals::default();
            let seen: u64 = all.chunks(size).map(|part| refusals.advance(part)).sum();
            assert_eq!(seen, 6, "in parts of {size}");
        }
    }
}
