//! The way in: a file or a text becomes a [`Config`], or everything that is wrong with it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use super::problem::{Errors, Findings, Warning};
use super::tree::{Flaw, Tree};
use super::{Config, resolve, typed};

/// Longer than any configuration, short enough to be read whole.
const LARGEST: u64 = 1 << 20;

impl Config {
    /// Reads the file at `path`, and the certificates it names.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with line, key, value and remedy.
    pub fn load(path: &Path) -> Result<(Self, Vec<Warning>), Errors> {
        let name = path.display().to_string();
        let bytes = Disk.read(path).map_err(|error| unreadable(&name, &error))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let line =
                1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            Errors::about_line(&name, line, "is not UTF-8", "save the file as UTF-8 text")
        })?;
        Self::parse(&text, &name)
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
        if text.len() as u64 > LARGEST {
            return Err(unreadable(file_name, &too_large()));
        }
        let (tree, flaws, whole) = match Tree::read(text) {
            Ok((tree, flaws)) => (tree, flaws, true),
            Err(flaws) => (Tree::default(), flaws, false),
        };
        let mut findings = Findings::new(file_name, tree);
        for Flaw { line, key, message, remedy } in flaws {
            findings.placed_error(line, key, message, remedy);
        }
        let file = if whole { typed::read(&mut findings) } else { None };
        let config = file.and_then(|file| resolve::resolve(file, files, now, &mut findings));
        let warnings = findings.finish()?;
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

/// The file system.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let kind = std::fs::metadata(path)?.file_type();
        if kind.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if !kind.is_file() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST { Err(too_large()) } else { Ok(bytes) }
    }

    fn is_open_to_all(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
    }
}

fn too_large() -> io::Error {
    io::Error::from(io::ErrorKind::FileTooLarge)
}

/// What `error` means for a file someone named, and what to do.
pub(super) fn in_words(error: &io::Error) -> (String, &'static str) {
    match error.kind() {
        io::ErrorKind::NotFound => ("does not exist".to_owned(), "check the path, or create the file"),
        io::ErrorKind::PermissionDenied => {
            ("may not be read by this user".to_owned(), "change its owner, group or mode")
        }
        io::ErrorKind::IsADirectory => ("is a directory".to_owned(), "name the file in it"),
        io::ErrorKind::InvalidInput => ("is no regular file".to_owned(), "name a file"),
        io::ErrorKind::FileTooLarge => {
            (format!("is larger than {} KiB", LARGEST >> 10), "check that it is the right file")
        }
        _ => (format!("cannot be read: {error}"), "check the file and its file system"),
    }
}

fn unreadable(name: &str, error: &io::Error) -> Errors {
    let (message, remedy) = in_words(error);
    Errors::about_file(name, message, remedy)
}
