//! One reading of HTTP/1 answers (RFC 9112), for checks and for whoever carries traffic by hand.
//!
//! A check that is stricter than the traffic takes a side down while its users are served. So everything that Pingora's
//! client takes is taken here: folded fields, spaces before a colon, 256 fields. What two readers could read in two
//! ways is refused here, and by the Edge for what Pingora reads.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Most header fields of an answer: as many as Pingora takes.
pub const MOST_FIELDS: usize = 256;
/// Largest head of an answer, in bytes. No browser takes a larger one: Chromium's own limit is the same.
pub const MOST_HEAD: usize = 256 * 1024;
/// Most interim answers (1xx) before the final one: a server that never gets to it is not waited for.
pub const MOST_INTERIM: usize = 32;
/// Largest line that begins a chunk, and largest trailer section: Pingora's own limits.
const MOST_CHUNK_LINE: usize = 8 * 1024;
const MOST_TRAILERS: usize = 64 * 1024;
/// What is read at once.
const READ: usize = 8 * 1024;

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// The version that its status line names.
    pub version: Version,
    /// The status code, whatever reason stands behind it.
    pub status: StatusCode,
    /// Its fields, folded ones on one line. A field whose value no header may hold is left out.
    pub headers: HeaderMap,
}

/// Why an answer is not HTTP/1 as everybody reads it. Quotes nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Faulty {
    /// Not a status line and fields.
    #[error("not an HTTP/1 answer")]
    Unparseable,
    /// More than [`MOST_HEAD`] bytes or [`MOST_FIELDS`] fields.
    #[error("the answer's headers are too large")]
    HeadTooLarge,
    /// `Content-Length` is no number, or several.
    #[error("Content-Length is not one number")]
    Length,
    /// A transfer coding other than `chunked`, which nobody asked for.
    #[error("Transfer-Encoding is not chunked")]
    Coding,
    /// A chunk that does not begin with its size, or not end with its line.
    #[error("a chunk is malformed")]
    Chunk,
    /// More than [`MOST_INTERIM`] interim answers.
    #[error("interim answers without end")]
    Interim,
    /// A change of protocol (101) that nobody asked for.
    #[error("101 although no upgrade was asked for")]
    Unasked101,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The connection broke before the answer was whole.
    #[error("the connection broke off: {0}")]
    Broken(#[from] io::Error),
    /// What came is not HTTP/1.
    #[error(transparent)]
    Faulty(#[from] Faulty),
}

/// How long the body of an answer is (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body follows, whatever the fields say.
    Nothing,
    /// A body of so many bytes.
    Length(u64),
    /// A body in chunks, each with its size.
    Chunked,
    /// A body that ends with the connection.
    UntilClosed,
}

impl Head {
    /// Parses the head that `buf` begins with, and how long it is; none while it is incomplete.
    ///
    /// # Errors
    /// The head is no HTTP/1 head, or has more fields than anybody sends.
    pub fn parse(buf: &[u8]) -> Result<Option<(usize, Self)>, Faulty> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        // The parser is as lenient as Pingora's client: a check that is stricter takes a side down whose users are
        // served.
        let mut parser = httparse::ParserConfig::default();
        parser.allow_spaces_after_header_name_in_responses(true);
        parser.allow_obsolete_multiline_headers_in_responses(true);
        let length = match parser.parse_response(&mut response, buf) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Faulty::HeadTooLarge),
            Err(_) => return Err(Faulty::Unparseable),
        };
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Faulty::Unparseable)?;
        let mut headers = HeaderMap::with_capacity(response.headers.len());
        for field in response.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            if let (Ok(name), Some(value)) = (name, unfolded(field.value)) {
                headers.append(name, value);
            }
        }
        let version = if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        Ok(Some((length, Self { version, status, headers })))
    }

    /// Reads the next head, interim ones too. `buf` holds what was read ahead, and afterwards what follows the head.
    /// The caller sets the time limit.
    ///
    /// # Errors
    /// The connection ends or breaks before the head is whole, or the head is faulty or too long.
    pub async fn next<R: AsyncRead + Unpin>(stream: &mut R, buf: &mut BytesMut) -> Result<Self, NoAnswer> {
        let mut fresh = 0;
        loop {
            // A head ends with a line: bytes without one need no look.
            let worth_a_look = buf[fresh..].contains(&b'\n') || fresh == 0 && !buf.is_empty();
            if worth_a_look && let Some((length, head)) = Self::parse(buf)? {
                if length > MOST_HEAD {
                    return Err(Faulty::HeadTooLarge.into());
                }
                buf.advance(length);
                return Ok(head);
            }
            // The limit holds before more is read, too: a head without an end takes no more memory than this.
            if buf.len() > MOST_HEAD {
                return Err(Faulty::HeadTooLarge.into());
            }
            fresh = buf.len();
            fill(stream, buf).await?;
        }
    }

    /// Reads the final head: passes over interim ones, but not over 101, which ends HTTP.
    ///
    /// # Errors
    /// As for [`Head::next`], and when interim heads do not end.
    pub async fn read<R: AsyncRead + Unpin>(stream: &mut R, buf: &mut BytesMut) -> Result<Self, NoAnswer> {
        for _ in 0..=MOST_INTERIM {
            let head = Self::next(stream, buf).await?;
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(head);
            }
        }
        Err(Faulty::Interim.into())
    }
}

/// How the body behind a head is framed. `bodiless`: the request was HEAD.
///
/// # Errors
/// Fields contradict each other, so that two readers could see two ends of the body.
pub fn framing(status: StatusCode, headers: &HeaderMap, bodiless: bool) -> Result<Framing, Faulty> {
    let coded = headers.contains_key(TRANSFER_ENCODING);
    // RFC 9112 section 6.3: a transfer coding overrides a length, whatever that says.
    let length = if coded { None } else { length(headers)? };
    let empty = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if empty || bodiless {
        return Ok(Framing::Nothing);
    }
    if coded {
        return coding(headers);
    }
    Ok(length.map_or(Framing::UntilClosed, Framing::Length))
}

/// The one number that all of `Content-Length` says; none if there is no such field.
///
/// Equal values are one (RFC 9110 section 8.6); a sign, a fraction or two numbers are a fault.
///
/// # Errors
/// Two lengths are given, or one that is no whole number.
pub fn length(headers: &HeaderMap) -> Result<Option<u64>, Faulty> {
    let mut found = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for item in value.as_bytes().split(|byte| *byte == b',') {
            let item = item.trim_ascii();
            if item.is_empty() || !item.iter().all(u8::is_ascii_digit) {
                return Err(Faulty::Length);
            }
            let number: u64 =
                std::str::from_utf8(item).ok().and_then(|text| text.parse().ok()).ok_or(Faulty::Length)?;
            if found.is_some_and(|before| before != number) {
                return Err(Faulty::Length);
            }
            found = Some(number);
        }
    }
    Ok(found)
}

/// `chunked`, with or without the `identity` of RFC 2616 before it; `identity` alone says nothing, and the body ends
/// with the connection. Any other coding would have to be undone here, and nobody asked for it.
fn coding(headers: &HeaderMap) -> Result<Framing, Faulty> {
    let all = headers.get_all(TRANSFER_ENCODING);
    let mut items = all.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let last = items.next_back().unwrap_or_default();
    let says_nothing = |item: &[u8]| item.is_empty() || item.eq_ignore_ascii_case(b"identity");
    if !items.all(says_nothing) {
        return Err(Faulty::Coding);
    }
    match last {
        chunked if chunked.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        nothing if says_nothing(nothing) => Ok(Framing::UntilClosed),
        _ => Err(Faulty::Coding),
    }
}

/// A value on one line: each fold becomes a space (RFC 9112 section 5.2). None if no header may hold it.
fn unfolded(value: &[u8]) -> Option<HeaderValue> {
    if !value.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return HeaderValue::from_bytes(value).ok();
    }
    let lines = value.split(|byte| matches!(byte, b'\r' | b'\n')).map(<[u8]>::trim_ascii);
    let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    HeaderValue::from_bytes(&lines.join(&b' ')).ok()
}

async fn fill<R: AsyncRead + Unpin>(stream: &mut R, buf: &mut BytesMut) -> io::Result<()> {
    buf.reserve(READ);
    match stream.read_buf(buf).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Reads the body of an answer, piece by piece.
#[derive(Debug)]
pub struct Body {
    state: Reading,
}

#[derive(Debug)]
enum Reading {
    Sized(u64),
    UntilClosed,
    /// A chunk's size comes next.
    ChunkLine,
    /// So much of a chunk is to come.
    Chunk(u64),
    /// The last chunk was read, and so many bytes of trailers.
    Trailers(usize),
    Done,
}

impl Body {
    /// Of a body framed like this.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        Self {
            state: match framing {
                Framing::Nothing | Framing::Length(0) => Reading::Done,
                Framing::Length(length) => Reading::Sized(length),
                Framing::Chunked => Reading::ChunkLine,
                Framing::UntilClosed => Reading::UntilClosed,
            },
        }
    }

    /// Reads the next piece, never an empty one; none at the end. `buf` holds what was read ahead. Trailers are
    /// dropped. A connection that ends before the body does is [`NoAnswer::Broken`].
    ///
    /// # Errors
    /// The connection ends before the body does, or a chunk is faulty.
    pub async fn next<R: AsyncRead + Unpin>(
        &mut self,
        stream: &mut R,
        buf: &mut BytesMut,
    ) -> Result<Option<Bytes>, NoAnswer> {
        loop {
            match self.state {
                Reading::Done => return Ok(None),
                Reading::Sized(left) => {
                    let piece = piece(stream, buf, left).await?;
                    let left = left - piece.len() as u64;
                    self.state = if left == 0 { Reading::Done } else { Reading::Sized(left) };
                    return Ok(Some(piece));
                }
                Reading::UntilClosed => {
                    if !buf.is_empty() {
                        return Ok(Some(buf.split().freeze()));
                    }
                    buf.reserve(READ);
                    if stream.read_buf(buf).await? == 0 {
                        self.state = Reading::Done;
                    }
                }
                Reading::ChunkLine => {
                    self.state = match chunk_size(stream, buf).await? {
                        0 => Reading::Trailers(0),
                        size => Reading::Chunk(size),
                    };
                }
                Reading::Chunk(0) => {
                    // Nothing but a line's end may stand behind a chunk: else two readers would see the next one begin
                    // at two places.
                    if !line(stream, buf, 2).await?.is_empty() {
                        return Err(Faulty::Chunk.into());
                    }
                    self.state = Reading::ChunkLine;
                }
                Reading::Chunk(left) => {
                    let piece = piece(stream, buf, left).await?;
                    self.state = Reading::Chunk(left - piece.len() as u64);
                    return Ok(Some(piece));
                }
                Reading::Trailers(before) => {
                    // The limit is that of all trailers together, not of each.
                    let length = line(stream, buf, MOST_TRAILERS - before.min(MOST_TRAILERS)).await?.len();
                    self.state = if length == 0 { Reading::Done } else { Reading::Trailers(before + length + 2) };
                }
            }
        }
    }
}

/// Up to `most` bytes, at least one.
async fn piece<R: AsyncRead + Unpin>(stream: &mut R, buf: &mut BytesMut, most: u64) -> Result<Bytes, NoAnswer> {
    if buf.is_empty() {
        fill(stream, buf).await?;
    }
    let length = usize::try_from(most).map_or(buf.len(), |most| most.min(buf.len()));
    Ok(buf.split_to(length).freeze())
}

async fn chunk_size<R: AsyncRead + Unpin>(stream: &mut R, buf: &mut BytesMut) -> Result<u64, NoAnswer> {
    loop {
        match httparse::parse_chunk_size(buf) {
            Ok(httparse::Status::Complete((length, size))) => {
                buf.advance(length);
                return Ok(size);
            }
            // A chunk's line may hold extensions: one that never ends is not waited for.
            Ok(httparse::Status::Partial) if buf.len() <= MOST_CHUNK_LINE => fill(stream, buf).await?,
            Ok(httparse::Status::Partial) | Err(_) => return Err(Faulty::Chunk.into()),
        }
    }
}

/// A line without its CRLF, `most` bytes long with it.
async fn line<R: AsyncRead + Unpin>(stream: &mut R, buf: &mut BytesMut, most: usize) -> Result<Bytes, NoAnswer> {
    loop {
        let end = buf.iter().take(most).position(|byte| *byte == b'\n');
        match end {
            // A bare LF ends a line for some readers and not for others: only CRLF does here.
            Some(end) if end > 0 && buf[end - 1] == b'\r' => {
                let mut line = buf.split_to(end + 1);
                line.truncate(end - 1);
                return Ok(line.freeze());
            }
            Some(_) => return Err(Faulty::Chunk.into()),
            None if buf.len() >= most => return Err(Faulty::Chunk.into()),
            None => fill(stream, buf).await?,
        }
    }
}

#[cfg(test)]
mod tests;
