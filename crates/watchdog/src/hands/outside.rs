//! Acts from outside: somebody stopped the services on purpose, or the system is being upgraded. Recognised, not fought.

use super::command::CommandSpec;
use std::path::PathBuf;

/// Where acts from outside show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideSpec {
    /// Ends with exit code 0 when somebody stopped the services on purpose.
    pub by_hand: Option<CommandSpec>,
    /// Files that a package manager locks while it works; [`OutsideSpec::package_locks`].
    pub locks: Vec<PathBuf>,
}

/// What was recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// Somebody stopped the services on purpose; a sentence for the journal.
    pub by_hand: Option<String>,
    /// Packages are being installed or removed; a sentence for the journal.
    pub upgrade: Option<String>,
}

impl OutsideSpec {
    /// Returns the files that dpkg and apt lock.
    pub fn package_locks() -> Vec<PathBuf> {
        ["/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"].map(PathBuf::from).to_vec()
    }

    /// Looks once.
    pub async fn look(&self) -> Outside {
        unimplemented!()
    }
}

impl Outside {
    /// Returns the sentences.
    pub fn sentences(&self) -> impl Iterator<Item = &str> {
        [&self.by_hand, &self.upgrade].into_iter().filter_map(Option::as_deref)
    }
}
