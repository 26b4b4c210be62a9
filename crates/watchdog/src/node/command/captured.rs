//! What a command says: read all the time, so that it never waits for a reader, and kept to a bound.

use std::convert::Infallible;
use std::future::pending;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

use super::keeper::{JOURNAL, Keeper};

/// The end of a command's pipe.
pub(super) struct Captured {
    pipe: Receiver,
    /// The program whose words they are.
    program: String,
    /// Reads on after this, if the command is of those that leave services behind.
    keeper: Option<Keeper>,
    ended: bool,
    kept: Vec<u8>,
    most: usize,
}

impl Captured {
    pub(super) fn new(pipe: PipeReader, program: &str, most: usize) -> io::Result<Self> {
        let pipe = Receiver::from_owned_fd(OwnedFd::from(pipe))?;
        Ok(Self { pipe, program: program.to_owned(), keeper: None, ended: false, kept: Vec::new(), most })
    }

    /// Has a keeper there from the beginning: a watchdog that is killed meanwhile can start none any more.
    pub(super) fn keep_a_reader(&mut self) {
        match Keeper::start(&self.pipe, &self.program, Path::new(JOURNAL)) {
            Ok(keeper) => self.keeper = Some(keeper),
            Err(error) => {
                let program = &self.program;
                tracing::warn!(%error, "nobody can be had who reads what children of `{program}` say after its end");
            }
        }
    }

    /// Reads for ever. May be dropped at any moment: nothing read is lost.
    pub(super) async fn listen(&mut self) -> Infallible {
        self.until_end().await;
        pending().await
    }

    /// Returns what was said, after a last look at what is still in the pipe. What children that outlive the command say
    /// later is read by a keeper.
    pub(super) async fn rest(mut self, limit: Duration) -> String {
        let _ = timeout(limit, self.until_end()).await;
        String::from_utf8_lossy(&self.kept).into_owned()
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
        // The last words are kept: what a command says last is why it failed.
        self.kept.extend_from_slice(more);
        let beyond = self.kept.len().saturating_sub(self.most);
        self.kept.drain(..beyond);
    }
}

/// Somebody may hold the other end still, however the run ended: to write into a pipe without a reader would kill it.
impl Drop for Captured {
    fn drop(&mut self) {
        // Outside of a runtime the program ends, and has no command left that it did not wait for.
        if !self.ended && self.keeper.is_none() && tokio::runtime::Handle::try_current().is_ok() {
            self.keep_a_reader();
        }
    }
}
