//! What a probe found, what live traffic met, and what is concluded from it.

use core::fmt;
use core::time::Duration;

use crate::time::{Instant, Span};

/// How one probe ended; a probe that was dropped has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The right answer came within the time limit.
    Ok,
    /// It did not get the answer that the check expects.
    Failed(Failure),
}

/// Why a probe failed, as far as it helps a diagnosis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The host answers, nothing listens: `ECONNREFUSED`, ICMP port unreachable.
    Refused,
    /// The connection was cut before the answer: `ECONNRESET`, an early end.
    Reset,
    /// No answer within the time limit.
    Silent,
    /// The network says there is no way there: `EHOSTUNREACH`, `ENETUNREACH`.
    Unreachable,
    /// An answer came and says that there is too much to do, such as 503 or 429.
    Overloaded,
    /// An answer came with a status other than the expected one.
    Status(u16),
    /// An answer came, and is not what a working service says.
    Wrong,
    /// The TLS handshake failed: certificate, name or protocol.
    Tls,
}

impl Failure {
    /// Tells whether the host itself said that nobody serves: such a failure is fast and repeats at once.
    pub const fn is_refusal(self) -> bool {
        matches!(self, Self::Refused | Self::Reset)
    }

    /// Tells whether nothing at all came back: a dead host and a cut network look the same.
    pub const fn is_silence(self) -> bool {
        matches!(self, Self::Silent | Self::Unreachable)
    }

    pub(crate) fn describe(self, time_limit: Duration, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Reset => f.write_str("connection reset"),
            Self::Silent => write!(f, "no answer within {}", Span(time_limit)),
            Self::Unreachable => f.write_str("no route to it"),
            Self::Overloaded => f.write_str("overloaded"),
            Self::Status(status) => write!(f, "answered with status {status}"),
            Self::Wrong => f.write_str("wrong answer"),
            Self::Tls => f.write_str("TLS handshake failed"),
        }
    }
}

/// What live traffic met at the backend. It starts probes and never counts as a failure: one user's broken request
/// condemns nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sign {
    /// A connection was refused: the host lives, the service does not listen.
    Refused,
    /// A connection was reset before its answer was whole.
    Reset,
    /// A connection or an answer took too long.
    TimedOut,
    /// The TLS handshake failed, or the certificate is not the one wanted.
    Tls,
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "live traffic was refused",
            Self::Reset => "live traffic was reset",
            Self::TimedOut => "live traffic timed out",
            Self::Tls => "live traffic failed in the TLS handshake",
        })
    }
}

crate::closed_set! {
    /// The debounced state of one check.
    pub enum Verdict {
        /// Nothing is known: not probed yet, or the prober fell silent.
        Unknown => "unknown",
        /// The check passes: `rise` successes in a row said so.
        Up => "up",
        /// The check fails: `fall` failures in a row said so.
        Down => "down",
    }
}
crate::display_label!(Verdict);
crate::spelled!(Verdict);

#[expect(clippy::derivable_impls, reason = "the macro that declares it takes words, no #[default]")]
impl Default for Verdict {
    fn default() -> Self {
        Self::Unknown
    }
}

/// Why a verdict is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No probe has ended yet.
    NotProbed,
    /// No probe has ended for this long: the prober is silent, not the backend.
    Stale {
        /// The time without an outcome after which nothing is known.
        after: Duration,
    },
    /// The newest probes were answered as expected.
    Answered {
        /// How many answers in a row it took.
        times: u32,
    },
    /// The newest probes failed, all of them.
    Failed {
        /// How the last one failed.
        last: Failure,
        /// How many failures in a row it took.
        times: u32,
        /// How long each probe waited.
        time_limit: Duration,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotProbed => f.write_str("not probed yet"),
            Self::Stale { after } => write!(f, "no probe has ended for {}", Span(after)),
            Self::Answered { times: 1 } => f.write_str("answered"),
            Self::Answered { times } => write!(f, "answered {times} times in a row"),
            Self::Failed { last, times: 1, time_limit } => last.describe(time_limit, f),
            Self::Failed { last, times, time_limit } => {
                last.describe(time_limit, f)?;
                write!(f, ", {times} times")
            }
        }
    }
}

/// A verdict with its evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// Up, down or unknown, after debouncing.
    pub verdict: Verdict,
    /// The outcomes that settled it, or why it is not settled.
    pub reason: Reason,
    /// When the newest probe that supports the verdict was started; a proof is as fresh as its question.
    pub as_of: Instant,
    /// When the first bad sign of the present trouble came; for an up check without trouble, when it last came up.
    pub first_sign: Instant,
}

impl Report {
    /// Returns the report of a check nobody has probed.
    pub const fn not_probed(now: Instant) -> Self {
        Self { verdict: Verdict::Unknown, reason: Reason::NotProbed, as_of: now, first_sign: now }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.verdict, self.reason)
    }
}
