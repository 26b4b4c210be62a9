//! The PROXY protocol (HAProxy's proxy-protocol.txt, versions 1 and 2): who the client of a connection is, said before its
//! first byte by whoever hands it on.

use std::net::{IpAddr, SocketAddr};

use crate::config::ProxyHeader;

/// What every header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, on behalf of a client.
const PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// What a header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Where the connection comes from.
    pub client: SocketAddr,
    /// Where it was accepted.
    pub server: SocketAddr,
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
mod tests {
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
}
