//! How a verb ends, in the exit codes that scripts and the service manager go by.

use std::process::ExitCode;

use crate::client::AskError;

/// How a verb ended; scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: it was done.
    Done,
    /// 1: it failed.
    Failed,
    /// 2: the command line or the configuration is wrong, so that nothing was tried.
    Usage,
    /// 3: the running program understood and refused, where its verbs tell that from a failure.
    Refused,
}

impl From<&AskError> for Exit {
    fn from(error: &AskError) -> Self {
        if error.is_refusal() { Self::Refused } else { Self::Failed }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Usage => Self::from(2),
            Exit::Refused => Self::from(3),
        }
    }
}
