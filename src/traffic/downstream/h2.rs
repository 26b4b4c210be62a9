//! Watches a client's h2 frames as they pass (RFC 9113 section 4.1): what the library that reads them puts no limit to.
//!
//! The library bounds a head's size and its frames, and has no clock; it counts given-up streams only until it has looked
//! at them.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const DATA: u8 = 0;
const END_HEADERS: u8 = 4;
const FRAME_HEADER: usize = 9;

/// Streams a client may give up at once, in connections full of them: a browser leaves a page with all that it asked for,
/// and is on the next before it is noticed. As many come back each second; a flood (CVE-2023-44487) is ten times that.
const GIVEN_UP: u32 = 8;

/// How many streams a client may give up in one burst.
pub fn resets_at_once(streams: u32) -> u32 {
    streams.saturating_mul(GIVEN_UP)
}

/// What a connection may use up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the preface to the first stream.
    pub idle: Duration,
    /// From the first byte of a head to its end; of any other frame but DATA, too.
    pub head: Duration,
    /// How many streams may be open at once; sets how many may be given up, too.
    pub streams: u32,
}

/// Why the watch ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The client never asked for anything.
    Idle,
    /// A head took too long.
    HeadTooLate,
    /// More streams were given up than anybody needs to.
    Flood,
}

/// Reads frame headers and skips the rest.
#[derive(Debug)]
pub struct Watch {
    limits: Limits,
    began: Instant,
    header: [u8; FRAME_HEADER],
    /// Bytes of `header` that are there.
    have: usize,
    /// Bytes of the frame's payload still to come.
    left: usize,
    /// HEADERS came, END_HEADERS did not.
    head_open: bool,
    asked: bool,
    /// When what is unfinished began.
    since: Option<Instant>,
    resets: u32,
    refilled: Instant,
}

impl Watch {
    /// Of a connection whose preface was read just now.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            began: now,
            header: [0; FRAME_HEADER],
            have: 0,
            left: 0,
            head_open: false,
            asked: false,
            since: None,
            resets: resets_at_once(limits.streams),
            refilled: now,
        }
    }

    /// Sees what was read.
    ///
    /// # Errors
    /// The client broke a rule or a limit, and the connection must end.
    pub fn see(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Broken> {
        while !bytes.is_empty() {
            if self.have == FRAME_HEADER {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = &bytes[skipped..];
            } else {
                // From its first byte on, whatever kind of frame it is: nine bytes may be dripped as well as a head.
                self.since.get_or_insert(now);
                let taken = (FRAME_HEADER - self.have).min(bytes.len());
                self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
                self.have += taken;
                bytes = &bytes[taken..];
                if self.have == FRAME_HEADER {
                    self.begin_frame(now)?;
                }
            }
            if self.have == FRAME_HEADER && self.left == 0 {
                self.have = 0;
                // Between the frames of one head its time runs on: else a client sends one CONTINUATION after the
                // other.
                if !self.head_open {
                    self.since = None;
                }
            }
        }
        Ok(())
    }

    fn begin_frame(&mut self, now: Instant) -> Result<(), Broken> {
        let [a, b, c, kind, flags, ..] = self.header;
        self.left = u32::from_be_bytes([0, a, b, c]) as usize;
        match kind {
            HEADERS => {
                self.asked = true;
                self.head_open = flags & END_HEADERS == 0;
            }
            CONTINUATION if flags & END_HEADERS != 0 => self.head_open = false,
            // How fast a body comes is its route's to say.
            DATA if !self.head_open => self.since = None,
            RST_STREAM => return self.count_reset(now),
            _ => {}
        }
        Ok(())
    }

    fn count_reset(&mut self, now: Instant) -> Result<(), Broken> {
        let most = resets_at_once(self.limits.streams);
        let passed = now.duration_since(self.refilled);
        // What has passed is forgotten only when it is worth a stream: else resets in quick succession would have each
        // fraction rounded away.
        let back = u128::from(most) * passed.as_millis() / 1000;
        if back > 0 {
            self.refilled = now;
            self.resets = most.min(self.resets.saturating_add(u32::try_from(back).unwrap_or(most)));
        }
        match self.resets.checked_sub(1) {
            Some(rest) => self.resets = rest,
            None => return Err(Broken::Flood),
        }
        Ok(())
    }

    /// Until when more has to come, and what it means when it does not. It changes with [`Self::see`] alone.
    pub fn deadline(&self) -> Option<(Instant, Broken)> {
        match self.since {
            Some(since) => Some((since + self.limits.head, Broken::HeadTooLate)),
            None if !self.asked => Some((self.began + self.limits.idle, Broken::Idle)),
            // Whoever has asked is bounded by `Streams`, which knows how many streams are open.
            None => None,
        }
    }
}

/// A watch over one connection, with its clock.
#[derive(Debug)]
pub struct Frames {
    watch: Watch,
    timer: Option<Pin<Box<Sleep>>>,
    ended: Arc<OnceLock<Broken>>,
}

impl Frames {
    /// Of a connection whose preface was read just now; why it was ended is told by [`Self::ended`].
    pub fn new(limits: Limits) -> Self {
        Self { watch: Watch::new(limits, Instant::now()), timer: None, ended: Arc::default() }
    }

    /// Where it says why it ended the connection, if it did.
    pub fn ended(&self) -> Arc<OnceLock<Broken>> {
        self.ended.clone()
    }

    /// Sees what was read.
    ///
    /// # Errors
    /// The client broke a rule or a limit, and the connection must end.
    pub fn see(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.watch.see(bytes, Instant::now()).map_err(|broken| self.end(broken))
    }

    /// Nothing is there to be read: ready once it should have been.
    pub fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some((deadline, broken)) = self.watch.deadline() else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        match broken {
            // As if the client had left: nothing is under way.
            Broken::Idle => {
                let _ = self.ended.set(broken);
                Poll::Ready(Ok(()))
            }
            Broken::HeadTooLate | Broken::Flood => Poll::Ready(Err(self.end(broken))),
        }
    }

    fn end(&self, broken: Broken) -> io::Error {
        let _ = self.ended.set(broken);
        io::Error::new(io::ErrorKind::TimedOut, "the client's frames break a limit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { idle: Duration::from_secs(75), head: Duration::from_secs(10), streams: 4 };

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], &vec![0xff; payload]].concat()
    }

    #[test]
    fn a_head_has_its_time_from_its_first_byte_however_it_is_cut() {
        let start = Instant::now();
        let later = start + Duration::from_secs(3);
        let head =
            [frame(4, 0, 6), frame(HEADERS, 0, 7), frame(CONTINUATION, 0, 0), frame(CONTINUATION, 4, 300)].concat();
        for cut in 16..head.len() - 1 {
            let mut watch = Watch::new(LIMITS, start);
            watch.see(&head[..15], start).unwrap();
            assert_eq!(watch.deadline(), Some((start + LIMITS.idle, Broken::Idle)));
            watch.see(&head[15..cut], later).unwrap();
            assert_eq!(watch.deadline(), Some((later + LIMITS.head, Broken::HeadTooLate)), "{cut}");
            watch.see(&head[cut..=cut], later + Duration::from_secs(5)).unwrap();
            if cut + 1 < head.len() {
                assert_eq!(watch.deadline(), Some((later + LIMITS.head, Broken::HeadTooLate)), "{cut}");
            }
            watch.see(&head[cut + 1..], later + Duration::from_secs(6)).unwrap();
            assert_eq!(watch.deadline(), None, "{cut}");
        }
    }

    #[test]
    fn a_body_may_take_its_time() {
        let start = Instant::now();
        let mut watch = Watch::new(LIMITS, start);
        let bytes = [frame(HEADERS, 4, 5), frame(DATA, 0, 100)].concat();
        watch.see(&bytes[..30], start).unwrap();
        assert_eq!(watch.deadline(), None);
        watch.see(&bytes[30..], start).unwrap();
        // The next frame has begun.
        watch.see(&[0], start).unwrap();
        assert_eq!(watch.deadline(), Some((start + LIMITS.head, Broken::HeadTooLate)));
    }

    #[test]
    fn given_up_streams_come_back_with_time_and_a_flood_ends() {
        let start = Instant::now();
        let mut watch = Watch::new(LIMITS, start);
        let reset = frame(RST_STREAM, 0, 4);
        let burst = resets_at_once(LIMITS.streams);
        for second in 0..10 {
            for _ in 0..burst {
                watch.see(&reset, start + Duration::from_secs(second)).unwrap();
            }
        }
        assert_eq!(watch.see(&reset, start + Duration::from_secs(9)), Err(Broken::Flood));
    }
}
