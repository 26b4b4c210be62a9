//! A connection to a backend, plain or TLS, that ends at once when its side is demoted.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use probe::Transport;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_util::either::Either;

use super::connections::{Half, Registered};
use crate::traffic::budget::Pause;

/// A connection to a backend.
#[derive(Debug)]
pub struct UpstreamStream {
    transport: Transport,
    registered: Option<Registered>,
    /// Of reads for a client that does not take what was read.
    pause: Pause,
}

impl UpstreamStream {
    pub(super) fn new(transport: Transport, registered: Registered) -> Self {
        Self { transport, registered: Some(registered), pause: Pause::default() }
    }

    /// Leaves the register: from now on somebody else sees to it that nothing stays behind.
    pub fn release(&mut self) {
        self.registered = None;
    }

    fn cut(&self, half: Half, cx: &mut Context<'_>) -> io::Result<()> {
        if self.registered.as_ref().is_some_and(|registered| registered.cut().poll(half, cx)) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the side was demoted"));
        }
        Ok(())
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Before the transport is asked: a side that was left may go on sending, and its answer must not count any
        // more.
        self.cut(Half::Read, cx)?;
        let Self { transport, pause, .. } = &mut *self;
        pause.read_for(|holding| &holding.answer, cx, buf, |cx, buf| Pin::new(transport).poll_read(cx, buf))
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.cut(Half::Write, cx)?;
        Pin::new(&mut self.transport).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.cut(Half::Write, cx)?;
        Pin::new(&mut self.transport).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cut(Half::Write, cx)?;
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cut(Half::Write, cx)?;
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

// What Pingora asks of a stream it carries HTTP over and keeps in its pool.

#[async_trait]
impl Shutdown for UpstreamStream {
    async fn shutdown(&mut self) {
        // An orderly end is a courtesy to a backend; without it the connection ends all the same.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for UpstreamStream {
    /// The descriptor: the pool asks the system whether it still leads to the backend.
    fn id(&self) -> UniqueIDType {
        match &self.transport {
            Either::Left(stream) => stream.as_raw_fd(),
            Either::Right(stream) => stream.get_ref().0.as_raw_fd(),
        }
    }
}

impl GetTimingDigest for UpstreamStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for UpstreamStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for UpstreamStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Ssl for UpstreamStream {}
impl Peek for UpstreamStream {}
