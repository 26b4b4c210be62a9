//! A record of the command that runs, so that whoever comes after a watchdog that was killed can end it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::{sleep, timeout};

use super::group::{self, Group};
use super::{LAST_BREATH, one_line};

/// How often a killed group is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// A record in a file, until it is dropped.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
}

impl Record {
    /// Records the group's leader, and what it was told to run, for people. What cannot be recorded runs all the same.
    pub(super) fn write(path: &Path, group: &Group, argv: &[String]) -> Self {
        let record = Self { path: path.to_owned() };
        let Some((leader, began)) = group.number().and_then(|leader| Some((leader, group::began(leader)?))) else {
            // It has ended already.
            return record;
        };
        // The time at which the process began is written, too: its number alone may be another's by the time it is
        // read.
        let text = format!("{} {began} {}\n", leader.as_raw_pid(), one_line(&argv.join(" ")));
        if let Err(error) = store::replace_until_boot(path, text.as_bytes()) {
            tracing::warn!(path = %path.display(), %error, "the running command cannot be recorded");
        }
        record
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "the record of a command cannot be removed");
        }
        _ => {}
    }
}

/// Kills the start or stop command that a watchdog left running when it was killed itself, with its whole process group,
/// and waits until it is gone, for a second at most. To be called before anything else starts or stops services. Returns
/// what was found and done, in a sentence; nothing if no command is recorded at `path`.
pub async fn reap(path: &Path) -> Option<String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            return Some(format!("which command was left running cannot be read: {}: {error}", path.display()));
        }
    };
    let Some((leader, began, command)) = parse(&text) else {
        remove(path);
        return Some(format!("which command was left running cannot be read: {} holds no record", path.display()));
    };
    // Only the same process will do: its number may be somebody else's by now, and a leader that has ended well left behind
    // what it was to start.
    if group::began(leader) != Some(began) {
        remove(path);
        return Some(format!("`{command}` was running when the watchdog was killed; it has ended since"));
    }
    let killed = kill_process_group(leader, Signal::KILL);
    let gone = async {
        while group::lives(leader) {
            sleep(LOOK).await;
        }
    };
    if timeout(LAST_BREATH, gone).await.is_ok() {
        remove(path);
        return Some(format!("`{command}` was left running when the watchdog was killed, and has been killed"));
    }
    let why = killed.err().map_or_else(|| "it hangs in the kernel".to_owned(), |error| error.to_string());
    // The record stays: the next watchdog tries again.
    Some(format!("`{command}` was left running when the watchdog was killed, and cannot be killed: {why}"))
}

fn parse(text: &str) -> Option<(Pid, u64, String)> {
    let mut fields = text.trim().splitn(3, ' ');
    // No process group is 1: that would be everybody.
    let leader = fields.next()?.parse().ok().filter(|number| *number > 1).and_then(Pid::from_raw)?;
    Some((leader, fields.next()?.parse().ok()?, one_line(fields.next().unwrap_or_default())))
}

#[cfg(test)]
mod tests;
