//! As much SIP (RFC 3261) as a phone needs that registers and calls: over UDP, and over WebSocket (RFC 7118).

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use crate::outcome::{Outcome, because, ensure};

const PORT: u16 = 5060;
/// How long a phone waits for an answer before it says the same again.
const AGAIN: Duration = Duration::from_millis(500);
const BIGGEST: usize = 8192;
/// 20 ms of G.711.
const SAMPLES: usize = 160;
/// How many RTP packets have to come back for a call to count as heard.
const HEARD: usize = 10;

/// What carries whole SIP messages to one server.
pub(crate) trait Pipe {
    /// As it stands in `Via`.
    const VIA: &'static str;
    fn send(&mut self, message: &str) -> Outcome;
    /// The next message, or none until then.
    fn receive(&mut self, until: Instant) -> Outcome<Option<String>>;
}

/// SIP over UDP.
#[derive(Debug)]
pub(crate) struct Udp {
    socket: UdpSocket,
}

impl Udp {
    /// To be called inside a machine.
    pub(crate) fn to(server: Ipv4Addr) -> Outcome<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(because("a socket"))?;
        socket.connect((server, PORT)).map_err(because(server))?;
        Ok(Self { socket })
    }
}

impl Pipe for Udp {
    const VIA: &'static str = "UDP";

    fn send(&mut self, message: &str) -> Outcome {
        match self.socket.send(message.as_bytes()) {
            // Refused: an answer to something earlier. Nobody is there, which the missing answer will show.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            sent => sent.map(drop).map_err(because("sending")),
        }
    }

    fn receive(&mut self, until: Instant) -> Outcome<Option<String>> {
        let mut bytes = [0; BIGGEST];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left)).map_err(because("a socket"))?;
            match self.socket.recv(&mut bytes) {
                Ok(size) => return Ok(Some(String::from_utf8_lossy(&bytes[..size]).into_owned())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(format!("receiving: {error}")),
            }
        }
    }
}

/// A phone with one line.
#[derive(Debug)]
pub(crate) struct Phone<P> {
    pipe: P,
    user: &'static str,
    server: Ipv4Addr,
    own: Ipv4Addr,
    id: u64,
    sequence: u32,
}

/// How a call went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) answered_after: Duration,
    /// Packets of our voice that came back.
    pub(crate) echoed: usize,
}

/// A call that was answered.
#[derive(Debug)]
pub(crate) struct Dialog {
    target: String,
    tag: String,
    /// Where the other side hears.
    pub(crate) there: Option<SocketAddrV4>,
}

/// The RTP packet (RFC 3550) of this number: 20 ms of silence in G.711.
pub(crate) fn voice(number: u16) -> [u8; 12 + SAMPLES] {
    let mut packet = [0xff; 12 + SAMPLES];
    packet[..12].fill(0);
    packet[0] = 0x80;
    packet[2..4].copy_from_slice(&number.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(number) * SAMPLES as u32).to_be_bytes());
    packet[11] = 7;
    packet
}

impl<P: Pipe> Phone<P> {
    pub(crate) fn new(pipe: P, user: &'static str, server: Ipv4Addr, own: Ipv4Addr) -> Self {
        Self { pipe, user, server, own, id: fastrand::u64(..), sequence: 0 }
    }

    /// Leaves the phone, and returns what it spoke through.
    pub(crate) fn hang_up(self) -> P {
        self.pipe
    }

    /// Registers within the limit.
    pub(crate) fn register(&mut self, limit: Duration) -> Outcome {
        let (user, own, server) = (self.user, self.own, self.server);
        let contact =
            format!("Contact: <sip:{user}@{own}:5072;transport={}>\r\nExpires: 60\r\n", P::VIA.to_lowercase());
        let request = self.request("REGISTER", &format!("sip:{server}"), user, "", &contact, None);
        let answer = self.ask(&request, limit)?;
        ensure(code(&answer) == 200, || format!("REGISTER at {server}: {}", first_line(&answer)))
    }

    /// Calls the echo test within the limit, listens for our own voice and hangs up. Inside the phone's machine.
    pub(crate) fn call_echo(&mut self, limit: Duration) -> Outcome<Call> {
        let voice = UdpSocket::bind((self.own, 0)).map_err(because("a socket for voice"))?;
        let port = voice.local_addr().map_err(because("a socket for voice"))?.port();
        let start = Instant::now();
        let dialog = self.dial_echo(SocketAddrV4::new(self.own, port), limit)?;
        let answered_after = start.elapsed();
        let echoed = dialog.there.map_or(Ok(0), |there| talk(&voice, there))?;
        self.end(&dialog, limit)?;
        Ok(Call { answered_after, echoed })
    }

    /// Calls the echo test within the limit, to be heard at `here`.
    pub(crate) fn dial_echo(&mut self, here: SocketAddrV4, limit: Duration) -> Outcome<Dialog> {
        let (user, own, server) = (self.user, self.own, self.server);
        let (address, port) = (here.ip(), here.port());
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n"
        );
        let contact = format!(
            "Contact: <sip:{user}@{own}:5072;transport={}>\r\nContent-Type: application/sdp\r\n",
            P::VIA.to_lowercase()
        );
        let target = format!("sip:600@{server}");
        let request = self.request("INVITE", &target, "600", "", &contact, Some(&offer));
        let answer = self.ask(&request, limit)?;
        ensure(code(&answer) == 200, || format!("INVITE to {server}: {}", first_line(&answer)))?;
        let tag = header(&answer, "To").and_then(|to| to.split_once(";tag=")).map_or("", |(_, tag)| tag).to_owned();
        let invite = self.sequence;
        let acknowledgement = self.request("ACK", &target, "600", &tag, "", None);
        let acknowledgement =
            acknowledgement.replace(&format!("CSeq: {} ACK", self.sequence), &format!("CSeq: {invite} ACK"));
        self.pipe.send(&acknowledgement)?;
        Ok(Dialog { target, tag, there: media(&answer) })
    }

    /// Hangs up within the limit; the server has to know of the call still.
    pub(crate) fn end(&mut self, dialog: &Dialog, limit: Duration) -> Outcome {
        let bye = self.request("BYE", &dialog.target, "600", &dialog.tag, "", None);
        let answer = self.ask(&bye, limit)?;
        ensure(code(&answer) == 200, || format!("BYE to {}: {}", self.server, first_line(&answer)))
    }

    fn request(&mut self, method: &str, uri: &str, to: &str, tag: &str, more: &str, body: Option<&str>) -> String {
        self.sequence += 1;
        let (user, server, own, id, sequence) = (self.user, self.server, self.own, self.id, self.sequence);
        // A dialogue of its own for registering, one for the call.
        let dialogue = if method == "REGISTER" { "r" } else { "c" };
        let tag = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
        let body = body.unwrap_or_default();
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{via} {own}:5072;rport;branch=z9hG4bK{id}{sequence}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@{server}>;tag={id}\r\nTo: <sip:{to}@{server}>{tag}\r\nCall-ID: {dialogue}{id}\r\n\
             CSeq: {sequence} {method}\r\n{more}Content-Length: {length}\r\n\r\n{body}",
            via = P::VIA,
            length = body.len(),
        )
    }

    /// The final answer to a request, said again until it comes.
    fn ask(&mut self, request: &str, limit: Duration) -> Outcome<String> {
        let end = Instant::now() + limit;
        let wanted = header(request, "CSeq").unwrap_or_default().to_owned();
        while Instant::now() < end {
            self.pipe.send(request)?;
            let again = (Instant::now() + AGAIN).min(end);
            while let Some(message) = self.pipe.receive(again)? {
                if code(&message) >= 200 && header(&message, "CSeq") == Some(&wanted) {
                    return Ok(message);
                }
            }
        }
        Err(format!("{}: no answer within {:.1} s", first_line(request), limit.as_secs_f64()))
    }
}

/// An OPTIONS that says which probe it is, and whose: to a server, two with one branch are one.
pub(crate) fn options(server: Ipv4Addr, prober: u64, probe: usize) -> String {
    format!(
        "OPTIONS sip:{server} SIP/2.0\r\nVia: SIP/2.0/UDP prober.invalid;rport;branch=z9hG4bK{prober}-{probe}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:1002@{server}>;tag={prober}\r\nTo: <sip:{server}>\r\n\
         Call-ID: {prober}-{probe}\r\nCSeq: {probe} OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The number of the probe that is answered here.
pub(crate) fn answered(message: &str) -> Option<usize> {
    header(message, "CSeq")?.split(' ').next()?.parse().ok()
}

fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let head = message.split("\r\n\r\n").next()?;
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

fn code(message: &str) -> u16 {
    let answer = first_line(message).strip_prefix("SIP/2.0 ");
    answer.and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or_default()
}

/// Where the other side hears.
fn media(answer: &str) -> Option<SocketAddrV4> {
    let line = |key: &str| answer.lines().find_map(|line| line.strip_prefix(key));
    let address = line("c=IN IP4 ")?.trim().parse().ok()?;
    let port = line("m=audio ")?.split(' ').next()?.parse().ok()?;
    Some(SocketAddrV4::new(address, port))
}

/// Speaks for a moment and counts what comes back.
fn talk(socket: &UdpSocket, there: SocketAddrV4) -> Outcome<usize> {
    const FRAME: Duration = Duration::from_millis(20);
    let mut heard = 0;
    let mut received = [0; 2048];
    socket.set_read_timeout(Some(FRAME)).map_err(because("a socket for voice"))?;
    for number in 0..100_u16 {
        socket.send_to(&voice(number), there).map_err(because("voice"))?;
        let next = Instant::now() + FRAME;
        if matches!(socket.recv(&mut received), Ok(size) if size > SAMPLES) {
            heard += 1;
        }
        if heard >= HEARD {
            return Ok(heard);
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(heard)
}
