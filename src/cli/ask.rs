//! Carries out the verbs that ask a running Edge.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use daemon::{AskError, Client, Inquiry, Trouble, behind_sudo, inquire};

use super::render::{self, Paint};
use super::{Exit, Options, Question};
use crate::admin::api::{
    Done, Explain, FreezeRequest, JournalEntry, Report, ResumeRequest, SessionRow, Status, SwitchAnswer, SwitchRequest,
    SwitchoverState, SwitchoverStatus, Time,
};

/// Between two looks at a switch of the whole site.
const LOOK: Duration = Duration::from_millis(200);

/// Asks a running Edge and prints its answer; an error goes to standard error, or with `--json` to standard output.
pub fn ask(options: &Options, question: &Question) -> Exit {
    let client = Client { socket: options.admin_socket(), program: &super::EDGE };
    // Colours are for a terminal, and not for those who said so (no-color.org).
    let paint = Paint::on(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    inquire(client, options.json, async |inquiry| Verbs { inquiry, paint }.carry_out(question).await)
}

/// What the verbs do with an inquiry.
pub(super) struct Verbs<'a, W> {
    pub(super) inquiry: &'a mut Inquiry<W>,
    pub(super) paint: Paint,
}

impl<W: Write> Verbs<'_, W> {
    pub(super) async fn carry_out(&mut self, question: &Question) -> Result<(), Trouble> {
        let paint = self.paint;
        match question {
            Question::Status { watch: true } => {
                self.inquiry.watch("/v1/status", |status: &Status| render::status(status, paint)).await
            }
            Question::Status { watch: false } => {
                let status: Status = self.inquiry.get("/v1/status").await?;
                self.inquiry.show(&status, |status| render::status(status, paint))
            }
            Question::Explain => {
                let explain: Explain = self.inquiry.get("/v1/explain").await?;
                self.inquiry.show(&explain, |explain| render::explain(explain, paint))
            }
            Question::History { limit } => {
                let entries: Vec<JournalEntry> = self.inquiry.get(&format!("/v1/history?limit={limit}")).await?;
                self.inquiry.show(&entries, |entries| render::history(entries, paint))
            }
            Question::Report { number } => {
                let Some(number) = self.report_number(*number).await? else {
                    return self
                        .inquiry
                        .show(&None::<Report>, |_| "There was no switch yet, so there is no report.\n".into());
                };
                let report: Report = self.inquiry.get(&format!("/v1/reports/{number}")).await?;
                self.inquiry.show(&report, |report| render::report(report, paint))
            }
            Question::Sessions { limit } => {
                let rows: Vec<SessionRow> = self.inquiry.get(&format!("/v1/sessions?limit={limit}")).await?;
                self.inquiry.show(&rows, |rows| render::sessions(rows, paint))
            }
            Question::Switch { to, dry_run, force, reason } => {
                let (to, dry_run, force) = (*to, *dry_run, *force);
                let order = SwitchRequest { to, dry_run, force, reason: reason.clone(), by: behind_sudo() };
                let answer: SwitchAnswer = self.inquiry.post("/v1/switch", &order).await?;
                match answer.switchover.clone() {
                    Some(switchover) => self.switchover(answer, switchover).await,
                    None => {
                        self.inquiry.show(&answer, |answer| render::switched(answer, paint))?;
                        match answer.refused {
                            // As the order itself would have been.
                            Some(_) => Err(Trouble::Told(Exit::Refused)),
                            None => Ok(()),
                        }
                    }
                }
            }
            Question::Freeze { reason } => {
                let order = FreezeRequest { reason: reason.clone(), by: behind_sudo() };
                let done: Done = self.inquiry.post("/v1/freeze", &order).await?;
                self.inquiry.show(&done, render::done)
            }
            Question::Maintenance(verb) => match verb.order(Time::now()) {
                Some(order) => {
                    let done: Done = self.inquiry.post("/v1/maintenance", &order).await?;
                    self.inquiry.show(&done, render::done)
                }
                None => {
                    let status: Status = self.inquiry.get("/v1/status").await?;
                    self.inquiry.show(&status.maintenance, |all| render::maintenance(all, status.now))
                }
            },
            Question::Resume { reason } => {
                let order = ResumeRequest { reason: reason.clone(), by: behind_sudo() };
                let done: Done = self.inquiry.post("/v1/resume", &order).await?;
                self.inquiry.show(&done, render::done)
            }
        }
    }

    /// Follows a switch of the whole site to its end, step by step. Only a verified one is a success.
    async fn switchover(&mut self, mut answer: SwitchAnswer, mut switchover: SwitchoverStatus) -> Result<(), Trouble> {
        let paint = self.paint;
        if !self.inquiry.json {
            self.inquiry.print(&render::switchover::plan(&switchover, paint))?;
        }
        let follows = !switchover.state.is_over();
        if follows {
            switchover = self.follow(switchover).await?;
        }
        if self.inquiry.json {
            if follows {
                let status: Status = self.inquiry.get("/v1/status").await?;
                // The order was answered when the switchover began: what it says of traffic is of that moment.
                (answer.live, answer.epoch, answer.switched) =
                    (status.live, status.epoch, switchover.state == SwitchoverState::Done);
            }
            answer.switchover = Some(switchover.clone());
            self.inquiry.object(&answer)?;
        } else if follows {
            self.inquiry.print(&render::switchover::ended(&switchover, paint))?;
        }
        match switchover.state {
            SwitchoverState::Done | SwitchoverState::Planned => Ok(()),
            SwitchoverState::Refused => Err(Trouble::Told(Exit::Refused)),
            // A script that goes on behind a switch needs it done, not under way.
            SwitchoverState::Failed | SwitchoverState::Running | SwitchoverState::Undoing => {
                Err(Trouble::Told(Exit::Failed))
            }
        }
    }

    /// Tells each step as it changes, until nothing more will come.
    async fn follow(&mut self, mut switchover: SwitchoverStatus) -> Result<SwitchoverStatus, Trouble> {
        let mut told = Vec::new();
        loop {
            if !self.inquiry.json {
                self.inquiry.print(&render::switchover::news(&told, &switchover.steps, self.paint))?;
            }
            if switchover.state.is_over() {
                return Ok(switchover);
            }
            told = switchover.steps;
            tokio::time::sleep(LOOK).await;
            switchover = self.inquiry.get("/v1/walk").await?;
        }
    }

    async fn report_number(&self, number: Option<u64>) -> Result<Option<u64>, AskError> {
        if number.is_some() {
            return Ok(number);
        }
        let status: Status = self.inquiry.get("/v1/status").await?;
        Ok(status.last_switch.map(|switch| switch.epoch))
    }
}
