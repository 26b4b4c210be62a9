//! The journal on the disk: one JSON object a line, two files of bounded size, appended and synced.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{atomic, open};

/// Size at which a file is set aside; with the one before it 16 MiB, some ten thousand decisions.
pub const FILE_BYTES: u64 = 8 << 20;
/// How much of a file's end is read to find the newest entries.
const TAIL_BYTES: u64 = 2 << 20;
/// Longest line; a longer entry is shortened.
const LINE_BYTES: usize = 64 << 10;

/// What a line of a journal tells.
pub trait Entry: Serialize + DeserializeOwned {
    /// The same in a few thousand bytes, for an entry that is too long for its line.
    fn shortened(&self) -> Self;
}

/// The journal, open at its end.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    older: PathBuf,
    limit: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
}

impl Journal {
    /// Opens `NAME.jsonl` in the directory and reads at most the `recent` newest entries, oldest first. With more than
    /// `limit` bytes it is set aside as `NAME.1.jsonl`.
    ///
    /// # Errors
    /// That it is there and cannot be read.
    pub fn open<E: Entry>(directory: &Path, name: &str, recent: usize, limit: u64) -> io::Result<(Self, VecDeque<E>)> {
        let (path, older) = (directory.join(format!("{name}.jsonl")), directory.join(format!("{name}.1.jsonl")));
        let journal = Self { path, older, limit, open: None };
        // Which of the two is at fault, nobody could tell.
        let named = |path: &Path| {
            let path = path.display().to_string();
            move |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"))
        };
        let mut entries = tail(&journal.path, recent).map_err(named(&journal.path))?;
        let mut older = tail(&journal.older, recent - entries.len()).map_err(named(&journal.older))?;
        older.append(&mut entries);
        Ok((journal, older))
    }

    /// Appends; returns once it would survive a power cut. After an error the file
    /// is opened anew next time, and a torn line is closed off.
    ///
    /// # Errors
    /// What the system says; the same entries may be given again.
    pub fn append<'a, E: Entry + 'a>(&mut self, entries: impl Iterator<Item = &'a E>) -> io::Result<()> {
        let mut text = Vec::new();
        for entry in entries {
            text.extend_from_slice(&line(entry)?);
        }
        let written = self.write(&text);
        if written.is_err() {
            self.open = None;
        }
        written
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|open| open.size >= self.limit) {
            self.open = None;
            // Only one older file is kept: so both together have a bound.
            fs::rename(&self.path, &self.older)?;
        }
        let open = match self.open.take() {
            Some(open) => self.open.insert(open),
            None => self.open.insert(open_end(&self.path)?),
        };
        let written = open.file.write_all(text).and_then(|()| open.file.sync_data());
        match written {
            Ok(()) => open.size += text.len() as u64,
            // The same entries come again; what half of them left is taken back, if the disk lets us.
            Err(_) => drop(open.file.set_len(open.size)),
        }
        written
    }
}

/// Opens a file at its end, and ends a line that a crash tore: what was written stays as evidence.
fn open_end(path: &Path) -> io::Result<Open> {
    let mut file = open::regular(OpenOptions::new().append(true).read(true).create(true).mode(atomic::MODE), path)?;
    let mut size = file.metadata()?.len();
    if size > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            size += 1;
        }
    }
    // A file that was just made has a name that a power cut may take away again.
    atomic::sync_directory(path)?;
    Ok(Open { file, size })
}

fn line(entry: &impl Entry) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(entry)?;
    if line.len() > LINE_BYTES {
        // Without a limit one entry could fill what `tail` reads of a file, and hide all others.
        line = serde_json::to_vec(&entry.shortened())?;
    }
    line.push(b'\n');
    Ok(line)
}

/// The newest entries of a file, oldest first. Lines that are none, torn by a crash, are passed over.
fn tail<E: Entry>(path: &Path, limit: usize) -> io::Result<VecDeque<E>> {
    let mut file = match open::to_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
        Err(error) => return Err(error),
    };
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut text)?;
    // What is read from the middle of a file begins with half a line.
    let whole = match start {
        0 => &text[..],
        _ => text.iter().position(|byte| *byte == b'\n').map_or(&[][..], |end| &text[end + 1..]),
    };
    let mut entries = VecDeque::new();
    for line in whole.rsplit(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if entries.len() >= limit {
            break;
        }
        match serde_json::from_slice(line) {
            Ok(entry) => entries.push_front(entry),
            Err(error) => tracing::debug!(path = %path.display(), %error, "passing over a broken journal line"),
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::fs;
    use std::path::Path;

    use serde::{Deserialize, Serialize};

    use super::{Entry, FILE_BYTES, Journal};

    const RECENT: usize = 1000;

    #[derive(Debug, Serialize, Deserialize)]
    struct Told {
        epoch: u64,
        sentence: String,
        facts: Vec<String>,
    }

    impl Entry for Told {
        fn shortened(&self) -> Self {
            Self { epoch: self.epoch, sentence: self.sentence.clone(), facts: vec!["too long".into()] }
        }
    }

    fn entry(epoch: u64) -> Told {
        Told { epoch, sentence: "Main does not work, Standby does.".repeat(5), facts: vec!["a fact".repeat(20)] }
    }

    fn open(directory: &Path, limit: u64) -> (Journal, VecDeque<Told>) {
        Journal::open(directory, "journal", RECENT, limit).unwrap()
    }

    fn epochs(directory: &Path) -> Vec<u64> {
        open(directory, FILE_BYTES).1.iter().map(|entry| entry.epoch).collect()
    }

    #[test]
    fn a_restart_reads_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, before) = open(dir.path(), FILE_BYTES);
        assert!(before.is_empty());
        journal.append([entry(1), entry(2)].iter()).unwrap();
        journal.append([entry(3)].iter()).unwrap();
        assert_eq!(epochs(dir.path()), [1, 2, 3]);
    }

    #[test]
    fn a_line_torn_anywhere_costs_that_line_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let (mut journal, _) = open(dir.path(), FILE_BYTES);
        journal.append([entry(1)].iter()).unwrap();
        let one = fs::read(&path).unwrap();
        for length in 1..one.len() - 1 {
            let torn = [&one[..], &one[..length]].concat();
            fs::write(&path, torn).unwrap();
            let (mut journal, tail) = open(dir.path(), FILE_BYTES);
            assert_eq!(tail.len(), 1, "{length}");
            journal.append([entry(2)].iter()).unwrap();
            assert_eq!(epochs(dir.path()), [1, 2], "{length}");
        }
    }

    #[test]
    fn two_files_of_bounded_size_are_kept_and_read_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(dir.path(), 4000);
        for epoch in 1..=100 {
            journal.append([entry(epoch)].iter()).unwrap();
        }
        let sizes: Vec<u64> = fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).collect();
        assert!(sizes.len() == 2 && sizes.iter().all(|size| *size < 5000), "{sizes:?}");
        let kept = epochs(dir.path());
        assert!(kept.len() >= 8 && *kept.last().unwrap() == 100, "{kept:?}");
        assert!(kept.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{kept:?}");
    }

    #[test]
    fn a_huge_entry_is_shortened() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(dir.path(), FILE_BYTES);
        let mut huge = entry(1);
        huge.facts = vec!["x".repeat(1 << 20)];
        journal.append([huge].iter()).unwrap();
        let kept = open(dir.path(), FILE_BYTES).1;
        assert_eq!(kept[0].sentence, entry(1).sentence);
        assert!(kept[0].facts[0].contains("too long"));
    }

    #[test]
    fn only_the_end_of_a_long_journal_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let line = serde_json::to_string(&entry(1)).unwrap();
        let lines = (5 << 20) / line.len();
        fs::write(dir.path().join("journal.jsonl"), format!("{line}\n").repeat(lines)).unwrap();
        assert_eq!(epochs(dir.path()).len(), RECENT);
    }
}
