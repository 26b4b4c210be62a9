//! Reports on the disk: one file for each switch, the newest of them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::history::Report;

/// Reports kept: years of switches, or a bad day.
pub(super) const KEPT: usize = 200;
/// Ours are a few kilobytes.
const MOST_BYTES: u64 = 1 << 20;

/// The numbers of the reports there are; a report itself is read when somebody asks for it.
#[derive(Debug)]
pub(super) struct Reports {
    directory: PathBuf,
    numbers: BTreeSet<u64>,
    kept: usize,
}

/// A report cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: the report is not readable")]
pub struct ReportError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Reports {
    pub(super) fn open(state: &Path, kept: usize) -> io::Result<Self> {
        let directory = directory(state);
        let mut numbers = BTreeSet::new();
        for file in fs::read_dir(&directory)? {
            let name = file?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".json")?.parse::<u64>().ok()));
        }
        Ok(Self { directory, numbers, kept })
    }

    /// The highest number; 0 if there is none.
    pub(super) fn newest(&self) -> u64 {
        self.numbers.last().copied().unwrap_or(0)
    }

    /// Writes one, and removes the oldest if there are too many.
    pub(super) fn save(&mut self, report: &Report) -> io::Result<()> {
        store::replace(&path(&self.directory, report.number), &serde_json::to_vec_pretty(report)?)?;
        self.numbers.insert(report.number);
        while self.numbers.len() > self.kept {
            let Some(oldest) = self.numbers.pop_first() else { break };
            match fs::remove_file(path(&self.directory, oldest)) {
                // Somebody may have tidied up; that is what was wanted.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Reads one; none if there is none.
pub(super) fn read(state: &Path, number: u64) -> Result<Option<Report>, ReportError> {
    let path = path(&directory(state), number);
    let mut text = Vec::new();
    // Bounded, as it is read into memory, whatever lies there under that name.
    let read = store::open::to_read(&path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut text));
    match read.and_then(|_| serde_json::from_slice(&text).map_err(io::Error::from)) {
        Ok(report) => Ok(Some(report)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReportError { path, source }),
    }
}

pub(super) fn directory(state: &Path) -> PathBuf {
    state.join("reports")
}

/// Named so that a listing is in order.
fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:08}.json"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Reports, directory, read};
    use crate::live::state::history::fake::report;

    #[test]
    fn the_newest_reports_are_kept_and_a_restart_knows_them() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(directory(dir.path())).unwrap();
        let mut reports = Reports::open(dir.path(), 3).unwrap();
        assert_eq!(reports.newest(), 0);
        for number in [9, 10, 11, 12, 11] {
            reports.save(&report(number)).unwrap();
        }
        assert_eq!(fs::read_dir(directory(dir.path())).unwrap().count(), 3);
        assert_eq!(read(dir.path(), 9).unwrap(), None);
        assert_eq!(read(dir.path(), 12).unwrap(), Some(report(12)));
        assert_eq!(Reports::open(dir.path(), 3).unwrap().newest(), 12);
    }

    #[test]
    fn a_broken_report_is_named_and_harms_no_other() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(directory(dir.path())).unwrap();
        fs::write(directory(dir.path()).join("00000007.json"), "{").unwrap();
        fs::write(directory(dir.path()).join("notes.txt"), "mine").unwrap();
        assert!(read(dir.path(), 7).unwrap_err().to_string().contains("00000007.json"));
        assert_eq!(Reports::open(dir.path(), 3).unwrap().newest(), 7);
    }
}
