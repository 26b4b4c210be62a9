//! The end of a chunked body is found in the same place however it arrives; and where the other reader of chunks, that of
//! answers, finds an end, this one finds none or the same.

use ::fuzz::Target;
use bytes::BytesMut;
use futures_util::FutureExt;
use probe::answer::{self, Framing, NoAnswer};

use super::*;

const WORDS: &[&[u8]] = &[
    b"0\r\n\r\n",
    b"3\r\nabc\r\n",
    b"a\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"0",
    b"00000000",
    b"ffffffffffffffff",
    b"4000000000000000",
    b"4000000000000001",
    b";",
    b";a=b",
    b";a=\"b\"",
    b" ",
    b"\t",
    b"+",
    b"0x",
    b"X: y\r\n",
    b"Host: b\r\n",
    b"content-length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\0",
    b"\xff",
];

/// Where the body ends when it comes in pieces of `size`: none while it goes on.
fn end(bytes: &[u8], size: usize) -> Result<Option<usize>, ()> {
    let mut rest = Rest::of(Body::Chunked);
    let mut used = 0;
    for piece in bytes.chunks(size) {
        let mut behind = BytesMut::from(piece);
        let data = rest.take(&mut behind).map_err(|_| assert_eq!(rest, Rest::Broken))?;
        used += piece.len() - behind.len();
        assert!(data.len() <= piece.len() - behind.len());
        if rest.is_over() {
            return Ok(Some(used));
        }
    }
    assert_eq!(used, bytes.len());
    Ok(None)
}

/// Where the reader of answers finds the end. All is there: it never waits.
fn end_of_an_answer(mut bytes: &[u8]) -> Option<usize> {
    let whole = bytes.len();
    let (mut body, mut ahead) = (answer::Body::new(Framing::Chunked), BytesMut::new());
    loop {
        match body.next(&mut bytes, &mut ahead).now_or_never()? {
            Ok(Some(piece)) => assert!(!piece.is_empty()),
            Ok(None) => return Some(whole - bytes.len() - ahead.len()),
            Err(NoAnswer::Broken(_) | NoAnswer::Faulty(_)) => return None,
        }
    }
}

#[test]
fn a_chunked_body_ends_where_others_find_its_end_or_is_broken() {
    Target::new("chunked-body", 40_000).words(WORDS).check(|input| {
        let whole = end(input, input.len().max(1));
        for size in [1, 3, 50] {
            assert_eq!(end(input, size), whole, "in pieces of {size}");
        }
        let other = end_of_an_answer(input);
        match whole {
            // Stricter, and that is the point of it.
            Err(()) => {}
            Ok(found) => assert_eq!(other, found, "the two readers disagree"),
        }
        (whole.map(|found| found.map(|end| end.min(16))), other.is_some())
    });
}
