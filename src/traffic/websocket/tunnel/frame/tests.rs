//! The oracle is tungstenite: it writes the frames, so what it wrote and where each ended is known without parsing.

use std::io::Cursor;

use fastrand::Rng;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader};

use super::*;
use crate::traffic::websocket::tunnel::Close;

/// A stream of frames and what is true after each.
#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    ends: Vec<End>,
}

#[derive(Debug, Clone, Copy)]
struct End {
    at: usize,
    inside_message: bool,
    close_seen: bool,
}

impl Written {
    fn frame(&mut self, mut frame: Frame, masked: bool) {
        if masked {
            frame.header_mut().mask = Some([7, 8, 9, 10]);
        }
        let before = self.ends.last().copied().unwrap_or(End { at: 0, inside_message: false, close_seen: false });
        let (opcode, last) = (frame.header().opcode, frame.header().is_final);
        frame.format(&mut self.bytes).unwrap();
        self.ends.push(End {
            at: self.bytes.len(),
            inside_message: if matches!(opcode, OpCode::Data(_)) { !last } else { before.inside_message },
            close_seen: before.close_seen || opcode == OpCode::Control(Control::Close),
        });
    }

    /// Whole and fragmented messages with control frames between, lengths on both sides of each encoding's border.
    fn random(rng: &mut Rng) -> Self {
        let mut written = Self::default();
        for _ in 0..rng.usize(1..8) {
            let masked = rng.bool();
            let pieces = rng.usize(1..4);
            for piece in 0..pieces {
                if rng.u8(..) < 64 {
                    let ping = if rng.bool() { Frame::ping(vec![1; rng.usize(..126)]) } else { Frame::pong(vec![]) };
                    written.frame(ping, masked);
                }
                let length = *rng.choice([0, 1, 125, 126, 127, 300, 65_535, 65_536, 70_000].iter()).unwrap();
                let opcode =
                    if piece > 0 { Data::Continue } else { *rng.choice([Data::Text, Data::Binary].iter()).unwrap() };
                // A payload full of what would be Close headers.
                let message = Frame::message(vec![0x88; length], OpCode::Data(opcode), piece + 1 == pieces);
                written.frame(message, masked);
            }
        }
        if rng.bool() {
            let goodbye = CloseFrame { code: CloseCode::Restart, reason: "bye".into() };
            written.frame(Frame::close(rng.bool().then_some(goodbye)), rng.bool());
        }
        written
    }

    fn check(&self, tracker: &FrameTracker, fed: usize) {
        let passed = self.ends.iter().filter(|end| end.at <= fed).count();
        let (at, inside_message, close_seen) = passed.checked_sub(1).map_or((0, false, false), |last| {
            let end = self.ends[last];
            (end.at, end.inside_message, end.close_seen)
        });
        assert_eq!(tracker.at_boundary(), at == fed, "after {fed} bytes");
        assert_eq!(tracker.inside_message(), inside_message, "after {fed} bytes");
        assert_eq!(tracker.close_seen(), close_seen, "after {fed} bytes");
        assert_eq!(tracker.frames(), passed as u64, "after {fed} bytes");
    }
}

#[test]
fn boundaries_are_the_same_whole_and_byte_by_byte_and_split_at_random() {
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let written = Written::random(&mut rng);
        let mut whole = FrameTracker::new();
        whole.feed(&written.bytes).unwrap();
        written.check(&whole, written.bytes.len());

        let mut bytewise = FrameTracker::new();
        for fed in 0..written.bytes.len() {
            bytewise.feed(&written.bytes[fed..=fed]).unwrap();
            written.check(&bytewise, fed + 1);
        }

        let (mut split, mut fed) = (FrameTracker::new(), 0);
        while fed < written.bytes.len() {
            let most = if rng.bool() { 9 } else { 90_000 };
            let next = (fed + rng.usize(1..=most)).min(written.bytes.len());
            split.feed(&written.bytes[fed..next]).unwrap();
            fed = next;
            written.check(&split, fed);
        }
    }
}

#[test]
fn feeding_to_the_boundary_stops_at_the_end_of_each_frame() {
    for seed in 100..160 {
        let mut rng = Rng::with_seed(seed);
        let written = Written::random(&mut rng);
        let (mut tracker, mut fed, mut ends) = (FrameTracker::new(), 0, Vec::new());
        while fed < written.bytes.len() {
            let next = (fed + rng.usize(1..=100_000)).min(written.bytes.len());
            fed += tracker.feed_to_boundary(&written.bytes[fed..next]).unwrap();
            if tracker.at_boundary() {
                ends.push(fed);
            }
        }
        assert_eq!(ends, written.ends.iter().map(|end| end.at).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn oddities_pass_as_frames() {
    let mut tracker = FrameTracker::new();
    for first in 0..=u8::MAX {
        let before = tracker.frames();
        tracker.feed(&[first, 0x83, 1, 2, 3, 4, 0x88, 0x00, 0x88]).unwrap();
        assert!(tracker.at_boundary());
        assert_eq!(tracker.frames(), before + 1);
        assert_eq!(tracker.close_seen(), first >= 0x08, "the first Close is remembered: {first:#x}");
    }
    let mut overlong = FrameTracker::new();
    overlong.feed(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1, b'x']).unwrap();
    assert!(overlong.at_boundary(), "a length in more bytes than it needs is the peer's business");
}

#[test]
fn a_length_of_2_to_the_63_is_refused_and_no_boundary_follows() {
    let mut tracker = FrameTracker::new();
    assert_eq!(tracker.feed(&[0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(ImpossibleLength));
    assert_eq!(tracker.feed(&[0; 100]), Err(ImpossibleLength));
    assert!(!tracker.at_boundary());

    let mut largest = FrameTracker::new();
    largest.feed(&[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]).unwrap();
    assert!(!largest.at_boundary());
}

#[test]
fn our_closes_are_frames_to_others_too() {
    let close = Close::service_restart();
    for bytes in [close.to_client(), close.to_upstream([1, 2, 3, 4])] {
        let mut cursor = Cursor::new(&bytes);
        let (header, length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
        assert_eq!(header.opcode, OpCode::Control(Control::Close));
        assert!(header.is_final);
        assert_eq!(cursor.position() + length, bytes.len() as u64);
        let mut tracker = FrameTracker::new();
        tracker.feed(&bytes).unwrap();
        assert!(tracker.at_boundary() && tracker.close_seen());
    }
}
