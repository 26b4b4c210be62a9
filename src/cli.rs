//! The operator's command line: what can be typed, and the verbs that ask a running Edge. `run` and `check` are the
//! program's own.
//!
//! Exit codes are stable: 0 done, 1 failed, 2 bad command line or configuration, 3 refused by the Edge.

mod ask;
pub mod certs;
pub mod check;
pub mod import;
mod maintenance;
mod render;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use daemon::Program;
pub use daemon::{AskError, Exit};
use failover::Side;

use crate::admin::api::side;
use crate::cli::certs::CertsVerb;
use crate::cli::import::Import;
pub use crate::cli::maintenance::MaintenanceVerb;
pub use ask::ask;

/// Where the admin socket is if nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/bascule/admin.sock";

/// The Edge, as messages name it.
pub static EDGE: Program = Program {
    name: "Edge",
    unit: "bascule",
    elsewhere: "--socket PATH or --config FILE",
    allowed: "of the group that `admin` names in the configuration",
};

/// The command line.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "bascule",
    version,
    about = "The front door of a XiVO site: users browse one name, and whichever of Main and Standby works serves them.",
    after_help = "Exit codes: 0 done, 1 failed, 2 bad command line or configuration, 3 refused by the Edge."
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
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/bascule/edge.yaml")]
    pub config: PathBuf,
    /// The admin socket; otherwise what the configuration names, or /run/bascule/admin.sock.
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Run the Edge.
    Run,
    /// Check the configuration and print the bounds it gives.
    Check {
        /// Probe every backend too.
        #[arg(long)]
        live: bool,
        /// As root: look at all files as this user would. By default that of bascule.service, or `bascule`, for a file that
        /// the unit names or that is in /etc/bascule.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
    /// Draft a configuration from the files of an existing Edge, and say what is not carried over.
    Import(Box<Import>),
    /// Make and show the certificates by which nodes, Edges and operators know each other.
    #[command(subcommand)]
    Certs(CertsVerb),
    /// Ask a running Edge.
    #[command(flatten)]
    Ask(Question),
}

/// What a running Edge is asked or told.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Question {
    /// Who is live, who works, and what would happen next.
    Status {
        /// Go on showing it, every second.
        #[arg(long)]
        watch: bool,
    },
    /// Why the live side is live.
    Explain,
    /// The last decisions, newest first.
    History {
        /// How many.
        #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// How a switch went, phase by phase.
    Report {
        /// The switch's number, which is its epoch; the last switch's if there is none.
        number: Option<u64>,
    },
    /// Make a side live. Where watchdogs report, the whole site moves, step by step, and back if a step fails.
    Switch {
        /// That side: main or standby.
        #[arg(long, value_name = "SIDE", value_parser = side::parse)]
        to: Side,
        /// Only say what would happen.
        #[arg(long)]
        dry_run: bool,
        /// Even though that side does not work; moves the Edge's traffic alone, and asks no node.
        #[arg(long)]
        force: bool,
        /// For the journal.
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Forbid automatic switches.
    Freeze {
        /// For the journal.
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Allow automatic switches again.
    Resume {
        /// For the journal.
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Answer with a maintenance page: the whole site, or one route.
    #[command(subcommand)]
    Maintenance(MaintenanceVerb),
    /// Open sessions, oldest first.
    Sessions {
        /// How many.
        #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
}

impl Options {
    /// The admin socket. A configuration that is broken otherwise still says where it is.
    pub fn admin_socket(&self) -> PathBuf {
        let configured = || socket_in(&settings::read_text(&self.config).ok()?);
        // Read leniently and not as `run` reads it: somebody whose file is wrong must still reach the Edge that runs
        // with the old one.
        self.socket.clone().or_else(configured).unwrap_or_else(|| Path::new(DEFAULT_SOCKET).to_owned())
    }
}

/// `admin: PATH` or `admin: { socket: PATH }`.
fn socket_in(yaml: &str) -> Option<PathBuf> {
    let file: serde_yaml::Value = serde_yaml::from_str(yaml).ok()?;
    let admin = file.get("admin")?;
    admin.as_str().or_else(|| admin.get("socket")?.as_str()).map(PathBuf::from)
}

#[cfg(test)]
mod tests;
