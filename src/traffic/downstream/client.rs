//! A client's TLS connection: as a stream for h2, heads and upgrades, and for what `session` writes over HTTP/1.
//!
//! Small writes are held until the flush, so that a response's head and body leave in one TLS record and one system call.
//! They are held no longer than there is more to write: whoever looks for the client's next bytes flushes first, since who
//! waits for the rest of a slow answer must see its beginning. What is still held when the stream is given up is written all the
//! same: a client that got nothing of an answer sends its request again, though the application has seen it (E5).

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Shutdown::Write, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::activity::{Activity, After};
use super::admission::Admitted;
use super::h2::Frames;
use super::refusals::Refusals;

/// Bytes held at most before they are written: a TLS record's worth.
const HELD: usize = 16 * 1024;
/// Bytes of finished TLS records held at most for a client that does not read: one record, and no more than one write
/// adds. The library's own limit is four of them.
const RECORDS: usize = 16 * 1024;
/// A write of this size is not worth holding: copying it would cost more than the record it shares.
const LARGE: usize = 8 * 1024;
/// How long a client may take to read what was held for it when its stream was given up: as long as it has to read on
/// after an answer, as both hold up the end of the connection only.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// A client's TLS connection.
pub struct ClientStream {
    /// Taken when the stream is dropped, not before.
    outgoing: Option<Outgoing>,
    unread: Bytes,
    /// A request is under way, of whose answer something may have been written.
    carrying: bool,
    /// Something of its answer was.
    answering: bool,
    /// Over h2: who is told how many requests were refused by others.
    refusals: Option<(Refusals, OnRefused)>,
    /// Of an h2 connection: what watches its frames.
    frames: Option<Frames>,
    socket: Arc<SocketDigest>,
    digest: Arc<SslDigest>,
    activity: Arc<Activity>,
}

/// Is called for each request that was refused unseen.
type OnRefused = Box<dyn Fn() + Send + Sync>;

/// A connection, and what is to be written to it.
struct Outgoing {
    tls: TlsStream<TcpStream>,
    held: Vec<u8>,
    written: usize,
    admitted: Admitted,
}

impl ClientStream {
    /// Wraps a connection whose handshake is done.
    pub fn new(mut tls: TlsStream<TcpStream>, peer: SocketAddr, admitted: Admitted) -> Self {
        tls.get_mut().1.set_buffer_limit(Some(RECORDS));
        let activity = admitted.activity().clone();
        let (tcp, session) = tls.get_ref();
        let socket = SocketDigest::from_raw_fd(tcp.as_raw_fd());
        // A fresh cell is empty. Known from `accept`: Pingora would ask the kernel for it again.
        let _ = socket.peer_addr.set(Some(PingoraAddr::Inet(peer)));
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        let digest = Arc::new(SslDigest::new(cipher, version, None, None, Vec::new()));
        Self {
            outgoing: Some(Outgoing { tls, held: Vec::new(), written: 0, admitted }),
            unread: Bytes::new(),
            carrying: false,
            answering: false,
            refusals: None,
            frames: None,
            socket: Arc::new(socket),
            digest,
            activity,
        }
    }

    fn outgoing(&mut self) -> &mut Outgoing {
        self.outgoing.as_mut().expect("taken by drop alone")
    }

    fn tls(&self) -> &TlsStream<TcpStream> {
        &self.outgoing.as_ref().expect("taken by drop alone").tls
    }

    /// Whether the client chose HTTP/2.
    pub fn speaks_h2(&self) -> bool {
        self.tls().get_ref().1.alpn_protocol() == Some(b"h2")
    }

    /// The connection, as those see it who carry its requests.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Has `on_refused` called for each request that h2 refuses without asking us.
    pub fn watch_refusals(&mut self, on_refused: OnRefused) {
        self.refusals = Some((Refusals::default(), on_refused));
    }

    /// Watches the frames that come from now on.
    pub fn watch(&mut self, frames: Frames) {
        self.frames = Some(frames);
    }

    fn poll_all(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = self.outgoing().poll_read(cx, buf);
        match &mut self.frames {
            None => read,
            Some(frames) => match read {
                Poll::Ready(Ok(())) => Poll::Ready(frames.see(&buf.filled()[before..])),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                // Only where nothing more is there: what has come came in time, however late it is read.
                Poll::Pending => frames.poll_deadline(cx),
            },
        }
    }

    /// Puts bytes back, to be read again first.
    pub fn unread(&mut self, bytes: Bytes) {
        debug_assert!(self.unread.is_empty());
        self.unread = bytes;
    }

    /// A request of HTTP/1 is carried from now on: until [`Self::end_request`], the end of this stream is the end of an
    /// answer.
    pub fn begin_request(&mut self) {
        (self.carrying, self.answering) = (true, false);
    }

    /// The request's answer is whole: should the stream end now, nobody takes that for the end of an answer.
    pub fn end_request(&mut self) {
        self.carrying = false;
    }

    /// Whether so many bytes more are worth holding, and may be.
    pub fn may_hold(&self, bytes: usize) -> bool {
        let held = self.outgoing.as_ref().map_or(0, |outgoing| outgoing.held.len());
        bytes < LARGE && held + bytes <= HELD
    }

    /// What is held, to be added to.
    pub fn held(&mut self) -> &mut Vec<u8> {
        self.answering = true;
        &mut self.outgoing().held
    }

    /// Writes what is held, then `data` and its `tail`, in as few records as can be.
    pub fn poll_put(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        tail: &mut &'static [u8],
    ) -> Poll<io::Result<()>> {
        self.answering = true;
        let outgoing = self.outgoing();
        ready!(outgoing.poll_put(cx, data, tail))?;
        outgoing.poll_flush(cx)
    }

    /// Writes, or holds what is small.
    fn poll_hold(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outgoing = self.outgoing();
        if outgoing.written > 0 || outgoing.held.len() + buf.len() > HELD {
            ready!(outgoing.poll_drain(cx))?;
        }
        if buf.len() >= LARGE && outgoing.held.is_empty() {
            let written = Pin::new(&mut outgoing.tls).poll_write(cx, buf);
            return outgoing.unless_given_up(written);
        }
        let room = HELD - outgoing.held.len();
        let count = buf.len().min(room);
        outgoing.held.extend_from_slice(&buf[..count]);
        Poll::Ready(Ok(count))
    }
}

impl Outgoing {
    /// Notes that something moved; nothing is waited for on a connection that was given up.
    fn unless_given_up<T>(&self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let activity = self.admitted.activity();
        match done {
            Poll::Ready(Ok(_)) => activity.note_moved(),
            // A client that takes nothing would hold the task, and with it the drain, until `write_stall`.
            Poll::Pending if activity.is_given_up() => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            _ => {}
        }
        done
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.tls).poll_read(cx, buf);
        if read.is_ready() {
            self.admitted.activity().note_moved();
        }
        read
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_put(cx, &mut Bytes::new(), &mut &[][..])
    }

    fn poll_put(&mut self, cx: &mut Context<'_>, data: &mut Bytes, tail: &mut &'static [u8]) -> Poll<io::Result<()>> {
        loop {
            let held = &self.held[self.written..];
            let parts = [IoSlice::new(held), IoSlice::new(data), IoSlice::new(tail)];
            let parts = if held.is_empty() { &parts[1..] } else { &parts };
            let left = held.len();
            if left + data.len() + tail.len() == 0 {
                break;
            }
            let count = Pin::new(&mut self.tls).poll_write_vectored(cx, parts);
            let count = ready!(self.unless_given_up(count))?;
            // Else this would go round for ever.
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count.min(left);
            let count = count.saturating_sub(left);
            let of_data = count.min(data.len());
            data.advance(of_data);
            *tail = &tail[count - of_data..];
        }
        // Given back, not cleared: a connection that is idle holds no buffer, and most are idle.
        self.held = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    /// Writes the rest, then lets the client read: a connection closed on bytes that nobody read is reset, and the reset
    /// takes back what was written. `close_notify` behind a whole answer only: one that only the end of the connection
    /// delimits must not look whole (RFC 9112 section 9.8).
    async fn give_up(mut self, after: After) {
        let written = timeout(LAST_WRITE, async {
            poll_fn(|cx| self.poll_flush(cx)).await?;
            if after != After::Broken {
                return AsyncWriteExt::shutdown(&mut self.tls).await;
            }
            SockRef::from(self.tls.get_ref().0).shutdown(Write)
        });
        if matches!(written.await, Ok(Ok(()))) {
            super::raw::linger(&mut self.tls).await;
        }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        let Some(mut outgoing) = self.outgoing.take() else { return };
        // Only where nothing of an answer was written: behind a part of one, the page would be taken for more of it.
        if let (true, false, Some(words)) = (self.carrying, self.answering, self.activity.last_words()) {
            outgoing.held = words.to_vec();
        }
        let held = !outgoing.held.is_empty();
        // An h2 connection that we end: what the client still says would reset it, and take back what it has not read yet.
        let ends = self.activity.after() == After::Ends;
        if !held && !self.carrying && !ends {
            return;
        }
        // At once, as the Edge itself may be about to end; a client that reads has room for it.
        let gone = held && matches!(outgoing.poll_flush(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)));
        if let (false, Ok(runtime)) = (gone, Handle::try_current()) {
            runtime.spawn(outgoing.give_up(self.activity.after()));
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let count = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread[..count]);
            self.unread.advance(count);
            return Poll::Ready(Ok(()));
        }
        // Who looks for the client has nothing more to write for now. An error will be met again by the next write.
        if !self.outgoing().held.is_empty() {
            let _ = self.outgoing().poll_flush(cx);
        }
        // The request's carrier hears of it as of a client that left, and answers while it can.
        if self.carrying && self.activity.is_given_up() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.poll_all(cx, buf)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(self.poll_hold(cx, buf))?;
        // Only what was taken: the rest is offered again, and would be counted twice.
        if let Some((refusals, on_refused)) = &mut self.refusals {
            (0..refusals.advance(&buf[..count])).for_each(|_| on_refused());
        }
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.poll_write(cx, first.map_or(&[], |buf| &**buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.outgoing().poll_drain(cx))?;
        self.carrying = false;
        Pin::new(&mut self.outgoing().tls).poll_shutdown(cx)
    }
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").field("fd", &self.id()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        // The connection is given up either way.
        if AsyncWriteExt::shutdown(self).await.is_ok() {
            super::raw::linger(self).await;
        }
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.tls().get_ref().0.as_raw_fd()
    }
}

impl Ssl for ClientStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        Some(self.digest.clone())
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(if self.speaks_h2() { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<pingora::protocols::raw_connect::ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket.clone())
    }
}

impl Peek for ClientStream {}
