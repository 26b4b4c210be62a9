//! A command's process group: whatever it starts ends with it.

use std::fs;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How often a group told to end is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A command and the process group it leads. Killed when it is dropped before it ended.
///
/// Its number belongs to nobody else as long as the leader, dead or not, has not been waited for: so the group is told
/// to end, and killed, before that, and never after.
#[derive(Debug)]
pub(super) struct Group {
    leader: Child,
}

impl Group {
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        // The command leads a group of its own: a signal reaches whatever it starts, and never the watchdog.
        Ok(Self { leader: command.process_group(0).spawn()? })
    }

    /// Waits for the leader's end.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.leader.wait().await
    }

    /// Tells the group to end, and waits until it did, for `grace` at most.
    pub(super) async fn terminate(&mut self, grace: Duration) {
        self.signal(Signal::TERM);
        let end = Instant::now() + grace;
        while self.lives() && Instant::now() < end {
            sleep(LOOK).await;
        }
    }

    /// Kills what is left of the group.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.number() {
            // A group that is gone already is what was wanted.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Returns the group's number, its leader's, unless that was waited for.
    pub(super) fn number(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.leader.id()?).ok()?)
    }

    fn lives(&self) -> bool {
        self.number().is_some_and(lives)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns whether anybody of a group lives.
pub(super) fn lives(group: Pid) -> bool {
    // A group that cannot be looked at is taken to live: it is waited for, to the limit.
    let Ok(processes) = fs::read_dir("/proc") else { return true };
    processes.flatten().any(|process| {
        fs::read_to_string(process.path().join("stat")).is_ok_and(|stat| lives_in(&stat, group.as_raw_pid()))
    })
}

/// Returns when the leader of a group began, in ticks since the boot, if it lives.
pub(super) fn began(leader: Pid) -> Option<u64> {
    let number = leader.as_raw_pid();
    began_at(&fs::read_to_string(format!("/proc/{number}/stat")).ok()?, number)
}

/// Reads `/proc/PID/stat`: `number (name) state parent group …`, where the name may hold anything.
fn lives_in(stat: &str, group: i32) -> bool {
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let mut fields = rest.split_whitespace();
    let state = fields.next();
    fields.nth(1).and_then(|field| field.parse().ok()) == Some(group) && !matches!(state, None | Some("Z" | "X"))
}

/// The 22nd field is the start.
fn began_at(stat: &str, group: i32) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).filter(|_| lives_in(stat, group))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_process_and_one_of_another_group_do_not_count() {
        assert!(lives_in("12 (a) b) S 1 10 10 0", 10));
        assert!(!lives_in("12 (a) S 10 1 10 0", 10));
        assert!(!lives_in("12 (a) Z 1 10 10 0", 10));
        assert!(!lives_in("", 10));
    }

    #[test]
    fn a_leader_that_lives_has_a_start() {
        let stat = |state| format!("10 (a) b) {state} 1 10 10 0 -1 4 5 6 7 8 9 10 11 12 20 0 1 0 4711 99 98");
        assert_eq!(began_at(&stat('S'), 10), Some(4711));
        assert_eq!(began_at(&stat('Z'), 10), None);
        assert_eq!(began_at(&stat('S'), 11), None);
    }
}
