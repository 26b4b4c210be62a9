//! The way in: a file becomes its text, and the text the file's own types.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_yaml::Value;

use crate::problem::{Errors, Findings};
use crate::tree::{Flaw, Tree};
use crate::typed;

/// Longer than any configuration, short enough to be read whole.
pub const LARGEST: u64 = 1 << 20;

/// A kind of file, as its messages name it.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The documented example of such a file.
    pub example: &'static str,
    /// What to write at least, in words.
    pub least: &'static str,
    /// A line that may stand at the top.
    pub sample: &'static str,
}

/// Reads a file of reasonable size whole.
///
/// # Errors
/// What the system says, and `InvalidInput` for what is no regular file.
pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    // The file is looked at before it is opened: a fifo would wait for its writer.
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    if !kind.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut bytes = Vec::new();
    // One byte more is read than there may be, so that a longer file is seen to be one, whatever the system says of its
    // size.
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST { Err(too_large()) } else { Ok(bytes) }
}

/// Reads a configuration file.
///
/// # Errors
/// That it cannot be read, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, Errors> {
    let name = path.display().to_string();
    let bytes = read_bytes(path).map_err(|error| unreadable(&name, &error))?;
    String::from_utf8(bytes).map_err(|error| {
        let line =
            1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        Errors::about_line(&name, line, "is not UTF-8", "save the file as UTF-8 text")
    })
}

/// Reads `text` as if it stood in `file_name`. What is wrong stands in the findings; no types: too much is wrong to go on.
///
/// # Errors
/// That the text is longer than any configuration.
pub fn parse<T: DeserializeOwned + JsonSchema>(
    text: &str,
    file_name: &str,
    kind: &'static Kind,
) -> Result<(Option<T>, Findings), Errors> {
    if text.len() as u64 > LARGEST {
        return Err(unreadable(file_name, &too_large()));
    }
    let (tree, flaws, whole) = match Tree::read(text, kind) {
        Ok((tree, flaws)) => (tree, flaws, true),
        Err(flaws) => (Tree::default(), flaws, false),
    };
    let mut findings = Findings::new(file_name, kind, tree);
    for Flaw { line, key, message, remedy } in flaws {
        findings.placed_error(line, key, message, remedy);
    }
    let file = if whole { typed::read(&mut findings) } else { None };
    Ok((file, findings))
}

/// Reads the types from a YAML text that is known to be right.
///
/// # Errors
/// The first mistake, in serde's words.
pub fn trusted<T: DeserializeOwned>(text: &str) -> Result<T, serde_yaml::Error> {
    serde_yaml::from_str::<Value>(text).and_then(serde_yaml::from_value)
}

fn too_large() -> io::Error {
    io::Error::from(io::ErrorKind::FileTooLarge)
}

/// What `error` means for a file someone named, and what to do.
pub fn in_words(error: &io::Error) -> (String, &'static str) {
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
