//! The way in: a file or a text becomes a [`Config`], or everything that is wrong with it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

pub(super) use settings::in_words;
use settings::{Errors, Warning};

use super::{Config, file, resolve, typed};

impl Config {
    /// Reads the file at `path`, and the certificates it names.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with line, key, value and remedy.
    pub fn load(path: &Path) -> Result<(Self, Vec<Warning>), Errors> {
        Self::parse(&settings::read_text(path)?, &path.display().to_string())
    }

    /// Reads `text` as if it stood in `file_name`, and the certificates it names.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, file_name: &str) -> Result<(Self, Vec<Warning>), Errors> {
        Self::parse_with(text, file_name, &Disk, SystemTime::now())
    }

    pub(super) fn parse_with(
        text: &str,
        file_name: &str,
        files: &dyn Files,
        now: SystemTime,
    ) -> Result<(Self, Vec<Warning>), Errors> {
        let (file, mut findings) = settings::parse::<file::File>(text, file_name, &typed::KIND)?;
        let config = file.and_then(|file| resolve::resolve(file, files, now, &mut findings));
        let warnings = findings.finish()?;
        // Not to be reached: whatever gives no configuration has noted why. If it has not, the file is refused all the
        // same.
        config.map(|config| (config, warnings)).ok_or_else(|| {
            Errors::about_file(file_name, "could not be understood".to_owned(), "compare it with conf/edge.yaml")
        })
    }
}

/// Where certificates are read from.
pub(super) trait Files {
    /// The whole content of a file of reasonable size.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Whether every user of the machine may read it.
    fn is_open_to_all(&self, path: &Path) -> bool;
}

/// The machine's files; tests have theirs in memory.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        settings::read_bytes(path)
    }

    fn is_open_to_all(&self, path: &Path) -> bool {
        // The last digit alone: a group that may read the key is how the Edge gets at it.
        std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
    }
}
