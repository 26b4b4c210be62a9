//! As much TURN (RFC 8656) as a guest needs whose firewall lets through port 443 alone: over TLS to the Edge, which hands the
//! connection on to coturn; then voice to one peer, in a channel.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::outcome::{Outcome, because, ensure};

/// What the guest asks for in its ClientHello.
pub(crate) const TURN: &str = "turn.edge.lab.test";

const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const ALLOCATE: u16 = 0x0003;
const CHANNEL_BIND: u16 = 0x0009;
const SUCCESS: u16 = 0x0100;
const CHANNEL_NUMBER: u16 = 0x000c;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const REQUESTED_TRANSPORT: u16 = 0x0019;
const UDP: u8 = 17;
/// The one channel used.
const CHANNEL: u16 = 0x4000;
/// How long coturn may take for one answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A relay at coturn, and the connection that it lives by.
pub(crate) struct Relay {
    stream: StreamOwned<ClientConnection, TcpStream>,
    unread: Vec<u8>,
    requests: u8,
    /// Where peers reach the guest.
    pub(crate) address: SocketAddrV4,
}

impl Relay {
    /// Asks for a relay through the Edge at `edge`. To be called inside a machine.
    pub(crate) fn allocate(edge: Ipv4Addr, tls: Arc<ClientConfig>) -> Outcome<Self> {
        let tcp = TcpStream::connect((edge, 443)).map_err(because("the Edge"))?;
        tcp.set_nodelay(true).map_err(because("the Edge"))?;
        let name = ServerName::try_from(TURN).map_err(because(TURN))?;
        let stream = StreamOwned::new(ClientConnection::new(tls, name).map_err(because("TLS"))?, tcp);
        let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let mut relay = Self { stream, unread: Vec::new(), requests: 0, address };
        let answer = relay.ask(ALLOCATE, &[(REQUESTED_TRANSPORT, vec![UDP, 0, 0, 0])])?;
        relay.address = relayed(&answer).ok_or("coturn names no relayed address")?;
        Ok(relay)
    }

    /// Opens the channel to a peer, which has to be one of those that coturn may relay to.
    pub(crate) fn bind(&mut self, peer: SocketAddrV4) -> Outcome {
        let number = [CHANNEL.to_be_bytes(), [0, 0]].concat();
        self.ask(CHANNEL_BIND, &[(CHANNEL_NUMBER, number), (XOR_PEER_ADDRESS, masked(peer))]).map(drop)
    }

    /// Sends the peer a packet, whose size is a multiple of four.
    pub(crate) fn send(&mut self, packet: &[u8]) -> Outcome {
        let size = u16::try_from(packet.len()).map_err(because("a packet"))?;
        let frame = [&CHANNEL.to_be_bytes()[..], &size.to_be_bytes(), packet].concat();
        self.stream.write_all(&frame).and_then(|()| self.stream.flush()).map_err(because("sending through coturn"))
    }

    /// The peer's next packet, or none until then.
    pub(crate) fn receive(&mut self, until: Instant) -> Outcome<Option<Vec<u8>>> {
        while let Some(frame) = self.frame(until)? {
            if frame.starts_with(&CHANNEL.to_be_bytes()) {
                let size = usize::from(u16::from_be_bytes([frame[2], frame[3]]));
                return Ok(Some(frame[4..4 + size].to_vec()));
            }
        }
        Ok(None)
    }

    /// Asks, and returns the attributes of the answer, which has to be a success.
    fn ask(&mut self, method: u16, attributes: &[(u16, Vec<u8>)]) -> Outcome<Vec<u8>> {
        self.requests += 1;
        let body: Vec<u8> = attributes
            .iter()
            .flat_map(|(kind, value)| {
                let size = u16::try_from(value.len()).unwrap_or_default();
                [&kind.to_be_bytes()[..], &size.to_be_bytes(), value].concat()
            })
            .collect();
        let size = u16::try_from(body.len()).map_err(because("a request"))?;
        let transaction = [self.requests; 12];
        let head = [&method.to_be_bytes()[..], &size.to_be_bytes(), &MAGIC, &transaction].concat();
        self.stream.write_all(&[head, body].concat()).map_err(because("coturn"))?;
        self.stream.flush().map_err(because("coturn"))?;
        let until = Instant::now() + ANSWER;
        while let Some(frame) = self.frame(until)? {
            if frame[0] < 0x40 && frame[8..20] == transaction {
                let kind = u16::from_be_bytes([frame[0], frame[1]]);
                ensure(kind == method | SUCCESS, || {
                    format!("coturn refuses {method:#06x}: {}", String::from_utf8_lossy(&frame[20..]))
                })?;
                return Ok(frame[20..].to_vec());
            }
        }
        Err(format!("coturn does not answer {method:#06x}"))
    }

    /// The next message or packet of a channel, whole, or none until then.
    fn frame(&mut self, until: Instant) -> Outcome<Option<Vec<u8>>> {
        loop {
            if let Some(size) = framed(&self.unread).filter(|size| self.unread.len() >= *size) {
                return Ok(Some(self.unread.drain(..size).collect()));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.sock.set_read_timeout(Some(left)).map_err(because("coturn"))?;
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err("the connection to coturn is closed".to_owned()),
                Ok(size) => self.unread.extend_from_slice(&bytes[..size]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                Err(error) => return Err(format!("the connection to coturn: {error}")),
            }
        }
    }
}

/// How long what begins here is: a STUN message, or data of a channel, padded to four over TCP.
fn framed(bytes: &[u8]) -> Option<usize> {
    let size = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
    Some(if *bytes.first()? < 0x40 { 20 + size } else { 4 + size.next_multiple_of(4) })
}

/// An address as TURN writes it: port and address are masked with the magic cookie.
fn masked(address: SocketAddrV4) -> Vec<u8> {
    let port = address.port() ^ u16::from_be_bytes([MAGIC[0], MAGIC[1]]);
    let ip = address.ip().to_bits() ^ u32::from_be_bytes(MAGIC);
    [&[0, 1][..], &port.to_be_bytes(), &ip.to_be_bytes()].concat()
}

fn relayed(attributes: &[u8]) -> Option<SocketAddrV4> {
    let begin = [&XOR_RELAYED_ADDRESS.to_be_bytes()[..], &[0, 8, 0, 1]].concat();
    let found = attributes.windows(12).find(|field| field.starts_with(&begin))?;
    let port = u16::from_be_bytes([found[6], found[7]]) ^ u16::from_be_bytes([MAGIC[0], MAGIC[1]]);
    let ip = u32::from_be_bytes([found[8], found[9], found[10], found[11]]) ^ u32::from_be_bytes(MAGIC);
    Some(SocketAddrV4::new(Ipv4Addr::from_bits(ip), port))
}
