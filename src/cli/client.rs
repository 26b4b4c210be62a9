//! The other end of the admin door: one bounded, time-limited HTTP request over the unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::Exit;
use crate::control::api::ErrorBody;
use crate::logging::escape::visible;

/// A little longer than the door's own limit, so that its sentence arrives.
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// A thousand sessions are some hundred kilobytes.
const MOST_BYTES: usize = 8 << 20;

/// Asks one Edge.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) socket: PathBuf,
}

/// Why there is no answer. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No socket.
    #[error(
        "No Edge answers: there is no {0}.\nIs it running? Look with: systemctl status bascule; journalctl -u bascule -n 50\n\
         If its socket is elsewhere, say where: --socket PATH or --config FILE"
    )]
    NoSocket(PathBuf),
    /// A socket, and nobody behind it.
    #[error(
        "No Edge answers on {0}: it ended without cleaning up.\n\
         Look why with: journalctl -u bascule -n 50, then: systemctl start bascule"
    )]
    NobodyThere(PathBuf),
    /// Not for this user.
    #[error("You may not use {0}: be root (sudo), or of the group that `admin` names in the configuration.")]
    Denied(PathBuf),
    /// Somebody, who says nothing.
    #[error(
        "The Edge took the question and did not answer within {limit} s; it is busy or it hangs.\n\
         Look with: curl --unix-socket {0} http://edge/healthz; journalctl -u bascule -n 50", limit = TIME_LIMIT.as_secs()
    )]
    Silent(PathBuf),
    /// The connection broke, or what came is not an answer.
    #[error("{path}: {what}")]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What happened.
        what: String,
    },
    /// The Edge said no.
    #[error("{}", visible(&.body.sentence))]
    Said {
        /// How it put it to programs.
        status: StatusCode,
        /// How it put it to people.
        body: ErrorBody,
    },
}

impl AskError {
    /// How the verb ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Said { status, .. } if *status == StatusCode::CONFLICT => Exit::Refused,
            _ => Exit::Failed,
        }
    }

    /// The same for programs.
    pub(super) fn body(&self) -> ErrorBody {
        let word = match self {
            Self::NoSocket(_) | Self::NobodyThere(_) => "not_running",
            Self::Denied(_) => "denied",
            Self::Silent(_) => "time_limit",
            Self::Broken { .. } => "broken",
            Self::Said { body, .. } => return body.clone(),
        };
        ErrorBody { error: word.to_owned(), sentence: self.to_string() }
    }
}

impl Client {
    /// Asks, and returns the JSON that came.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, AskError> {
        match timeout(TIME_LIMIT, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::Silent(self.socket.clone())),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, AskError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| unconnected(&self.socket, &error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "edge")
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

    pub(super) fn broken(&self, error: &(dyn std::error::Error + '_)) -> AskError {
        AskError::Broken { path: self.socket.clone(), what: error.to_string() }
    }
}

fn unconnected(path: &Path, error: &io::Error) -> AskError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => AskError::NoSocket(path),
        io::ErrorKind::ConnectionRefused => AskError::NobodyThere(path),
        io::ErrorKind::PermissionDenied => AskError::Denied(path),
        _ => AskError::Broken { path, what: error.to_string() },
    }
}
