//! Takes away what a demo leaves when it is killed: nobody but another process can. It is started by the demo, waits for
//! its end, and removes the demo's directory and the socket on which orders were taken.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use tokio::process::{Child, Command};

use crate::site::socket;

/// The demo's processes are killed with it, and what one of them still writes ends with it: the first attempt removes
/// all but on a machine that has much else to do.
const ATTEMPTS: usize = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// Whose end is waited for, and what is removed then.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RemainsArgs {
    /// The demo, which started this process.
    #[arg(long, value_name = "PID")]
    pub parent: i32,
    /// Removed whole: certificates, sockets and logs of the demo.
    #[arg(long, value_name = "DIRECTORY")]
    pub directory: PathBuf,
}

/// Starts the process that will do so. It ends when the answer is dropped: a demo that ends in order leaves nothing.
///
/// # Errors
/// The system starts no process.
pub(crate) fn removed_after_us(directory: &Path) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["remove-remains", "--parent", &std::process::id().to_string(), "--directory"])
        .arg(directory)
        .stdin(Stdio::null())
        // Whoever reads what the demo says must see the end of it when the demo is killed.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Neither Ctrl-C nor whoever kills the demo's group reaches it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Waits for the end of the demo that started this process, then removes what it left.
///
/// # Errors
/// The demo cannot be waited for, or its directory cannot be removed.
#[expect(clippy::disallowed_methods, reason = "this process does nothing else")]
pub fn remove(args: &RemainsArgs) -> io::Result<()> {
    wait_for_end_of(args.parent)?;
    socket::remove_deserted();
    let mut attempts = 1..=ATTEMPTS;
    loop {
        match fs::remove_dir_all(&args.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if attempts.next().is_none() => return Err(error),
            Ok(()) => return Ok(()),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Returns when this process's parent has ended. By then the kernel has killed the processes tied to it: it does so
/// before it tells anybody of the end.
fn wait_for_end_of(parent: i32) -> io::Result<()> {
    let pid = Pid::from_raw(parent);
    let Some(pid) = pid.filter(|_| getppid() == pid) else { return Ok(()) };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // Its number may have become another's between the two: then it is no parent of ours.
    if getppid() != Some(pid) {
        return Ok(());
    }
    loop {
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], None) {
            Err(rustix::io::Errno::INTR) => {}
            ended => return ended.map(drop).map_err(io::Error::from),
        }
    }
}
