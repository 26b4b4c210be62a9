//! WebSockets: what is said on each, well or badly.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::answer::{self, Answer};
use super::state::{Open, State};

const TICK: Duration = Duration::from_secs(1);
/// Thousands of sockets, each with little to say.
const READ_BUFFER: usize = 4 << 10;
const MOST_MESSAGE: usize = 64 << 20;
/// What `stall` announces; half of it comes.
const STALLED: u16 = 1000;

/// What is said on a WebSocket.
#[derive(Debug, Clone, Copy)]
pub(super) enum Talk {
    /// A line each second, and what comes is sent back.
    Ticks,
    /// What comes is sent back.
    Echo,
    /// Nothing.
    Nothing,
    /// So many binary messages as fast as they are taken, then as [`Self::Echo`].
    Flood { frame: usize, count: u64 },
    /// One binary message in many fragments, then as [`Self::Echo`].
    Fragmented { bytes: u64, chunk: usize, pause: Duration },
    /// Half of a frame, then nothing.
    Stall,
}

/// What must be offered, and is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subprotocol {
    None,
    Sip,
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Accepts the upgrade (RFC 6455 section 4.2) and talks in a task of its own.
pub(super) fn answer(request: Request<Incoming>, state: &Arc<State>, talk: Talk, subprotocol: Subprotocol) -> Answer {
    let headers = request.headers();
    let accept = headers.get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let accept = accept.and_then(|accept| HeaderValue::from_str(&accept).ok());
    let (Some(accept), Some(_)) = (accept, headers.get(UPGRADE)) else {
        return answer::text(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket\n");
    };
    let offers_sip = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let offers_sip = offers_sip.flat_map(|value| value.split(',')).any(|offer| offer.trim() == "sip");
    if subprotocol == Subprotocol::Sip && !offers_sip {
        return answer::bad("offer the subprotocol sip");
    }
    let mut answer = Response::new(answer::whole(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if subprotocol == Subprotocol::Sip {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("sip"));
    }
    tokio::spawn(converse(request, state.clone(), talk));
    answer
}

async fn converse(request: Request<Incoming>, state: Arc<State>, talk: Talk) {
    let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
    let _open = Open::new(&state);
    let mut config = WebSocketConfig::default().read_buffer_size(READ_BUFFER).write_buffer_size(0);
    config.max_message_size = Some(MOST_MESSAGE);
    config.max_frame_size = Some(MOST_MESSAGE);
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    // A socket that breaks off is what tests are about.
    let _ = match talk {
        Talk::Ticks => ticks(&mut socket, &state).await,
        Talk::Echo => echo(&mut socket).await,
        Talk::Nothing => listen(&mut socket).await,
        Talk::Flood { frame, count } => flood(&mut socket, frame, count).await,
        Talk::Fragmented { bytes, chunk, pause } => fragmented(&mut socket, bytes, chunk, pause).await,
        Talk::Stall => stall(&mut socket).await,
    };
}

async fn ticks(socket: &mut Socket, state: &State) -> Result<(), Error> {
    let mut clock = interval(TICK);
    // A side that was suspended must not tick for all the time that it missed.
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut n = 0_u64;
    loop {
        tokio::select! {
            _ = clock.tick() => {
                n += 1;
                socket.send(Message::text(json!({ "side": state.name.word(), "n": n }).to_string())).await?;
            }
            came = socket.next() => match came {
                Some(came) => send_back(socket, came?).await?,
                None => return Ok(()),
            },
        }
    }
}

async fn echo(socket: &mut Socket) -> Result<(), Error> {
    while let Some(came) = socket.next().await {
        send_back(socket, came?).await?;
    }
    Ok(())
}

async fn send_back(socket: &mut Socket, came: Message) -> Result<(), Error> {
    // Pings and Close are answered by the next read.
    if came.is_text() || came.is_binary() { socket.send(came).await } else { Ok(()) }
}

async fn listen(socket: &mut Socket) -> Result<(), Error> {
    while let Some(came) = socket.next().await {
        came?;
    }
    Ok(())
}

async fn flood(socket: &mut Socket, frame: usize, count: u64) -> Result<(), Error> {
    let payload = Bytes::from(vec![b'x'; frame]);
    for _ in 0..count {
        socket.send(Message::Binary(payload.clone())).await?;
    }
    echo(socket).await
}

async fn fragmented(socket: &mut Socket, bytes: u64, chunk: usize, pause: Duration) -> Result<(), Error> {
    let payload = Bytes::from(vec![b'x'; chunk]);
    let (mut left, mut opcode) = (bytes, OpCode::Data(Data::Binary));
    loop {
        let size = usize::try_from(left).map_or(chunk, |left| left.min(chunk));
        left -= size as u64;
        let frame = Frame::message(payload.slice(..size), opcode, left == 0);
        opcode = OpCode::Data(Data::Continue);
        socket.send(Message::Frame(frame)).await?;
        if left == 0 {
            return echo(socket).await;
        }
        if pause.is_zero() {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            came = socket.next() => match came {
                Some(came) => drop(came?),
                None => return Ok(()),
            },
        }
    }
}

async fn stall(socket: &mut Socket) -> Result<(), Error> {
    const BINARY: u8 = 0x82;
    const LENGTH_IN_TWO_BYTES: u8 = 126;
    let mut half = vec![BINARY, LENGTH_IN_TWO_BYTES];
    half.extend(STALLED.to_be_bytes());
    half.extend(std::iter::repeat_n(b'x', usize::from(STALLED / 2)));
    let raw = socket.get_mut();
    raw.write_all(&half).await?;
    raw.flush().await?;
    // Not a further byte, an answer to a Ping or Close neither: it would end up inside the frame.
    let mut ignored = [0; 1024];
    while raw.read(&mut ignored).await? > 0 {}
    Ok(())
}
