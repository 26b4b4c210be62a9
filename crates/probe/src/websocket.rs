//! The WebSocket check (RFC 6455): the upgrade, optionally a sign of life through it, and an orderly close.

use std::fmt::{self, Debug};

use ::http::header::SEC_WEBSOCKET_PROTOCOL;
use ::http::uri::{Authority, PathAndQuery};
use ::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::answer::Head;
use crate::failure::{Failure, FailureKind};
use crate::http::{self, host_header, write_fields};
use crate::meter::Meter;
use crate::tls::Tls;
use crate::upgrade::{self, Offer};
use crate::wire::{GOODBYE, Wire};

/// The fields that make an upgrade; a check's own may not replace them.
const OURS: [&str; 6] =
    ["host", "connection", "upgrade", "sec-websocket-version", "sec-websocket-key", "sec-websocket-extensions"];
/// Enough for any echo; what a server pushes unasked may not be larger either.
const MESSAGE_LIMIT: usize = 64 * 1024;
const BUFFER: usize = 4 * 1024;
/// How many messages nobody asked for are skipped while waiting for the answer.
const MOST_STRAYS: usize = 64;

/// A WebSocket to open, and what must happen on it.
#[derive(Clone)]
pub struct WebSocketCheck {
    /// Where to open it, with its query.
    pub path: PathAndQuery,
    /// The `Host` header, with the port if it is not the scheme's own.
    pub host: Authority,
    /// Further headers, for instance `Origin`; those of the upgrade itself cannot be replaced.
    pub headers: HeaderMap,
    /// The subprotocol to ask for, for instance `sip`; the server must then agree to it.
    pub subprotocol: Option<HeaderValue>,
    /// What to do once it is open.
    pub exchange: Exchange,
    /// The TLS below it, for `wss`; none: in the clear.
    pub tls: Option<Tls>,
}

/// What must work once a WebSocket is open.
#[derive(Clone, PartialEq, Eq)]
pub enum Exchange {
    /// Nothing: the upgrade is enough.
    Nothing,
    /// A Ping gets its Pong. Every server answers it, and a proxy only if what is behind it lives.
    Ping,
    /// This text is sent and must come back as it is.
    Echo(String),
}

impl WebSocketCheck {
    /// An upgrade at `path`, no subprotocol, nothing more, no TLS.
    #[must_use]
    pub fn new(path: PathAndQuery, host: Authority) -> Self {
        Self { path, host, headers: HeaderMap::new(), subprotocol: None, exchange: Exchange::Nothing, tls: None }
    }

    /// Asks over TLS, under these rules of trust.
    #[must_use]
    pub fn over(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// The upgrade as it is sent.
    fn request(&self, key: &str) -> Vec<u8> {
        let mut headers = self.headers.clone();
        for name in OURS {
            headers.remove(name);
        }
        let mut out = format!("GET {} HTTP/1.1\r\n", self.path).into_bytes();
        let host = host_header(&self.host);
        for (name, value) in [
            ("Host", host.as_bytes()),
            ("Connection", b"Upgrade"),
            ("Upgrade", b"websocket"),
            ("Sec-WebSocket-Version", b"13"),
            ("Sec-WebSocket-Key", key.as_bytes()),
        ] {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        if let Some(subprotocol) = &self.subprotocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol.clone());
        }
        write_fields(&mut out, &headers);
        out.extend_from_slice(b"\r\n");
        out
    }
}

impl Debug for WebSocketCheck {
    /// Leaves out the query, header values and texts: they may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketCheck")
            .field("path", &self.path.path())
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("subprotocol", &self.subprotocol)
            .field("exchange", &self.exchange)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Ping => f.write_str("Ping"),
            Self::Echo(text) => write!(f, "Echo({} bytes)", text.len()),
        }
    }
}

pub(crate) async fn ask(check: &WebSocketCheck, mut wire: Wire, meter: &mut Meter) -> Result<String, Failure> {
    let early = shake_hands(check, &mut wire).await?;
    let limits = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        // Messages are sent at once: what waits in a buffer for more to come is never answered.
        .write_buffer_size(0)
        .max_write_buffer_size(MESSAGE_LIMIT * 2)
        .max_message_size(Some(MESSAGE_LIMIT))
        .max_frame_size(Some(MESSAGE_LIMIT));
    let mut socket = WebSocketStream::from_partially_read(wire, early, Role::Client, Some(limits)).await;
    let answer = match &check.exchange {
        Exchange::Nothing => "WebSocket open",
        Exchange::Ping => {
            let payload = generate_key();
            round_trip(
                &mut socket,
                Message::Ping(payload.clone().into()),
                |message| matches!(message, Message::Pong(pong) if pong == payload.as_bytes()),
            )
            .await?;
            "WebSocket answers pings"
        }
        Exchange::Echo(text) => {
            let wanted = text.as_str();
            round_trip(
                &mut socket,
                Message::text(wanted),
                |message| matches!(message, Message::Text(echo) if echo.as_str() == wanted),
            )
            .await?;
            "WebSocket echoes"
        }
    };
    meter.passed(answer);
    close(socket).await;
    Ok(answer.to_owned())
}

/// Upgrades; what the target said behind its answer.
async fn shake_hands(check: &WebSocketCheck, wire: &mut Wire) -> Result<Vec<u8>, Failure> {
    let key = generate_key();
    let sent = async {
        wire.write_all(&check.request(&key)).await?;
        wire.flush().await
    };
    sent.await.map_err(|error| Failure::of_io(&error))?;
    let mut buf = BytesMut::new();
    let head = Head::read(wire, &mut buf).await.map_err(|error| http::failure(&error))?;
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        let status = head.status.as_u16();
        return Err(Failure::status(status, format_args!("HTTP {status} instead of a WebSocket (101)")));
    }
    let offer = Offer { key: key.as_bytes(), subprotocols: offered(check), extensions: Vec::new() };
    offer.verify(&head).map_err(Failure::wrong)?;
    // A server that agrees to none speaks something else than the application behind it expects.
    if check.subprotocol.is_some() && !head.headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Err(Failure::wrong("the server does not agree to the subprotocol"));
    }
    Ok(buf.to_vec())
}

fn offered(check: &WebSocketCheck) -> Vec<&[u8]> {
    check.subprotocol.iter().flat_map(|offers| upgrade::items(offers.as_bytes())).collect()
}

async fn round_trip(
    socket: &mut WebSocketStream<Wire>,
    message: Message,
    answers: impl Fn(&Message) -> bool,
) -> Result<(), Failure> {
    socket.send(message).await.map_err(|error| failure(&error))?;
    for _ in 0..MOST_STRAYS {
        match socket.next().await {
            Some(Ok(Message::Close(_))) | None => {
                return Err(Failure::wrong("the WebSocket was closed instead of answering"));
            }
            Some(Ok(message)) if answers(&message) => return Ok(()),
            // A server may greet or push events; only the answer counts.
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(failure(&error)),
        }
    }
    Err(Failure::wrong(format_args!("{MOST_STRAYS} WebSocket messages, none of them the answer")))
}

/// The target has passed already: its slowness to say goodbye is not held against it, nor waited for.
async fn close(mut socket: WebSocketStream<Wire>) {
    let goodbye = async {
        socket.close(None).await?;
        for _ in 0..MOST_STRAYS {
            if !matches!(socket.next().await, Some(Ok(_))) {
                break;
            }
        }
        Ok::<_, Error>(())
    };
    let _ = timeout(GOODBYE, goodbye).await;
    socket.get_mut().end_tls().await;
}

fn failure(error: &Error) -> Failure {
    match error {
        Error::Io(error) => Failure::of_io(error),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            Failure::new(FailureKind::Reset, "connection closed before the answer was complete")
        }
        Error::Capacity(CapacityError::MessageTooLong { size, .. }) => {
            Failure::wrong(format_args!("a WebSocket message of {size} bytes"))
        }
        other => Failure::wrong(other),
    }
}
