//! The permission to serve: a file of the running system that the service manager asks for before it starts what telephony
//! needs. After a boot there is none, so nothing starts before the watchdog lets it.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// The file that permits the service manager to start services.
#[derive(Debug)]
pub(super) struct Serving(PathBuf);

impl Serving {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Lets services be started.
    ///
    /// # Errors
    /// It cannot be made; names the file.
    pub(super) fn allow(&self) -> io::Result<()> {
        // The file is opened to append: one that is there already stays as it is, and no fifo holds up the loop.
        let made = store::open::regular(OpenOptions::new().create(true).append(true), &self.0);
        made.map(|_| ()).map_err(|error| self.named(&error))
    }

    /// Keeps services from being started by anybody. Does not stop them.
    ///
    /// # Errors
    /// It cannot be removed; names the file.
    pub(super) fn forbid(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            // A file that is gone is what was wanted.
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.named(&error)),
            _ => Ok(()),
        }
    }

    fn named(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("the permission to serve, {}: {error}", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::Serving;

    #[test]
    fn the_permission_is_given_and_taken_however_often() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serve");
        let serving = Serving::new(path.clone());
        for there in [true, true, false, false, true] {
            if there {
                serving.allow().unwrap()
            } else {
                serving.forbid().unwrap()
            }
            assert_eq!(path.exists(), there);
        }
    }

    #[test]
    fn a_permission_that_cannot_be_given_or_taken_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Serving::new(dir.path().join("missing").join("serve"));
        assert!(missing.allow().unwrap_err().to_string().contains("missing/serve"));
        let directory = Serving::new(dir.path().to_owned());
        assert!(directory.forbid().unwrap_err().to_string().contains("permission to serve"));
    }
}
