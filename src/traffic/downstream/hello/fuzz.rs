//! A ClientHello is read alike however it arrives, and what is kept of it is what came: nothing lost, nothing twice.

use ::fuzz::Target;
use rustls::server::Acceptor;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::*;

const WORDS: &[&[u8]] = &[
    b"\x16\x03\x01",
    b"\x16\x03\x03",
    b"\x15\x03\x01",
    b"\x01\x00",
    b"\x03\x03",
    b"\x00\x00\x00\x15\x00\x13\x00\x00\x10turn.example.org",
    b"turn.example.org",
    b"\x00\x0a\x00\x04\x00\x02\x11\xec",
    b"\x00\x33",
    b"\x00\x2b\x00\x03\x02\x03\x04",
    b"\x00\x0d\x00\x04\x00\x02\x08\x04",
    b"\x80\x2e\x01\x03\x01",
    b"PROXY TCP4 ",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x00",
    b"\xff\xff",
];

/// A client that sends `bytes` in pieces of `size`, leaves, and reads what it likes.
struct Pieces<'a> {
    bytes: &'a [u8],
    size: usize,
    alerts: Vec<u8>,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let length = self.size.min(self.bytes.len()).min(buf.remaining());
        let (piece, rest) = self.bytes.split_at(length);
        buf.put_slice(piece);
        self.bytes = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.alerts.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The name asked for, and how many bytes were kept; why not is the library's.
async fn arriving(input: &[u8], size: usize) -> Result<(Option<String>, usize), io::ErrorKind> {
    let client = Pieces { bytes: input, size, alerts: Vec::new() };
    let hello = LazyConfigAcceptor::new(Acceptor::default(), Peeked::new(client, true));
    let StartHandshake { accepted, io, .. } = hello.await.map_err(|error| error.kind())?;
    let (client, kept) = io.into_parts();
    assert!(input.starts_with(&kept) && kept.len() <= MOST_KEPT, "what came, and no more");
    assert_eq!(kept.len() + client.bytes.len(), input.len(), "what was read was kept");
    assert!(client.alerts.is_empty(), "nothing is said to a client that may be another service's");
    let name = accepted.client_hello().server_name().map(str::to_owned);
    if let Some(name) = &name {
        assert!(name.len() <= 254 && name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
    }
    Ok((name, kept.len()))
}

#[test]
fn a_client_hello_is_read_alike_however_it_arrives_and_nothing_of_it_is_lost() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let property = async |input: &[u8]| {
        let whole = arriving(input, usize::MAX).await;
        for size in [1, 3, 50] {
            let cut = arriving(input, size).await;
            let names = |read: &Result<(Option<String>, usize), _>| read.as_ref().ok().map(|(name, _)| name.clone());
            assert_eq!(names(&cut), names(&whole), "in pieces of {size}");
        }
        match whole {
            Ok((name, kept)) => (name.map_or(0, |name| 1 + name.len().min(20)), kept / 256, None),
            Err(why) => (0, 0, Some(why)),
        }
    };
    Target::new("client-hello", 6_000)
        .words(WORDS)
        .allocates(8 << 20, 4096)
        .holds(1 << 20, 64)
        .check(|input| runtime.block_on(property(input)));
}
