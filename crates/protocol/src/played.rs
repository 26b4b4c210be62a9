//! The network of a simulation: it carries connections in the place of TLS and TCP, and knows who dials.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use host::played::Boxed;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::who::Who;

std::thread_local! {
    static NET: RefCell<Option<Arc<dyn Net>>> = const { RefCell::new(None) };
}

/// What carries connections in place of the system's network.
pub trait Net: Send + Sync {
    /// Dials an address from the present machine.
    fn dial(&self, to: SocketAddr) -> Boxed<io::Result<DuplexStream>>;

    /// Listens on an address.
    ///
    /// # Errors
    /// Somebody does already.
    fn listen(&self, at: SocketAddr) -> io::Result<PlayedListener>;
}

/// Where callers come in, as a simulation has it.
#[derive(Debug)]
pub struct PlayedListener {
    /// Of the played network; nothing is bound.
    pub address: SocketAddr,
    /// Who has come, and the connection.
    pub callers: mpsc::Receiver<(Who, DuplexStream)>,
}

/// Has this thread's links and endpoints use a network, or the system's again.
pub fn play(net: Option<Arc<dyn Net>>) {
    NET.set(net);
}

pub(crate) fn net() -> Option<Arc<dyn Net>> {
    NET.with_borrow(Clone::clone)
}
