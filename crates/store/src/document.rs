//! A small JSON file with a format and a version: told from a torn one, from another version's and from anybody else's.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{atomic, open};

/// Ours are a few kilobytes.
const MOST_BYTES: u64 = 1 << 20;

/// A kind of document: what stands at its head.
#[derive(Debug, Clone, Copy)]
pub struct Document {
    /// What stands in the file: `bascule live side`.
    pub format: &'static str,
    /// The one version that is written and read.
    pub version: u64,
    /// Whose it is, such as `bascule`: no program takes another's.
    pub program: &'static str,
    /// What it is, in words: `live side`.
    pub what: &'static str,
    /// What follows from moving the file away, in words: `to let health choose the live side`.
    pub anew: &'static str,
}

#[derive(Serialize)]
struct Written<'a, T> {
    format: &'a str,
    version: u64,
    #[serde(flatten)]
    content: &'a T,
}

/// Why a document is of no use.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The system refused to read or write it.
    #[error(
        "{path}: cannot read the {what}; see to it that this user may read the file and that the disk is well",
        what = .document.what
    )]
    Read {
        /// The file that this is about.
        path: PathBuf,
        /// The document that it should be.
        document: Document,
        /// What the system says of it.
        #[source]
        source: io::Error,
    },
    /// Half of a file, or no JSON.
    #[error("{path}: the {what} is not readable ({why})", what = .document.what)]
    Corrupt {
        /// The file that this is about.
        path: PathBuf,
        /// The document that it should be.
        document: Document,
        /// What is wrong with it.
        why: String,
    },
    /// It is some other program's file, or of another kind.
    #[error(
        "{path}: this is JSON, but not {program}'s; give another `state` directory, or move the file away to begin anew",
        program = .document.program
    )]
    Foreign {
        /// The file that this is about.
        path: PathBuf,
        /// The document that it should be.
        document: Document,
    },
    /// Of a version this program does not know.
    #[error(
        "{path}: written by another version of {program} (format {found}, this program knows {known}); run that version, \
         or move the file away {anew}",
        program = .document.program,
        known = .document.version,
        anew = .document.anew
    )]
    Version {
        /// The file that this is about.
        path: PathBuf,
        /// The document that it should be.
        document: Document,
        /// The version that stands in it.
        found: u64,
    },
}

impl Document {
    /// Reads it; none if it was never written.
    ///
    /// # Errors
    /// That it cannot be read, or is torn, foreign or of another version.
    pub fn load<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, DocumentError> {
        let mut text = Vec::new();
        // One byte more is read than there may be: a longer file is seen to be one, and is not taken for a torn one.
        let read = open::to_read(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut text));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(DocumentError::Read { path: path.to_owned(), document: *self, source }),
        }
        self.parse(path, &text).map(Some)
    }

    fn parse<T: DeserializeOwned>(&self, path: &Path, text: &[u8]) -> Result<T, DocumentError> {
        let (path, document) = (path.to_owned(), *self);
        if text.len() as u64 > MOST_BYTES {
            return Err(DocumentError::Corrupt { path, document, why: format!("more than {MOST_BYTES} bytes") });
        }
        let value: Value = match serde_json::from_slice(text) {
            Ok(value) => value,
            Err(error) => return Err(DocumentError::Corrupt { path, document, why: error.to_string() }),
        };
        // The format is looked at first: the version of somebody else's file means nothing here.
        if value.get("format").and_then(Value::as_str) != Some(self.format) {
            return Err(DocumentError::Foreign { path, document });
        }
        match value.get("version").and_then(Value::as_u64) {
            Some(version) if version == self.version => {
                T::deserialize(value).map_err(|error| DocumentError::Corrupt { path, document, why: error.to_string() })
            }
            Some(found) => Err(DocumentError::Version { path, document, found }),
            None => Err(DocumentError::Corrupt { path, document, why: "no version".into() }),
        }
    }

    /// Writes it; returns once it would survive a power cut.
    ///
    /// # Errors
    /// What the system says; the old file is whole.
    pub fn save<T: Serialize>(&self, path: &Path, content: &T) -> io::Result<()> {
        atomic::replace(path, &self.text(content)?)
    }

    /// Writes one that is of no use after a boot, without waiting for the disk.
    ///
    /// # Errors
    /// What the system says; the old file is whole.
    pub fn save_until_boot<T: Serialize>(&self, path: &Path, content: &T) -> io::Result<()> {
        atomic::replace_until_boot(path, &self.text(content)?)
    }

    fn text<T: Serialize>(&self, content: &T) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(&Written { format: self.format, version: self.version, content })?;
        text.push(b'\n');
        Ok(text)
    }

    /// Moves an unreadable file out of the way, and says where to. One is kept: the latest.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep_aside(path: &Path) -> io::Result<PathBuf> {
        let kept = atomic::beside(path, ".corrupt");
        fs::rename(path, &kept)?;
        atomic::sync_directory(path)?;
        Ok(kept)
    }
}
