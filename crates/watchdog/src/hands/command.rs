//! Runs one external command, with its whole process group, within a time limit.

use std::fmt;
use std::future::Future;
use std::time::Duration;

/// What to run, and for how long at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSpec {
    /// The program and its arguments; no shell.
    pub argv: Vec<String>,
    /// When it is killed, with its process group.
    pub time_limit: Duration,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Exit code 0.
    Done,
    /// Another exit code.
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
    /// How it ended.
    pub ending: Ending,
    /// What it said, standard output and error as they came; the last part of it, if it was long.
    pub output: String,
    /// How long it took.
    pub took: Duration,
}

impl CommandSpec {
    /// Makes a specification.
    pub fn new<T: Into<String>>(argv: impl IntoIterator<Item = T>, time_limit: Duration) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), time_limit }
    }

    /// Runs it. Dropping the future kills the process group.
    pub async fn run(&self) -> Ran {
        self.run_until(std::future::pending()).await
    }

    /// Runs it until it ends or `killed` does: then the process group is killed at once.
    pub async fn run_until(&self, killed: impl Future<Output = ()>) -> Ran {
        let _ = killed;
        unimplemented!()
    }
}

impl Ran {
    /// Returns whether it ended with exit code 0.
    pub fn is_done(&self) -> bool {
        self.ending == Ending::Done
    }

    /// Returns the last line it said, as one printable line.
    pub fn summary(&self) -> String {
        unimplemented!()
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        unimplemented!()
    }
}
