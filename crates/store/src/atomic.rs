//! Replaces a file so that at every instant, a power cut included, there is the old one or the new one, whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::open;

/// Operators of the group may read.
pub const MODE: u32 = 0o640;

/// Nobody else may: it holds a secret.
const SECRET_MODE: u32 = 0o600;

/// Steps of a replacement, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Create,
    Write,
    Sync,
    Rename,
    SyncDirectory,
}

/// Replaces the file and returns once the new one would survive a power cut.
///
/// # Errors
/// What the system says; the old file is whole.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, bytes, Kept::PowerCut, MODE, |_| Ok(()))
}

/// Replaces a file that nobody else may read, as [`replace`] does.
///
/// # Errors
/// What the system says; the old file is whole.
pub fn replace_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // One that a crash left behind, or that somebody put there, would keep its mode: it is made anew.
    match fs::remove_file(beside(path, ".new")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    replace_with(path, bytes, Kept::PowerCut, SECRET_MODE, |_| Ok(()))
}

/// Replaces a file that is of no use after a boot, and need not survive one: without waiting for the disk, which could hold
/// up whoever may not wait.
///
/// # Errors
/// What the system says; the old file is whole.
pub fn replace_until_boot(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, bytes, Kept::Boot, MODE, |_| Ok(()))
}

/// Until when a file is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Through a power cut: it is synced, which an ill disk draws out to seconds.
    PowerCut,
    /// Until the machine boots: nothing is synced, and nobody waits for a disk.
    Boot,
}

/// Replaces it; `before` is asked before each step and may make it fail.
fn replace_with(
    path: &Path,
    bytes: &[u8],
    kept: Kept,
    mode: u32,
    mut before: impl FnMut(Step) -> io::Result<()>,
) -> io::Result<()> {
    let fresh = beside(path, ".new");
    let mut write = || {
        before(Step::Create)?;
        let mut file = open::regular(OpenOptions::new().write(true).create(true).truncate(true).mode(mode), &fresh)?;
        before(Step::Write)?;
        file.write_all(bytes)?;
        // The data is on the disk before the name: a rename that gets there alone leaves an empty file after a power
        // cut.
        if kept == Kept::PowerCut {
            before(Step::Sync)?;
            file.sync_all()?;
        }
        before(Step::Rename)?;
        fs::rename(&fresh, path)
    };
    if let Err(error) = write() {
        let _ = fs::remove_file(&fresh);
        return Err(error);
    }
    // The name itself is in the directory: without this the old file may be back after a power cut.
    if kept == Kept::PowerCut {
        before(Step::SyncDirectory)?;
        sync_directory(path)?;
    }
    Ok(())
}

/// Makes names in the file's directory survive a power cut.
///
/// # Errors
/// What the system says.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// The same name with an ending more.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::{fs, io};

    use super::{Kept, MODE, Step, replace, replace_secret, replace_until_boot, replace_with};

    #[test]
    fn a_replacement_that_fails_at_any_step_leaves_the_old_file_or_the_new_one_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("live.json");
        for at in [Step::Create, Step::Write, Step::Sync, Step::Rename, Step::SyncDirectory] {
            replace(&path, b"old").unwrap();
            let failed = replace_with(&path, b"new", Kept::PowerCut, MODE, |step| match step == at {
                true => Err(io::Error::from(io::ErrorKind::StorageFull)),
                false => Ok(()),
            });
            assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
            let expected = if at == Step::SyncDirectory { "new" } else { "old" };
            assert_eq!(fs::read_to_string(&path).unwrap(), expected, "{at:?}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "{at:?} leaves nothing behind");
        }
    }

    #[test]
    fn a_secret_is_for_its_owner_alone_whatever_stood_there_before() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        for name in ["keys", "keys.new"] {
            fs::write(dir.path().join(name), "everybody's").unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o666)).unwrap();
        }
        replace_secret(&path, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), "secret");
    }

    #[test]
    fn what_is_kept_until_a_boot_waits_for_no_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handover.json");
        replace_until_boot(&path, b"old").unwrap();
        let mut steps = Vec::new();
        replace_with(&path, b"new", Kept::Boot, MODE, |step| {
            steps.push(step);
            Ok(())
        })
        .unwrap();
        assert_eq!(steps, [Step::Create, Step::Write, Step::Rename]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn what_a_crash_left_behind_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("live.json");
        fs::write(dir.path().join("live.json.new"), "half of a mu").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }
}
