//! One check, one time limit: is the service at this address working?
//!
//! A [`Check`] names an address, a [`Kind`] of question and a time limit for the whole of it: connect, TLS handshake,
//! request and answer.
//! [`Check::run`] always returns a [`Report`]; a target that is down is data, not an error. Debouncing, scheduling and
//! deciding are left to others.
//!
//! Whatever the target sends, a probe keeps at most a few hundred kilobytes of it, quotes nothing of it but numbers
//! and certificate names, and never
//! repeats what it was told to send: a path or a header may hold a token. The libraries below log requests at *trace*,
//! so keep `tungstenite` above that.
//!
//! A probe's sockets are closed with a reset (zero linger): nothing stays in `TIME_WAIT` here, and a target drops what
//! a probe gave up at once.
#![forbid(unsafe_code)]

pub mod answer;
mod check;
mod failure;
mod http;
mod line;
mod meter;
mod report;
mod sip;
mod status;
mod tcp;
pub mod tls;
pub mod upgrade;
mod websocket;
mod wire;

pub use crate::check::{Check, Kind};
pub use crate::failure::{Failure, FailureKind, Phase};
pub use crate::http::{BodyExpectation, HttpCheck};
pub use crate::report::{Report, Timings};
pub use crate::sip::{InvalidSipText, SipCheck, SipTransport, SipUri, UserAgent};
pub use crate::status::{InvalidStatusSet, StatusSet};
pub use crate::websocket::{Exchange, WebSocketCheck};
pub use crate::wire::Transport;
