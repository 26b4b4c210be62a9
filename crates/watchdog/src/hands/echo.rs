//! ICMP echo to the peer and the anchors: does the host answer? A diagnosis, and without a witness a vote.

use failover::Instant;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::watch;

/// Whom to ask, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoSpec {
    /// At most 64 addresses.
    pub targets: Vec<IpAddr>,
    /// Time between two requests to one target.
    pub interval: Duration,
}

/// What the system granted to send echo requests by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// An unprivileged socket: `net.ipv4.ping_group_range` holds the group.
    Datagram,
    /// A raw socket: `CAP_NET_RAW`.
    Raw,
    /// Neither; why. Nothing can be said about any host.
    None(String),
    /// No target of this family.
    Unused,
}

/// Who answered when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The start of the newest answered request by address; none: no answer yet.
    pub last: BTreeMap<IpAddr, Option<Instant>>,
}

/// Whether a host answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// It did within the time asked for.
    Yes,
    /// It did not.
    No,
    /// It cannot be asked.
    Unknown,
}

/// The way to the task that asks, which ends when this is dropped.
#[derive(Debug)]
pub struct Echo {
    /// For IPv4.
    pub v4: Socket,
    /// For IPv6.
    pub v6: Socket,
    answers: watch::Receiver<Answers>,
}

impl Echo {
    /// Opens the sockets and starts to ask. Needs a tokio runtime.
    pub fn start(spec: EchoSpec) -> Self {
        let _ = spec;
        unimplemented!()
    }

    /// Returns who answered, now and at each change.
    pub fn answers(&self) -> watch::Receiver<Answers> {
        self.answers.clone()
    }

    /// Returns whether `target` answered a request not older than `within`.
    pub fn answering(&self, target: IpAddr, within: Duration) -> Answering {
        let _ = (target, within);
        unimplemented!()
    }
}
