//! Answers written straight to a connection, for requests Pingora never sees.

use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::traffic::pages::Answer;

/// What a refused client may still send before the connection is closed on it, so that it gets to read the answer.
const LINGER_BYTES: usize = 64 * 1024;
/// How long it may take for that: whoever reads an answer has done so by then.
const LINGER: Duration = Duration::from_secs(1);

/// A page as an HTTP/1.1 message after which the connection closes.
pub fn page(answer: &Answer<'_>) -> Vec<u8> {
    page_with(answer, &[])
}

/// The same, with fields that one answer alone has.
pub fn page_with(answer: &Answer<'_>, more: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
    let reason = answer.status.canonical_reason().unwrap_or("Unknown");
    let mut out = format!("HTTP/1.1 {} {reason}\r\nConnection: close\r\n", answer.status.as_u16()).into_bytes();
    for (name, value) in answer.headers.iter().chain(more) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&answer.body);
    out
}

/// Writes the last message of a connection and closes it; lingers so that the client can read it.
pub async fn finish<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, message: &[u8], limit: Duration) {
    let written = timeout(limit, async {
        stream.write_all(message).await?;
        stream.shutdown().await
    });
    if matches!(written.await, Ok(Ok(()))) {
        linger(stream).await;
    }
}

/// Reads on for a little while: closing on bytes that nobody read would take the answer back.
pub async fn linger<S: AsyncRead + Unpin>(stream: &mut S) {
    // What comes is thrown away; how it ends does not matter.
    let _ = timeout(LINGER, async {
        let mut sink = [0; 1024];
        let mut left = LINGER_BYTES;
        // Bounded by bytes as well: a client that floods is reset, as it would be without this.
        while let Ok(count @ 1..) = stream.read(&mut sink).await {
            left = left.saturating_sub(count);
            if left == 0 {
                break;
            }
        }
    })
    .await;
}
