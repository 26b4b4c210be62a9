//! Files that somebody else renews, certificates above all: looked at now and then, and read anew once they are others and
//! stand still, without a signal.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// How often files are to be looked at. Twice that at most passes until a new certificate is served; a look costs a `stat` a
/// file.
const LOOK: Duration = Duration::from_secs(5);
/// Looks that pass before files that were refused, and are the same, are tried again: what was wrong may be beside them.
const REFUSED: u32 = 120;

/// Looks at files as long as the receiver is there; what comes is told whether the files could be used. None of them: nobody
/// looks. They are taken to have been read as they are now.
///
/// But for the first look, the file system is asked beside the runtime: a disk that hangs holds up nobody.
pub fn changes(files: impl Fn() -> Vec<PathBuf> + Send + 'static) -> mpsc::Receiver<oneshot::Sender<bool>> {
    // One at a time: each waits for its answer.
    let (changes, changed) = mpsc::channel(1);
    // Here and not in the task: what is renewed before the task's first turn would be taken for what was read.
    let watched = Watched::new(files());
    tokio::spawn(async move {
        // It ends with whoever takes the changes, or with the runtime: there is nobody to tell.
        let _ = follow(watched, files, changes).await;
    });
    changed
}

async fn follow(
    mut watched: Watched,
    files: impl Fn() -> Vec<PathBuf> + Send,
    changes: mpsc::Sender<oneshot::Sender<bool>>,
) -> Option<()> {
    loop {
        sleep(LOOK).await;
        let paths = files();
        // Nobody looks for now. What changes meanwhile is told when somebody does again.
        if paths.is_empty() {
            continue;
        }
        let look = move || {
            let changed = watched.look(paths);
            (watched, changed)
        };
        let (looked, changed) = tokio::task::spawn_blocking(look).await.ok()?;
        watched = looked;
        if !changed {
            continue;
        }
        let (taken, answer) = oneshot::channel();
        changes.send(taken).await.ok()?;
        match answer.await {
            Ok(true) => watched.take(),
            Ok(false) | Err(_) => watched.refuse(),
        }
    }
}

/// Files, as they were when they were last read.
#[derive(Debug)]
struct Watched {
    taken: Vec<Seen>,
    last: Vec<Seen>,
    refused: Option<Refused>,
}

/// A file and what tells it from the one that stood there before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    stamp: Result<Stamp, io::ErrorKind>,
}

/// Both times: a file that was moved there may be older than the one it replaced, and `cp -p` keeps the time of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[derive(Debug)]
struct Refused {
    files: Vec<Seen>,
    looks: u32,
}

impl Watched {
    /// Takes these files to have been read as they are now.
    fn new(paths: Vec<PathBuf>) -> Self {
        let taken = seen(paths);
        Self { last: taken.clone(), taken, refused: None }
    }

    /// Looks at the files, and tells whether they are to be read: they are others than those taken, and the same as at the
    /// last look. Two files of a pair change one after the other, and a large one is written in parts.
    fn look(&mut self, paths: Vec<PathBuf>) -> bool {
        let now = seen(paths);
        let still = now == self.last;
        self.last = now;
        if !still || self.last == self.taken {
            return false;
        }
        match &mut self.refused {
            Some(refused) if refused.files == self.last && refused.looks > 0 => {
                refused.looks -= 1;
                false
            }
            _ => true,
        }
    }

    /// Notes that the files of the last look are in use.
    fn take(&mut self) {
        self.taken = self.last.clone();
        self.refused = None;
    }

    /// Notes that the files of the last look are of no use; they are tried again when they change, or after a while.
    fn refuse(&mut self) {
        self.refused = Some(Refused { files: self.last.clone(), looks: REFUSED });
    }
}

fn seen(paths: Vec<PathBuf>) -> Vec<Seen> {
    let stamp = |path: &PathBuf| {
        // Through links: whoever renews by moving one changes what stands behind it.
        let found = fs::metadata(path).map_err(|error| error.kind())?;
        Ok(Stamp {
            inode: (found.dev(), found.ino()),
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    };
    paths.into_iter().map(|path| Seen { stamp: stamp(&path), path }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    struct Files {
        directory: tempfile::TempDir,
        watched: Watched,
    }

    impl Files {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            for name in ["chain", "key"] {
                fs::write(directory.path().join(name), "old").unwrap();
            }
            let watched = Watched::new(Self::paths(&directory));
            Self { directory, watched }
        }

        fn paths(directory: &tempfile::TempDir) -> Vec<PathBuf> {
            ["chain", "key"].map(|name| directory.path().join(name)).to_vec()
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.directory.path().join(name), text).unwrap();
        }

        fn look(&mut self) -> bool {
            self.watched.look(Self::paths(&self.directory))
        }
    }

    #[test]
    fn files_that_nobody_touches_are_never_read_again() {
        let mut files = Files::new();
        assert!((0..300).all(|_| !files.look()));
    }

    #[test]
    fn a_pair_is_read_when_both_files_stand_still_and_once() {
        let mut files = Files::new();
        files.write("chain", "newer");
        assert!(!files.look(), "its key may come yet");
        files.write("key", "newer");
        assert!(!files.look());
        assert!(files.look());
        files.watched.take();
        assert!((0..300).all(|_| !files.look()));
    }

    #[test]
    fn a_file_that_was_moved_there_or_a_link_that_was_turned_is_another_whatever_its_time() {
        let mut files = Files::new();
        let (path, other) = (files.directory.path().join("key"), files.directory.path().join("other"));
        fs::write(&other, "new").unwrap();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::File::options().write(true).open(&other).unwrap().set_modified(time).unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!files.look() && files.look());
        files.watched.take();
        fs::write(&other, "newest").unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(!files.look() && files.look());
    }

    #[test]
    fn what_was_refused_is_tried_again_when_it_changes_or_after_a_while() {
        let mut files = Files::new();
        files.write("key", "broken");
        assert!(!files.look() && files.look());
        files.watched.refuse();
        assert_eq!((0..=REFUSED).filter(|_| files.look()).count(), 1, "once in a while");
        files.watched.refuse();
        files.write("key", "mended it");
        assert!(!files.look() && files.look());
        files.watched.take();
        assert!(!files.look());
    }

    #[test]
    fn a_file_that_is_gone_is_told_once_it_stays_away_and_its_return_as_well() {
        let mut files = Files::new();
        fs::remove_file(files.directory.path().join("key")).unwrap();
        assert!(!files.look() && files.look());
        files.watched.refuse();
        files.write("key", "old");
        assert!(!files.look() && files.look());
    }

    #[tokio::test(start_paused = true)]
    async fn no_files_are_no_change_and_what_changed_meanwhile_is_told_when_they_are_back() {
        let Files { directory, .. } = Files::new();
        let (paths, looks) = (Files::paths(&directory), Arc::new(AtomicBool::new(true)));
        let asked = Arc::clone(&looks);
        let mut changed = changes(move || if asked.load(Ordering::Acquire) { paths.clone() } else { Vec::new() });
        looks.store(false, Ordering::Release);
        fs::write(directory.path().join("key"), "newer").unwrap();
        assert!(tokio::time::timeout(LOOK * 100, changed.recv()).await.is_err(), "nobody looks");
        looks.store(true, Ordering::Release);
        changed.recv().await.unwrap().send(true).unwrap();
        assert!(tokio::time::timeout(LOOK * 100, changed.recv()).await.is_err(), "it is in use");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_told_once_and_one_that_could_not_be_used_again() {
        let Files { directory, .. } = Files::new();
        let paths = Files::paths(&directory);
        let mut changed = changes(move || paths.clone());
        let none = tokio::time::timeout(LOOK * 100, changed.recv()).await;
        assert!(none.is_err(), "nothing has changed");
        fs::write(directory.path().join("key"), "broken").unwrap();
        changed.recv().await.unwrap().send(false).unwrap();
        fs::write(directory.path().join("key"), "mended it").unwrap();
        changed.recv().await.unwrap().send(true).unwrap();
        let none = tokio::time::timeout(LOOK * 100, changed.recv()).await;
        assert!(none.is_err(), "it is in use");
    }
}
