//! Frames on a stream: four bytes of length, then one JSON object.

use std::io;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::wire::FRAME_BYTES;

/// A stream between two that know each other: TLS over TCP, unless a simulation carries it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that carries frames.
pub(crate) type Connection = Framed<Box<dyn Stream>, LengthDelimitedCodec>;

/// Frames over a stream; a longer one than [`FRAME_BYTES`] ends the connection.
pub(crate) fn framed(stream: impl Stream + 'static) -> Connection {
    LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES).new_framed(Box::new(stream))
}

pub(crate) fn write<T: Serialize>(message: &T) -> io::Result<Bytes> {
    Ok(serde_json::to_vec(message)?.into())
}

pub(crate) fn read<T: DeserializeOwned>(frame: &BytesMut) -> io::Result<T> {
    Ok(serde_json::from_slice(frame)?)
}

/// What both ends set on a connection: no waiting for more to send, and lost segments sent again at a steady pace, as a
/// vote that comes late is worth nothing (`tcp(7)`, `TCP_THIN_LINEAR_TIMEOUTS` in the kernel's documentation).
pub(crate) fn tune(stream: &tokio::net::TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_thin_linear_timeouts(true)
}

#[cfg(test)]
mod fuzz;
