//! Carries out the verbs that ask a running watchdog.

use std::io::{self, Write};

use daemon::{Client, Inquiry, Trouble, behind_sudo, inquire, visible};

use super::{Exit, Options, Question, WATCHDOG, render};
use crate::config::Config;
use crate::control::api::{ActRequest, Done, StatusView};
use crate::state::Entry;

/// Asks the running watchdog and prints its answer; an error goes to standard error, or with `--json` to standard output.
pub fn ask(options: &Options, question: &Question) -> Exit {
    let socket = match Config::load(&options.config) {
        Ok((config, _)) => config.control,
        Err(errors) => {
            let _ = writeln!(io::stderr(), "{errors}");
            return Exit::Usage;
        }
    };
    let client = Client { socket, program: &WATCHDOG };
    match inquire(client, options.json, async |inquiry| answer(inquiry, question).await) {
        // Its verbs have always ended so, and scripts rely on it.
        Exit::Refused => Exit::Failed,
        exit => exit,
    }
}

/// Asks, and prints the answer as people or programs want it; an act is sent with who orders it.
pub(super) async fn answer<W: Write>(inquiry: &mut Inquiry<W>, question: &Question) -> Result<(), Trouble> {
    if let Some((act, reason)) = question.act() {
        let order = ActRequest { act, reason: reason.reason.clone(), by: behind_sudo() };
        let done: Done = inquiry.post("/act", &order).await?;
        return inquiry.show(&done, |done| format!("{}\n", visible(&done.sentence)));
    }
    match question {
        Question::Status { watch: true } => inquiry.watch("/status", render::status).await,
        Question::History { limit } => {
            let entries: Vec<Entry> = inquiry.get(&format!("/history?limit={limit}")).await?;
            inquiry.show(&entries, |entries| render::history(entries))
        }
        _ => {
            let view: StatusView = inquiry.get("/status").await?;
            inquiry.show(&view, render::status)
        }
    }
}
