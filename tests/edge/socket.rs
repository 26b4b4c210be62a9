//! A WebSocket client that sees frames: cheap enough to have a thousand of, and exact about where a stream broke off.

use std::io;
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::client::{Client, Speaks};
use crate::site::{FQDN, PATIENCE};

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ROOM: usize = 4 << 10;

/// One frame as it came.
#[derive(Debug)]
pub struct Frame {
    pub opcode: u8,
    pub last: bool,
    pub payload: Bytes,
}

/// How a WebSocket ended, seen from the client.
#[derive(Debug, Clone)]
pub struct Ending {
    /// When the Close came, else when the connection ended.
    pub at: SystemTime,
    /// Code and reason, if there was a Close.
    pub close: Option<(u16, String)>,
    /// The connection ended within a frame: no Close was possible.
    pub inside_frame: bool,
    /// The last data frame was not the last of its message.
    pub inside_message: bool,
}

impl Ending {
    pub fn is_told(&self, code: u16, reason: &str) -> bool {
        self.close.as_ref().is_some_and(|(c, r)| (*c, r.as_str()) == (code, reason))
    }

    /// Milliseconds after `moment`; negative before.
    pub fn ms_after(&self, moment: SystemTime) -> f64 {
        match self.at.duration_since(moment) {
            Ok(after) => after.as_secs_f64() * 1000.0,
            Err(before) => before.duration().as_secs_f64() * -1000.0,
        }
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub struct Socket {
    /// The side that accepted it.
    pub side: String,
    reader: Reader,
    writer: Writer,
}

/// Its half that reads.
#[derive(Debug)]
pub struct Reader {
    stream: ReadHalf<TlsStream<TcpStream>>,
    buffer: BytesMut,
    inside_message: bool,
}

/// Its half that writes.
#[derive(Debug)]
pub struct Writer(WriteHalf<TlsStream<TcpStream>>);

impl Socket {
    /// Opens one at `target`; a SIP socket offers the subprotocol `sip`.
    pub async fn open(client: &Client, target: &str) -> io::Result<Self> {
        let mut stream = client.tls(Speaks::H1).await?;
        let protocol = if target.starts_with("/wssip") { "Sec-WebSocket-Protocol: sip\r\n" } else { "" };
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {FQDN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{protocol}\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await?;
        let mut buffer = BytesMut::with_capacity(ROOM);
        let side = loop {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut fields = [httparse::EMPTY_HEADER; 32];
            let mut answer = httparse::Response::new(&mut fields);
            let Ok(httparse::Status::Complete(length)) = answer.parse(&buffer) else { continue };
            let status = answer.code.unwrap();
            if status != 101 {
                return Err(io::Error::other(format!("answered with {status}")));
            }
            let field = |name: &str| {
                let found = answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
                found.map_or(String::new(), |field| String::from_utf8_lossy(field.value).into_owned())
            };
            assert_eq!(field("sec-websocket-accept"), derive_accept_key(KEY.as_bytes()));
            let side = field("demo-side");
            buffer.advance(length);
            break side;
        };
        let (reader, writer) = split(stream);
        Ok(Self { side, reader: Reader { stream: reader, buffer, inside_message: false }, writer: Writer(writer) })
    }

    /// The next frame; none when the connection is over. Pings are answered.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            let frame = self.reader.frame().await?;
            if frame.opcode != PING {
                return Some(frame);
            }
            self.writer.send(PONG, &frame.payload).await.ok()?;
        }
    }

    pub async fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        self.writer.send(opcode, payload).await
    }

    /// Says something and waits until it comes back.
    pub async fn echoes(&mut self, text: &str) -> bool {
        if self.send(TEXT, text.as_bytes()).await.is_err() {
            return false;
        }
        let answer = async {
            loop {
                match self.frame().await {
                    Some(frame) if frame.payload == text.as_bytes() => return true,
                    // Ticks of the CTI socket.
                    Some(frame) if frame.opcode == TEXT => {}
                    _ => return false,
                }
            }
        };
        timeout(PATIENCE, answer).await.unwrap_or(false)
    }

    /// Reads to the end, answering the Close as a browser does.
    pub async fn ended(mut self) -> Ending {
        while let Some(frame) = self.frame().await {
            if frame.opcode != CLOSE {
                continue;
            }
            let at = SystemTime::now();
            let inside_message = self.reader.inside_message;
            let code = frame.payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
            let reason = String::from_utf8_lossy(frame.payload.get(2..).unwrap_or_default()).into_owned();
            let _ = self.send(CLOSE, &code.to_be_bytes()).await;
            // Nothing may follow a Close.
            let after = timeout(PATIENCE, self.frame()).await.expect("the connection ends after the Close");
            assert!(after.is_none(), "{after:?} came after the Close");
            return Ending { at, close: Some((code, reason)), inside_frame: false, inside_message };
        }
        let Reader { buffer, inside_message, .. } = &self.reader;
        let (inside_frame, inside_message) = (!buffer.is_empty(), *inside_message);
        Ending { at: SystemTime::now(), close: None, inside_frame, inside_message }
    }

    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

impl Reader {
    /// The next frame; none when the connection is over.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                if frame.opcode <= BINARY {
                    self.inside_message = !frame.last;
                }
                return Some(frame);
            }
            self.buffer.reserve(ROOM);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let [first, second] = *self.buffer.first_chunk()?;
        assert_eq!((first & 0x70, second & 0x80), (0, 0), "a server masks nothing and uses no reserved bit");
        let rest = &self.buffer[2..];
        let (head, length) = match second {
            126 => (4, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
            small => (2, u64::from(small)),
        };
        let length = usize::try_from(length).unwrap();
        if self.buffer.len() < head + length {
            return None;
        }
        self.buffer.advance(head);
        let payload = self.buffer.split_to(length).freeze();
        Some(Frame { opcode: first & 0x0f, last: first & 0x80 != 0, payload })
    }
}

impl Writer {
    /// One whole frame, masked.
    pub async fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        // Zero is as good a mask, and costs a test without optimisation nothing.
        let mask = if payload.len() < 126 { fastrand::u32(..).to_ne_bytes() } else { [0; 4] };
        let mut frame = Vec::with_capacity(payload.len() + 14);
        frame.push(0x80 | opcode);
        match payload.len() {
            0..126 => frame.push(0x80 | u8::try_from(payload.len()).unwrap()),
            126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        match mask {
            [0, 0, 0, 0] => frame.extend_from_slice(payload),
            _ => frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key)),
        }
        self.0.write_all(&frame).await?;
        self.0.flush().await
    }
}

/// A token as XiVO issues them, for whom it is: never signed, and recognisable in a log.
pub fn token(login: &str) -> String {
    use base64::Engine as _;
    let encode = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"login":"{login}","userType":"cti"}}"#);
    format!("{}.{}.c2VjcmV0LXNpZ25hdHVyZQ", encode(r#"{"alg":"none"}"#.into()), encode(claims))
}

/// Fails after [`PATIENCE`].
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit: Duration = PATIENCE;
    timeout(limit, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
