//! Answers SIP OPTIONS over UDP and TCP (RFC 3261 section 11), as telephony that works does.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::mode::{Mode, ModeSwitch};

/// Longest request that is read.
const MOST: usize = 8 << 10;
/// Attempts to find a port that is free for UDP and for TCP.
const ATTEMPTS: usize = 20;
/// After an error of a socket: it might come again at once.
const PAUSE: Duration = Duration::from_millis(50);

/// Both sockets, bound to one address.
pub(super) struct Responder {
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
    mode: ModeSwitch,
}

impl Responder {
    pub(super) async fn bind(address: SocketAddr, mode: ModeSwitch) -> io::Result<Self> {
        for _ in 1..ATTEMPTS {
            match sockets(address).await {
                Ok((udp, tcp)) => return Ok(Self { address: udp.local_addr()?, udp, tcp, mode }),
                Err(error) if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn serve(self) {
        let Self { udp, tcp, mode, .. } = self;
        tokio::join!(datagrams(udp, &mode), connections(tcp, &mode));
    }
}

async fn sockets(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind(address).await?;
    let tcp = TcpListener::bind(udp.local_addr()?).await?;
    Ok((udp, tcp))
}

async fn datagrams(udp: UdpSocket, mode: &ModeSwitch) {
    let mut request = vec![0; MOST];
    loop {
        let Ok((size, peer)) = udp.recv_from(&mut request).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        if let Some(answer) = answer(&request[..size]).filter(|_| mode.now() != Mode::Mute) {
            // A datagram may get lost anyway.
            let _ = udp.send_to(answer.as_bytes(), peer).await;
        }
    }
}

async fn connections(tcp: TcpListener, mode: &ModeSwitch) {
    loop {
        match tcp.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, mode.clone()));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn connection(mut stream: TcpStream, mode: ModeSwitch) {
    let mut pending: Vec<u8> = Vec::new();
    loop {
        while let Some(end) = end_of_first(&pending) {
            let request: Vec<u8> = pending.drain(..end).collect();
            let Some(answer) = answer(&request).filter(|_| mode.now() != Mode::Mute) else { continue };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        // A request that is not whole by then is none: its connection ends here.
        if pending.len() >= MOST || !matches!(stream.read_buf(&mut pending).await, Ok(1..)) {
            return;
        }
    }
}

/// Where the first whole request of a stream ends, its body included.
fn end_of_first(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]);
    let body = fields(&text).find(|(name, _)| is(name, "content-length", "l"));
    let body = body.and_then(|(_, value)| value.parse::<usize>().ok()).unwrap_or(0);
    let end = head.checked_add(body)?;
    (end <= bytes.len()).then_some(end)
}

/// The response to a request; none for what is no request, and for an ACK.
fn answer(request: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(request);
    let (method, rest) = text.trim_start().split_once(' ')?;
    if !rest.lines().next()?.ends_with("SIP/2.0") || method == "ACK" {
        return None;
    }
    let status = if method == "OPTIONS" { "200 OK" } else { "405 Method Not Allowed" };
    let mut answer = format!("SIP/2.0 {status}\r\n");
    for (name, value) in fields(&text) {
        let tag = if is(name, "to", "t") && !value.contains(";tag=") { ";tag=demo" } else { "" };
        let echoed = [("via", "v"), ("from", "f"), ("to", "t"), ("call-id", "i"), ("cseq", "cseq")];
        if echoed.iter().any(|(long, short)| is(name, long, short)) {
            // Writing to a String does not fail.
            let _ = write!(answer, "{name}: {value}{tag}\r\n");
        }
    }
    answer.push_str("Allow: OPTIONS\r\nContent-Length: 0\r\n\r\n");
    Some(answer)
}

fn fields(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.trim_start().split("\r\n").skip(1).take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim(), value.trim()))
}

fn is(name: &str, long: &str, short: &str) -> bool {
    name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short)
}
