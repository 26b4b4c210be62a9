//! The byte stream a probe talks over: TCP, with or without TLS on top.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::check::Check;
use crate::failure::Failure;
use crate::meter::{FirstByte, Meter};
use crate::tcp;
use crate::tls::{self, Tls};

/// How long a target that passed may take to end the connection in order.
pub(crate) const GOODBYE: Duration = Duration::from_millis(100);
/// What a target that was told goodbye may still say.
const MOST_READS: usize = 16;

pub(crate) struct Wire {
    transport: Transport,
    first_byte: FirstByte,
}

/// What carries the bytes to a target: TCP, or TLS over it.
pub type Transport = Either<TcpStream, Box<TlsStream<TcpStream>>>;

impl Wire {
    /// Connects to the check's target and, if asked, completes the TLS handshake.
    pub(crate) async fn connect(check: &Check, tls: Option<&Tls>, meter: &mut Meter) -> Result<Self, Failure> {
        let stream = tcp::connect(check.target, check.source).await?;
        meter.connected();
        let transport = match tls {
            None => Either::Left(stream),
            Some(tls) => {
                meter.shaking_hands();
                let stream = tls::shake_hands(tls, stream).await?;
                meter.secured(tls::certificate_of(stream.get_ref().1));
                Either::Right(Box::new(stream))
            }
        };
        Ok(Self { transport, first_byte: meter.first_byte() })
    }

    /// The version that was agreed on, for a report.
    pub(crate) fn protocol(&self) -> &'static str {
        match &self.transport {
            Either::Left(_) => "TCP",
            Either::Right(stream) => tls::protocol_of(stream.get_ref().1),
        }
    }

    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        match &self.transport {
            Either::Left(stream) => stream.local_addr(),
            Either::Right(stream) => stream.get_ref().0.local_addr(),
        }
    }

    /// Ends TLS in order. TCP is left to the reset that dropping it sends: a FIN of ours would leave `TIME_WAIT` here.
    pub(crate) async fn end_tls(&mut self) {
        // Tried once, never waited for: the target has answered already, nothing is held against it any more.
        poll_fn(|cx| {
            let _ = Pin::new(&mut *self).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Ends TLS in order and lets the target do the same. A reset right after the handshake would meet the session
    /// tickets it is still sending, and fill its log with handshakes that failed.
    pub(crate) async fn say_goodbye(&mut self) {
        self.end_tls().await;
        let mut rest = [0; 1024];
        let goodbye = async {
            // A target that goes on talking is not listened to for as long as it likes.
            for _ in 0..MOST_READS {
                if !matches!(self.read(&mut rest).await, Ok(1..)) {
                    break;
                }
            }
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.first_byte.seen();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Either::Left(stream) => Pin::new(stream).poll_flush(cx),
            Either::Right(stream) => {
                stream.get_mut().1.send_close_notify();
                Pin::new(&mut **stream).poll_flush(cx)
            }
        }
    }
}
