//! The log of a whole program: what `tracing` and `log` are told, on standard error.

use std::io;
use std::time::Duration;

use prometheus::IntCounter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt};

use crate::Events;

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text {
        /// Whether the level is coloured: on a terminal.
        colours: bool,
        /// Whether the line begins with the time: not where systemd's journal stamps it.
        time: bool,
    },
    /// For programs: one JSON object a line.
    Json,
}

/// The log while the program runs; dropped, it waits for its last lines, as they say why the program ended.
#[derive(Debug)]
pub struct Log {
    events: Events,
    last_lines: Duration,
}

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No thread could be started.
    #[error("cannot start the log's writer")]
    Thread(#[source] io::Error),
    /// A process has one log, and this one has it already.
    #[error("logs are set up already")]
    Twice(#[source] TryInitError),
}

impl Log {
    /// Sets up the log; lines without room are counted, and the last ones are waited for so long.
    ///
    /// # Errors
    /// No thread can be started, or the process has a log already.
    pub fn start(filter: EnvFilter, form: Form, dropped: IntCounter, last_lines: Duration) -> Result<Self, LogError> {
        let events = Events::spawn("log", dropped, io::stderr()).map_err(LogError::Thread)?;
        let out = events.clone();
        let lines = tracing_subscriber::registry().with(filter);
        // `try_init` takes records of `log`, too: Pingora writes those.
        match form {
            Form::Text { colours, time: true } => {
                lines.with(fmt::layer().with_writer(out).with_ansi(colours).with_target(false)).try_init()
            }
            Form::Text { colours, time: false } => {
                let layer = fmt::layer().without_time();
                lines.with(layer.with_writer(out).with_ansi(colours).with_target(false)).try_init()
            }
            Form::Json => {
                let layer = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
                lines.with(layer.with_writer(out)).try_init()
            }
        }
        .map_err(LogError::Twice)?;
        Ok(Self { events, last_lines })
    }

    /// Says a line that passes every filter and has no level: why the program ends.
    pub fn say(&self, line: &str) {
        self.events.say(line);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.events.flush(self.last_lines);
    }
}
