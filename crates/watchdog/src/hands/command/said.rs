//! What a command says: read all the time, so that it never waits for a reader, and kept to a bound.

use std::convert::Infallible;
use std::future::pending;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Pipes that outlived their commands and are still read. What is beyond is closed: its writers get SIGPIPE.
static OUTLIVED: Semaphore = Semaphore::const_new(16);

/// The end of a command's pipe.
pub(super) struct Said {
    pipe: Receiver,
    ended: bool,
    kept: Vec<u8>,
    most: usize,
}

impl Said {
    pub(super) fn new(pipe: PipeReader, most: usize) -> io::Result<Self> {
        Ok(Self { pipe: Receiver::from_owned_fd(OwnedFd::from(pipe))?, ended: false, kept: Vec::new(), most })
    }

    /// Reads for ever. May be dropped at any moment: nothing read is lost.
    pub(super) async fn listen(&mut self) -> Infallible {
        self.until_end().await;
        pending().await
    }

    /// Returns what was said, after a last look at what is still in the pipe. Children that outlive the command and
    /// hold the pipe go on being read: to write into a closed pipe would kill a service that was just started.
    pub(super) async fn rest(mut self, limit: Duration) -> String {
        let _ = timeout(limit, self.until_end()).await;
        let kept = String::from_utf8_lossy(&self.kept).into_owned();
        if !self.ended
            && let Ok(permit) = OUTLIVED.try_acquire()
        {
            self.most = 0;
            tokio::spawn(async move {
                self.until_end().await;
                drop(permit);
            });
        }
        kept
    }

    async fn until_end(&mut self) {
        let mut buffer = [0; 2048];
        while !self.ended {
            match self.pipe.read(&mut buffer).await {
                Ok(0) | Err(_) => self.ended = true,
                Ok(length) => self.keep(&buffer[..length]),
            }
        }
    }

    fn keep(&mut self, more: &[u8]) {
        self.kept.extend_from_slice(more);
        let beyond = self.kept.len().saturating_sub(self.most);
        self.kept.drain(..beyond);
    }
}
