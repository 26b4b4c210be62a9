//! The other end of a socket: one bounded, time-limited HTTP request over the unix socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::escape::visible;
use crate::server::ErrorBody;

/// A little longer than the server's own limit, so that its sentence arrives.
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// A thousand sessions are some hundred kilobytes.
const MOST_BYTES: usize = 8 << 20;

/// A program that answers at a socket, as messages name it.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name in a sentence: `Edge`.
    pub name: &'static str,
    /// The systemd unit that runs it, for the remedy in a message.
    pub unit: &'static str,
    /// How to say where its socket is.
    pub elsewhere: &'static str,
    /// Who may use it, besides root.
    pub allowed: &'static str,
}

/// Asks one running program over its socket, one request at a time.
#[derive(Debug, Clone)]
pub struct Client {
    /// The socket that the program listens on.
    pub socket: PathBuf,
    /// The program, as messages name it.
    pub program: &'static Program,
}

/// Why there is no answer. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no socket: the program does not run, or uses another.
    #[error(
        "No {name} answers: there is no {0}.\nIs it running? Look with: systemctl status {unit}; journalctl -u {unit} -n 50\n\
         If its socket is elsewhere, say where: {elsewhere}",
        name = .1.name, unit = .1.unit, elsewhere = .1.elsewhere
    )]
    NoSocket(PathBuf, &'static Program),
    /// A socket, and nobody behind it.
    #[error(
        "No {name} answers on {0}: it ended without cleaning up.\n\
         Look why with: journalctl -u {unit} -n 50, then: systemctl start {unit}",
        name = .1.name, unit = .1.unit
    )]
    NobodyThere(PathBuf, &'static Program),
    /// The system lets this user not use the socket.
    #[error("You may not use {0}: be root (sudo), or {allowed}.", allowed = .1.allowed)]
    Denied(PathBuf, &'static Program),
    /// Somebody listens, and says nothing in time.
    #[error(
        "The {name} took the question and did not answer within {limit} s; it is busy or it hangs.\n\
         Look with: curl --unix-socket {0} http://localhost/healthz; journalctl -u {unit} -n 50",
        name = .1.name, unit = .1.unit, limit = TIME_LIMIT.as_secs()
    )]
    Silent(PathBuf, &'static Program),
    /// The connection broke, or what came is not an answer.
    #[error("{path}: {what}")]
    Broken {
        /// Its path, as it was asked for.
        path: PathBuf,
        /// What came instead of an answer.
        what: String,
    },
    /// The program understood, and said no.
    #[error("{}", visible(&.body.sentence))]
    Said {
        /// How it put it to programs.
        status: StatusCode,
        /// How it put it to people.
        body: ErrorBody,
    },
}

impl AskError {
    /// Whether the question was understood, and refused.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Said { status, .. } if *status == StatusCode::CONFLICT)
    }

    /// Returns the same as a body, so that programs read it like any other refusal.
    pub fn body(&self) -> ErrorBody {
        let word = match self {
            Self::NoSocket(..) | Self::NobodyThere(..) => "not_running",
            Self::Denied(..) => "denied",
            Self::Silent(..) => "time_limit",
            Self::Broken { .. } => "broken",
            Self::Said { body, .. } => return body.clone(),
        };
        ErrorBody { error: word.to_owned(), sentence: self.to_string() }
    }
}

impl Client {
    /// Asks, and returns the JSON that came.
    ///
    /// # Errors
    /// Why there is no answer, and what to do.
    pub async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, AskError> {
        match timeout(TIME_LIMIT, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::Silent(self.socket.clone(), self.program)),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, AskError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unconnected(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.broken(&error))?;
        // It ends with the sender.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
        let body = body.map_err(|error| self.broken(error.as_ref()))?.to_bytes();
        self.judge(status, body)
    }

    fn judge(&self, status: StatusCode, body: Bytes) -> Result<Bytes, AskError> {
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice(&body) {
            Ok(body) => Err(AskError::Said { status, body }),
            Err(_) => Err(AskError::Broken { path: self.socket.clone(), what: format!("answered {status}") }),
        }
    }

    /// What came makes no sense.
    pub fn broken(&self, error: &(dyn std::error::Error + '_)) -> AskError {
        AskError::Broken { path: self.socket.clone(), what: error.to_string() }
    }

    fn unconnected(&self, error: &io::Error) -> AskError {
        let path = self.socket.clone();
        match error.kind() {
            io::ErrorKind::NotFound => AskError::NoSocket(path, self.program),
            io::ErrorKind::ConnectionRefused => AskError::NobodyThere(path, self.program),
            io::ErrorKind::PermissionDenied => AskError::Denied(path, self.program),
            _ => AskError::Broken { path, what: error.to_string() },
        }
    }
}
