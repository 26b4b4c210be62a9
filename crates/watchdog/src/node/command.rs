//! Runs one external command, with its whole process group, within a time limit.
//!
//! A command that ends well may leave processes behind: that is what a start command is for. One that is killed leaves
//! none of its process group.

mod captured;
mod group;
mod keeper;
mod limit;
mod running;

use std::fmt;
use std::fs::File;
use std::future::{Future, pending};
use std::io::{self, Seek, Write};
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use failover::Span;
use rustix::fs::{MemfdFlags, memfd_create};
use tokio::time::{Instant, timeout};

use self::captured::Captured;
use self::group::Group;
use self::running::Record;
pub use self::running::reap;
use super::line::one_line;

/// What a command may still do between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(1);
/// How much of what a command said is kept.
const KEPT: usize = 4 * 1024;
/// How long a killed process may take to disappear before it is given up: it hangs in the kernel then.
const LAST_BREATH: Duration = Duration::from_secs(1);
/// How long what a command said is read after it ended; its children may hold the pipe open for ever, and have a
/// [`keeper`] then.
const DRAIN: Duration = Duration::from_millis(50);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to run, and for how long at most. It runs in `/`, with nothing but `PATH` and `LANG=C` in its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSpec {
    /// The program and its arguments; no shell.
    pub argv: Vec<String>,
    /// When its process group is told to end (SIGTERM), and killed a second later.
    pub time_limit: Duration,
}

/// How a command ended, in time or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It ended by itself, with exit code 0.
    Done,
    /// It ended by itself, with another exit code.
    ExitCode(i32),
    /// A signal nobody here sent.
    Signal(i32),
    /// It was killed at its time limit.
    TimedOut,
    /// It was killed because nobody wants it any more.
    Killed,
    /// There is no such program.
    NotFound,
    /// It may not, or cannot, be executed.
    NotExecutable,
    /// The system could not start it.
    NotStarted,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// How the command came to its end.
    pub ending: Ending,
    /// What it said, standard output and error as they came; the last 4 KiB of it.
    pub output: String,
    /// How long it took, from start to end.
    pub took: Duration,
}

impl CommandSpec {
    /// Makes a specification of a program with its arguments.
    pub fn new<T: Into<String>>(argv: impl IntoIterator<Item = T>, time_limit: Duration) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), time_limit }
    }

    /// Runs it. Dropping the future kills the process group.
    pub async fn run(&self) -> Ran {
        self.run_until(pending()).await
    }

    /// Runs it until it ends or `killed` does: then the process group is killed at once.
    pub async fn run_until(&self, killed: impl Future<Output = ()>) -> Ran {
        self.run_recorded(None, killed).await
    }

    /// Runs it as [`CommandSpec::run_until`] does; while it runs the file tells [`reap`] so.
    pub async fn run_recorded(&self, record: Option<&Path>, killed: impl Future<Output = ()>) -> Ran {
        let (argv, time_limit) = (&self.argv, self.time_limit);
        let run = Run { argv, time_limit, input: None, grace: GRACE, keep: KEPT, record };
        // Boxed: what a run keeps on the way is kilobytes, and several run side by side.
        Box::pin(run.until(killed)).await
    }
}

impl fmt::Display for CommandSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.argv.join(" ")))
    }
}

/// One run, with what its specification does not say.
pub(super) struct Run<'a> {
    pub(super) argv: &'a [String],
    pub(super) time_limit: Duration,
    /// What it reads on standard input; none: nothing.
    pub(super) input: Option<&'a str>,
    /// Between SIGTERM and SIGKILL; zero: SIGKILL at once.
    pub(super) grace: Duration,
    /// How many bytes of what it says are kept.
    pub(super) keep: usize,
    /// Where it is recorded as long as it runs.
    pub(super) record: Option<&'a Path>,
}

impl Run<'_> {
    pub(super) async fn until(self, killed: impl Future<Output = ()>) -> Ran {
        #[cfg(test)]
        if let Some(stage) = super::played::stage() {
            return super::played::run(&*stage, self, killed).await;
        }
        let began = Instant::now();
        // Declared before the group: it is removed when that is dead.
        let _record;
        let (mut group, mut said) = match self.start() {
            Ok(started) => started,
            Err(cause) => return not_started(&cause, began),
        };
        _record = self.record.map(|path| Record::write(path, &group, self.argv));
        let mut killed = pin!(killed);
        let status = tokio::select! {
            biased;
            // The kill is looked for first: a command that ends in the same moment is told as killed.
            () = &mut killed => Err(Ending::Killed),
            status = group.ended() => Ok(status),
            () = limit::passed(self.time_limit) => Err(Ending::TimedOut),
            never = said.listen() => match never {},
        };
        let ending = match status {
            Ok(Ok(status)) => of_status(status),
            Ok(Err(_)) => Ending::NotStarted,
            Err(ending) => {
                // Nobody waits for an orderly end of what nobody wants: a fence that is overdue, or a start that must
                // not go on.
                let grace = if ending == Ending::Killed { Duration::ZERO } else { self.grace };
                tokio::select! {
                    biased;
                    () = end(&mut group, grace, killed) => {}
                    never = said.listen() => match never {},
                }
                ending
            }
        };
        let output = said.rest(DRAIN).await;
        Ran { ending, output, took: began.elapsed() }
    }

    fn start(&self) -> io::Result<(Group, Captured)> {
        let (program, arguments) = self.argv.split_first().ok_or(io::ErrorKind::NotFound)?;
        // Both outputs share a pipe, so that what a command says stands in the order in which it says it.
        let (said, writer) = io::pipe()?;
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            // What the watchdog was started with must not change what commands do.
            .env_clear()
            .envs([("PATH", PATH), ("LANG", "C")])
            .current_dir("/")
            .stdin(self.input.map_or_else(|| Ok(Stdio::null()), readable)?)
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let mut said = Captured::new(said, program, self.keep)?;
        // Of those that leave services behind: they are also the ones that are recorded.
        if self.record.is_some() {
            said.keep_a_reader();
        }
        Ok((Group::start(&mut command)?, said))
    }
}

/// Ends a process group; a `killed` that comes meanwhile leaves it no more grace.
async fn end(group: &mut Group, grace: Duration, killed: impl Future<Output = ()>) {
    if !grace.is_zero() {
        tokio::select! {
            biased;
            () = group.terminate(grace) => {}
            () = killed => {}
        }
    }
    // The group is killed in any case: a leader that ended in order may have left children that did not.
    group.kill();
    let _ = timeout(LAST_BREATH, group.ended()).await;
}

/// A file in memory: unlike a pipe it takes everything at once, whoever reads it or not.
fn readable(input: &str) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    file.write_all(input.as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

fn of_status(status: ExitStatus) -> Ending {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ending::Done,
        (Some(code), _) => Ending::ExitCode(code),
        (None, signal) => Ending::Signal(signal.unwrap_or_default()),
    }
}

fn not_started(cause: &io::Error, began: Instant) -> Ran {
    const ENOEXEC: i32 = 8;
    let ending = match cause.kind() {
        io::ErrorKind::NotFound => Ending::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => Ending::NotExecutable,
        _ if cause.raw_os_error() == Some(ENOEXEC) => Ending::NotExecutable,
        _ => Ending::NotStarted,
    };
    Ran { ending, output: cause.to_string(), took: began.elapsed() }
}

impl Ran {
    /// Returns whether it ended with exit code 0.
    pub fn is_done(&self) -> bool {
        self.ending == Ending::Done
    }

    /// Returns how it ended and what it said last, without the time it took: the same each time it fails in the same way.
    pub fn cause(&self) -> String {
        match self.summary() {
            said if said.is_empty() => self.ending.to_string(),
            said => format!("{}: {said}", self.ending),
        }
    }

    /// Returns the last line it said, as one printable line of at most 240 bytes.
    pub fn summary(&self) -> String {
        one_line(self.output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default())
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::ExitCode(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::TimedOut => f.write_str("killed at its time limit"),
            Self::Killed => f.write_str("killed"),
            Self::NotFound => f.write_str("no such program"),
            Self::NotExecutable => f.write_str("it cannot be executed"),
            Self::NotStarted => f.write_str("it could not be started"),
        }
    }
}

/// `exit code 3 after 80 ms: what it said last`.
impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {}", self.ending, Span(self.took))?;
        match self.summary() {
            said if said.is_empty() => Ok(()),
            said => write!(f, ": {said}"),
        }
    }
}

#[cfg(test)]
mod tests;
