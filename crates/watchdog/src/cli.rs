//! The operator's command line: what can be typed, and the verbs that ask a running watchdog or look after the node. `run`
//! is the program's own.
//!
//! Exit codes are stable: 0 done, 1 failed or refused, 2 bad command line or configuration.

mod ask;
mod check;
mod legacy_failover;
mod render;

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
pub use daemon::Exit;
use daemon::Program;
use failover::Label;
use failover::duty::{Failback, Mode};

use crate::config::defaults;
use crate::control::api;
pub use ask::ask;
pub use check::check;
pub use legacy_failover::{release, take_over};

/// The watchdog, as messages name it.
pub static WATCHDOG: Program = Program {
    name: "watchdog",
    unit: "bascule-watchdog",
    elsewhere: "--config FILE names it as `control`",
    allowed: "of the group bascule",
};

/// The command line.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "bascule-watchdog",
    version,
    about = "Watches over one XiVO, CC or media server: votes with its peers, starts and stops its services, and says why.",
    after_help = "Exit codes: 0 done, 1 failed or refused, 2 bad command line or configuration."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// What holds for every verb.
    #[command(flatten)]
    pub options: Options,
}

/// What holds for every verb.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Options {
    /// Answer in JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = defaults::CONFIG)]
    pub config: PathBuf,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Watch over this node until told to end.
    Run,
    /// Check the configuration and this machine, and print every bound that follows.
    Check {
        /// As root: look at all files as this user would. By default that of bascule-watchdog.service, which is root.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
    /// Take XiVO's own failover (a cron table) out of the way, reversibly.
    Takeover,
    /// Put XiVO's own failover back; stop the watchdog first.
    Release,
    /// Ask the running watchdog.
    #[command(flatten)]
    Ask(Question),
}

/// What a running watchdog is asked or told.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Question {
    /// What this node does, why, and who guards it.
    Status {
        /// Go on showing it, every second.
        #[arg(long)]
        watch: bool,
    },
    /// What happened here, newest first.
    History {
        /// How many.
        #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
    },
    /// Have this node serve, once it has its votes.
    Activate {
        /// Now, whatever the other voters say: can make two Actives, and shows as unguarded.
        #[arg(long)]
        force: bool,
        /// For the journal.
        #[command(flatten)]
        reason: Reason,
    },
    /// Stop serving, and leave it to the peer.
    Deactivate {
        /// For the journal.
        #[command(flatten)]
        reason: Reason,
    },
    /// Forbid automatic starts and failback; a node that must stop still stops.
    Freeze {
        /// For the journal.
        #[command(flatten)]
        reason: Reason,
    },
    /// Allow them again, and let go of an operator's choice.
    Resume {
        /// For the journal.
        #[command(flatten)]
        reason: Reason,
    },
    /// Choose who decides that this node serves.
    Mode {
        /// The protocol, or an operator.
        #[arg(value_parser = words::<Mode>())]
        mode: Mode,
        /// For the journal.
        #[command(flatten)]
        reason: Reason,
    },
    /// Choose when Standby stops for a Main that is back.
    Failback {
        /// At once after its hold-down, only in the window, or on an operator's word.
        #[arg(value_parser = words::<Failback>())]
        failback: Failback,
        /// For the journal.
        #[command(flatten)]
        reason: Reason,
    },
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Reason {
    /// For the journal.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
}

/// Takes one of a closed set's words.
fn words<T: Label + Send + Sync>() -> impl TypedValueParser<Value = T> {
    let known = T::ALL.iter().map(|one| PossibleValue::new(one.label()).help(one.meaning()));
    PossibleValuesParser::new(known).try_map(|word| T::from_label(&word).ok_or("the word is not known"))
}

impl Question {
    /// The act it is, if it is one, and why.
    fn act(&self) -> Option<(api::ActWord, &Reason)> {
        use api::ActWord;
        Some(match self {
            Self::Status { .. } | Self::History { .. } => return None,
            Self::Activate { force: false, reason } => (ActWord::Activate, reason),
            Self::Activate { force: true, reason } => (ActWord::ActivateForce, reason),
            Self::Deactivate { reason } => (ActWord::Deactivate, reason),
            Self::Freeze { reason } => (ActWord::Freeze, reason),
            Self::Resume { reason } => (ActWord::Resume, reason),
            Self::Mode { mode, reason } => (ActWord::Mode(*mode), reason),
            Self::Failback { failback, reason } => (ActWord::Failback(*failback), reason),
        })
    }
}

#[cfg(test)]
mod tests;
