//! Accepts connections under the caps, until nothing more is waited for: whoever comes while the Edge goes away is told so.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::admission::{Admitted, TurnedAway};
use crate::config::Network;
use crate::traffic::edge::Edge;
use crate::traffic::proxy_protocol::{self, NoHeader};

/// Connections the kernel holds for us while we are busy: what a whole site sends when it comes back at once.
const BACKLOG: i32 = 4096;
/// Pause after a failed accept: without descriptors it would fail at once again.
const PAUSE: Duration = Duration::from_millis(50);
/// A client that vanished is noticed after a minute, however long its WebSocket is idle: three probes without an answer.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);
/// What a client has not acknowledged for so long, or has had no room for, ends its connection. It outlasts a change of
/// network and a lift, and comes after `write_stall` by default; the kernel alone would try for a quarter of an hour.
/// Where this is set, keepalive ends by it and not by its count, so the two agree.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// What the kernel holds of an answer beyond what is on its way to the client: the Edge refills it faster than any
/// client takes it. Without a bound, the kernel holds up to 4 MiB for one that stalls (`net.ipv4.tcp_wmem`), which counts
/// as the service's memory.
const UNSENT: u32 = 128 * 1024;

/// Opens a listener.
///
/// # Errors
/// The address cannot be had: somebody listens there, or it is none of this machine.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Linux has `[::]` take IPv4, too, and 0.0.0.0 beside it would be refused. So an address means what is written,
        // and the configuration warns of `[::]` alone.
        socket.set_only_v6(true)?;
    }
    // Connections of the last process stay in TIME_WAIT for a minute, and would keep the address from the next one.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts for as long as the process lives, so that none of its last moments refuses anybody; `serve` gets each admitted
/// connection in a task of its own.
///
/// Whoever is `believed` says by the PROXY protocol whose connection it is, before anything else.
pub async fn accept<S, F>(listener: TcpListener, edge: Arc<Edge>, believed: Arc<[Network]>, serve: S)
where
    S: Fn(TcpStream, SocketAddr, Admitted) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let (tcp, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                edge.note_accept_error(&error);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Read anew for each connection: a reload's limits hold from the next one on.
        let site = edge.site();
        let limits = &site.config.limits;
        let (most, each) = (limits.connections.get(), limits.connections_per_client.get());
        let introduced = believed.iter().any(|network| network.contains(peer.ip()));
        // A proxy has as many connections as all its clients; each is counted as theirs once it is known whose it is.
        let each = if introduced { usize::MAX } else { each };
        // Late ones are counted apart: who was there before is waited for, and they are not.
        let admitted = match edge.drain.has_begun() {
            false => edge.admission.admit(peer.ip(), most, each, false),
            // Both kinds together are no more than `connections` allows, which is what the machine was sized for.
            true => edge.drain.late.admit(peer.ip(), most.saturating_sub(edge.admission.open()), each, true),
        };
        match admitted {
            Ok(admitted) => {
                prepare(&tcp);
                match introduced {
                    false => drop(tokio::spawn(serve(tcp, peer, admitted))),
                    true => {
                        let (edge, serve) = (edge.clone(), serve.clone());
                        tokio::spawn(async move {
                            let whose = Box::pin(introduce(&edge, tcp, peer, admitted)).await;
                            if let Some((tcp, client, admitted)) = whose {
                                serve(tcp, client, admitted).await;
                            }
                        });
                    }
                }
            }
            Err(turned_away) => turn_away(&edge, &tcp, turned_away),
        }
    }
}

/// Reads whose connection it is. None: it has ended, and that is counted.
async fn introduce(
    edge: &Edge,
    mut tcp: TcpStream,
    proxy: SocketAddr,
    admitted: Admitted,
) -> Option<(TcpStream, SocketAddr, Admitted)> {
    let site = edge.site();
    let limits = &site.config.limits;
    let told = match timeout(limits.client_hello, proxy_protocol::read(&mut tcp)).await {
        Ok(Ok(told)) => told,
        // A proxy that looks whether somebody listens.
        Ok(Err(NoHeader::Silent)) => return None,
        Ok(Err(why)) => return edge.note_no_header(proxy, &why),
        Err(_) => return edge.note_no_header(proxy, &"it did not come in time"),
    };
    // What it says of itself, or of what is no TCP, leaves the connection its own.
    let Some(told) = told else { return Some((tcp, proxy, admitted)) };
    match admitted.of_client(told.client.ip(), limits.connections_per_client.get()) {
        Ok(admitted) => Some((tcp, told.client, admitted)),
        Err(turned_away) => {
            turn_away(edge, &tcp, turned_away);
            None
        }
    }
}

/// Sets what every connection has that may live for hours, a client's or one on which it is passed on.
pub fn prepare(tcp: &TcpStream) {
    let (time, interval, retries) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
    let socket = SockRef::from(tcp);
    // All are comforts: a connection without them still works.
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(USER_TIMEOUT));
    // Small writes are gathered by `ClientStream`; Nagle's algorithm would hold the last part of an answer until the
    // client has acknowledged the one before.
    let _ = tcp.set_nodelay(true);
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
}

fn turn_away(edge: &Edge, tcp: &TcpStream, turned_away: TurnedAway) {
    // No page is sent: it would take a TLS handshake, which is what an Edge that is full can afford least.
    edge.note_turned_away(turned_away);
    // A reset: no TIME_WAIT for somebody we cannot serve.
    let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_vanishes_is_given_up_after_a_minute_idle_or_not() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        prepare(&tcp);
        let socket = SockRef::from(&tcp);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        let (time, interval, retries) = KEEPALIVE;
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), time);
        assert_eq!(time + interval * retries, USER_TIMEOUT);
    }
}
