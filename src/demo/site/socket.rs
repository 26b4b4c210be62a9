//! Where a running demo takes orders: a unix socket in a place of the user's own. One order a connection, answered with
//! one line: `ok` or `no`, then a sentence.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::order::{self, Order};
use doors::{Socket, SocketError};

/// A side that starts takes less.
const LIMIT: Duration = Duration::from_secs(20);
/// An order arrives whole, at once.
const ORDER_LIMIT: Duration = Duration::from_secs(1);
const MOST_BYTES: u64 = 64 << 10;

/// Why orders are neither taken nor given.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Nobody listens.
    #[error("no demo of yours runs: start one with `bascule demo`")]
    NoDemo,
    /// Somebody does already.
    #[error("a demo of yours runs already: end it with `bascule demo --do quit`")]
    Runs,
    /// Its place belongs to somebody else.
    #[error("{0} is not yours alone; remove it")]
    NotOurs(PathBuf),
    /// The demo did not do it.
    #[error("{0}")]
    Refused(String),
    /// The demo says nothing.
    #[error("the demo does not answer on {0}")]
    Silent(PathBuf),
    /// The socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The open door.
#[derive(Debug)]
pub(super) struct Door(Socket);

/// An order that came, and who waits for the answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) order: Order,
    pub(super) answer: Answer,
}

/// Waits for a sentence.
#[derive(Debug)]
pub(super) struct Answer(UnixStream);

impl Door {
    pub(super) async fn open() -> Result<Self, DoorError> {
        let path = place()?;
        match Socket::bind(&path, None).await {
            Ok(socket) => Ok(Self(socket)),
            Err(SocketError::Taken(_)) => Err(DoorError::Runs),
            Err(error) => Err(error.into()),
        }
    }

    /// The next order; nothing if what came was none.
    pub(super) async fn next(&self) -> Option<Asked> {
        let (mut stream, _) = self.0.listener.accept().await.ok()?;
        let mut line = String::new();
        let mut reader = BufReader::new((&mut stream).take(MOST_BYTES));
        timeout(ORDER_LIMIT, reader.read_line(&mut line)).await.ok()?.ok()?;
        match order::typed(&line) {
            Ok(Some(order)) => Some(Asked { order, answer: Answer(stream) }),
            _ => None,
        }
    }
}

impl Answer {
    pub(super) async fn give(mut self, said: &Result<String, String>) {
        let line = match said {
            Ok(sentence) => format!("ok {sentence}"),
            Err(sentence) => format!("no {sentence}"),
        };
        // Whoever asked may have left.
        let _ = timeout(ORDER_LIMIT, self.0.write_all(line.as_bytes())).await;
    }
}

/// Tells the running demo what to do; the sentence it answers.
pub(super) async fn send(order: Order) -> Result<String, DoorError> {
    let path = place()?;
    let mut stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(DoorError::NoDemo);
        }
        Err(source) => return Err(DoorError::Io { path, source }),
    };
    let exchange = async {
        stream.write_all(format!("{}\n", order.word()).as_bytes()).await?;
        let mut said = String::new();
        (&mut stream).take(MOST_BYTES).read_to_string(&mut said).await?;
        Ok(said)
    };
    let said = match timeout(LIMIT, exchange).await {
        Ok(Ok(said)) => said,
        Ok(Err(source)) => return Err(DoorError::Io { path, source }),
        Err(_) => return Err(DoorError::Silent(path)),
    };
    match said.split_once(' ') {
        Some(("ok", sentence)) => Ok(sentence.to_owned()),
        Some(("no", sentence)) => Err(DoorError::Refused(sentence.to_owned())),
        _ => Err(DoorError::Silent(path)),
    }
}

/// The socket of this user's demo: in the system's directory for such, else in one of our own under /tmp.
fn place() -> Result<PathBuf, DoorError> {
    let directory = match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(directory) => directory,
        None => own_directory()?,
    };
    Ok(directory.join("bascule-demo.sock"))
}

fn own_directory() -> Result<PathBuf, DoorError> {
    let uid = rustix::process::geteuid().as_raw();
    let path = Path::new("/tmp").join(format!("bascule-demo-{uid}"));
    let failed = |source| DoorError::Io { path: path.clone(), source };
    match DirBuilder::new().mode(0o700).create(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    // Everybody may write /tmp: what stands there may be another's.
    let found = fs::symlink_metadata(&path).map_err(failed)?;
    let ours = found.is_dir() && found.uid() == uid && found.mode() & 0o077 == 0;
    if ours { Ok(path) } else { Err(DoorError::NotOurs(path)) }
}
