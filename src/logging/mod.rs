//! Logs: what the Edge says of itself, on standard error, and one line for each request and session, on standard
//! output. Neither waits for who reads them.

pub mod access;
pub(crate) mod closed_set;
mod ended;
mod lines;
mod path;
mod request_id;

use std::io::{self, IsTerminal, Write};

use prometheus::IntCounter;
use tracing::Subscriber;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt};

pub use ended::Ended;
pub use path::SafePath;
pub use request_id::RequestId;

use self::lines::Lines;
use crate::config::{Log, LogFormat};

/// Lines that wait for the writer.
const ROOM: usize = 4096;

/// What other people's code may say unless the operator names it. Pingora's HTTP modules log failed requests with their
/// query, or their whole head as it came, tokens included; the access log tells the same without: so they say nothing.
/// The others report at *warn* what any port scan causes.
const OTHERS: &str = "pingora_proxy=off,pingora_core=error,pingora_core::apps=off,pingora_core::protocols::http=off,\
                      pingora_load_balancing=error,pingora_pool=error,h2=error,hyper=error,rustls=error,tungstenite=error";

/// Writes the last lines when dropped: to be held until the program ends.
#[derive(Debug)]
pub struct LogGuard {
    lines: Lines<Vec<u8>>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.lines.flush();
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
pub fn start(log: &Log, dropped: IntCounter) -> Result<LogGuard, LogError> {
    let filter = filter(&log.level)?;
    let human = is_human(log.format, io::stderr().is_terminal());
    let lines = Lines::spawn("log", ROOM, dropped, io::stderr(), |event: &Vec<u8>, to| one_line(event, to))
        .map_err(LogError::Thread)?;
    let out = Out { lines: lines.clone() };
    match human {
        true => human_lines(filter, out, io::stderr().is_terminal()).try_init(),
        false => json_lines(filter, out).try_init(),
    }
    .map_err(LogError::Twice)?;
    Ok(LogGuard { lines })
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(format!("{OTHERS},{level}"))
        .map_err(|source| LogError::Level { level: level.to_owned(), source })
}

fn human_lines(filter: EnvFilter, out: Out, colours: bool) -> impl Subscriber + Send + Sync {
    let layer = fmt::layer().with_writer(out).with_ansi(colours).with_target(false);
    tracing_subscriber::registry().with(filter).with(layer)
}

fn json_lines(filter: EnvFilter, out: Out) -> impl Subscriber + Send + Sync {
    let layer = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
    tracing_subscriber::registry().with(filter).with(layer.with_writer(out))
}

/// An event is one line, whatever text from outside it holds.
fn one_line(event: &[u8], to: &mut Vec<u8>) {
    for byte in event.trim_ascii_end() {
        match byte {
            b'\n' => to.extend_from_slice(b"\\n"),
            byte => to.push(*byte),
        }
    }
    to.push(b'\n');
}

/// Whether lines are for people.
fn is_human(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    }
}

/// Hands whole lines to the writer's thread.
#[derive(Debug, Clone)]
struct Out {
    lines: Lines<Vec<u8>>,
}

impl MakeWriter<'_> for Out {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Write for Out {
    /// tracing hands over one whole event at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.put(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
