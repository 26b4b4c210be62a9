//! The journal on the disk: one JSON object a line, two files of bounded size, appended and synced.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{RECENT, atomic};
use crate::control::api::JournalEntry;

/// Size at which a file is set aside; with the one before it 16 MiB, some ten thousand decisions.
pub(super) const FILE_BYTES: u64 = 8 << 20;
/// How much of a file's end is read to find the newest entries.
const TAIL_BYTES: u64 = 2 << 20;
/// Longest line; a longer entry loses its facts.
const LINE_BYTES: usize = 64 << 10;

/// The journal, open at its end.
#[derive(Debug)]
pub(super) struct Journal {
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
    /// Opens it and reads the newest entries, oldest first.
    pub(super) fn open(directory: &Path, limit: u64) -> io::Result<(Self, VecDeque<JournalEntry>)> {
        let journal =
            Self { path: directory.join("journal.jsonl"), older: directory.join("journal.1.jsonl"), limit, open: None };
        let mut entries = tail(&journal.path, RECENT)?;
        let mut older = tail(&journal.older, RECENT - entries.len())?;
        older.append(&mut entries);
        Ok((journal, older))
    }

    /// Appends; returns once it would survive a power cut. After an error the file
    /// is opened anew next time, and a torn line is closed off.
    pub(super) fn append<'a>(&mut self, entries: impl Iterator<Item = &'a JournalEntry>) -> io::Result<()> {
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
    let mut file = OpenOptions::new().append(true).read(true).create(true).mode(atomic::MODE).open(path)?;
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
    atomic::sync_directory(path)?;
    Ok(Open { file, size })
}

fn line(entry: &JournalEntry) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(entry)?;
    if line.len() > LINE_BYTES {
        let mut short = entry.clone();
        short.explain.facts = vec![format!("{} facts were too long for the journal.", entry.explain.facts.len())];
        for text in [&mut short.explain.sentence, &mut short.explain.rule, &mut short.explain.outcome] {
            *text = text.chars().take(1000).collect();
        }
        line = serde_json::to_vec(&short)?;
    }
    line.push(b'\n');
    Ok(line)
}

/// The newest entries of a file, oldest first. Lines that are none, torn by a crash, are passed over.
fn tail(path: &Path, limit: usize) -> io::Result<VecDeque<JournalEntry>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
        Err(error) => return Err(error),
    };
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut text)?;
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
    use std::fs;

    use super::{FILE_BYTES, Journal};
    use crate::control::fake::entry;

    fn epochs(directory: &std::path::Path) -> Vec<u64> {
        Journal::open(directory, FILE_BYTES).unwrap().1.iter().map(|entry| entry.epoch).collect()
    }

    #[test]
    fn a_restart_reads_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, before) = Journal::open(dir.path(), FILE_BYTES).unwrap();
        assert!(before.is_empty());
        journal.append([entry(1), entry(2)].iter()).unwrap();
        journal.append([entry(3)].iter()).unwrap();
        assert_eq!(epochs(dir.path()), [1, 2, 3]);
    }

    #[test]
    fn a_line_torn_anywhere_costs_that_line_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let (mut journal, _) = Journal::open(dir.path(), FILE_BYTES).unwrap();
        journal.append([entry(1)].iter()).unwrap();
        let one = fs::read(&path).unwrap();
        for length in 1..one.len() - 1 {
            let torn = [&one[..], &one[..length]].concat();
            fs::write(&path, torn).unwrap();
            let (mut journal, tail) = Journal::open(dir.path(), FILE_BYTES).unwrap();
            assert_eq!(tail.len(), 1, "{length}");
            journal.append([entry(2)].iter()).unwrap();
            assert_eq!(epochs(dir.path()), [1, 2], "{length}");
        }
    }

    #[test]
    fn two_files_of_bounded_size_are_kept_and_read_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path(), 4000).unwrap();
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
    fn a_huge_entry_keeps_its_sentence_and_loses_its_facts() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path(), FILE_BYTES).unwrap();
        let mut huge = entry(1);
        huge.explain.facts = vec!["x".repeat(1 << 20)];
        journal.append([huge].iter()).unwrap();
        let kept = Journal::open(dir.path(), FILE_BYTES).unwrap().1;
        assert_eq!(kept[0].explain.sentence, entry(1).explain.sentence);
        assert!(kept[0].explain.facts[0].contains("too long"));
    }

    #[test]
    fn only_the_end_of_a_long_journal_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let line = serde_json::to_string(&entry(1)).unwrap();
        let lines = (5 << 20) / line.len();
        fs::write(dir.path().join("journal.jsonl"), format!("{line}\n").repeat(lines)).unwrap();
        assert_eq!(epochs(dir.path()).len(), super::RECENT);
    }
}
