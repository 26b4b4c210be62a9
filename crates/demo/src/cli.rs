//! The command line: of the demo, for people; of its processes, hidden.

use clap::{Parser, Subcommand};

use crate::parent::TiedArgs;
use crate::remains::RemainsArgs;
use crate::side::SideArgs;
use crate::site::DemoArgs;

/// What `bascule-demo` is told; see `--help`.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "bascule-demo",
    version,
    about = "A whole XiVO site on this machine, to play with: Main, Standby and the Edge `bascule` that lies beside this program.",
    after_help = "Exit codes: 0 done, 1 failed, 2 bad command line.",
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What a process of the demo does; without it, the demo itself.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// How the demo is to be, and what to do in the one that runs.
    #[command(flatten)]
    pub demo: DemoArgs,
    /// Answer in JSON, one object a line.
    #[arg(long)]
    pub json: bool,
}

/// What the processes of a demo do. Tests start sides in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Play one side of a site.
    #[command(hide = true)]
    Side(SideArgs),
    /// Become a program that is killed when its parent ends.
    #[command(hide = true)]
    DieWithParent(TiedArgs),
    /// Wait for the end of the demo and remove what it left.
    #[command(hide = true)]
    RemoveRemains(RemainsArgs),
}
