//! Whatever comes over a connection between nodes becomes frames, and each frame one message or none.

use std::io::Cursor;

use ::fuzz::Target;
use futures_util::{FutureExt, SinkExt, StreamExt};

use super::*;
use crate::wire::{Call, Reply};

const WORDS: &[&[u8]] = &[
    b"\0\0\0\x02{}",
    b"\0\0\0\0",
    b"\0\x01\0\0",
    b"\xff\xff\xff\xff",
    b"{\"id\":1,\"ask\":",
    b"{\"id\":1,\"answer\":",
    b"{\"watch\":{\"seen\":0}}",
    b"{\"report\":{\"wish\":null}}",
    b"{\"refused\":{\"reason\":\"\"}}",
    b"\"vote\":",
    b"\"report\":",
    b"\"wanted\":",
    b"\"main\"",
    b"\"standby\"",
    b"\"active\"",
    b"\"unguarded\"",
    b"null",
    b"true",
    b"false",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b",",
    b":",
    b"1e400",
    b"-0.0",
];

/// What can be written is read again, by the same reader, as the same.
fn survives<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(frame: &BytesMut) -> Option<T> {
    let message: T = read(frame).ok()?;
    let again = write(&message).unwrap();
    assert_eq!(read::<T>(&BytesMut::from(&again[..])).unwrap(), message, "{}", again.escape_ascii());
    Some(message)
}

#[test]
fn a_frame_is_one_message_that_survives_its_way_or_none() {
    Target::new("nodes-frames", 40_000).words(WORDS).check(|input| {
        let frame = BytesMut::from(input);
        let (call, reply) = (survives::<Call>(&frame), survives::<Reply>(&frame));
        assert!(call.is_none() || reply.is_none(), "a call and a reply at once");
        let kind = |answer: &crate::wire::Told| std::mem::discriminant(answer);
        (call.map(|call| std::mem::discriminant(&call.ask)), reply.map(|reply| kind(&reply.answer)))
    });
}

#[test]
fn a_stream_is_cut_into_frames_that_make_it_up_again() {
    Target::new("nodes-stream", 10_000).words(WORDS).allocates(2 << 20, 4096).check(|input| {
        let mut connection = framed(Cursor::new(input.to_vec()));
        let mut back = framed(Cursor::new(Vec::new()));
        let (mut frames, mut used) = (0_usize, 0);
        let broken = loop {
            // All of it is there: nothing is ever waited for.
            match connection.next().now_or_never().unwrap() {
                Some(Ok(frame)) => {
                    assert!(frame.len() <= FRAME_BYTES);
                    (frames, used) = (frames + 1, used + 4 + frame.len());
                    back.send(frame.freeze()).now_or_never().unwrap().unwrap();
                }
                Some(Err(_)) => break true,
                None => break false,
            }
        };
        // The codec takes an end right behind a length for one between frames: a connection that is over either way.
        let lost = input.len() - used;
        assert!(broken || lost == 0 || lost == 4, "{lost} bytes were lost in silence");
        (frames.min(8), broken)
    });
}
