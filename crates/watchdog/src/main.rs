//! `bascule-watchdog`: the daemon of a node, and its operator's command line.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use watchdog::cli::{self, Cli, Exit, Options, Verb};
use watchdog::config::Config;
use watchdog::{drive, rival, systemd};

fn main() -> ExitCode {
    let Cli { verb, options } = Cli::parse();
    let exit = match verb {
        Verb::Run => run(&options),
        Verb::Check => cli::check(&options),
        Verb::Takeover => cli::take_over(&options),
        Verb::Release => cli::release(&options),
        Verb::Ask(question) => cli::ask(&options, &question),
    };
    exit.into()
}

fn run(options: &Options) -> Exit {
    let (config, warnings) = match Config::load(&options.config) {
        Ok(loaded) => loaded,
        Err(errors) => {
            say(&errors.to_string());
            return Exit::Usage;
        }
    };
    log();
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    if let Some(table) = &config.rival
        && let Err(error) = rival::refuse(table)
    {
        say(&settings::with_causes(&error));
        return Exit::Failed;
    }
    // The first provider wins, and there is no other.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // One thread for all: the service manager gives it a class of its own, which other threads would not inherit.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("cannot start: {error}"));
            return Exit::Failed;
        }
    };
    match runtime.block_on(drive::run(config, &options.config)) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let why = settings::with_causes(&error);
            systemd::stopping(&why);
            say(&why);
            Exit::Failed
        }
    }
}

/// Lines on standard error, for the system's journal. `BASCULE_LOG=debug` says more.
fn log() {
    let filter = EnvFilter::try_from_env("BASCULE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(terminal);
    // systemd's journal has the time.
    let _ = if terminal { lines.try_init() } else { lines.without_time().try_init() };
}

fn say(text: &str) {
    // There is nobody else to tell.
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
}
