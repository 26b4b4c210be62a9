//! Who reads what a command's children go on to say when the watchdog does not read it any more.
//!
//! A service that a start command leaves behind has inherited that command's output. Were the watchdog its only reader, the
//! service would die of SIGPIPE at its first word after the watchdog's next restart. So its reader is a process of its
//! own, which outlives the watchdog (`KillMode=process`) and ends with the last writer. It holds one buffer: the words go on
//! to systemd's journal, which bounds what it keeps, or to nobody where there is no journal.

use std::fs::File;
use std::io::{self, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, shutdown, socket_with};
use tokio::process::Command;

use super::super::line::one_line;

/// Where systemd's journal takes streams.
pub(super) const JOURNAL: &str = "/run/systemd/journal/stdout";
/// Waits for the leash (standard input) to be let go, then reads the command's pipe (handed over as standard error, so
/// that no descriptor beyond the three is needed). Should the journal go away, it reads on all the same.
const SCRIPT: &str = "read -r _; exec <&2 2>/dev/null; cat; exec cat >/dev/null";

/// A reader that waits until this is dropped, by whatever end of the watchdog, and then reads in its place.
#[derive(Debug)]
pub(super) struct Keeper {
    _leash: PipeWriter,
}

impl Keeper {
    /// Starts the reader of a command's pipe, held back as long as the keeper lives; `journal` is where the system's takes
    /// streams. Needs a tokio runtime, which reaps it.
    pub(super) fn start(pipe: impl AsFd, program: &str, journal: &Path) -> io::Result<Self> {
        let (held, leash) = io::pipe()?;
        // A description of its own: the watchdog's does not block, and `cat` would fail.
        let pipe = File::open(format!("/proc/self/fd/{}", pipe.as_fd().as_raw_fd()))?;
        let out = stream(journal, program).map_or_else(|_| Stdio::null(), Stdio::from);
        let mut reader = Command::new("/bin/sh");
        reader.args(["-c", SCRIPT]).env_clear().env("PATH", super::PATH).current_dir("/");
        // In a group of its own: it is not killed with the command's.
        reader.stdin(held).stdout(out).stderr(pipe).process_group(0).spawn()?;
        Ok(Self { _leash: leash })
    }
}

/// Opens a stream of systemd's journal, named by a program, as `sd_journal_stream_fd(3)` does. Never waits for the
/// journal. Debug, the lowest priority: the journal limits the rate of each by itself, so that a service that says much
/// does not silence the watchdog.
fn stream(journal: &Path, program: &str) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&stream, &SocketAddrUnix::new(journal)?)?;
    shutdown(&stream, Shutdown::Read)?;
    let name = Path::new(program).file_name().unwrap_or_default();
    // Identifier, unit, priority, whether lines name theirs, and whether they go on to syslog, kernel, console.
    let head = format!("{}\n\n7\n0\n0\n0\n0\n", one_line(&name.to_string_lossy()));
    let mut stream = File::from(stream);
    stream.write_all(head.as_bytes())?;
    fcntl_setfl(&stream, OFlags::empty())?;
    Ok(stream.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    use tokio::time::timeout;

    use super::super::tests::LONG;
    use super::*;

    #[tokio::test]
    async fn what_is_said_after_the_watchdog_let_go_stands_in_the_journal() {
        let directory = tempfile::tempdir().unwrap();
        let journal = directory.path().join("stdout");
        let listener = UnixListener::bind(&journal).unwrap();
        let (pipe, mut writer) = io::pipe().unwrap();
        let keeper = Keeper::start(&pipe, "/usr/sbin/start-it\nall", &journal).unwrap();
        writer.write_all(b"the watchdog's\n").unwrap();
        let mut read = [0; 15];
        (&pipe).read_exact(&mut read).unwrap();
        writer.write_all(b"the journal's\n").unwrap();
        drop((keeper, pipe));
        writer.write_all(b"the journal's, too\n").unwrap();
        drop(writer);
        let said = tokio::task::spawn_blocking(move || {
            let mut said = String::new();
            listener.accept().unwrap().0.read_to_string(&mut said).map(|_| said)
        });
        let said = timeout(LONG, said).await.unwrap().unwrap().unwrap();
        assert_eq!(said, "start-it all\n\n7\n0\n0\n0\n0\nthe journal's\nthe journal's, too\n");
    }

    #[tokio::test]
    async fn a_journal_that_goes_away_ends_no_service() {
        let directory = tempfile::tempdir().unwrap();
        let journal = directory.path().join("stdout");
        let listener = UnixListener::bind(&journal).unwrap();
        let (pipe, mut writer) = io::pipe().unwrap();
        drop(Keeper::start(&pipe, "start", &journal).unwrap());
        drop((pipe, listener));
        let written = tokio::task::spawn_blocking(move || {
            for _ in 0..100 {
                writer.write_all(&[b'\n'; 4096])?;
            }
            Ok::<_, io::Error>(())
        });
        timeout(LONG, written).await.unwrap().unwrap().unwrap();
    }
}
