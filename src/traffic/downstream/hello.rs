//! A connection while its ClientHello is read: the library takes it in whatever pieces it comes in, and what it took is
//! kept where the connection may turn out to be another service's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes of a ClientHello that are kept. With a post-quantum key share it has 2 KiB, and a record's head costs it five
/// bytes, however little the record holds.
const MOST_KEPT: usize = 32 * 1024;

/// The fatal alert unrecognized_name (RFC 8446 section 6.2, RFC 6066 section 3) as a record. No key has been agreed upon.
pub const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];

/// A connection that is read for the first time.
#[derive(Debug)]
pub struct Peeked<S = TcpStream> {
    stream: S,
    kept: Option<Vec<u8>>,
    /// How it began, and how many bytes of that came.
    first: ([u8; 5], usize),
}

impl<S> Peeked<S> {
    /// Keeps what is read if `keep`.
    pub fn new(stream: S, keep: bool) -> Self {
        Self { stream, kept: keep.then(Vec::new), first: Default::default() }
    }

    /// The first bytes of what came, five at most.
    pub fn first(&self) -> &[u8] {
        &self.first.0[..self.first.1]
    }

    /// The connection, and what was kept.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.kept.unwrap_or_default())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Peeked<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let (first, came) = &mut self.first;
        for (place, byte) in first[*came..].iter_mut().zip(&buf.filled()[before..]) {
            *place = *byte;
            *came += 1;
        }
        if let Some(kept) = &mut self.kept {
            let read = &buf.filled()[before..];
            if kept.len() + read.len() > MOST_KEPT {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a ClientHello without end")));
            }
            kept.extend_from_slice(read);
        }
        Poll::Ready(Ok(()))
    }
}

/// Only alerts are written here.
impl<S: AsyncWrite + Unpin> AsyncWrite for Peeked<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use rustls::server::Acceptor;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

    use super::*;

    /// As a browser of today sends it: X25519MLKEM768 and X25519, 1.4 KiB; in one record, and in four.
    const POST_QUANTUM: [&[u8]; 2] = [
        include_bytes!("../../../fuzz/corpus/client-hello/post-quantum"),
        include_bytes!("../../../fuzz/corpus/client-hello/post-quantum-in-records"),
    ];

    #[tokio::test]
    async fn a_client_hello_split_at_any_byte_is_read_and_kept_whole() {
        for hello in POST_QUANTUM {
            assert!(hello.len() > 1400);
            for at in 0..hello.len() {
                let (near, mut far) = tokio::io::duplex(4096);
                let mut reading = pin!(LazyConfigAcceptor::new(Acceptor::default(), Peeked::new(near, true)));
                far.write_all(&hello[..at]).await.unwrap();
                let early = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx).is_ready())).await;
                assert!(!early, "{at} of {} bytes are no ClientHello", hello.len());
                far.write_all(&hello[at..]).await.unwrap();
                let StartHandshake { accepted, io, .. } = reading.await.unwrap();
                assert_eq!(accepted.client_hello().server_name(), Some("turn.example.org"), "{at}");
                assert!(io.into_parts().1 == hello, "{at}");
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_kept_where_no_connection_is_another_services() {
        let (near, mut far) = tokio::io::duplex(4096);
        far.write_all(POST_QUANTUM[0]).await.unwrap();
        let StartHandshake { io, .. } =
            LazyConfigAcceptor::new(Acceptor::default(), Peeked::new(near, false)).await.unwrap();
        assert_eq!(io.into_parts().1.capacity(), 0);
    }

    #[tokio::test]
    async fn a_client_hello_without_end_is_given_up() {
        let endless = [&[22, 3, 1, 0, 5, 1, 0, 255, 255, 0][..], &[22, 3, 1, 0, 1, 0].repeat(MOST_KEPT / 6)].concat();
        let (near, mut far) = tokio::io::duplex(endless.len());
        far.write_all(&endless).await.unwrap();
        let read = LazyConfigAcceptor::new(Acceptor::default(), Peeked::new(near, true)).await;
        assert_eq!(read.err().map(|error| error.kind()), Some(io::ErrorKind::InvalidData));
        // No alert: what it is, nobody knows.
        let mut said = Vec::new();
        far.read_to_end(&mut said).await.unwrap();
        assert!(said.is_empty());
    }
}
