//! A client's TLS connection as Pingora sees one.
//!
//! Small writes are held until the flush, so that a response's head and body leave in one TLS record and one system call.
//! They are held no longer than Pingora has more to write: it flushes no head with a `Content-Length`, and whoever waits
//! for the rest of a slow answer must see its beginning. What is still held when the stream is given up is written all the
//! same: a client that got nothing of an answer sends its request again, though the application has seen it (E5).

use std::fmt;
use std::io::{self, IoSlice};
use std::net::{Shutdown::Write, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
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

use super::admission::Admitted;

/// Bytes held at most before they are written: a TLS record's worth.
const HELD: usize = 16 * 1024;
/// Bytes of the next requests kept back while one is carried.
const KEPT_BACK: usize = 16 * 1024;
/// A write of this size is not worth holding.
const LARGE: usize = 8 * 1024;
/// How long a client may take to read what was held for it when its stream was given up: as long as it has to read on
/// after an answer, as both hold up the end of the connection only.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// A client's TLS connection.
pub struct ClientStream {
    /// Taken when the stream is dropped, not before.
    outgoing: Option<Outgoing>,
    unread: Bytes,
    /// What came while a request without body was carried: the next one. None: reads are not kept back.
    kept_back: Option<BytesMut>,
    /// A request is under way, of whose answer something may have been written.
    carrying: bool,
    socket: Arc<SocketDigest>,
    digest: Arc<SslDigest>,
}

/// A connection, and what is to be written to it.
struct Outgoing {
    tls: TlsStream<TcpStream>,
    held: Vec<u8>,
    written: usize,
    _admitted: Admitted,
}

impl ClientStream {
    /// Wraps a connection whose handshake is done.
    pub fn new(tls: TlsStream<TcpStream>, peer: SocketAddr, admitted: Admitted) -> Self {
        let (tcp, session) = tls.get_ref();
        let socket = SocketDigest::from_raw_fd(tcp.as_raw_fd());
        // A fresh cell is empty.
        let _ = socket.peer_addr.set(Some(PingoraAddr::Inet(peer)));
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        let digest = Arc::new(SslDigest::new(cipher, version, None, None, Vec::new()));
        Self {
            outgoing: Some(Outgoing { tls, held: Vec::new(), written: 0, _admitted: admitted }),
            unread: Bytes::new(),
            kept_back: None,
            carrying: false,
            socket: Arc::new(socket),
            digest,
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

    /// Puts bytes back, to be read again first.
    pub fn unread(&mut self, bytes: Bytes) {
        debug_assert!(self.unread.is_empty());
        self.unread = bytes;
    }

    /// A request is carried from now on: until [`Self::take_back`], the end of this stream is the end of an answer.
    pub fn begin_request(&mut self) {
        self.carrying = true;
    }

    /// Keeps back what comes from now on, after `surplus`; an end and errors are still read.
    ///
    /// Pingora takes a byte behind a request for a broken client and gives the request up; apt, for one, sends its
    /// requests ahead (RFC 9112 section 9.3.2).
    pub fn keep_back(&mut self, surplus: BytesMut) {
        self.kept_back = Some(surplus);
    }

    /// The answer is out: returns what was kept back, and reads as usual again.
    pub fn take_back(&mut self) -> BytesMut {
        self.carrying = false;
        self.kept_back.take().unwrap_or_default()
    }

    fn poll_keep_back(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outgoing = self.outgoing.as_mut().expect("taken by drop alone");
        let Some(kept) = &mut self.kept_back else { return Poll::Pending };
        loop {
            if kept.len() >= KEPT_BACK {
                // Read again once the request is done; till then an end is noticed by the writes.
                return Poll::Pending;
            }
            let mut chunk = [0; 2048];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut outgoing.tls).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            kept.extend_from_slice(read.filled());
        }
    }
}

impl Outgoing {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.held.len() {
            let count = ready!(Pin::new(&mut self.tls).poll_write(cx, &self.held[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.held = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    /// Writes the rest, then lets the client read: a connection closed on bytes that nobody read is reset, and the reset
    /// takes back what was written. No `close_notify`: an answer that only the end of the connection delimits must not
    /// look whole (RFC 9112 section 9.8).
    async fn give_up(mut self) {
        let written = timeout(LAST_WRITE, std::future::poll_fn(|cx| self.poll_flush(cx)));
        if matches!(written.await, Ok(Ok(()))) && SockRef::from(self.tls.get_ref().0).shutdown(Write).is_ok() {
            super::raw::linger(&mut self.tls).await;
        }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        let Some(mut outgoing) = self.outgoing.take() else { return };
        let held = !outgoing.held.is_empty();
        if !held && !self.carrying {
            return;
        }
        // At once, as the Edge itself may be about to end; a client that reads has room for it.
        let gone = held && matches!(outgoing.poll_flush(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)));
        if let (false, Ok(runtime)) = (gone, Handle::try_current()) {
            runtime.spawn(outgoing.give_up());
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
        if self.kept_back.is_some() {
            return self.poll_keep_back(cx);
        }
        Pin::new(&mut self.outgoing().tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outgoing = self.outgoing();
        if outgoing.written > 0 || outgoing.held.len() + buf.len() > HELD {
            ready!(outgoing.poll_drain(cx))?;
        }
        if buf.len() >= LARGE && outgoing.held.is_empty() {
            return Pin::new(&mut outgoing.tls).poll_write(cx, buf);
        }
        let room = HELD - outgoing.held.len();
        let count = buf.len().min(room);
        outgoing.held.extend_from_slice(&buf[..count]);
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
            self.kept_back = None;
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
