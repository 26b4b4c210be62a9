//! Frames are followed alike through any splitting, and end where tungstenite lets them end.

use std::io::Cursor;

use ::fuzz::Target;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

use super::*;

const WORDS: &[&[u8]] = &[
    b"\x81\x00",
    b"\x01\x01a",
    b"\x80\x01b",
    b"\x82\x7e\x00\x7e",
    b"\x82\x7f\0\0\0\0\0\0\0\x02ab",
    b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\x82\x7f\x80\0\0\0\0\0\0\0",
    b"\x88\x82\x01\x02\x03\x04ab",
    b"\x88\x00",
    b"\x89\x00",
    b"\x8a\x7d",
    b"\xff",
    b"\x7e",
    b"\x7f",
];

/// What is known after `bytes` came in pieces of `size`; none once no boundary can be known.
fn followed(bytes: &[u8], size: usize) -> Option<(bool, bool, bool, u64)> {
    let mut tracker = FrameTracker::new();
    for piece in bytes.chunks(size) {
        if tracker.feed(piece).is_err() {
            assert!(!tracker.at_boundary() && tracker.feed(b"\x81\x00").is_err(), "found its way again");
            return None;
        }
    }
    Some((tracker.at_boundary(), tracker.inside_message(), tracker.close_seen(), tracker.frames()))
}

/// How many whole frames tungstenite finds, and where the last of them ends: up to one that it does not take, as one of a
/// kind nobody has defined.
fn in_tungstenites_eyes(bytes: &[u8]) -> (u64, usize) {
    let (mut frames, mut at) = (0, 0);
    while at < bytes.len() {
        let mut cursor = Cursor::new(&bytes[at..]);
        let Ok(Some((_, length))) = FrameHeader::parse(&mut cursor) else { break };
        let left = bytes.len() - at;
        let Some(end) = cursor.position().checked_add(length).and_then(|end| usize::try_from(end).ok()) else { break };
        if end > left {
            break;
        }
        (frames, at) = (frames + 1, at + end);
    }
    (frames, at)
}

#[test]
fn frames_end_where_others_let_them_end_however_they_arrive() {
    Target::new("websocket-frames", 40_000).words(WORDS).check(|input| {
        let whole = followed(input, input.len().max(1));
        for size in [1, 3, 50] {
            assert_eq!(followed(input, size), whole, "in pieces of {size}");
        }
        let (frames, end) = in_tungstenites_eyes(input);
        let mut tracker = FrameTracker::new();
        let mut fed = 0;
        for _ in 0..frames {
            fed += tracker.feed_to_boundary(&input[fed..end]).unwrap();
            assert!(tracker.at_boundary());
        }
        assert_eq!((tracker.frames(), fed), (frames, end), "tungstenite finds other frames");
        whole.map(|(at, inside, close, frames)| (at, inside, close, frames.min(8)))
    });
}
