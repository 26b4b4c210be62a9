//! Sockets for probes: bound if asked, unbuffered, and closed without leaving anything behind.

use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use crate::failure::{Failure, FailureKind};

/// Connects with `TCP_NODELAY` and zero linger: dropping the stream, or this future half-way, resets what there was of
/// a connection.
pub(crate) async fn connect(target: SocketAddr, source: Option<IpAddr>) -> Result<TcpStream, Failure> {
    let socket = match target {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(|error| Failure::local("open a socket", error))?;
    socket.set_nodelay(true).map_err(|error| Failure::local("set TCP_NODELAY", error))?;
    // Closed in order, each probe would leave a port of this machine's in `TIME_WAIT` for a minute.
    socket.set_zero_linger().map_err(|error| Failure::local("set SO_LINGER", error))?;
    if let Some(source) = source {
        socket
            .bind(SocketAddr::new(source, 0))
            .map_err(|error| Failure::local("bind the source address", format_args!("{source}: {error}")))?;
    }
    let stream = socket.connect(target).await.map_err(|error| Failure::of_io(&error))?;
    if is_connected_to_itself(&stream) {
        return Err(Failure::new(FailureKind::Refused, "connection refused (the socket met itself: nobody listens)"));
    }
    Ok(stream)
}

/// On this very host a closed port among the ephemeral ones may be picked as our own: TCP then opens simultaneously
/// with itself and "works".
fn is_connected_to_itself(stream: &TcpStream) -> bool {
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) => local == peer,
        _ => false,
    }
}

/// Binds and connects a datagram socket: the kernel then filters by peer and reports its ICMP errors.
pub(crate) async fn datagrams(target: SocketAddr, source: Option<IpAddr>) -> Result<UdpSocket, Failure> {
    let any = match target {
        SocketAddr::V4(_) => IpAddr::from([0u8; 4]),
        SocketAddr::V6(_) => IpAddr::from([0u8; 16]),
    };
    let local = SocketAddr::new(source.unwrap_or(any), 0);
    let socket = UdpSocket::bind(local)
        .await
        .map_err(|error| Failure::local("bind a UDP socket", format_args!("{local}: {error}")))?;
    socket.connect(target).await.map_err(|error| Failure::of_io(&error))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_met_itself_is_noticed() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let own = socket.local_addr().unwrap();
        let stream = socket.connect(own).await.unwrap();
        assert!(is_connected_to_itself(&stream));
    }
}
