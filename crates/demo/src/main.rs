//! `bascule-demo`: a whole site on this machine.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use demo::cli::{Cli, Verb};
use demo::{parent, remains, side, site};

fn main() -> ExitCode {
    let Cli { verb, demo, json } = Cli::parse();
    match verb {
        None => ended(site::run(&demo, json)),
        Some(Verb::Side(args)) => ended(side::run(&args)),
        Some(Verb::DieWithParent(args)) => ended(parent::become_tied(&args)),
        Some(Verb::RemoveRemains(args)) => ended(remains::remove(&args)),
    }
}

fn ended<T>(result: Result<T, impl Error>) -> ExitCode {
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody else to tell.
            let _ = writeln!(std::io::stderr(), "{}", settings::with_causes(&error).trim_end());
            ExitCode::FAILURE
        }
    }
}
