//! The keys' file in the state directory: read at the start, written whenever they turn. A file that cannot be used is
//! replaced, as nothing is lost with it but a handshake for each client.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Key, Keys, MOST, NAME, SECRET, Tickets, now};

/// The first bytes: whose file it is, and which form it has.
const MAGIC: &[u8; 16] = b"bascule tickets1";
const MADE: usize = 8;
const ENTRY: usize = MADE + NAME + SECRET;
/// How often it is looked whether the keys are to turn: often enough for hours, and for a clock that was set.
const LOOK: Duration = Duration::from_secs(60);

/// Why the keys on the disk are not used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error("{path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// Others may know them, or have put them there.
    #[error("{path} {problem}: others may know its keys")]
    Open {
        /// The file.
        path: PathBuf,
        /// Who.
        problem: &'static str,
    },
    /// It holds something else.
    #[error("{path} does not hold keys of session tickets, or is cut off")]
    Corrupt {
        /// The file.
        path: PathBuf,
    },
}

fn path(directory: &Path) -> PathBuf {
    directory.join("ticket-keys")
}

/// Reads the keys; none where there is no file.
pub(super) fn read(directory: &Path) -> Result<Keys, Unusable> {
    let path = path(directory);
    let unreadable = |cause| Unusable::Unreadable { path: path.clone(), cause };
    let file = match store::open::to_read(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Keys::default()),
        Err(error) => return Err(unreadable(error)),
    };
    // Of the open file: what stands under the name may be another one by now.
    let found = file.metadata().map_err(unreadable)?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(Unusable::Open { path, problem: "belongs to another user" });
    }
    if found.mode() & 0o077 != 0 {
        return Err(Unusable::Open { path, problem: "may be read or written by other users" });
    }
    let mut bytes = Vec::new();
    let most = MAGIC.len() + MOST * ENTRY;
    // A byte more than it may have, so that a longer file is seen to be one.
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    parse(&bytes).ok_or(Unusable::Corrupt { path })
}

pub(super) fn parse(bytes: &[u8]) -> Option<Keys> {
    let entries = bytes.strip_prefix(MAGIC)?;
    if entries.len() % ENTRY != 0 || entries.len() > MOST * ENTRY {
        return None;
    }
    let key = |entry: &[u8]| {
        let (made, rest) = entry.split_first_chunk::<MADE>()?;
        let (name, secret) = rest.split_first_chunk::<NAME>()?;
        let made = u64::from_be_bytes(*made);
        // A time that no clock shows would overflow the sums that are made with it.
        let made = (made < u64::from(u32::MAX) * 2).then_some(made)?;
        Key::of(made, *name, secret.try_into().ok()?).ok().map(Arc::new)
    };
    entries.chunks_exact(ENTRY).map(key).collect::<Option<Vec<_>>>().map(Keys)
}

pub(super) fn bytes(keys: &Keys) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for key in &keys.0 {
        bytes.extend(key.made.to_be_bytes());
        bytes.extend(key.name);
        bytes.extend(key.secret);
    }
    bytes
}

/// Turns the keys when it is time and keeps the file as they are, as long as the Edge runs. A disk that takes nothing is told
/// once, and tried again: the tickets of this process work all the same.
pub async fn keep(tickets: Arc<Tickets>, directory: PathBuf) {
    let path = path(&directory);
    let mut written: Option<Arc<Keys>> = None;
    let mut told = false;
    loop {
        // The old keys go on where there is no randomness for a new one.
        if let Err(error) = tickets.turn(now()) {
            tracing::warn!("{error}; the old one goes on");
        }
        let keys = tickets.keys.load_full();
        if !written.as_ref().is_some_and(|written| Arc::ptr_eq(written, &keys)) {
            let (to, content) = (path.clone(), bytes(&keys));
            let done = tokio::task::spawn_blocking(move || store::replace_secret(&to, &content)).await;
            match done.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(()) => (written, told) = (Some(keys), false),
                Err(error) if !std::mem::replace(&mut told, true) => {
                    tracing::warn!("{}: {error}; after a restart clients shake hands anew", path.display());
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}
