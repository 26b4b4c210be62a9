//! The PROXY protocol (HAProxy's proxy-protocol.txt, versions 1 and 2): who the client of a connection is, said before its
//! first byte by whoever hands it on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::config::ProxyHeader;

/// What every header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, on behalf of a client.
const PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// What a header of version 1 begins with.
const LINE: &[u8] = b"PROXY ";
/// The longest line of version 1 (section 2.1 of the specification).
const LONGEST_LINE: usize = 107;
/// The shortest header there is: `PROXY UNKNOWN`. So many bytes are read before it is known how many there are.
const SHORTEST: usize = 15;
/// Up to its length, version 2 says in so many bytes.
const FIXED: usize = 16;
/// Behind the fixed part: addresses, and what else is said of a connection, which is skipped. Certificates fit in.
const MOST_BEHIND: usize = 4096;

/// What a header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The client, as whoever hands the connection on says.
    pub client: SocketAddr,
    /// The address that the client connected to.
    pub server: SocketAddr,
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum NoHeader {
    /// The other end left without a word.
    #[error("it said nothing")]
    Silent,
    /// The connection ended within it.
    #[error("it broke off: {0}")]
    BrokenOff(#[from] io::Error),
    /// It is none, or has parts that nobody understands one way only.
    #[error("{0}")]
    Malformed(&'static str),
}

/// What stands at the beginning of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// More is needed.
    Incomplete,
    /// A header of so many bytes, and what it tells; none: the one who sends it speaks for itself, or of a connection that
    /// is no TCP.
    Header(usize, Option<Told>),
}

/// Whether a connection that begins so begins with a header, be it believed or not. Five bytes tell.
pub fn begins(bytes: &[u8]) -> bool {
    bytes.len() >= 5 && (LINE.starts_with(&bytes[..5]) || SIGNATURE.starts_with(&bytes[..5]))
}

/// Reads the header that a connection must begin with, and not a byte more.
///
/// # Errors
/// There is none. What came is lost with the connection.
pub async fn read(tcp: &mut TcpStream) -> Result<Option<Told>, NoHeader> {
    let mut header = [0; FIXED + MOST_BEHIND];
    let mut came = 0;
    loop {
        match parse(&header[..came])? {
            Parsed::Header(_, told) => return Ok(told),
            Parsed::Incomplete => {}
        }
        // Of a line nobody knows where it ends before the end is there.
        let most = match header[..came].first() {
            Some(b'P') if came >= SHORTEST => {
                let seen = tcp.peek(&mut header[came..LONGEST_LINE]).await?;
                let ahead = &header[came..came + seen];
                ahead.iter().position(|byte| *byte == b'\n').map_or(seen, |end| end + 1)
            }
            _ => wanted(&header[..came]) - came,
        };
        match tcp.read(&mut header[came..came + most]).await? {
            0 if came == 0 => return Err(NoHeader::Silent),
            0 => return Err(NoHeader::BrokenOff(io::ErrorKind::UnexpectedEof.into())),
            count => came += count,
        }
    }
}

/// How many bytes there are at least in a header that begins so.
fn wanted(bytes: &[u8]) -> usize {
    match bytes.get(FIXED - 2..FIXED) {
        Some(length) => FIXED + length.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)),
        None if bytes.len() < SHORTEST => SHORTEST,
        None => FIXED,
    }
}

/// Reads a header at the beginning of `bytes`, of either version.
///
/// # Errors
/// It begins with none, whatever comes behind.
pub fn parse(bytes: &[u8]) -> Result<Parsed, NoHeader> {
    let begins_with = |what: &[u8]| {
        let both = what.len().min(bytes.len());
        bytes[..both] == what[..both]
    };
    if begins_with(SIGNATURE) {
        return binary(bytes);
    }
    if !begins_with(LINE) {
        return Err(NoHeader::Malformed("no header of the PROXY protocol"));
    }
    let within = &bytes[..bytes.len().min(LONGEST_LINE)];
    match within.iter().position(|byte| *byte == b'\n') {
        Some(end) => Ok(Parsed::Header(end + 1, line(&within[..end])?)),
        None if within.len() == LONGEST_LINE => Err(NoHeader::Malformed("a line without end")),
        None => Ok(Parsed::Incomplete),
    }
}

/// A line of version 1, up to its line feed.
fn line(line: &[u8]) -> Result<Option<Told>, NoHeader> {
    let malformed = NoHeader::Malformed("a line that nobody understands");
    let text = std::str::from_utf8(line).ok().and_then(|text| text.strip_suffix('\r')?.strip_prefix("PROXY "));
    let Some(text) = text else { return Err(malformed) };
    // What stands behind it is for nobody.
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Ok(None);
    }
    let words: Vec<&str> = text.splitn(6, ' ').collect();
    let ips: fn(&str) -> Option<IpAddr> = match words.first() {
        Some(&"TCP4") => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        Some(&"TCP6") => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => return Err(malformed),
    };
    let told = match words[..] {
        [_, client, server, from, to] => (|| {
            let client = SocketAddr::new(ips(client)?, port(from)?);
            Some(Told { client, server: SocketAddr::new(ips(server)?, port(to)?) })
        })(),
        _ => None,
    };
    told.map(Some).ok_or(malformed)
}

/// Digits alone, and as few as can be: `+80` and `080` are read in two ways.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// A header of version 2.
fn binary(bytes: &[u8]) -> Result<Parsed, NoHeader> {
    let Some((fixed, behind)) = bytes.split_first_chunk::<FIXED>() else { return Ok(Parsed::Incomplete) };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MOST_BEHIND {
        return Err(NoHeader::Malformed("a header without end"));
    }
    if command & 0xf0 != 0x20 || command & 0x0f > 1 || family >> 4 > 3 || family & 0x0f > 2 {
        return Err(NoHeader::Malformed("a version, a command or a family that nobody knows"));
    }
    let addresses = match (command, family) {
        (PROXY, TCP_OVER_IPV4) => 12,
        (PROXY, TCP_OVER_IPV6) => 36,
        _ => 0,
    };
    if length < addresses {
        return Err(NoHeader::Malformed("a header shorter than its addresses"));
    }
    let Some(behind) = behind.get(..length) else { return Ok(Parsed::Incomplete) };
    let at =
        |ip: IpAddr, port: &[u8]| SocketAddr::new(ip, port.iter().fold(0, |all, byte| all << 8 | u16::from(*byte)));
    let told = match addresses {
        12 => {
            let ip = |from: usize| IpAddr::from([behind[from], behind[from + 1], behind[from + 2], behind[from + 3]]);
            Some(Told { client: at(ip(0), &behind[8..10]), server: at(ip(4), &behind[10..12]) })
        }
        36 => {
            let ip = |from: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&behind[from..from + 16]);
                IpAddr::from(octets)
            };
            Some(Told { client: at(ip(0), &behind[32..34]), server: at(ip(16), &behind[34..36]) })
        }
        _ => None,
    };
    Ok(Parsed::Header(FIXED + length, told))
}

/// The header in that version; nothing for none.
pub fn header(version: ProxyHeader, told: Told) -> Vec<u8> {
    let (client, server) = (told.client.ip().to_canonical(), told.server.ip().to_canonical());
    // Of two families there is one header: that of the wider one.
    let (client, server) = match (client, server) {
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => (client, server),
        _ => (wide(client), wide(server)),
    };
    let (from, to) = (told.client.port(), told.server.port());
    match version {
        ProxyHeader::None => Vec::new(),
        ProxyHeader::V1 => {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            format!("PROXY {family} {client} {server} {from} {to}\r\n").into_bytes()
        }
        ProxyHeader::V2 => {
            let mut header = SIGNATURE.to_vec();
            let (family, addresses) = match (client, server) {
                (IpAddr::V4(client), IpAddr::V4(server)) => {
                    (TCP_OVER_IPV4, [client.octets(), server.octets()].concat())
                }
                (client, server) => (TCP_OVER_IPV6, [octets(client), octets(server)].concat()),
            };
            // Two ports behind them.
            let length = u16::try_from(addresses.len()).unwrap_or_default() + 4;
            header.extend_from_slice(&[PROXY, family]);
            header.extend_from_slice(&length.to_be_bytes());
            header.extend_from_slice(&addresses);
            header.extend_from_slice(&from.to_be_bytes());
            header.extend_from_slice(&to.to_be_bytes());
            header
        }
    }
}

/// As IPv6 writes it (RFC 4291 section 2.5.5.2).
fn wide(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        v6 => v6,
    }
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    fn told(client: &str, server: &str) -> Told {
        Told { client: client.parse().unwrap(), server: server.parse().unwrap() }
    }

    #[test]
    fn a_header_is_written_as_the_specification_has_it() {
        let v4 = told("192.0.2.7:50000", "198.51.100.1:443");
        let v6 = told("[2001:db8::7]:50000", "[2001:db8::1]:443");
        let mixed = told("192.0.2.7:50000", "[2001:db8::1]:443");
        assert_eq!(header(ProxyHeader::None, v4), b"");
        for (told, line) in [
            (v4, "PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n"),
            (told("[::ffff:192.0.2.7]:50000", "198.51.100.1:443"), "PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n"),
            (v6, "PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n"),
            (mixed, "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 50000 443\r\n"),
        ] {
            assert_eq!(String::from_utf8(header(ProxyHeader::V1, told)).unwrap(), line);
        }
        let start = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21";
        let ports = [0xc3, 0x50, 1, 187];
        let expected = [&start[..], &[0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1], &ports].concat();
        assert_eq!(header(ProxyHeader::V2, v4), expected);
        let (client, server) = ("2001:db8::7".parse::<IpAddr>().unwrap(), "2001:db8::1".parse::<IpAddr>().unwrap());
        let expected = [&start[..], &[0x21, 0, 36], &octets(client), &octets(server), &ports].concat();
        assert_eq!(header(ProxyHeader::V2, v6), expected);
        assert_eq!(header(ProxyHeader::V2, mixed)[..16], expected[..16]);
    }

    fn version_2(command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
        let length = u16::try_from(behind.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, behind].concat()
    }

    /// Headers, and what they tell.
    fn headers() -> Vec<(Vec<u8>, Option<Told>)> {
        let v4 = told("192.0.2.7:50000", "198.51.100.1:443");
        let v6 = told("[2001:db8::7]:50000", "[2001:db8::1]:443");
        let mut headers = Vec::new();
        for told in [v4, v6] {
            for version in [ProxyHeader::V1, ProxyHeader::V2] {
                headers.push((header(version, told), Some(told)));
            }
        }
        // With more behind the addresses, which is skipped.
        let mut more = header(ProxyHeader::V2, v4);
        more[15] += 200;
        more.extend_from_slice(&[4; 200]);
        headers.push((more, Some(v4)));
        let longest = "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535";
        headers.push((format!("{longest:.<105}\r\n").into_bytes(), None));
        headers.push((b"PROXY UNKNOWN\r\n".to_vec(), None));
        // LOCAL, whatever it says; no family; a datagram; a unix socket.
        headers.push((version_2(0x20, 0x11, &header(ProxyHeader::V2, v4)[16..]), None));
        headers.push((version_2(0x20, 0, &[]), None));
        headers.push((version_2(0x21, 0, &[9; 30]), None));
        headers.push((version_2(0x21, 0x12, &header(ProxyHeader::V2, v4)[16..]), None));
        headers.push((version_2(0x21, 0x31, &[7; 216]), None));
        headers
    }

    #[test]
    fn every_form_of_a_header_is_read_and_is_none_before_it_is_whole() {
        for (header, told) in headers() {
            for end in 0..header.len() {
                assert_eq!(parse(&header[..end]).unwrap(), Parsed::Incomplete, "{end} of {header:?}");
            }
            let whole = Parsed::Header(header.len(), told);
            assert_eq!(parse(&header).unwrap(), whole);
            assert_eq!(parse(&[&header[..], b"\x16\x03\x01\n"].concat()).unwrap(), whole);
            assert!(begins(&header));
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let lines = [
            "GET / HTTP/1.1\r\n",
            "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n",
            "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
            "PROXY TCP4 ::1 ::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY \r\n",
        ];
        let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 100]].concat();
        let binaries = [
            version_2(0x11, 0x11, &[0; 12]),
            version_2(0x22, 0x11, &[0; 12]),
            version_2(0x21, 0x41, &[0; 12]),
            version_2(0x21, 0x13, &[0; 12]),
            version_2(0x21, 0x11, &[0; 11]),
            version_2(0x21, 0x21, &[0; 35]),
            version_2(0x21, 0x11, &[0; MOST_BEHIND + 1]),
        ];
        let all = lines.iter().map(|line| line.as_bytes().to_vec()).chain(binaries).chain([endless]);
        for bytes in all {
            assert!(matches!(parse(&bytes), Err(NoHeader::Malformed(_))), "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[tokio::test]
    async fn a_header_is_read_in_whatever_pieces_it_comes_and_not_a_byte_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for (header, told) in headers() {
            for at in 0..=header.len() {
                let (dialed, accepted) =
                    tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
                let (mut far, mut near) = (dialed.unwrap(), accepted.unwrap().0);
                far.set_nodelay(true).unwrap();
                far.write_all(&header[..at]).await.unwrap();
                let reading = tokio::spawn(async move { (read(&mut near).await, near) });
                tokio::task::yield_now().await;
                far.write_all(&header[at..]).await.unwrap();
                far.write_all(b"\nand more").await.unwrap();
                let (read, mut near) = reading.await.unwrap();
                assert_eq!(read.unwrap(), told, "split at {at}");
                let mut rest = [0; 9];
                near.read_exact(&mut rest).await.unwrap();
                assert_eq!(&rest, b"\nand more", "split at {at} of {header:?}");
            }
        }
    }
}
