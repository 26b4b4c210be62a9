//! Why a probe failed, in words an operator acts on, and how the causes met on the way translate into them.

use std::fmt::{self, Display};
use std::io;

use crate::line::line;
use crate::tls;

/// Why a target did not pass its check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What sort of failure it is.
    pub kind: FailureKind,
    /// How far the probe had come.
    pub phase: Phase,
    /// One printable line of at most 240 bytes. It holds nothing of the request.
    pub detail: String,
}

/// What sort of failure it is. `Refused` and `Reset` are known at once; `Silent` costs the whole time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Nobody listens there: the host lives, the service does not.
    Refused,
    /// The target ended the connection before its answer was complete.
    Reset,
    /// No complete answer within the time limit. In [`Phase::Connect`] the host is dead or cut off, later on its
    /// application is slow or stuck.
    Silent,
    /// The network says that there is no way there.
    Unreachable,
    /// It answered with a status that is not expected: in full, so that nobody reads it back out of the words.
    Status(u16),
    /// It answered, but not as expected.
    Wrong,
    /// The TLS handshake failed, or the certificate is not to be trusted.
    Tls,
    /// The probe's own host is in trouble (out of sockets, ports or time): no evidence against the target.
    Local,
}

impl FailureKind {
    /// The word for logs, labels and pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Silent => "silent",
            Self::Unreachable => "unreachable",
            Self::Status(_) | Self::Wrong => "wrong",
            Self::Tls => "tls",
            Self::Local => "local",
        }
    }

    /// Returns whether the failure says something about the target; [`FailureKind::Local`] does not.
    #[must_use]
    pub fn blames_target(self) -> bool {
        self != Self::Local
    }
}

impl Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a probe had come. SIP over UDP has no connect phase to wait for and is at once in `Answer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Reaching the host: routes, refusals, silence.
    Connect,
    /// The TLS handshake, its certificate included.
    Tls,
    /// Sending the request and receiving the whole answer.
    Answer,
}

impl Phase {
    /// The word for logs, labels and pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Answer => "answer",
        }
    }
}

impl Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)
    }
}

impl Failure {
    /// The phase is filled in by [`Check::run`](crate::Check::run), which alone knows it.
    pub(crate) fn new(kind: FailureKind, detail: impl Display) -> Self {
        Self { kind, phase: Phase::Connect, detail: line(detail) }
    }

    pub(crate) fn wrong(detail: impl Display) -> Self {
        Self::new(FailureKind::Wrong, detail)
    }

    pub(crate) fn status(status: u16, detail: impl Display) -> Self {
        Self::new(FailureKind::Status(status), detail)
    }

    /// For what must work before the target is even asked: a socket, an address to bind, a random number.
    pub(crate) fn local(act: &str, cause: impl Display) -> Self {
        Self::new(FailureKind::Local, format_args!("cannot {act}: {cause}"))
    }

    pub(crate) fn of_io(error: &io::Error) -> Self {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return tls::failure(tls);
        }
        let (kind, detail) = classify(error);
        match detail {
            Some(detail) => Self::new(kind, detail),
            None => Self::new(kind, error),
        }
    }
}

/// Words of our own where the system's are long or unclear.
fn classify(error: &io::Error) -> (FailureKind, Option<&'static str>) {
    use io::ErrorKind as E;
    match error.kind() {
        E::ConnectionRefused => (FailureKind::Refused, Some("connection refused")),
        E::ConnectionReset | E::ConnectionAborted => (FailureKind::Reset, Some("connection reset")),
        E::UnexpectedEof | E::BrokenPipe | E::WriteZero | E::NotConnected => {
            (FailureKind::Reset, Some("connection closed before the answer was complete"))
        }
        E::TimedOut => (FailureKind::Silent, Some("the kernel gave up: no answer from the host")),
        E::HostUnreachable => (FailureKind::Unreachable, Some("no route to host")),
        E::NetworkUnreachable => (FailureKind::Unreachable, Some("network unreachable")),
        // EMFILE, ENFILE, ENOBUFS, EADDRNOTAVAIL, EPERM of our own firewall and whatever else the kernel refuses *us*.
        _ if error.raw_os_error().is_some() => (FailureKind::Local, None),
        E::OutOfMemory => (FailureKind::Local, None),
        _ => (FailureKind::Wrong, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_system_error_has_its_kind() {
        // Linux numbers: the product runs there only.
        let table = [
            (111, "ECONNREFUSED", FailureKind::Refused),
            (104, "ECONNRESET", FailureKind::Reset),
            (103, "ECONNABORTED", FailureKind::Reset),
            (32, "EPIPE", FailureKind::Reset),
            (110, "ETIMEDOUT", FailureKind::Silent),
            (113, "EHOSTUNREACH", FailureKind::Unreachable),
            (101, "ENETUNREACH", FailureKind::Unreachable),
            (24, "EMFILE", FailureKind::Local),
            (23, "ENFILE", FailureKind::Local),
            (105, "ENOBUFS", FailureKind::Local),
            (12, "ENOMEM", FailureKind::Local),
            (99, "EADDRNOTAVAIL", FailureKind::Local),
            (98, "EADDRINUSE", FailureKind::Local),
            (100, "ENETDOWN", FailureKind::Local),
            (1, "EPERM", FailureKind::Local),
            (13, "EACCES", FailureKind::Local),
            (22, "EINVAL", FailureKind::Local),
        ];
        for (number, name, kind) in table {
            assert_eq!(Failure::of_io(&io::Error::from_raw_os_error(number)).kind, kind, "{name}");
        }
    }

    #[test]
    fn an_unexpected_end_is_a_reset_and_a_librarys_complaint_is_wrong() {
        assert_eq!(Failure::of_io(&io::ErrorKind::UnexpectedEof.into()).kind, FailureKind::Reset);
        assert_eq!(Failure::of_io(&io::Error::other("nonsense")).kind, FailureKind::Wrong);
    }

    #[test]
    fn only_local_trouble_is_not_held_against_the_target() {
        assert!(!FailureKind::Local.blames_target());
        assert!(FailureKind::Silent.blames_target());
    }
}
