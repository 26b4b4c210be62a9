//! One process of the demo: started, killed, suspended and brought back. None outlives the demo: the kernel kills
//! them with it.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Lines of a log that tell why a process ended.
const LAST_LINES: usize = 12;

/// A program with its arguments, and how it is known to be ready.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) title: &'static str,
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// Takes what it says on standard error.
    pub(super) log: PathBuf,
    pub(super) ready: Ready,
}

/// How it is known that a program is ready.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ready {
    /// It writes a line within this time.
    FirstLine(Duration),
    /// Whoever started it finds out.
    Elsewhere,
}

/// A program, running or dead.
#[derive(Debug)]
pub(super) struct Process {
    program: Program,
    child: Option<Child>,
}

/// Why a process does not run as ordered.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The system did not start it, or does not let us end it.
    #[error("{title}: {source}")]
    Io {
        /// The process, as its messages name it.
        title: &'static str,
        /// What the system says of it.
        #[source]
        source: io::Error,
    },
    /// It ended.
    #[error("{title} ended{said}")]
    Ended {
        /// The process, as its messages name it.
        title: &'static str,
        /// The last of what it logged.
        said: String,
    },
    /// It started and says nothing.
    #[error("{title} was not ready within {} s{said}", limit.as_secs())]
    NotReady {
        /// The process, as its messages name it.
        title: &'static str,
        /// The time within which it should have been ready.
        limit: Duration,
        /// The last of what it logged.
        said: String,
    },
    /// There is nothing to suspend.
    #[error("{0} is dead; bring it back first")]
    Dead(&'static str),
}

impl Process {
    /// Starts `program` and waits until it is ready.
    pub(super) async fn start(program: Program) -> Result<Self, ProcessError> {
        let mut process = Self { program, child: None };
        process.spawn().await?;
        Ok(process)
    }

    async fn spawn(&mut self) -> Result<(), ProcessError> {
        let log = OpenOptions::new().create(true).append(true).open(&self.program.log);
        let log = log.map_err(|error| self.io(error))?;
        let ours = std::env::current_exe().map_err(|error| self.io(error))?;
        // From the thread that runs the demo as long as it lasts: to the kernel that thread is the parent.
        let child = Command::new(ours)
            .args(["die-with-parent", "--parent", &std::process::id().to_string(), "--"])
            .arg(&self.program.path)
            .args(&self.program.arguments)
            .stdin(Stdio::null())
            .stdout(match self.program.ready {
                Ready::FirstLine(_) => Stdio::piped(),
                Ready::Elsewhere => Stdio::from(log.try_clone().map_err(|error| self.io(error))?),
            })
            .stderr(log)
            // Ctrl-C is for the demo, which then ends them in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.io(error))?;
        self.child = Some(child);
        match self.program.ready {
            Ready::FirstLine(limit) => self.first_line(limit).await,
            Ready::Elsewhere => Ok(()),
        }
    }

    async fn first_line(&mut self, limit: Duration) -> Result<(), ProcessError> {
        let title = self.program.title;
        let Some(out) = self.child.as_mut().and_then(|child| child.stdout.as_mut()) else { return Ok(()) };
        let mut line = String::new();
        match timeout(limit, BufReader::new(out).read_line(&mut line)).await {
            Ok(Ok(1..)) => Ok(()),
            Ok(_) => Err(ProcessError::Ended { title, said: self.last_words() }),
            Err(_) => Err(ProcessError::NotReady { title, limit, said: self.last_words() }),
        }
    }

    /// Whether it runs; the error says how it ended.
    pub(super) fn running(&mut self) -> Result<(), ProcessError> {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => Ok(()),
            Some(Err(error)) => Err(self.io(error)),
            None | Some(Ok(Some(_))) => Err(ProcessError::Ended { title: self.program.title, said: self.last_words() }),
        }
    }

    /// Returns once it has ended by itself.
    pub(super) async fn ended(&mut self) -> ProcessError {
        if let Some(child) = &mut self.child {
            let _ = child.wait().await;
        }
        ProcessError::Ended { title: self.program.title, said: self.last_words() }
    }

    /// Kills it; a dead one stays dead.
    pub(super) async fn kill(&mut self) -> Result<(), ProcessError> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.map_err(|error| self.io(error))?;
        }
        Ok(())
    }

    /// Stops it where it stands; the kernel goes on taking its connections.
    pub(super) fn suspend(&mut self) -> Result<(), ProcessError> {
        self.running().map_err(|_| ProcessError::Dead(self.program.title))?;
        self.signal(Signal::STOP)
    }

    /// Lets a suspended one go on, starts a dead one.
    pub(super) async fn bring_back(&mut self) -> Result<(), ProcessError> {
        match self.running() {
            Ok(()) => self.signal(Signal::CONT),
            Err(_) => self.spawn().await,
        }
    }

    /// Asks it to end, and kills it after `limit`.
    pub(super) async fn end(&mut self, limit: Duration) {
        // What cannot be signalled has ended, or is killed below.
        let _ = self.signal(Signal::TERM);
        if let Some(child) = &mut self.child {
            let _ = timeout(limit, child.wait()).await;
        }
        let _ = self.kill().await;
    }

    /// The last lines it logged, to follow the title in a sentence.
    pub(super) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.program.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        match &lines[lines.len().saturating_sub(LAST_LINES)..] {
            [] => " and said nothing".to_owned(),
            last => format!("; its last words:\n{}", last.join("\n")),
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        // None: it was waited for, and its number may be another's by now.
        let pid = self.child.as_ref().and_then(Child::id).and_then(|id| Pid::from_raw(id.cast_signed()));
        match pid {
            Some(pid) => kill_process(pid, signal).map_err(|error| self.io(error.into())),
            None => Err(ProcessError::Dead(self.program.title)),
        }
    }

    fn io(&self, source: io::Error) -> ProcessError {
        ProcessError::Io { title: self.program.title, source }
    }
}
