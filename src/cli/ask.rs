//! Carries out the verbs that ask a running Edge.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use daemon::{AskError, Client};
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::render::{self, Paint};
use super::{Exit, Options, Question};
use crate::admin::api::{
    Done, Explain, FreezeRequest, JournalEntry, Report, ResumeRequest, SessionRow, Status, SwitchAnswer, SwitchRequest,
    WalkState, WalkStatus,
};

/// Between two looks of `status --watch`.
const WATCH: Duration = Duration::from_secs(1);
/// Between two looks at a switch of the whole site.
const LOOK: Duration = Duration::from_millis(200);

/// Asks a running Edge and prints its answer; an error goes to standard error, or with `--json` to standard output.
pub fn ask(options: &Options, question: &Question) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bascule: cannot start: {error}");
            return Exit::Failed;
        }
    };
    let mut inquiry = Inquiry {
        client: Client { socket: options.admin_socket(), program: &super::EDGE },
        json: options.json,
        paint: Paint::on(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()),
        terminal: io::stdout().is_terminal(),
        out: io::stdout(),
    };
    match runtime.block_on(inquiry.ask(question)) {
        Ok(()) => Exit::Done,
        // Whoever reads has enough: `bascule history | head`.
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(Trouble::Output(error)) => {
            eprintln!("bascule: cannot print: {error}");
            Exit::Failed
        }
        Err(Trouble::Told(exit)) => exit,
        Err(Trouble::Ask(error)) => {
            if options.json {
                let _ = inquiry.object(&error.body());
            } else {
                eprintln!("{error}");
            }
            Exit::from(&error)
        }
    }
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("it was told why")]
    Told(Exit),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Asks and prints.
pub(super) struct Inquiry<W> {
    pub(super) client: Client,
    pub(super) json: bool,
    pub(super) paint: Paint,
    pub(super) terminal: bool,
    pub(super) out: W,
}

impl<W: Write> Inquiry<W> {
    pub(super) async fn ask(&mut self, question: &Question) -> Result<(), Trouble> {
        let paint = self.paint;
        match question {
            Question::Status { watch: true } => self.watch().await,
            Question::Status { watch: false } => {
                let status: Status = self.get("/v1/status").await?;
                self.show(&status, |status| render::status(status, paint))
            }
            Question::Explain => {
                let explain: Explain = self.get("/v1/explain").await?;
                self.show(&explain, |explain| render::explain(explain, paint))
            }
            Question::History { limit } => {
                let entries: Vec<JournalEntry> = self.get(&format!("/v1/history?limit={limit}")).await?;
                self.show(&entries, |entries| render::history(entries, paint))
            }
            Question::Report { number } => {
                let Some(number) = self.report_number(*number).await? else {
                    return self.show(&None::<Report>, |_| "There was no switch yet, so there is no report.\n".into());
                };
                let report: Report = self.get(&format!("/v1/reports/{number}")).await?;
                self.show(&report, |report| render::report(report, paint))
            }
            Question::Sessions { limit } => {
                let rows: Vec<SessionRow> = self.get(&format!("/v1/sessions?limit={limit}")).await?;
                self.show(&rows, |rows| render::sessions(rows, paint))
            }
            Question::Switch { to, dry_run, force, reason } => {
                let (to, dry_run, force) = (*to, *dry_run, *force);
                let order = SwitchRequest { to, dry_run, force, reason: reason.clone(), by: by() };
                let answer: SwitchAnswer = self.post("/v1/switch", &order).await?;
                match answer.walk.clone() {
                    Some(walk) => self.walk(answer, walk).await,
                    None => {
                        self.show(&answer, |answer| render::switched(answer, paint))?;
                        match answer.refused {
                            // As the order itself would have been.
                            Some(_) => Err(Trouble::Told(Exit::Refused)),
                            None => Ok(()),
                        }
                    }
                }
            }
            Question::Freeze { reason } => {
                let order = FreezeRequest { reason: reason.clone(), by: by() };
                let done: Done = self.post("/v1/freeze", &order).await?;
                self.show(&done, render::done)
            }
            Question::Resume { reason } => {
                let order = ResumeRequest { reason: reason.clone(), by: by() };
                let done: Done = self.post("/v1/resume", &order).await?;
                self.show(&done, render::done)
            }
        }
    }

    /// Follows a switch of the whole site to its end, step by step. Only a verified one is a success.
    async fn walk(&mut self, mut answer: SwitchAnswer, mut walk: WalkStatus) -> Result<(), Trouble> {
        let paint = self.paint;
        if !self.json {
            self.print(&render::walk::plan(&walk, paint))?;
        }
        let follows = !walk.state.is_over();
        if follows {
            walk = self.follow(walk).await?;
        }
        if self.json {
            if follows {
                let status: Status = self.get("/v1/status").await?;
                (answer.live, answer.epoch, answer.switched) =
                    (status.live, status.epoch, walk.state == WalkState::Done);
            }
            answer.walk = Some(walk.clone());
            self.object(&answer)?;
        } else if follows {
            self.print(&render::walk::ended(&walk, paint))?;
        }
        match walk.state {
            WalkState::Done | WalkState::Planned => Ok(()),
            WalkState::Refused => Err(Trouble::Told(Exit::Refused)),
            WalkState::Failed | WalkState::Running | WalkState::Undoing => Err(Trouble::Told(Exit::Failed)),
        }
    }

    /// Tells each step as it changes, until nothing more will come.
    async fn follow(&mut self, mut walk: WalkStatus) -> Result<WalkStatus, Trouble> {
        let mut told = Vec::new();
        loop {
            if !self.json {
                self.print(&render::walk::news(&told, &walk.steps, self.paint))?;
            }
            if walk.state.is_over() {
                return Ok(walk);
            }
            told = walk.steps;
            tokio::time::sleep(LOOK).await;
            walk = self.get("/v1/walk").await?;
        }
    }

    fn print(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Redraws until interrupted; an Edge that restarts is waited for.
    async fn watch(&mut self) -> Result<(), Trouble> {
        loop {
            let status: Result<Status, AskError> = self.get("/v1/status").await;
            match (&status, self.json) {
                (Ok(status), true) => self.line(status)?,
                (Err(error), true) => self.line(&error.body())?,
                (Ok(status), false) => self.redraw(&render::status(status, self.paint))?,
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

    async fn report_number(&self, number: Option<u64>) -> Result<Option<u64>, AskError> {
        if number.is_some() {
            return Ok(number);
        }
        let status: Status = self.get("/v1/status").await?;
        Ok(status.last_switch.map(|switch| switch.epoch))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AskError> {
        self.read(&self.client.ask(Method::GET, path, Vec::new()).await?)
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, order: &impl Serialize) -> Result<T, AskError> {
        let order = serde_json::to_vec(order).map_err(|error| self.client.broken(&error))?;
        self.read(&self.client.ask(Method::POST, path, order).await?)
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, AskError> {
        serde_json::from_slice(body).map_err(|error| self.client.broken(&error))
    }

    fn show<T: Serialize>(&mut self, answer: &T, human: impl Fn(&T) -> String) -> Result<(), Trouble> {
        match self.json {
            true => self.object(answer)?,
            false => self.out.write_all(human(answer).as_bytes())?,
        }
        Ok(self.out.flush()?)
    }

    fn object(&mut self, answer: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.out, answer)?;
        self.out.write_all(b"\n")
    }

    fn line(&mut self, answer: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, answer)?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}

/// The user behind `sudo`: the Edge itself only sees root.
fn by() -> String {
    std::env::var("SUDO_USER").unwrap_or_default()
}
