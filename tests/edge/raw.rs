//! Bytes on the wire, as nobody's library would send them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::client::{Client, Speaks};
use crate::site::PATIENCE;

/// Reads until the other end closes, however it does; panics if it does not.
pub async fn until_closed<S: AsyncReadExt + Unpin>(stream: &mut S) -> String {
    let mut all = Vec::new();
    let mut part = [0; 4096];
    let reading = async {
        while let Ok(count @ 1..) = stream.read(&mut part).await {
            all.extend_from_slice(&part[..count]);
        }
    };
    assert!(timeout(PATIENCE, reading).await.is_ok(), "the connection stays open");
    String::from_utf8_lossy(&all).into_owned()
}

/// Sends bytes over TLS and HTTP/1.1; everything that comes until the Edge closes.
pub async fn say(client: &Client, bytes: &[u8]) -> String {
    let mut stream = client.tls(Speaks::H1).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    until_closed(&mut stream).await
}

/// Sends one byte after the other, with a pause between, until the other end closes; what it said.
pub async fn drip(client: &Client, bytes: &[u8], pause: Duration) -> String {
    let stream = client.tls(Speaks::H1).await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(stream);
    let bytes = bytes.to_vec();
    let dripping = tokio::spawn(async move {
        for byte in bytes {
            if writing.write_all(&[byte]).await.is_err() || writing.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    });
    let said = until_closed(&mut reading).await;
    dripping.abort();
    said
}

/// The status of an HTTP/1.1 answer, 0 for none.
pub fn status(answer: &str) -> u16 {
    answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0)
}
