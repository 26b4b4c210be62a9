//! Ties a process to the one that started it: the kernel kills it when its parent ends, however that comes about.
//!
//! The signal is set by a process of ours that then becomes the program: what is tied need not know of it, and no code
//! runs between `fork` and `exec`.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Args;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// A program, and whose child it must be.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct TiedArgs {
    /// The process that started this one.
    #[arg(long, value_name = "PID")]
    pub parent: i32,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub command: Vec<OsString>,
}

/// Becomes the program; SIGKILL, as one that is stopped would leave any other signal pending for ever.
///
/// The kernel means by the parent the *thread* that forked: it must be one that lasts as long as its process.
///
/// # Errors
/// The parent has ended already, or the program cannot be run.
pub fn become_tied(args: &TiedArgs) -> io::Result<Infallible> {
    let [program, arguments @ ..] = &args.command[..] else { return Err(io::Error::other("no program is named")) };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Had it ended before the kernel was told, nobody would ever send the signal.
    if getppid() != Pid::from_raw(args.parent) {
        return Err(io::Error::other(format!("process {}, which started this one, has ended", args.parent)));
    }
    let error = Command::new(program).args(arguments).exec();
    Err(io::Error::new(error.kind(), format!("{}: {error}", program.display())))
}
