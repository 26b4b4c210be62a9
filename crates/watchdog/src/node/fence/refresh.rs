//! Lets phones in for longer without a transaction: a packet to oneself, which a rule of the table turns into a longer time.
//!
//! Every transaction of anybody's begins the next generation of the kernel's rules, and `nft` begins again when one ended
//! while it read and computed: beside renewals by transaction, twice a second, an administrator's big set was never
//! loaded. The other way round a renewal waited for such a transaction's end. Elements that a rule adds or prolongs
//! (`update`) belong to no generation and wait for no lock.
//!
//! A packet says nothing of what became of it, so the elements are read back; what was not prolonged is, by a transaction.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::kernel::Kernel;
use super::nft::TABLE;

/// What the packets bear: only who may change the rules may send such. Any number that others use for nothing will do.
const MARK: u32 = 0xba5c_01e5;
/// The kernel counts timeouts in ticks of 10 ms at most.
const TICKS: Duration = Duration::from_millis(20);

/// The rule, for a chain that sees what leaves: first, as what is on the loopback interface is let alone by the next.
pub(super) fn rule(chain: &str, lasting: Duration) -> String {
    let millis = lasting.as_millis();
    format!(
        "add rule inet {TABLE} {chain} oif lo meta mark {MARK:#x} udp dport @sip update @permitted {{ udp dport timeout {millis}ms }} drop"
    )
}

/// Sends the marked packets that prolong permits; its socket stays open between them.
#[derive(Debug, Default)]
pub(super) struct Refresher {
    socket: Option<Socket>,
}

impl Refresher {
    /// Lets phones in at these ports for so long from now, if the table has the rule for it. Takes some ten microseconds a
    /// port.
    ///
    /// # Errors
    /// Why not, or not certainly.
    #[expect(clippy::disallowed_methods, reason = "holds against what the kernel says, which no test can pause")]
    pub(super) fn prolong(&mut self, kernel: &mut Kernel, ports: &[u16], lasting: Duration) -> io::Result<()> {
        let began = Instant::now();
        // The socket is taken out, and put back when all went well: one that failed once is opened anew.
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open()?,
        };
        for port in ports {
            match socket.send_to(&[], &SocketAddr::from((Ipv4Addr::LOCALHOST, *port)).into()) {
                // The rule drops what it has taken in, and the kernel tells whoever sent it.
                Err(dropped) if dropped.kind() == ErrorKind::PermissionDenied => {}
                Err(error) => return Err(error),
                Ok(_) => return Err(io::Error::other("no rule took the packet in")),
            }
        }
        self.socket = Some(socket);
        let left = kernel.left("permitted", ports)?;
        // What has passed since, and the kernel's coarseness, are no sign that it was not prolonged.
        let least = lasting.saturating_sub(began.elapsed() + TICKS);
        // All ports must be there: one that is missing would keep its phones out, with nobody to notice.
        if left.len() == ports.len() && left.iter().all(|left| *left >= least) {
            return Ok(());
        }
        Err(io::Error::other("no rule prolonged the permit"))
    }
}

fn open() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), None)?;
    socket.set_mark(MARK)?;
    Ok(socket)
}
