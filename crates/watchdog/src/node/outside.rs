//! Acts from outside: somebody stopped the services on purpose, or the system is being upgraded. Recognised, not
//! fought.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::command::CommandSpec;

/// Where acts from outside show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideSpec {
    /// Ends with exit code 0 when somebody stopped the services on purpose.
    pub by_hand: Option<CommandSpec>,
    /// Files that a package manager locks while it works; [`OutsideSpec::package_locks`].
    pub locks: Vec<PathBuf>,
}

/// What others do on this node, as far as it was recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// Somebody stopped the services on purpose; a sentence for the journal.
    pub by_hand: Option<String>,
    /// Packages are being installed or removed; a sentence for the journal.
    pub upgrade: Option<String>,
}

impl OutsideSpec {
    /// Returns the files that dpkg and apt lock.
    pub fn package_locks() -> Vec<PathBuf> {
        #[cfg(test)]
        if super::played::stage().is_some() {
            return Vec::new();
        }
        ["/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"].map(PathBuf::from).to_vec()
    }

    /// Looks once; what it cannot see it leaves out.
    pub async fn look(&self) -> Outside {
        let by_hand = match &self.by_hand {
            Some(command) if command.run().await.is_done() => {
                Some(format!("somebody stopped the services on purpose: `{command}` says so"))
            }
            _ => None,
        };
        Outside { by_hand, upgrade: self.locks.iter().find_map(|lock| held(lock)) }
    }
}

impl Outside {
    /// Returns what was seen, one sentence each.
    pub fn sentences(&self) -> impl Iterator<Item = &str> {
        [&self.by_hand, &self.upgrade].into_iter().filter_map(Option::as_deref)
    }
}

/// Returns who holds the lock on a file, in a sentence.
fn held(path: &Path) -> Option<String> {
    let file = store::open::to_read(path).ok()?;
    // The lock is asked about, and not taken: whoever installs packages must not find it held by a watchdog.
    let holder = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)).ok()??;
    let who = holder.pid.map_or_else(
        || "a process".to_owned(),
        |pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{} (process {pid})", if name.is_empty() { "somebody" } else { name.trim() })
        },
    );
    Some(format!("packages are being installed or removed: {who} holds {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_marker_of_the_operators_is_recognised() {
        let by_hand = |argv: &[&str]| OutsideSpec {
            by_hand: Some(CommandSpec::new(argv.iter().copied(), Duration::from_secs(20))),
            locks: vec![],
        };
        let outside = by_hand(&["test", "-e", "/"]).look().await;
        let sentences: Vec<_> = outside.sentences().collect();
        assert_eq!(sentences, ["somebody stopped the services on purpose: `test -e /` says so"]);
        for argv in [&["false"][..], &["/no/such/program"]] {
            assert_eq!(by_hand(argv).look().await, Outside::default());
        }
    }

    #[tokio::test]
    async fn a_package_manager_at_work_is_recognised_by_its_lock() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let spec = OutsideSpec { by_hand: None, locks: vec!["/no/such/lock".into(), file.path().into()] };
        assert_eq!(spec.look().await, Outside::default());
        let script = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); \
                      print('held', flush=True); sys.stdin.read()";
        let mut holder = Command::new("python3");
        let Ok(mut holder) =
            holder.args(["-c", script]).arg(file.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
        else {
            eprintln!("SKIPPED: needs python3 to hold a lock");
            return;
        };
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        let sentence = spec.look().await.upgrade.unwrap();
        assert!(sentence.contains(&format!("(process {})", holder.id())) && sentence.contains("python3"), "{sentence}");
        drop(holder.stdin.take());
        holder.wait().unwrap();
        assert_eq!(spec.look().await, Outside::default());
    }
}
