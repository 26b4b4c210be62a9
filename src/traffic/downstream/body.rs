//! Where the body of an HTTP/1 request ends (RFC 9112 section 6): a connection that knows reads no byte of the next request
//! with it. Chunks that two servers could read in two ways end here, before what they frame is a message to anybody.

use bytes::{Bytes, BytesMut};

use super::head::Body;

/// Largest chunk: what everybody behind can add to without overflow.
const LARGEST: u64 = 1 << 62;
/// Most digits of a chunk's size: as many as 64 bits have. More are zeros in front, which some servers refuse and others
/// read: two of them would not see the same chunk.
const MOST_DIGITS: u16 = 16;
/// Longest line that begins a chunk: its size and its extensions, which nobody here uses (RFC 9112 section 7.1.1).
const LONGEST_LINE: u16 = 1024;
/// All trailer fields together. They are dropped, so that none needs more.
const MOST_TRAILERS: u16 = 8 * 1024;
/// Fields that say what a message is or where it ends; as trailers they could make another one of it (RFC 9110 section
/// 6.5.1).
const FRAMING: [&[u8]; 3] = [b"host", b"content-length", b"transfer-encoding"];
/// Bytes of a trailer's name that are looked at: one more than the longest of these.
const NAME: usize = 18;

/// What of a body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// So many bytes; none: the body is over.
    Length(u64),
    /// Chunks, from here on.
    Chunks(Chunk),
    /// Not to be told: the chunks are no chunks.
    Broken,
}

/// The client's chunks break their framing.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the chunks of the body are not well-formed")]
pub struct BrokenChunks;

/// A place in a chunked body (RFC 9112 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// In the line that begins a chunk.
    Line {
        /// Where in it.
        part: Part,
        /// The size so far.
        size: u64,
        /// Bytes of the line so far.
        length: u16,
    },
    /// So many bytes before the end of the data.
    Data(u64),
    /// Behind the data: its CR, then its LF.
    DataEnd {
        /// The CR came, and its LF must be next.
        cr: bool,
    },
    /// In a line behind the last chunk.
    Trailers {
        /// Where in it.
        part: Trailer,
        /// Bytes of all of them so far.
        length: u16,
    },
}

/// A place in the line that begins a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Before the first digit: a size of no digits is none.
    Start,
    /// Behind a digit.
    Size,
    /// In white space behind the size.
    Space,
    /// In an extension.
    Extension,
    /// Behind the CR.
    Cr,
}

/// A place in a trailer's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trailer {
    /// In its name, in lower case as far as it matters; empty: at its start.
    Name([u8; NAME], u8),
    /// In its value.
    Value,
    /// Behind the CR of a field.
    Cr,
    /// Behind the CR that ends the body.
    LastCr,
}

const CHUNK: Chunk = Chunk::Line { part: Part::Start, size: 0, length: 0 };
const NO_NAME: Trailer = Trailer::Name([0; NAME], 0);

impl Rest {
    /// All of a body.
    pub fn of(body: Body) -> Self {
        match body {
            Body::None => Self::Length(0),
            Body::Length(length) => Self::Length(length),
            Body::Chunked => Self::Chunks(CHUNK),
        }
    }

    /// Whether nothing is to come.
    pub fn is_over(self) -> bool {
        self == Self::Length(0)
    }

    /// Takes what belongs to the body off the beginning of `bytes`; returns its data, without what frames it. Where the
    /// framing is broken nothing of `bytes` is a message to anybody.
    ///
    /// # Errors
    /// The framing is broken: nothing that follows on this connection can be told apart.
    pub fn take(&mut self, bytes: &mut BytesMut) -> Result<Bytes, BrokenChunks> {
        // What frames the data is taken out in place: the parts of it move together.
        let (mut at, mut data) = (0, 0);
        while at < bytes.len() && !self.is_over() {
            let left = bytes.len() - at;
            let (next, step, is_data) = match *self {
                Self::Broken => return Err(BrokenChunks),
                Self::Length(length) => {
                    let step = at_most(length, left);
                    (Self::Length(length - step as u64), step, true)
                }
                Self::Chunks(Chunk::Data(length)) => {
                    let step = at_most(length, left);
                    let next = match length - step as u64 {
                        0 => Chunk::DataEnd { cr: false },
                        rest => Chunk::Data(rest),
                    };
                    (Self::Chunks(next), step, true)
                }
                Self::Chunks(chunk) => (chunk.after(bytes[at]), 1, false),
            };
            *self = next;
            if next == Self::Broken {
                return Err(BrokenChunks);
            }
            if is_data {
                if at > data {
                    bytes.copy_within(at..at + step, data);
                }
                data += step;
            }
            at += step;
        }
        // A buffer of which nothing is left is handed on whole.
        let mut taken = if at == bytes.len() { std::mem::take(bytes) } else { bytes.split_to(at) };
        taken.truncate(data);
        Ok(taken.freeze())
    }
}

/// So many of `length`, of which `left` are there.
fn at_most(length: u64, left: usize) -> usize {
    usize::try_from(length).map_or(left, |length| length.min(left))
}

impl Chunk {
    /// The place behind one byte.
    fn after(self, byte: u8) -> Rest {
        match (self, byte) {
            (Self::Line { part, size, length }, _) if length < LONGEST_LINE => line(part, size, length + 1, byte),
            (Self::Trailers { part, length }, _) if length < MOST_TRAILERS => trailer(part, length + 1, byte),
            // CR and LF, both: a bare LF ends a line to some servers and is data to others.
            (Self::DataEnd { cr: false }, b'\r') => Rest::Chunks(Self::DataEnd { cr: true }),
            (Self::DataEnd { cr: true }, b'\n') => Rest::Chunks(CHUNK),
            _ => Rest::Broken,
        }
    }
}

/// The place behind one byte of the line that begins a chunk.
fn line(part: Part, size: u64, length: u16, byte: u8) -> Rest {
    let (part, size) = match (part, byte) {
        (Part::Start | Part::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if length <= MOST_DIGITS => {
            let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
            match size.checked_mul(16).and_then(|size| size.checked_add(digit)) {
                Some(size) if size <= LARGEST => (Part::Size, size),
                _ => return Rest::Broken,
            }
        }
        // No digit is a size of zero to some, and a sign or `0x` a number to those that use their language's parser.
        (Part::Start, _) => return Rest::Broken,
        // A space behind the size is forgiven: old clients pad with it, and everybody reads it in one way.
        (Part::Size | Part::Space, b' ' | b'\t') => (Part::Space, size),
        (Part::Size | Part::Space, b';') => (Part::Extension, size),
        (Part::Size | Part::Space | Part::Extension, b'\r') => (Part::Cr, size),
        (Part::Extension, b'\t' | b' '..=b'~' | 0x80..) => (Part::Extension, size),
        (Part::Cr, b'\n') if size == 0 => return Rest::Chunks(Chunk::Trailers { part: NO_NAME, length: 0 }),
        (Part::Cr, b'\n') => return Rest::Chunks(Chunk::Data(size)),
        _ => return Rest::Broken,
    };
    Rest::Chunks(Chunk::Line { part, size, length })
}

/// The place behind one byte of a line behind the last chunk.
fn trailer(part: Trailer, length: u16, byte: u8) -> Rest {
    let part = match (part, byte) {
        (Trailer::Name(_, 0), b'\r') => Trailer::LastCr,
        (Trailer::LastCr, b'\n') => return Rest::Length(0),
        (Trailer::Name(name, seen @ 1..), b':') => {
            let name = &name[..usize::from(seen).min(NAME)];
            // Longer names are cut to one byte more than the longest of these, so that none of them is taken for it.
            match FRAMING.contains(&name) {
                true => return Rest::Broken,
                false => Trailer::Value,
            }
        }
        (Trailer::Name(mut name, seen), byte) if is_token(byte) => {
            if let Some(place) = name.get_mut(usize::from(seen)) {
                *place = byte.to_ascii_lowercase();
            }
            // Saturates: a count that went round to 0 would take the middle of a name for the start of a line, where a
            // CR ends the body.
            Trailer::Name(name, seen.saturating_add(1))
        }
        (Trailer::Value, b'\r') => Trailer::Cr,
        (Trailer::Value, b'\t' | b' '..=b'~' | 0x80..) => Trailer::Value,
        (Trailer::Cr, b'\n') => NO_NAME,
        _ => return Rest::Broken,
    };
    Rest::Chunks(Chunk::Trailers { part, length })
}

/// `tchar` of RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: &str = "GET / HTTP/1.1\r\n";

    /// However the bytes come.
    fn assert_ends(body: Body, text: &str, data: &str) {
        let sent = format!("{text}{NEXT}");
        for size in 1..=sent.len() {
            let (mut rest, mut got, mut behind) = (Rest::of(body), Vec::new(), Vec::new());
            for part in sent.as_bytes().chunks(size) {
                let mut part = BytesMut::from(part);
                got.extend_from_slice(&rest.take(&mut part).unwrap());
                behind.extend_from_slice(&part);
            }
            assert!(rest.is_over(), "{text:?} in parts of {size}");
            assert_eq!(got, data.as_bytes(), "{text:?} in parts of {size}");
            assert_eq!(behind, NEXT.as_bytes(), "{text:?} in parts of {size}");
        }
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        assert_ends(Body::None, "", "");
        assert_ends(Body::Length(5), "hello", "hello");
        for (chunked, data) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("5;name=\"value\"\r\nhello\r\n6\r\n world\r\n00;last\r\n\r\n", "hello world"),
            ("009\r\n0\r\n\r\n0\r\n\r\r\n0\r\n\r\n", "0\r\n\r\n0\r\n\r"),
            ("1\r\nx\r\n0\r\nChecksum: 1\r\nOther: 2\r\n\r\n", "x"),
            ("1 \r\nx\r\n0\r\n\r\n", "x"),
            ("0000000000000001\t; a=b\r\nx\r\n0\r\n\r\n", "x"),
            ("0\r\nX-Content-Length: 1\r\nTransfer-Encoding-Of-Mine: x\r\nHosts:\r\n\r\n", ""),
        ] {
            assert_ends(Body::Chunked, chunked, data);
        }
    }

    #[test]
    fn chunks_that_two_servers_could_read_in_two_ways_are_broken() {
        let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(2000));
        let trailers = format!("0\r\n{}\r\n", "A: b\r\n".repeat(2000));
        for broken in [
            "zz\r\n",
            "\r\n\r\n",
            ";x\r\n\r\n",
            " 1\r\nx\r\n",
            "-1\r\n",
            "+1\r\nx\r\n",
            "0x1\r\nx\r\n",
            "1_0\r\n",
            "1\nx\r\n",
            "1\r\rx",
            "1;a\nb\r\nx\r\n",
            "1;a\rb\r\nx\r\n",
            "1;a\0\r\nx\r\n",
            "1 1\r\nx\r\n",
            "1\r\nx\n0\r\n\r\n",
            "1\r\nxy\r\n",
            "1\r\nx0\r\n\r\n",
            "4000000000000001\r\n",
            "fffffffffffffffff\r\n",
            "00000000000000001\r\nx\r\n",
            "ffffffffffffffff\r\nx",
            "0\n\r\n",
            "0\r\n\n",
            "0\r\n\rx",
            "0\r\nA: b\n\r\n",
            "0\r\nA : b\r\n\r\n",
            "0\r\nA\r\n\r\n",
            "0\r\n: b\r\n\r\n",
            "0\r\nA: b\r\n folded\r\n\r\n",
            "0\r\nContent-Length: 1\r\n\r\n",
            "0\r\nTRANSFER-ENCODING: chunked\r\n\r\n",
            "0\r\nHost: x\r\n\r\n",
            "0\r\nGET / HTTP/1.1\r\n\r\n",
            &long,
            &trailers,
        ] {
            let sent = format!("{broken}{NEXT}");
            for size in 1..=sent.len() {
                let mut rest = Rest::of(Body::Chunked);
                let broke = sent.as_bytes().chunks(size).any(|part| rest.take(&mut BytesMut::from(part)).is_err());
                assert!(broke && rest == Rest::Broken, "{broken:?} in parts of {size}");
                assert!(rest.take(&mut BytesMut::from("x")).is_err());
            }
        }
    }
}

#[cfg(test)]
mod fuzz;
