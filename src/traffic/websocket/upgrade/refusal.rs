//! A refused upgrade is an ordinary answer: its body goes to the client whole, whatever its framing.

use std::time::Duration;

use pingora::protocols::Stream;
use probe::answer::{Body, Framing};
use tokio::io::{AsyncRead, AsyncWriteExt, Result as IoResult};
use tokio::time::{Instant, timeout, timeout_at};

use super::exchange::{self, Answer};
use crate::traffic::http::context::Ending;

/// For a refusal to come and go, all of it. It is piped, so that its size costs no memory; but an upgrade has no time
/// limit of a route's, and an answer without end would hold its connections for ever.
const WHOLE: Duration = Duration::from_secs(60);

/// What became of a refusal.
pub(super) struct Passed {
    /// Bytes of its body that the client was sent.
    pub(super) bytes: u64,
    /// How it ended.
    pub(super) ending: Ending,
}

/// Passes on what an upstream answered, head and body. The client sees by the framing if its end is missing.
pub(super) async fn pass_on<R: AsyncRead + Unpin>(
    client: &mut Stream,
    upstream: &mut R,
    mut answer: Answer,
    write_stall: Duration,
) -> Passed {
    let deadline = Instant::now() + WHOLE;
    let mut passed = Passed { bytes: 0, ending: Ending::ClientGone };
    if written(client, &[&exchange::reply(&answer)], write_stall).await.is_err() {
        return passed;
    }
    let chunked = matches!(answer.framing, Framing::Chunked | Framing::UntilClosed);
    let mut body = Body::new(answer.framing);
    loop {
        let piece = match timeout_at(deadline, body.next(upstream, &mut answer.rest)).await {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => break,
            Ok(Err(_)) | Err(_) => {
                // Without the last chunk, or short of the length: the client sees that the end is missing.
                passed.ending = Ending::Truncated;
                return passed;
            }
        };
        let size = format!("{:x}\r\n", piece.len());
        let parts: [&[u8]; 3] = if chunked { [size.as_bytes(), &piece, b"\r\n"] } else { [b"", &piece, b""] };
        if written(client, &parts, write_stall).await.is_err() {
            return passed;
        }
        passed.bytes += piece.len() as u64;
    }
    if chunked && written(client, &[b"0\r\n\r\n"], write_stall).await.is_err() {
        return passed;
    }
    passed.ending = Ending::Served;
    passed
}

async fn written(client: &mut Stream, parts: &[&[u8]], limit: Duration) -> IoResult<()> {
    let writing = async {
        for part in parts {
            client.write_all(part).await?;
        }
        client.flush().await
    };
    timeout(limit, writing).await?
}
