//! Files that files include: relative to the main file's directory, with `*` and `?` in the last part of the path.

use std::io;
use std::path::{Path, PathBuf};

use super::{Directive, Reader};
use crate::Source;
use crate::note::ImportError;

/// Files in all; a Debian nginx has about 20.
const MOST: usize = 200;
/// Files within files; each level is a call.
const DEEPEST: usize = 10;

/// The file system, as tests put another in its place.
pub trait Files {
    /// The whole text of a file of reasonable size.
    ///
    /// # Errors
    /// What the system says, and `InvalidData` for what is no text.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The names of a directory's files, in any order.
    ///
    /// # Errors
    /// The directory is not there, or may not be read.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
}

/// The machine's files, none longer than `limit` bytes.
#[derive(Debug, Clone, Copy)]
pub struct Disk {
    /// A longer file is an error: it would be read whole.
    pub limit: u64,
}

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        // A fifo would wait for its writer.
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() || metadata.len() > self.limit {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no regular file of reasonable size"));
        }
        std::fs::read_to_string(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(directory)?.take(10_000);
        Ok(names.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }
}

impl Reader<'_> {
    /// The directives that stand in place of a line `include PATTERN;`.
    pub(super) fn include(&mut self, directive: &Directive) -> Result<Vec<Directive>, ImportError> {
        let origin = directive.origin();
        let wrong = |message: String, remedy| ImportError::new(&origin.file, origin.line, message, remedy);
        let [pattern] = directive.args.as_slice() else {
            return Err(wrong("include names one file or pattern".to_owned(), "write one"));
        };
        if self.open.len() > DEEPEST {
            return Err(wrong("files include each other too deeply".to_owned(), "does one include itself?"));
        }
        let mut directives = Vec::new();
        for path in
            self.matching(pattern).map_err(|why| wrong(format!("{pattern}: {why}"), "name files that are there"))?
        {
            if self.open.contains(&path) {
                return Err(wrong(format!("{} includes itself", path.display()), "take that include away"));
            }
            self.files_read += 1;
            if self.files_read > MOST {
                return Err(wrong("there are more files than any Edge has".to_owned(), "is the pattern too wide?"));
            }
            let text = self.files.read(&path).map_err(|error| {
                wrong(format!("{}: {error}", path.display()), "copy it there, or begin the line with # to leave it out")
            })?;
            self.open.push(path.clone());
            directives.extend(self.file(&Source { name: path.display().to_string(), text, path })?);
            self.open.pop();
        }
        Ok(directives)
    }

    /// The files in the order of their names; a pattern may match none, a name must be there.
    fn matching(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let path = self.root.join(pattern);
        if !pattern.contains(['*', '?', '[']) {
            return Ok(vec![path]);
        }
        let (Some(directory), Some(last)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Err("is no pattern of files".to_owned());
        };
        if pattern.contains('[') || directory.to_string_lossy().contains(['*', '?']) {
            return Err("is a pattern that is not understood: * and ? may stand in the last part".to_owned());
        }
        let mut names = self.files.list(directory).map_err(|error| error.to_string())?;
        names.retain(|name| !name.starts_with('.') && is_like(name.as_bytes(), last.as_bytes()));
        names.sort();
        Ok(names.into_iter().map(|name| directory.join(name)).collect())
    }
}

/// Whether a name fits a pattern. The last `*` alone is gone back to, so the time is their product at most.
fn is_like(name: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut in_pattern) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(in_pattern) {
            Some(b'*') => {
                star = Some((at, in_pattern));
                in_pattern += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[at] => (at, in_pattern) = (at + 1, in_pattern + 1),
            _ => match &mut star {
                Some((from, mark)) => {
                    *from += 1;
                    (at, in_pattern) = (*from, *mark + 1);
                }
                None => return false,
            },
        }
    }
    pattern[in_pattern..].iter().all(|byte| *byte == b'*')
}
