//! XiVO's own failover: a cron table, which starts and stops services every minute by one ping. It must be off while a
//! watchdog runs. It is moved aside and put back whole; what runs is decided elsewhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use store::{Document, DocumentError};

use crate::state::Time;

/// How the cron table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegacyFailover {
    /// There is none on this machine.
    Absent,
    /// It is there, and none of its lines does anything.
    Silent,
    /// It is in place, and acts by its own clock.
    Active {
        /// The first line that does, counted from 1.
        line: usize,
        /// The line of cron that runs it.
        text: String,
    },
    /// It cannot be read: it may act.
    Unknown(String),
}

/// What was done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was moved aside, to this path.
    Taken(PathBuf),
    /// It was aside already, at this path.
    TakenAlready(PathBuf),
    /// There is nothing to move.
    NothingThere,
    /// It was put back, and acts again.
    Released,
    /// XiVO has put one of its own there since: that one stays.
    Superseded,
}

/// Why nothing was done about it.
#[derive(Debug, thiserror::Error)]
pub enum LegacyFailoverError {
    /// It acts, beside a watchdog that is to run.
    #[error(
        "{path}:{line}: XiVO's own failover is active ({text}); every minute it would undo what a watchdog decides.\n\
         Disable it, reversibly, with: bascule-watchdog takeover"
    )]
    Active {
        /// The cron table that it stands in.
        path: PathBuf,
        /// The line of that table, counted from 1.
        line: usize,
        /// The command that the line runs.
        text: String,
    },
    /// Whether it is active cannot be read.
    #[error(
        "{path}: cannot tell whether XiVO's own failover is active: {why}; run as root, or set `legacy_failover: off`"
    )]
    Unknown {
        /// The cron table that was looked at.
        path: PathBuf,
        /// What the system says of it.
        why: String,
    },
    /// The system refused to move the table.
    #[error("cannot {act} {path}: {source}; be root, and look at the file system")]
    Io {
        /// What was attempted, as a verb.
        act: &'static str,
        /// The file it was attempted on.
        path: PathBuf,
        /// What the system says of it.
        #[source]
        source: io::Error,
    },
    /// The note beside the table is of no use.
    #[error(transparent)]
    Note(#[from] DocumentError),
}

const NOTE: Document = Document {
    format: "bascule rival",
    version: 1,
    program: "bascule-watchdog",
    what: "note on XiVO's cron table",
    anew: "after putting the table beside it back by hand",
};

/// Where it stood, and who moved it.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    path: PathBuf,
    since: Time,
    who: String,
}

/// Looks at the cron table.
pub fn look(path: &Path) -> LegacyFailover {
    let mut bytes = Vec::new();
    let read = store::open::to_read(path).and_then(|mut file| file.read_to_end(&mut bytes));
    match read {
        Ok(_) => {
            let text = String::from_utf8_lossy(&bytes);
            let acting = text.lines().enumerate().find(|(_, line)| acts(line));
            acting.map_or(LegacyFailover::Silent, |(index, text)| LegacyFailover::Active {
                line: index + 1,
                text: daemon::visible(text.trim()).chars().take(200).collect(),
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => LegacyFailover::Absent,
        Err(error) => LegacyFailover::Unknown(error.to_string()),
    }
}

/// Tells whether it acts, or may: the running watchdog's alarm, in one sentence.
pub fn present(path: &Path) -> Option<String> {
    match look(path) {
        LegacyFailover::Absent | LegacyFailover::Silent => None,
        LegacyFailover::Active { line, .. } => Some(format!(
            "XiVO's own failover is back ({}:{line}): it undoes what the watchdog decides; bascule-watchdog takeover",
            path.display()
        )),
        LegacyFailover::Unknown(why) => Some(format!("{}: cannot be read: {why}", path.display())),
    }
}

/// Refuses to run beside it.
///
/// # Errors
/// That it acts, or may.
pub fn refuse(path: &Path) -> Result<(), LegacyFailoverError> {
    let path_owned = || path.to_owned();
    match look(path) {
        LegacyFailover::Absent | LegacyFailover::Silent => Ok(()),
        LegacyFailover::Active { line, text } => Err(LegacyFailoverError::Active { path: path_owned(), line, text }),
        LegacyFailover::Unknown(why) => Err(LegacyFailoverError::Unknown { path: path_owned(), why }),
    }
}

/// Moves it into the state directory, with a note. Doing it again does no harm.
///
/// # Errors
/// Names what the system refused; the table is then where it was, or aside.
pub fn take_over(path: &Path, state: &Path, who: &str) -> Result<Outcome, LegacyFailoverError> {
    let kept = kept(path, state);
    if !exists(path)? {
        return Ok(if exists(&kept)? { Outcome::TakenAlready(kept) } else { Outcome::NothingThere });
    }
    fs::create_dir_all(state).map_err(failed("create", state))?;
    // The note first: a table aside is never without one.
    let note = Note { path: path.to_owned(), since: Time::now(), who: who.to_owned() };
    let beside = store::beside(&kept, ".note.json");
    NOTE.save(&beside, &note).map_err(failed("write", &beside))?;
    relocate(path, &kept)?;
    Ok(Outcome::Taken(kept))
}

/// Puts it back as it was: owner, mode and content. Doing it again does no harm.
///
/// # Errors
/// Names what the system refused; the table is then aside still, or back.
pub fn release(path: &Path, state: &Path) -> Result<Outcome, LegacyFailoverError> {
    let kept = kept(path, state);
    let beside = store::beside(&kept, ".note.json");
    if !exists(&kept)? {
        return Ok(Outcome::NothingThere);
    }
    let note: Option<Note> = NOTE.load(&beside)?;
    // The note knows where it stood: the configuration may name another path by now.
    let target = note.map_or_else(|| path.to_owned(), |note| note.path);
    // A table that an upgrade of XiVO put there is newer: to write over it would bring back the old one.
    let outcome = if exists(&target)? {
        fs::remove_file(&kept).map_err(failed("remove", &kept))?;
        Outcome::Superseded
    } else {
        relocate(&kept, &target)?;
        Outcome::Released
    };
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &beside)(error)),
        _ => Ok(outcome),
    }
}

/// Where the table is kept while a watchdog runs.
fn kept(path: &Path, state: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    state.join(format!("taken-over.{name}"))
}

/// A line of a cron table that runs something: neither blank, nor a comment, nor `NAME=value`.
fn acts(line: &str) -> bool {
    let line = line.trim_start();
    let name = line.split('=').next().unwrap_or_default().trim_end();
    let assigns =
        line.contains('=') && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    !(line.is_empty() || line.starts_with('#') || assigns)
}

fn exists(path: &Path) -> Result<bool, LegacyFailoverError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("look at", path)(error)),
    }
}

/// Renames; between file systems copies whole, with owner and mode, before the old one goes.
fn relocate(from: &Path, to: &Path) -> Result<(), LegacyFailoverError> {
    match fs::rename(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            copy(from, to).map_err(failed("copy", from))?;
            fs::remove_file(from).map_err(failed("remove", from))?;
        }
        Err(error) => return Err(failed("move", from)(error)),
    }
    // The new name is synced first: a power cut between the two leaves two tables, and never none.
    store::sync_directory(to).map_err(failed("sync the directory of", to))?;
    store::sync_directory(from).map_err(failed("sync the directory of", from))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::metadata(from)?;
    // A name that cron passes over, until it is whole.
    let fresh = store::beside(to, ".new");
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    fchown(&file, Some(metadata.uid()), Some(metadata.gid()))?;
    file.set_permissions(fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    file.flush()?;
    file.sync_all()?;
    fs::rename(&fresh, to)
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LegacyFailoverError {
    let path = path.to_owned();
    move |source| LegacyFailoverError::Io { act, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# XiVO\nMAILTO=\"\"\n\n* * * * * root /usr/sbin/xivo-check-master-status 10.0.0.11\n";

    #[test]
    fn a_table_that_runs_something_is_told_from_one_that_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("xivo-ha-slave");
        assert_eq!(look(&path), LegacyFailover::Absent);
        for (text, expected) in [
            ("", LegacyFailover::Silent),
            ("# * * * * * root x\n  # y\nPATH = /bin\nMAILTO=\n", LegacyFailover::Silent),
            ("@reboot root x=1\n", LegacyFailover::Active { line: 1, text: "@reboot root x=1".into() }),
            ("* * * * * root A=1 x", LegacyFailover::Active { line: 1, text: "* * * * * root A=1 x".into() }),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(look(&path), expected, "{text}");
        }
        fs::write(&path, TABLE).unwrap();
        let error = refuse(&path).unwrap_err().to_string();
        assert!(error.contains("xivo-ha-slave:4") && error.contains("bascule-watchdog takeover"), "{error}");
        assert!(present(&path).unwrap().contains("is back"));
    }

    #[test]
    fn a_table_is_taken_and_put_back_as_it_was_and_twice_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let (path, state) = (dir.path().join("xivo-ha-slave"), dir.path().join("state"));
        fs::write(&path, TABLE).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        let Outcome::Taken(kept) = take_over(&path, &state, "ann").unwrap() else { panic!() };
        assert_eq!((look(&path), present(&path)), (LegacyFailover::Absent, None));
        assert_eq!(take_over(&path, &state, "ann").unwrap(), Outcome::TakenAlready(kept));
        assert_eq!(release(&path, &state).unwrap(), Outcome::Released);
        assert_eq!(fs::read_to_string(&path).unwrap(), TABLE);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o604);
        assert_eq!(release(&path, &state).unwrap(), Outcome::NothingThere);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn a_table_that_an_upgrade_put_there_stays_and_can_be_taken_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("xivo-ha-slave");
        fs::write(&path, TABLE).unwrap();
        take_over(&path, dir.path(), "ann").unwrap();
        fs::write(&path, "* * * * * root new\n").unwrap();
        assert!(matches!(take_over(&path, dir.path(), "ann").unwrap(), Outcome::Taken(_)));
        fs::write(&path, "* * * * * root newer\n").unwrap();
        assert_eq!(release(&path, dir.path()).unwrap(), Outcome::Superseded);
        assert_eq!(fs::read_to_string(&path).unwrap(), "* * * * * root newer\n");
    }

    #[test]
    fn a_copy_between_file_systems_keeps_content_and_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&from, TABLE).unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o640)).unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), TABLE);
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o777, 0o640);
    }
}
