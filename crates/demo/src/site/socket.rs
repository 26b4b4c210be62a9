//! Where a running demo takes orders: a unix socket in a place of the user's own. One order a connection, answered with
//! one line: `ok` or `no`, then a sentence.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::{Socket, SocketError};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::order::{self, Order};

/// A side that starts takes less.
const LIMIT: Duration = Duration::from_secs(20);
/// An order arrives whole, at once.
const ORDER_LIMIT: Duration = Duration::from_secs(1);
const MOST_BYTES: u64 = 64 << 10;

/// Why orders are neither taken nor given.
#[derive(Debug, thiserror::Error)]
pub enum OrderSocketError {
    /// Nobody listens there, so there is no demo to tell.
    #[error("no demo of yours runs: start one with `bascule-demo`")]
    NoDemo,
    /// Another demo of this user takes orders there already.
    #[error("a demo of yours runs already: end it with `bascule-demo --do quit`")]
    Runs,
    /// Its place belongs to somebody else.
    #[error("{0} is not yours alone; remove it")]
    NotOurs(PathBuf),
    /// The demo did not do it.
    #[error("{0}")]
    Refused(String),
    /// The demo took the order, and said nothing within the limit.
    #[error("the demo does not answer on {0}")]
    Silent(PathBuf),
    /// The socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The system refused to make, check or use the place.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory that it is about.
        path: PathBuf,
        /// What the system says of it.
        #[source]
        source: io::Error,
    },
}

/// The open socket. Fields are dropped in their order: the directory is empty by then.
#[derive(Debug)]
pub(super) struct OrderSocket {
    socket: Socket,
    _directory: Option<Own>,
}

/// Where the socket is: in the system's directory for such, else in one of this user's own under /tmp.
#[derive(Debug)]
struct Place {
    directory: PathBuf,
    own: bool,
}

/// A directory of our own, removed with the socket unless somebody keeps something else there.
#[derive(Debug)]
struct Own(PathBuf);

impl Drop for Own {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// An order that came, and who waits for the answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) order: Order,
    pub(super) answer: Answer,
}

/// Whoever gave an order, and waits for one sentence on what came of it.
#[derive(Debug)]
pub(super) struct Answer(UnixStream);

impl OrderSocket {
    pub(super) async fn open() -> Result<Self, OrderSocketError> {
        Self::open_at(&Place::of_this_user()).await
    }

    async fn open_at(place: &Place) -> Result<Self, OrderSocketError> {
        let directory = place.own.then(|| own(&place.directory)).transpose()?;
        match Socket::bind(&place.socket(), None).await {
            Ok(socket) => Ok(Self { socket, _directory: directory }),
            Err(SocketError::Taken(_)) => Err(OrderSocketError::Runs),
            Err(error) => Err(error.into()),
        }
    }

    /// The next order; nothing if what came was none.
    pub(super) async fn next(&self) -> Option<Asked> {
        let (mut stream, _) = self.socket.listener.accept().await.ok()?;
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

/// Removes the socket of a demo that was killed, and the directory made for it, unless a demo listens there by now.
pub(crate) fn remove_deserted() {
    let place = Place::of_this_user();
    let path = place.socket();
    let deserted = std::os::unix::net::UnixStream::connect(&path)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if deserted && (!place.own || is_ours(&place.directory).is_ok()) {
        // What cannot be removed is taken over by the next demo.
        let _ = fs::remove_file(&path);
        if place.own {
            drop(Own(place.directory));
        }
    }
}

/// Tells the running demo what to do; the sentence it answers.
pub(super) async fn send(order: Order) -> Result<String, OrderSocketError> {
    send_to(&Place::of_this_user(), order).await
}

async fn send_to(place: &Place, order: Order) -> Result<String, OrderSocketError> {
    let path = place.socket();
    if place.own {
        // Whoever looks for a demo leaves nothing behind.
        match is_ours(&place.directory) {
            Err(OrderSocketError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(OrderSocketError::NoDemo);
            }
            checked => checked?,
        }
    }
    let mut stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(OrderSocketError::NoDemo);
        }
        Err(source) => return Err(OrderSocketError::Io { path, source }),
    };
    let exchange = async {
        stream.write_all(format!("{}\n", order.word()).as_bytes()).await?;
        let mut said = String::new();
        (&mut stream).take(MOST_BYTES).read_to_string(&mut said).await?;
        Ok(said)
    };
    let said = match timeout(LIMIT, exchange).await {
        Ok(Ok(said)) => said,
        Ok(Err(source)) => return Err(OrderSocketError::Io { path, source }),
        Err(_) => return Err(OrderSocketError::Silent(path)),
    };
    match said.split_once(' ') {
        Some(("ok", sentence)) => Ok(sentence.to_owned()),
        Some(("no", sentence)) => Err(OrderSocketError::Refused(sentence.to_owned())),
        _ => Err(OrderSocketError::Silent(path)),
    }
}

impl Place {
    fn of_this_user() -> Self {
        let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        let own = given.is_none();
        let uid = rustix::process::geteuid().as_raw();
        let directory = given.unwrap_or_else(|| Path::new("/tmp").join(format!("bascule-demo-{uid}")));
        Self { directory, own }
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("bascule-demo.sock")
    }
}

fn own(path: &Path) -> Result<Own, OrderSocketError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(OrderSocketError::Io { path: path.to_owned(), source }),
    }
    is_ours(path)?;
    Ok(Own(path.to_owned()))
}

/// Everybody may write /tmp: what stands there may be another's.
fn is_ours(path: &Path) -> Result<(), OrderSocketError> {
    let uid = rustix::process::geteuid().as_raw();
    // Links are not followed: one that another user put there would lead to a place of theirs.
    let found = fs::symlink_metadata(path).map_err(|source| OrderSocketError::Io { path: path.to_owned(), source })?;
    let ours = found.is_dir() && found.uid() == uid && found.mode() & 0o077 == 0;
    if ours { Ok(()) } else { Err(OrderSocketError::NotOurs(path.to_owned())) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_demo_that_ends_leaves_no_directory_and_one_that_is_looked_for_makes_none() {
        let parent = tempfile::tempdir().unwrap();
        let place = Place { directory: parent.path().join("demo"), own: true };
        assert!(matches!(send_to(&place, Order::Quit).await, Err(OrderSocketError::NoDemo)));
        assert!(!place.directory.exists());
        let socket = OrderSocket::open_at(&place).await.unwrap();
        assert!(place.socket().exists());
        assert!(matches!(OrderSocket::open_at(&place).await, Err(OrderSocketError::Runs)));
        drop(socket);
        assert!(!place.directory.exists());
        fs::create_dir(&place.directory).unwrap();
        fs::set_permissions(&place.directory, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(send_to(&place, Order::Quit).await, Err(OrderSocketError::NotOurs(_))));
        assert!(matches!(OrderSocket::open_at(&place).await, Err(OrderSocketError::NotOurs(_))));
    }
}
