//! `bascule-watchdog`: the daemon of a node, and its operator's command line.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use failover::Span;
use lines::{Form, Log};
use prometheus::IntCounter;
use tracing_subscriber::EnvFilter;
use watchdog::cli::{self, Cli, Exit, Options, Verb};
use watchdog::config::{Config, Warning};
use watchdog::state::restarts::{self, Pause};
use watchdog::telemetry::systemd;
use watchdog::{legacy_failover, roles};

fn main() -> ExitCode {
    let Cli { verb, options } = Cli::parse();
    let exit = match verb {
        Verb::Run => run(&options),
        Verb::Check { user } => cli::check(&options, user.as_deref()),
        Verb::Takeover => cli::take_over(&options),
        Verb::Release => cli::release(&options),
        Verb::Ask(question) => cli::ask(&options, &question),
    };
    exit.into()
}

/// How long an ending watchdog waits for its last lines: the next one comes soon, and the lease does not wait.
const LAST_LINES: Duration = Duration::from_millis(100);

fn run(options: &Options) -> Exit {
    let (config, warnings) = match Config::load(&options.config) {
        Ok(loaded) => loaded,
        Err(errors) => {
            say(&errors.to_string());
            return Exit::Usage;
        }
    };
    let (log, dropped) = match log() {
        Ok(log) => log,
        Err(error) => {
            say(&format!("cannot start: {error}"));
            return Exit::Failed;
        }
    };
    watch(&config, options, &log, &dropped, &warnings)
}

fn watch(config: &Config, options: &Options, log: &Log, dropped: &IntCounter, warnings: &[Warning]) -> Exit {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    // Starts are counted before anything that may end this one: systemd starts again at once whatever ended, a refusal
    // too.
    if let Some(Pause { starts, wait }) = restarts::count(&config.runtime("starts")) {
        match starts {
            Some(starts) => {
                tracing::warn!("the start number {starts} in a row, none of which lasted: waits {}", Span(wait))
            }
            None => tracing::warn!("how often it started cannot be written down: waits {}", Span(wait)),
        }
        #[expect(clippy::disallowed_methods, reason = "nothing runs yet that would have to wait")]
        std::thread::sleep(wait);
    }
    // Beside XiVO's own failover no decision would last a minute.
    if let Some(table) = &config.legacy_failover
        && let Err(error) = legacy_failover::refuse(table)
    {
        log.say(&settings::with_causes(&error));
        return Exit::Failed;
    }
    // The first provider wins, and there is no other.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // One thread for all: the service manager gives it a class of its own, which other threads would not inherit.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log.say(&format!("cannot start: {error}"));
            return Exit::Failed;
        }
    };
    match runtime.block_on(roles::run(config, &options.config, dropped)) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let why = settings::with_causes(&error);
            systemd::stopping(&why);
            log.say(&why);
            Exit::Failed
        }
    }
}

/// Lines on standard error, for the system's journal. `BASCULE_LOG=debug` says more. Whoever reads them, or does not, holds
/// up no vote: what finds no room is dropped and counted.
fn log() -> Result<(Log, IntCounter), String> {
    let dropped = IntCounter::new(
        "bascule_watchdog_log_lines_dropped_total",
        "Lines of the log that nobody took from standard error in time.",
    );
    let dropped = dropped.map_err(|error| error.to_string())?;
    let asked = std::env::var("BASCULE_LOG").ok().filter(|level| !level.is_empty());
    let level = asked.as_deref().unwrap_or("info");
    let (filter, wrong) = match EnvFilter::builder().parse(level) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let terminal = io::stderr().is_terminal();
    // systemd's journal has the time.
    let form = Form::Text { colours: terminal, time: terminal };
    let log = Log::start(filter, form, dropped.clone(), LAST_LINES).map_err(|error| settings::with_causes(&error))?;
    // No reason to leave telephony unwatched: a typing error in the log's level is told, and the watchdog runs.
    if let Some(error) = wrong {
        tracing::warn!("BASCULE_LOG={level:?} is no filter ({error}), and info is used: write for example debug");
    }
    Ok((log, dropped))
}

/// Says what comes before the log: nothing hangs on it yet.
fn say(text: &str) {
    // There is nobody else to tell.
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
}
