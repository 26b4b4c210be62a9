//! Accepts connections under the caps, until told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::server::ShutdownWatch;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use super::admission::{Admitted, TurnedAway};
use crate::edge::Edge;

/// Connections the kernel holds for us while we are busy: what a whole site sends when it comes back at once.
const BACKLOG: i32 = 4096;
/// Pause after a failed accept: without descriptors it would fail at once again.
const PAUSE: Duration = Duration::from_millis(50);
/// A client that vanished is noticed after about two minutes, however long its WebSocket is idle.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(15), 4);

/// Opens a listener.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until `shutdown` turns true; `serve` gets each admitted connection in a task of its own.
pub async fn accept<S, F>(listener: TcpListener, edge: Arc<Edge>, mut shutdown: ShutdownWatch, serve: S)
where
    S: Fn(TcpStream, SocketAddr, Admitted) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|going| *going) => return,
            accepted = listener.accept() => accepted,
        };
        let (tcp, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                edge.note_accept_error(&error);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let site = edge.site();
        let limits = &site.config.limits;
        let (most, each) = (limits.connections.get(), limits.connections_per_client.get());
        match edge.admission.admit(peer.ip(), most, each) {
            Ok(admitted) => {
                prepare(&tcp);
                tokio::spawn(serve(tcp, peer, admitted));
            }
            Err(turned_away) => turn_away(&edge, &tcp, turned_away),
        }
    }
}

fn prepare(tcp: &TcpStream) {
    let (time, interval, retries) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
    // Both are comforts: a connection without them still works.
    let _ = SockRef::from(tcp).set_tcp_keepalive(&keepalive);
    let _ = tcp.set_nodelay(true);
}

fn turn_away(edge: &Edge, tcp: &TcpStream, turned_away: TurnedAway) {
    edge.note_turned_away(turned_away);
    // A reset: no TIME_WAIT for somebody we cannot serve.
    let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}
