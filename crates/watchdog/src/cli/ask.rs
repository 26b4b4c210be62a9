//! Carries out the verbs that ask a running watchdog.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use daemon::{AskError, Client, visible};
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Exit, Options, Question, WATCHDOG, by, render};
use crate::config::Config;
use crate::control::api::{ActRequest, Done, StatusView};
use crate::state::Entry;

/// Between two looks of `status --watch`.
const WATCH: Duration = Duration::from_secs(1);

/// Asks the running watchdog and prints its answer; an error goes to standard error, or with `--json` to standard output.
pub fn ask(options: &Options, question: &Question) -> Exit {
    let socket = match Config::load(&options.config) {
        Ok((config, _)) => config.control,
        Err(errors) => {
            let _ = writeln!(io::stderr(), "{errors}");
            return Exit::Usage;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(io::stderr(), "cannot start: {error}");
            return Exit::Failed;
        }
    };
    let client = Client { socket, program: &WATCHDOG };
    let terminal = io::stdout().is_terminal();
    let mut inquiry = Inquiry { client, json: options.json, terminal, out: io::stdout() };
    match runtime.block_on(inquiry.ask(question)) {
        Ok(()) => Exit::Done,
        // Whoever reads has enough: `history | head`.
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(Trouble::Output(error)) => {
            let _ = writeln!(io::stderr(), "cannot print: {error}");
            Exit::Failed
        }
        Err(Trouble::Ask(error)) => {
            if options.json {
                let _ = inquiry.line(&error.body());
            } else {
                let _ = writeln!(io::stderr(), "{error}");
            }
            Exit::Failed
        }
    }
}

/// Why a verb failed: what is printed, and which exit code.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Asks the running watchdog and prints what it says.
pub(super) struct Inquiry<W> {
    pub(super) client: Client,
    pub(super) json: bool,
    pub(super) terminal: bool,
    pub(super) out: W,
}

impl<W: Write> Inquiry<W> {
    pub(super) async fn ask(&mut self, question: &Question) -> Result<(), Trouble> {
        if let Some((act, reason)) = question.act() {
            let order = ActRequest { act, reason: reason.reason.clone(), by: by() };
            let body = serde_json::to_vec(&order).map_err(|error| self.client.broken(&error))?;
            let done: Done = self.read(&self.client.ask(Method::POST, "/act", body).await?)?;
            return self.show(&done, |done| format!("{}\n", visible(&done.sentence)));
        }
        match question {
            Question::Status { watch: true } => self.watch().await,
            Question::History { limit } => {
                let entries: Vec<Entry> = self.get(&format!("/history?limit={limit}")).await?;
                self.show(&entries, |entries| render::history(entries))
            }
            _ => {
                let view: StatusView = self.get("/status").await?;
                self.show(&view, render::status)
            }
        }
    }

    /// Redraws until interrupted; a watchdog that restarts is waited for.
    async fn watch(&mut self) -> Result<(), Trouble> {
        loop {
            let view: Result<StatusView, AskError> = self.get("/status").await;
            match (&view, self.json) {
                (Ok(view), true) => self.line(view)?,
                (Err(error), true) => self.line(&error.body())?,
                (Ok(view), false) => self.redraw(&render::status(view))?,
                (Err(error), false) => self.redraw(&format!("{error}\n"))?,
            }
            tokio::time::sleep(WATCH).await;
        }
    }

    /// Paints over the last picture instead of clearing it, which would flicker.
    fn redraw(&mut self, text: &str) -> io::Result<()> {
        if self.terminal {
            let text = text.replace('\n', "\x1b[K\n");
            write!(self.out, "\x1b[H{text}\x1b[J")?;
        } else {
            writeln!(self.out, "{text}")?;
        }
        self.out.flush()
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AskError> {
        self.read(&self.client.ask(Method::GET, path, Vec::new()).await?)
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, AskError> {
        serde_json::from_slice(body).map_err(|error| self.client.broken(&error))
    }

    fn show<T: Serialize>(&mut self, answer: &T, human: impl Fn(&T) -> String) -> Result<(), Trouble> {
        if self.json {
            serde_json::to_writer_pretty(&mut self.out, answer).map_err(io::Error::from)?;
            self.out.write_all(b"\n")?;
        } else {
            self.out.write_all(human(answer).as_bytes())?;
        }
        Ok(self.out.flush()?)
    }

    fn line(&mut self, answer: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, answer)?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}
