//! A stream of messages is cut alike however it arrives, and no more of it is held than was said.

use ::fuzz::Target;

use super::*;

const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n\n",
    b"\r\n\r\n",
    b"SIP/2.0 100 Trying\r\nl: 5\r\n\r\nbody!",
    b"SIP/2.0 200 OK\r\n\r\n",
    b"NOTIFY sip:a SIP/2.0\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"l: 65536\r\n",
    b"l: 65537\r\n",
    b"X: y\r\n",
];

/// The heads in `stream`, and what made it unusable, when it comes in pieces of `size`.
fn cut(stream: &[u8], size: usize) -> (Vec<Head>, Option<Unusable>) {
    let mut messages = Messages::default();
    let mut heads = Vec::new();
    for piece in stream.chunks(size) {
        messages.push(piece);
        loop {
            assert!(messages.bytes.len() <= HEAD_LIMIT + size, "{} bytes are held", messages.bytes.len());
            match messages.next() {
                Ok(Some(head)) => heads.push(head),
                Ok(None) => break,
                Err(why) => return (heads, Some(why)),
            }
        }
    }
    (heads, None)
}

#[test]
fn a_stream_is_cut_alike_in_pieces_of_any_size() {
    // Shorter than the longest head, so that no piece decides whether it is too long.
    Target::new("sip-stream", 6_000).words(WORDS).longest(HEAD_LIMIT / 4).check(|input| {
        let whole = cut(input, input.len().max(1));
        for size in [1, 2, 7, 64] {
            assert_eq!(cut(input, size), whole, "in pieces of {size}");
        }
        (whole.0.len().min(8), whole.1.map(|why| std::mem::discriminant(&why)))
    });
}
