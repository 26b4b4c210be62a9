//! Where the body of an HTTP/1 request ends (RFC 9112 section 6): a connection that knows reads no byte of the next request
//! with it. What a body may look like is left to whoever carries it.

use super::head::Body;

/// What of a body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// So many bytes; none: the body is over.
    Length(u64),
    /// Chunks, from here on.
    Chunks(Chunk),
    /// Not to be told: the chunks are no chunks. Whoever carries the request will refuse it.
    Unknown,
}

/// A place in a chunked body (RFC 9112 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// In the size; none before its first digit.
    Size(Option<u64>),
    /// Behind the size, in its line.
    Extension(u64),
    /// So many bytes before the end of the data's line.
    Data(u64),
    /// In a line behind the last chunk.
    Trailers {
        /// Nothing stands in it so far: its end is the body's.
        empty: bool,
    },
}

/// `CRLF` behind the data of a chunk.
const LINE_END: u64 = 2;

impl Rest {
    /// All of a body.
    pub fn of(body: Body) -> Self {
        match body {
            Body::None => Self::Length(0),
            Body::Length(length) => Self::Length(length),
            Body::Chunked => Self::Chunks(Chunk::Size(None)),
        }
    }

    /// Whether nothing is to come.
    pub fn is_over(self) -> bool {
        self == Self::Length(0)
    }

    /// Takes note of bytes that came; returns how many of them belong to the body.
    pub fn advance(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && !self.is_over() {
            let left = u64::try_from(bytes.len() - at).unwrap_or(u64::MAX);
            let (next, step) = match *self {
                Self::Unknown => (Self::Unknown, left),
                Self::Length(length) => {
                    let step = left.min(length);
                    (Self::Length(length - step), step)
                }
                Self::Chunks(Chunk::Data(length)) if length > left => (Self::Chunks(Chunk::Data(length - left)), left),
                Self::Chunks(Chunk::Data(length)) => (Self::Chunks(Chunk::Size(None)), length),
                Self::Chunks(chunk) => (chunk.after(bytes[at]), 1),
            };
            *self = next;
            at += usize::try_from(step).unwrap_or(bytes.len() - at);
        }
        at
    }
}

impl Chunk {
    /// The place behind one byte of a line.
    fn after(self, byte: u8) -> Rest {
        Rest::Chunks(match (self, byte) {
            (Self::Size(Some(0)) | Self::Extension(0), b'\n') => Self::Trailers { empty: true },
            (Self::Size(Some(size)) | Self::Extension(size), b'\n') => match size.checked_add(LINE_END) {
                Some(length) => Self::Data(length),
                None => return Rest::Unknown,
            },
            (Self::Size(Some(size)), b'\r' | b';' | b' ' | b'\t') => Self::Extension(size),
            (Self::Size(size), _) => {
                let digit = char::from(byte).to_digit(16).map(u64::from);
                let longer =
                    size.unwrap_or(0).checked_mul(16).zip(digit).and_then(|(size, digit)| size.checked_add(digit));
                match longer {
                    Some(size) => Self::Size(Some(size)),
                    None => return Rest::Unknown,
                }
            }
            (Self::Extension(size), _) => Self::Extension(size),
            (Self::Trailers { empty: true }, b'\n') => return Rest::Length(0),
            (Self::Trailers { .. }, b'\n') => Self::Trailers { empty: true },
            (Self::Trailers { empty }, b'\r') => Self::Trailers { empty },
            (Self::Trailers { .. }, _) => Self::Trailers { empty: false },
            (Self::Data(length), _) => Self::Data(length),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: &str = "GET / HTTP/1.1\r\n";

    /// However the bytes come.
    fn assert_ends(body: Body, text: &str) {
        let sent = format!("{text}{NEXT}");
        for size in 1..=sent.len() {
            let (mut rest, mut taken) = (Rest::of(body), 0);
            for part in sent.as_bytes().chunks(size) {
                taken += rest.advance(part);
            }
            assert!(rest.is_over(), "{text:?} in parts of {size}");
            assert_eq!(&sent[taken..], NEXT, "{text:?} in parts of {size}");
        }
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        assert_ends(Body::None, "");
        assert_ends(Body::Length(5), "hello");
        for chunked in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5;name=\"value\"\r\nhello\r\n00;last\r\n\r\n",
            "00a\r\n0\r\n\r\n0\r\n\r\r\n0\r\n\r\n",
            "1\r\nx\r\n0\r\nChecksum: 1\r\nOther: 2\r\n\r\n",
            "1 \r\nx\r\n0\r\n\r\n",
        ] {
            assert_ends(Body::Chunked, chunked);
        }
    }

    #[test]
    fn chunks_that_are_none_are_passed_on_whole() {
        for broken in ["zz\r\n", "\r\n\r\n", ";x\r\n\r\n", "-1\r\n", "fffffffffffffffff\r\n", "ffffffffffffffff\r\nx"] {
            let mut rest = Rest::of(Body::Chunked);
            let sent = format!("{broken}{NEXT}");
            assert_eq!(rest.advance(sent.as_bytes()), sent.len(), "{broken:?}");
            assert!(!rest.is_over());
        }
    }
}
