//! The network between the machines: it delays, loses, and is cut one way. Connections are streams: what is lost is
//! sent again, and what a cut holds back arrives when it heals.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use host::played::{Boxed, current};
use protocol::played::{Net, PlayedListener};
use protocol::who::Who;
use protocol::wire::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::world::{CC, EDGE, HOSTS, MDS, World, host_at, index, name};

/// One direction between two machines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Link {
    pub(super) cut: bool,
    /// How many of a hundred segments it loses.
    pub(super) loss: u32,
    /// The longest a segment takes, in milliseconds.
    pub(super) delay: u64,
}

pub(super) const GOOD: Link = Link { cut: false, loss: 0, delay: 4 };

/// How often a NAT or a firewall on the way between two machines forgot what connections there are.
pub(super) type Forgot = [[u32; HOSTS]; HOSTS];

pub(super) type Links = [[Link; HOSTS]; HOSTS];

/// What is lost is sent again after so long (`TCP_THIN_LINEAR_TIMEOUTS`).
const AGAIN: Duration = Duration::from_millis(200);
/// How often a frozen or dead machine is looked at.
const LOOK: Duration = Duration::from_millis(50);
const BUFFER: usize = 64 << 10;

pub(super) struct Carrier(pub(super) Arc<World>);

impl Net for Carrier {
    fn dial(&self, to: SocketAddr) -> Boxed<io::Result<DuplexStream>> {
        let world = Arc::clone(&self.0);
        let (from, to_host) = (index(&current()), host_at(to));
        Box::pin(async move {
            world.travel(from, to_host).await;
            world.until_powered(to_host).await;
            let Some(endpoint) = world.inner().endpoints.get(&to).cloned() else {
                world.travel(to_host, from).await;
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            // The kernel accepts; a frozen process shakes no hands.
            while world.is_frozen(to_host) {
                sleep(LOOK).await;
            }
            world.travel(to_host, from).await;
            let (client, near) = duplex(BUFFER);
            let (far, server) = duplex(BUFFER);
            let ((near_read, near_write), (far_read, far_write)) = (split(near), split(far));
            let known = world.inner().forgot[from][to_host];
            tokio::spawn(pump(Arc::clone(&world), from, to_host, known, near_read, far_write));
            tokio::spawn(pump(Arc::clone(&world), to_host, from, known, far_read, near_write));
            endpoint.try_send((who(from), server)).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            Ok(client)
        })
    }

    fn listen(&self, at: SocketAddr) -> io::Result<PlayedListener> {
        let (endpoint, callers) = mpsc::channel(64);
        self.0.inner().endpoints.insert(at, endpoint);
        Ok(PlayedListener { address: at, callers })
    }
}

pub(super) fn who(host: usize) -> Who {
    match host {
        EDGE => Who::edge(name(EDGE)),
        MDS => Who::media_server(name(MDS)),
        host if CC.contains(&host) => Who::of_side(Role::Cc, failover::Side::BOTH[host - CC[0]], name(host)),
        host => Who::of_side(Role::Xivo, failover::Side::BOTH[host], failover::Side::BOTH[host].label()),
    }
}

/// Carries one direction of a connection, as long as it is `known` on the way; nobody is told that it is not.
async fn pump(
    world: Arc<World>,
    from: usize,
    to: usize,
    known: u32,
    mut read: ReadHalf<DuplexStream>,
    mut write: WriteHalf<DuplexStream>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = read.read(&mut buffer).await.unwrap_or(0);
        let forgotten = world.inner().forgot[from][to] != known;
        if forgotten && length > 0 {
            continue;
        }
        if length == 0 && forgotten {
            return;
        }
        if length == 0 {
            // Nobody is told of the end of a machine that lost its power, before it is asked again.
            world.until_powered(from).await;
            world.travel(from, to).await;
            let _ = write.shutdown().await;
            return;
        }
        world.travel(from, to).await;
        if world.inner().forgot[from][to] == known && write.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

impl World {
    /// Waits as long as a segment travels.
    pub(super) async fn travel(&self, from: usize, to: usize) {
        loop {
            let takes = {
                let mut inner = self.inner();
                let link = inner.links[from][to];
                let lost = link.cut || inner.chance.u32(0..100) < link.loss;
                (!lost).then(|| Duration::from_micros(200 + inner.chance.u64(0..link.delay * 1000)))
            };
            match takes {
                Some(takes) => return sleep(takes).await,
                None => sleep(AGAIN).await,
            }
        }
    }

    async fn until_powered(&self, host: usize) {
        while !self.inner().machines[host].powered {
            sleep(LOOK).await;
        }
    }

    fn is_frozen(&self, host: usize) -> bool {
        self.inner().machines[host].host.as_ref().is_some_and(host::played::Host::is_frozen)
    }
}
