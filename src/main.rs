//! `bascule`: the Edge and the operator's command line.

use std::io::Write;
use std::process::ExitCode;

use bascule::cli::certs::{self, CertsError};
use bascule::cli::check::{self, Ask, Verdict};
use bascule::cli::{self, Cli, Exit, Verb};
use bascule::run::{RunError, run};
use clap::Parser;
use mimalloc::MiMalloc;

/// Pingora allocates much for each request, 64 KiB for an answer's body among it: measured against glibc's allocator, this
/// one spares a seventh of a request's CPU.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let Cli { verb, options } = Cli::parse();
    // The first provider wins, and there is no other.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let exit = match verb {
        Verb::Run => match run(&options.config) {
            Ok(()) => Exit::Done,
            Err(error) => {
                say(&settings::with_causes(&error));
                // systemd does not try again after 2: a file that is wrong stays wrong.
                if matches!(error, RunError::Config(_)) { Exit::Usage } else { Exit::Failed }
            }
        },
        Verb::Check { live, user } => {
            let ask = if live { Ask::Backends } else { Ask::Nobody };
            let socket = options.admin_socket();
            block_on(check::check(&options.config, socket, ask, user.as_deref(), options.json))
                .map_or(Exit::Failed, show)
        }
        Verb::Import(import) => cli::import::run(&import, &options.config, options.json),
        Verb::Certs(verb) => match certs::run(&verb, options.json) {
            Ok(text) => {
                // A closed pipe is the reader's business.
                let _ = writeln!(std::io::stdout(), "{text}");
                Exit::Done
            }
            Err(error) => {
                say(&settings::with_causes(&error));
                if matches!(error, CertsError::Usage(_)) { Exit::Usage } else { Exit::Failed }
            }
        },
        Verb::Ask(question) => cli::ask(&options, &question),
    };
    exit.into()
}

fn show(checked: check::Checked) -> Exit {
    match checked.verdict {
        Verdict::Wrong => {
            say(&checked.text);
            Exit::Usage
        }
        verdict => {
            // A closed pipe is the reader's business.
            let _ = writeln!(std::io::stdout(), "{}", checked.text.trim_end());
            if verdict == Verdict::Well { Exit::Done } else { Exit::Failed }
        }
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> Option<T> {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => Some(runtime.block_on(work)),
        Err(error) => {
            say(&format!("cannot start: {}", settings::with_causes(&error)));
            None
        }
    }
}

fn say(text: &str) {
    // There is nobody else to tell.
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}
