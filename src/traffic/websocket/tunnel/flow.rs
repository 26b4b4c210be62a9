//! One direction of a tunnel: bytes in, the same bytes out, never more than one chunk between. Ends are told apart as
//! source and sink; who they are is the relay's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::frame::FrameTracker;

/// Reads in a row before the other direction, and other sessions of this thread, get their turn.
const READS_PER_TURN: usize = 16;

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) tracker: FrameTracker,
    backlog: Vec<u8>,
    written: usize,
    unflushed: bool,
    ended: bool,
    blocked_since: Option<Instant>,
    bytes: u64,
}

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// As long as the source gives.
    End,
    /// To the end of the frame that is begun.
    Boundary,
}

/// Why a pump stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The source has nothing or the sink takes nothing: the task will be woken.
    Waiting,
    /// The turn is over, more can be done at once: the task must wake itself.
    TurnOver,
    /// Until::Boundary was asked for and is reached; all is written.
    AtBoundary,
    /// The source has ended and all it gave is written and flushed.
    Ended,
}

/// What broke a pump.
#[derive(Debug)]
pub(super) enum Broken {
    /// The source cannot be read.
    Source,
    /// The sink cannot be written.
    Sink,
    /// The source's frames make no sense.
    Malformed,
}

impl Flow {
    /// A flow that has `early` bytes to deliver already.
    pub(super) fn new(early: Vec<u8>) -> Self {
        let mut tracker = FrameTracker::new();
        // A malformed start makes the tracker refuse whatever comes next.
        let _ = tracker.feed(&early);
        let bytes = early.len() as u64;
        Self { tracker, backlog: early, written: 0, unflushed: false, ended: false, blocked_since: None, bytes }
    }

    /// Bytes taken from the source, except those swallowed.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Since when the sink has taken nothing of what waits for it.
    pub(super) fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since
    }

    /// All that was taken from the source is with the sink, though perhaps not flushed.
    pub(super) fn is_written(&self) -> bool {
        self.written == self.backlog.len()
    }

    /// All that was taken from the source has left.
    pub(super) fn is_delivered(&self) -> bool {
        self.is_written() && !self.unflushed
    }

    /// Moves bytes until something makes it wait.
    pub(super) fn pump<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
        chunk: &mut [u8],
        until: Until,
    ) -> Result<Stopped, Broken>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..READS_PER_TURN {
            // What waits goes out before more is read: one chunk is all that a slow sink may cost.
            if self.poll_write_backlog(cx, sink).map_err(|_| Broken::Sink)?.is_pending() {
                return Ok(Stopped::Waiting);
            }
            // A sink with a buffer of its own would take more though nothing leaves it, and never seem to stall.
            if self.blocked_since.is_some() && self.flushed(cx, sink)?.is_none() {
                return Ok(Stopped::Waiting);
            }
            if self.ended {
                // Ended only when all of it has left: whoever is told so may close the sink.
                return Ok(self.flushed(cx, sink)?.map_or(Stopped::Waiting, |()| Stopped::Ended));
            }
            if until == Until::Boundary && self.tracker.at_boundary() {
                return Ok(Stopped::AtBoundary);
            }
            let Some(bytes) = self.read(cx, source, chunk)? else {
                self.flushed(cx, sink)?;
                return Ok(Stopped::Waiting);
            };
            let bytes = match until {
                Until::End => self.tracker.feed(bytes).map(|()| bytes),
                Until::Boundary => self.tracker.feed_to_boundary(bytes).map(|used| &bytes[..used]),
            }
            .map_err(|_| Broken::Malformed)?;
            self.bytes += bytes.len() as u64;
            self.push(cx, sink, bytes)?;
        }
        Ok(Stopped::TurnOver)
    }

    /// Reads and throws away, only following the frames.
    pub(super) fn swallow<R>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        chunk: &mut [u8],
    ) -> Result<Stopped, Broken>
    where
        R: AsyncRead + Unpin,
    {
        for _ in 0..READS_PER_TURN {
            if self.ended {
                return Ok(Stopped::Ended);
            }
            match self.read(cx, source, chunk)? {
                Some(bytes) => self.tracker.feed(bytes).map_err(|_| Broken::Malformed)?,
                None => return Ok(Stopped::Waiting),
            }
        }
        Ok(Stopped::TurnOver)
    }

    /// Puts bytes of our own behind those that wait.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.backlog.extend_from_slice(bytes);
    }

    /// Forgets what waits for a sink that is gone.
    pub(super) fn discard(&mut self) {
        self.backlog = Vec::new();
        self.written = 0;
        self.unflushed = false;
        self.blocked_since = None;
    }

    /// Writes and flushes what waits.
    pub(super) fn poll_deliver<W>(&mut self, cx: &mut Context<'_>, sink: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        ready!(self.poll_write_backlog(cx, sink))?;
        self.poll_flush(cx, sink)
    }

    /// `None`: nothing to read now. An empty slice: the source has just ended.
    fn read<'c, R>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        chunk: &'c mut [u8],
    ) -> Result<Option<&'c [u8]>, Broken>
    where
        R: AsyncRead + Unpin,
    {
        let mut buffer = ReadBuf::new(chunk);
        match Pin::new(source).poll_read(cx, &mut buffer) {
            Poll::Pending => Ok(None),
            Poll::Ready(Ok(())) => {
                let length = buffer.filled().len();
                self.ended = length == 0;
                Ok(Some(&chunk[..length]))
            }
            Poll::Ready(Err(_)) => {
                self.ended = true;
                Err(Broken::Source)
            }
        }
    }

    /// Writes straight from the chunk; only what the sink does not take is copied.
    fn push<W>(&mut self, cx: &mut Context<'_>, sink: &mut W, mut bytes: &[u8]) -> Result<(), Broken>
    where
        W: AsyncWrite + Unpin,
    {
        while !bytes.is_empty() {
            match self.poll_write(cx, sink, bytes).map_err(|_| Broken::Sink)? {
                Poll::Ready(taken) => bytes = &bytes[taken..],
                Poll::Pending => {
                    // Copied only now, and in its own size: a tunnel that flows holds nothing.
                    self.backlog = bytes.to_vec();
                    break;
                }
            }
        }
        Ok(())
    }

    fn poll_write_backlog<W>(&mut self, cx: &mut Context<'_>, sink: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        while !self.is_written() {
            let backlog = std::mem::take(&mut self.backlog);
            let taken = self.poll_write(cx, sink, &backlog[self.written..]);
            self.backlog = backlog;
            self.written += ready!(taken)?;
        }
        self.backlog = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_write<W>(&mut self, cx: &mut Context<'_>, sink: &mut W, bytes: &[u8]) -> Poll<io::Result<usize>>
    where
        W: AsyncWrite + Unpin,
    {
        match Pin::new(sink).poll_write(cx, bytes) {
            // A sink that takes nothing and does not wait would be asked for ever.
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(taken)) => {
                self.unflushed = true;
                self.blocked_since = None;
                Poll::Ready(Ok(taken))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.blocked(),
        }
    }

    fn poll_flush<W>(&mut self, cx: &mut Context<'_>, sink: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        if self.unflushed {
            match Pin::new(sink).poll_flush(cx) {
                Poll::Ready(result) => result?,
                Poll::Pending => return self.blocked(),
            }
            self.unflushed = false;
            self.blocked_since = None;
        }
        Poll::Ready(Ok(()))
    }

    fn flushed<W>(&mut self, cx: &mut Context<'_>, sink: &mut W) -> Result<Option<()>, Broken>
    where
        W: AsyncWrite + Unpin,
    {
        match self.poll_flush(cx, sink) {
            Poll::Ready(Ok(())) => Ok(Some(())),
            Poll::Ready(Err(_)) => Err(Broken::Sink),
            Poll::Pending => Ok(None),
        }
    }

    fn blocked<T>(&mut self) -> Poll<io::Result<T>> {
        self.blocked_since.get_or_insert_with(Instant::now);
        Poll::Pending
    }

    #[cfg(test)]
    pub(super) fn backlog_capacity(&self) -> usize {
        self.backlog.capacity()
    }
}
