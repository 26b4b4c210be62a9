//! A socket for ICMP echo: unprivileged where the system lets the group, raw where it lets the process.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};
use tokio::net::UdpSocket;
use tokio::time::sleep;

use super::Socket;
use super::packet::Token;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn holds(self, address: IpAddr) -> bool {
        (self == Self::V4) == address.is_ipv4()
    }
}

#[derive(Debug)]
pub(super) struct EchoSocket {
    /// For tokio all datagram sockets are alike.
    socket: UdpSocket,
    family: Family,
}

impl EchoSocket {
    /// Opens what the system grants, and says what that is.
    pub(super) fn open(family: Family) -> (Socket, Option<Self>) {
        // The unprivileged socket is tried first: the watchdog need not hold a right that it does not use.
        let datagram = match Self::of(family, SocketType::DGRAM) {
            Ok(socket) => return (Socket::Datagram, Some(socket)),
            Err(cause) => cause,
        };
        match Self::of(family, SocketType::RAW) {
            Ok(socket) => (Socket::Raw, Some(socket)),
            Err(raw) => {
                let why = format!(
                    "no unprivileged ICMP socket ({datagram}; see net.ipv4.ping_group_range), \
                     no raw one ({raw}; see CAP_NET_RAW)"
                );
                (Socket::None(why), None)
            }
        }
    }

    fn of(family: Family, kind: SocketType) -> io::Result<Self> {
        let (domain, protocol) = match family {
            Family::V4 => (AddressFamily::INET, ipproto::ICMP),
            Family::V6 => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let socket = socket_with(domain, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(protocol))?;
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, family })
    }

    /// What cannot be sent is not answered: that is all there is to know.
    pub(super) fn send(&self, target: IpAddr, token: &Token, number: u16) {
        let packet = token.request(self.family, number);
        let _ = sendto(&self.socket, &packet, SendFlags::empty(), &SocketAddr::new(target, 0));
    }

    /// Waits for an answer to a request marked with `token`.
    pub(super) async fn receive(&self, token: &Token) -> (IpAddr, u16) {
        let mut buffer = [0; 256];
        loop {
            match self.socket.recv_from(&mut buffer).await {
                Ok((length, from)) => {
                    if let Some(number) = token.answered(self.family, &buffer[..length]) {
                        return (from.ip(), number);
                    }
                }
                // A network that is down says so again and again.
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }
}
