//! Logs: what the Edge says of itself, on standard error, and one line for each request and session, on standard
//! output. Neither waits for who reads them.

pub mod access;
mod ended;
mod path;
mod request_id;

use std::io::{self, IsTerminal};
use std::time::Duration;

use lines::Events;
use prometheus::IntCounter;
use tracing::Subscriber;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt};

pub use ended::Ended;
pub use path::SafePath;
pub use request_id::RequestId;

use crate::config::{Log, LogFormat};

/// How long an ending program waits for its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What other people's code may say unless the operator names it. Pingora's HTTP modules log failed requests with their
/// query, or their whole head as it came, tokens included; the access log tells the same without: so they say nothing.
/// The others report at *warn* what any port scan causes.
const OTHERS: &str = "pingora_proxy=off,pingora_core=error,pingora_core::apps=off,pingora_core::protocols::http=off,\
                      pingora_load_balancing=error,pingora_pool=error,h2=error,hyper=error,rustls=error,tungstenite=error";

/// Writes the last lines when dropped: to be held until the program ends.
#[derive(Debug)]
pub struct LogGuard {
    events: Events,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.events.flush(LAST_LINES);
    }
}

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
    /// No thread could be started.
    #[error("cannot start the log's writer")]
    Thread(#[source] io::Error),
    /// It was done before.
    #[error("logs are set up already")]
    Twice(#[source] TryInitError),
}

/// Sets up logs of the whole program, those of libraries that use `log` too. Lines without room are counted.
///
/// # Errors
/// The filter makes no sense, no thread can be started, or logs are set up already.
pub fn start(log: &Log, dropped: IntCounter) -> Result<LogGuard, LogError> {
    let filter = filter(&log.level)?;
    // Of standard error itself: under systemd it is no terminal, and lines are JSON.
    let human = is_human(log.format, io::stderr().is_terminal());
    let events = Events::spawn("log", dropped, io::stderr()).map_err(LogError::Thread)?;
    let out = events.clone();
    match human {
        true => human_lines(filter, out, io::stderr().is_terminal()).try_init(),
        false => json_lines(filter, out).try_init(),
    }
    .map_err(LogError::Twice)?;
    Ok(LogGuard { events })
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        // The operator's words last: of two for one target the later counts.
        .parse(format!("{OTHERS},{level}"))
        .map_err(|source| LogError::Level { level: level.to_owned(), source })
}

fn human_lines(filter: EnvFilter, out: Events, colours: bool) -> impl Subscriber + Send + Sync {
    let layer = fmt::layer().with_writer(out).with_ansi(colours).with_target(false);
    tracing_subscriber::registry().with(filter).with(layer)
}

fn json_lines(filter: EnvFilter, out: Events) -> impl Subscriber + Send + Sync {
    let layer = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
    tracing_subscriber::registry().with(filter).with(layer.with_writer(out))
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
