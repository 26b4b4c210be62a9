//! A unix socket that is there with the right owner and mode or not at all.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::people;

const MODE: u32 = 0o660;
const PARENT_MODE: u32 = 0o755;
/// A kernel answers at once, unless somebody is there and has no room.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// A bound socket; its file goes with it.
#[derive(Debug)]
pub struct Socket {
    /// Takes connections until it is dropped.
    pub listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

/// Why the socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A living process holds it.
    #[error("{0}: another process answers on this socket; stop it, or give this one another")]
    Taken(PathBuf),
    /// A file of another sort is in the way.
    #[error("{0} is no socket; move it away, or give another path")]
    NoSocket(PathBuf),
    /// The system knows no group of this name.
    #[error("the group `{0}` of the socket is not in /etc/group")]
    NoGroup(String),
    /// The system refused to make, own or replace the socket.
    #[error("{path}: cannot {act}")]
    Io {
        /// What was attempted, as a verb.
        act: &'static str,
        /// The file it was attempted on.
        path: PathBuf,
        /// Why the system refused; shown behind the sentence, as it tells permission from a missing directory.
        #[source]
        source: io::Error,
    },
}

impl Socket {
    /// Binds `path`, for the owner and `group` only. Takes over a socket on which nobody answers.
    ///
    /// # Errors
    /// What is in the way, or that there is no such group.
    pub async fn bind(path: &Path, group: Option<&str>) -> Result<Self, SocketError> {
        let gid =
            group.map(|name| people::group(name).ok_or_else(|| SocketError::NoGroup(name.to_owned()))).transpose()?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        make_parent(parent)?;
        free(path).await?;
        let (listener, inode) = bind_aside(path, parent, gid)?;
        Ok(Self { listener, path: path.to_owned(), inode })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Whoever took the path over meanwhile has a socket of another inode: that one is not ours to remove.
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn make_parent(parent: &Path) -> Result<(), SocketError> {
    if parent.exists() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(PARENT_MODE).create(parent).map_err(failed("create", parent))?;
    // The process's mask may have taken away what group and others need to reach the socket.
    fs::set_permissions(parent, Permissions::from_mode(PARENT_MODE)).map_err(failed("set the mode of", parent))
}

/// Sees to it that nobody answers on `path`.
async fn free(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", path)(error)),
        Ok(file) if !file.file_type().is_socket() => return Err(SocketError::NoSocket(path.to_owned())),
        Ok(_) => {}
    }
    match timeout(ANSWER_LIMIT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(Err(error)) => Err(failed("connect to", path)(error)),
        // Silence means that somebody is there: a kernel refuses at once where nobody listens.
        Ok(Ok(_)) | Err(_) => Err(SocketError::Taken(path.to_owned())),
    }
}

/// Binds in a private directory and moves into place, so that at no instant anybody else could connect.
fn bind_aside(path: &Path, parent: &Path, gid: Option<u32>) -> Result<(UnixListener, u64), SocketError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = parent.join(format!(".{name}.new"));
    let inner = aside.join("s");
    // A start that was killed half-way may have left these.
    let _ = fs::remove_file(&inner);
    let _ = fs::remove_dir(&aside);
    DirBuilder::new().mode(0o700).create(&aside).map_err(failed("create", &aside))?;
    let bound = (|| {
        let listener = UnixListener::bind(&inner).map_err(failed("bind", path))?;
        fs::set_permissions(&inner, Permissions::from_mode(MODE)).map_err(failed("set the mode of", path))?;
        if gid.is_some() {
            chown(&inner, None, gid).map_err(failed("set the group of", path))?;
        }
        let inode = fs::symlink_metadata(&inner).map_err(failed("look at", path))?.ino();
        fs::rename(&inner, path).map_err(failed("put in place", path))?;
        Ok((listener, inode))
    })();
    let _ = fs::remove_file(&inner);
    let _ = fs::remove_dir(&aside);
    bound
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
    let path = path.to_owned();
    move |source| SocketError::Io { act, path, source }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::{Socket, SocketError};

    #[tokio::test]
    async fn a_socket_is_for_its_owner_and_group_only_and_its_new_directory_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/admin.sock");
        let gid = fs::metadata(dir.path()).unwrap().gid();
        let socket = Socket::bind(&path, Some(&gid.to_string())).await.unwrap();
        let file = fs::metadata(&path).unwrap();
        assert_eq!((file.permissions().mode() & 0o777, file.gid()), (0o660, gid));
        let parent = fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(parent.permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left aside");
        drop(socket);
        assert!(!path.exists(), "the file goes with the socket");
    }

    #[tokio::test]
    async fn a_stale_socket_is_taken_over_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file behind");
        let living = Socket::bind(&path, None).await.unwrap();
        assert!(matches!(Socket::bind(&path, None).await, Err(SocketError::Taken(_))));
        tokio::net::UnixStream::connect(&path).await.unwrap();
        drop(living);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&path, None).await, Err(SocketError::NoSocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn an_old_door_does_not_remove_the_socket_of_its_successor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let old = Socket::bind(&path, None).await.unwrap();
        fs::remove_file(&path).unwrap();
        let _new = Socket::bind(&path, None).await.unwrap();
        drop(old);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn an_unknown_group_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Socket::bind(&dir.path().join("s"), Some("nosuchgroup")).await.unwrap_err();
        assert!(error.to_string().contains("nosuchgroup"), "{error}");
    }
}
