//! A side in a thimble: enough of a XiVO to put behind an Edge, as one process. It serves the web application and its
//! sockets (`xivo`), SIP OPTIONS (`sip`), and everything a test wants an upstream to do wrong (`lab`).

mod answer;
mod lab;
mod ledger;
mod mode;
mod serve;
mod sip;
mod socket;
mod state;
mod tls;
mod xivo;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use http::uri::Scheme;
use tokio::net::{TcpListener, TcpSocket};

use self::ledger::Ledger;
use self::sip::Responder;
use self::state::State;
pub use self::tls::TlsError;

/// Names the side that answered, in every answer.
pub const HEADER: &str = "demo-side";

/// Threads of a side. Two sides and an Edge share one small machine.
const THREADS: usize = 2;
/// A whole site that comes back at once.
const BACKLOG: u32 = 4096;

/// What a side is told when it is started.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SideArgs {
    /// Which side it is.
    #[arg(long, value_enum)]
    pub side: SideName,
    /// Where it serves HTTP; port 0: any that is free.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Where it answers SIP OPTIONS, over UDP and TCP.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub sip: Option<SocketAddr>,
    /// Certificate chain, PEM: serves HTTPS instead.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Where each number posted to `/xuc/lab/count` is written, one a line; several sides may share it.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
}

/// Which side a process plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SideName {
    /// Main.
    Main,
    /// Standby.
    Standby,
    /// A service both sides share, such as the SIP proxy.
    Shared,
}

impl SideName {
    /// The word on the command line and in [`HEADER`].
    pub fn word(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Standby => "standby",
            Self::Shared => "shared",
        }
    }
}

/// Why a side does not serve.
#[derive(Debug, thiserror::Error)]
pub enum SideError {
    /// An address is not to be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address that cannot be listened on.
        address: SocketAddr,
        /// What the system says of it.
        #[source]
        source: io::Error,
    },
    /// Its certificate is of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The ledger cannot be written.
    #[error("{path}: {source}")]
    Ledger {
        /// The file in which posted numbers are written down.
        path: PathBuf,
        /// What the system says of it.
        #[source]
        source: io::Error,
    },
    /// The process lacks something else.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// Serves until the process is ended. Says `listening on ADDRESS[ sip ADDRESS]` in one line once it does.
///
/// # Errors
/// An address cannot be had, the certificate is of no use, or the ledger cannot be written; each is named.
pub fn run(args: &SideArgs) -> Result<(), SideError> {
    bascule::run::raise_descriptor_limit();
    let tls = match (&args.cert, &args.key) {
        (Some(chain), Some(key)) => Some(tls::acceptor(chain, key)?),
        _ => None,
    };
    let ledger = args
        .ledger
        .as_ref()
        .map(|path| Ledger::open(path).map_err(|source| SideError::Ledger { path: path.clone(), source }));
    let ledger = ledger.transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    runtime.block_on(async {
        let listener = listen(args.listen).map_err(|source| SideError::Listen { address: args.listen, source })?;
        let address = listener.local_addr()?;
        let scheme = if tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let state = Arc::new(State::new(args.side, address, scheme, ledger));
        let mut line = format!("listening on {address}");
        if let Some(address) = args.sip {
            let responder = Responder::bind(address, state.mode.clone()).await;
            let responder = responder.map_err(|source| SideError::Listen { address, source })?;
            line.push_str(&format!(" sip {}", responder.address()));
            tokio::spawn(responder.serve());
        }
        announce(&line)?;
        serve::serve(listener, tls, state).await;
        Ok(())
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A side that was killed comes back on its old port at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn announce(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
