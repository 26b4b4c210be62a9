//! The program `nft`: scripts that it runs, and tables that it lists.

use std::future::pending;
use std::time::Duration;

use super::FenceError;
use super::nft::{HARD_TABLE, TABLE, not_verified};
use super::seen::Seen;
use crate::node::command::{Ran, Run};

/// Room for the read-back of a table with a thousand ports.
const READ_BACK: usize = 256 * 1024;

/// How it is called. Its calls change nothing here: it may read while the kernel is told something.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) argv: Vec<String>,
    pub(super) time_limit: Duration,
}

pub(super) enum Looked {
    /// The hard fence stands, whatever the other is.
    Hard,
    /// The fence's own table, as it was read.
    Table(Seen),
}

impl Program {
    /// Runs a script: all of it or nothing.
    pub(super) async fn run(&self, act: &'static str, script: &str) -> Result<Ran, FenceError> {
        self.write(act, script, pending()).await
    }

    /// The same, interrupted; what was interrupted has ended when this returns, done or not.
    pub(super) async fn write(
        &self,
        act: &'static str,
        script: &str,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Ran, FenceError> {
        self.call(act, &["-f", "-"], Some(script), interrupted).await
    }

    pub(super) async fn read(&self, act: &'static str, table: &str) -> Result<Seen, FenceError> {
        self.read_until(act, table, pending()).await
    }

    pub(super) async fn read_until(
        &self,
        act: &'static str,
        table: &str,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Seen, FenceError> {
        let ran = self.call(act, &["-j", "list", "table", "inet", table], None, interrupted).await?;
        Seen::read(&ran.output).map_err(|cause| not_verified(act, &cause))
    }

    /// Reads the fence; the hard one first, if it may be there.
    pub(super) async fn look<I: Future<Output = ()>>(
        &self,
        hardened: bool,
        interrupted: impl Fn() -> I,
    ) -> Result<Looked, FenceError> {
        const ACT: &str = "read the fence";
        // The hard fence keeps phones out whatever the other table says: so it is looked at first.
        let hard = if hardened { self.read_until(ACT, HARD_TABLE, interrupted()).await.ok() } else { None };
        if hard.is_some_and(|seen| seen.verify(&[], HARD_TABLE).is_ok()) {
            return Ok(Looked::Hard);
        }
        self.read_until(ACT, TABLE, interrupted()).await.map(Looked::Table)
    }

    async fn call(
        &self,
        act: &'static str,
        arguments: &[&str],
        input: Option<&str>,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Ran, FenceError> {
        let argv: Vec<_> = self.argv.iter().cloned().chain(arguments.iter().map(ToString::to_string)).collect();
        // The program gets no grace: while one that hangs is waited for, phones may get in.
        let (time_limit, grace) = (self.time_limit, Duration::ZERO);
        let run = Run { argv: &argv, time_limit, input, grace, keep: READ_BACK, record: None };
        let ran = run.until(interrupted).await;
        if ran.is_done() {
            return Ok(ran);
        }
        Err(FenceError::Command { act, command: argv.join(" "), said: ran.to_string() })
    }
}
