//! Where WebSocket frames begin and end (RFC 6455 section 5.2). Payloads are counted, never kept, unmasked or judged.

use thiserror::Error;

const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const FIRST_CONTROL: u8 = 0x8;
const CLOSE: u8 = 0x8;
const MASKED: u8 = 0x80;
const MASK_LENGTH: u64 = 4;

/// Follows one direction of one connection through any splitting of its bytes.
///
/// ```text
///  First ─▶ Second ─▶ Length ─▶ Body ─▶ First …
///              └────────────────▲          (an empty body is skipped)
/// ```
#[derive(Debug)]
pub(super) struct FrameTracker {
    at: At,
    first: u8,
    masked: bool,
    /// Bytes left of the part named by `at`.
    left: u64,
    length: u64,
    frames: u64,
    inside_message: bool,
    close_seen: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    First,
    Second,
    Length,
    /// Mask and payload: nobody here tells them apart.
    Body,
    /// After an impossible header no boundary can be known.
    Lost,
}

/// A length of 2^63 bytes or more, which RFC 6455 forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a frame claims 2^63 bytes or more")]
pub(super) struct ImpossibleLength;

impl FrameTracker {
    pub(super) const fn new() -> Self {
        Self {
            at: At::First,
            first: 0,
            masked: false,
            left: 0,
            length: 0,
            frames: 0,
            inside_message: false,
            close_seen: false,
        }
    }

    /// No frame is begun and unfinished: a control frame may be put here, even inside a fragmented message.
    pub(super) fn at_boundary(&self) -> bool {
        self.at == At::First
    }

    /// The last data frame was not the final one of its message.
    pub(super) fn inside_message(&self) -> bool {
        self.inside_message
    }

    /// A whole Close frame has passed.
    pub(super) fn close_seen(&self) -> bool {
        self.close_seen
    }

    /// Whole frames that have passed.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Follows all of `bytes`.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ImpossibleLength> {
        while !bytes.is_empty() {
            let used = self.feed_to_boundary(bytes)?;
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// Follows `bytes` to the end of the frame that is begun or begins there; returns how many belong to it.
    pub(super) fn feed_to_boundary(&mut self, bytes: &[u8]) -> Result<usize, ImpossibleLength> {
        let mut used = 0;
        while used < bytes.len() {
            used += self.step(&bytes[used..])?;
            if self.at_boundary() {
                break;
            }
        }
        Ok(used)
    }

    /// Takes at least one byte of a non-empty slice.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, ImpossibleLength> {
        let byte = bytes[0];
        match self.at {
            At::First => {
                self.first = byte;
                self.at = At::Second;
            }
            At::Second => {
                self.masked = byte & MASKED != 0;
                match byte & !MASKED {
                    126 => self.expect_length(2),
                    127 => self.expect_length(8),
                    short => self.begin_body(u64::from(short)),
                }
            }
            At::Length => {
                self.length = self.length << 8 | u64::from(byte);
                self.left -= 1;
                if self.length > i64::MAX as u64 {
                    self.at = At::Lost;
                    return Err(ImpossibleLength);
                }
                if self.left == 0 {
                    self.begin_body(self.length);
                }
            }
            At::Body => {
                let here = self.left.min(bytes.len() as u64);
                self.left -= here;
                if self.left == 0 {
                    self.end_frame();
                }
                return Ok(usize::try_from(here).unwrap_or(bytes.len()));
            }
            At::Lost => return Err(ImpossibleLength),
        }
        Ok(1)
    }

    fn expect_length(&mut self, bytes: u64) {
        self.at = At::Length;
        self.left = bytes;
        self.length = 0;
    }

    fn begin_body(&mut self, length: u64) {
        self.at = At::Body;
        self.left = length + if self.masked { MASK_LENGTH } else { 0 };
        if self.left == 0 {
            self.end_frame();
        }
    }

    fn end_frame(&mut self) {
        self.at = At::First;
        self.frames += 1;
        match self.first & OPCODE {
            // At its end, not at its beginning: half a Close tells nobody anything.
            CLOSE => self.close_seen = true,
            // Control frames may come between fragments (RFC 6455 section 5.4), and change nothing of the message.
            data if data < FIRST_CONTROL => self.inside_message = self.first & FIN == 0,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod fuzz;
