//! Logs: what the Edge says of itself, on standard error, and one line for each request and session, on standard
//! output. Neither waits for who reads them.

pub mod access;
mod ended;
mod path;
mod request_id;

use std::io::{self, IsTerminal};
use std::time::Duration;

use lines::Form;
use prometheus::IntCounter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{Log, LogFormat};
pub use ended::Ended;
pub use path::SafePath;
pub use request_id::RequestId;

/// How long an ending program waits for its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What other people's code may say unless the operator names it. Pingora's HTTP modules log failed requests with their
/// query, or their whole head as it came, tokens included; the access log tells the same without: so they say nothing.
/// The others report at *warn* what any port scan causes.
const OTHERS: &str = "pingora_proxy=off,pingora_core=error,pingora_core::apps=off,pingora_core::protocols::http=off,\
                      pingora_load_balancing=error,pingora_pool=error,h2=error,hyper=error,rustls=error,tungstenite=error";

/// Logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter makes no sense.
    #[error("log.level: `{level}` is no filter; write for example `info` or `bascule=debug`")]
    Level {
        /// What was written.
        level: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// No thread could be started, or it was done before.
    #[error(transparent)]
    Start(#[from] lines::LogError),
}

/// Sets up logs of the whole program, those of libraries that use `log` too. Lines without room are counted.
///
/// # Errors
/// The filter makes no sense, no thread can be started, or logs are set up already.
pub fn start(log: &Log, dropped: IntCounter) -> Result<lines::Log, LogError> {
    // Of standard error itself: under systemd it is no terminal, and lines are JSON.
    let terminal = io::stderr().is_terminal();
    let form = match is_human(log.format, terminal) {
        true => Form::Text { colours: terminal, time: true },
        false => Form::Json,
    };
    Ok(lines::Log::start(filter(&log.level)?, form, dropped, LAST_LINES)?)
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        // The operator's words last: of two for one target the later counts.
        .parse(format!("{OTHERS},{level}"))
        .map_err(|source| LogError::Level { level: level.to_owned(), source })
}

/// Whether lines are for people.
fn is_human(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    }
}

#[cfg(test)]
mod tests;
