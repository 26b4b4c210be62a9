//! A directory that is one process's alone while it lives.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::{atomic, open};

/// Holds the directory until it is dropped.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    /// A child that is just being started may hold the same open file, so closing ours would not be enough.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Why a directory cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds the directory: two would overwrite each other.
    #[error("{0}: another process holds this directory")]
    Taken(PathBuf),
    /// The system refused to open or lock it.
    #[error("cannot {act} {path}")]
    Io {
        /// What was attempted, as a verb.
        act: &'static str,
        /// The directory it was attempted on.
        path: PathBuf,
        /// What the system says of it.
        #[source]
        source: io::Error,
    },
}

/// Makes the directory if it is missing, and holds it for this process by the file `name` in it.
///
/// # Errors
/// That another process holds it, or that the system refuses.
pub fn lock(directory: &Path, name: &str) -> Result<Lock, LockError> {
    let failed = |act, path: &Path, source| LockError::Io { act, path: path.to_owned(), source };
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(directory)
        .map_err(|source| failed("create", directory, source))?;
    let path = directory.join(name);
    let lock = open::regular(OpenOptions::new().write(true).create(true).truncate(false).mode(atomic::MODE), &path)
        .map_err(|source| failed("open", &path, source))?;
    // The lock is tried, and not waited for: a start that waits for another's end says nothing, and looks like one that
    // hangs.
    match lock.try_lock() {
        Ok(()) => Ok(Lock(lock)),
        Err(TryLockError::WouldBlock) => Err(LockError::Taken(directory.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed("lock", &path, source)),
    }
}
