//! A check and its one time limit.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;

use crate::failure::{Failure, FailureKind};
use crate::http::{self, HttpCheck};
use crate::line::line;
use crate::meter::Meter;
use crate::report::Report;
use crate::sip::{self, SipCheck};
use crate::tls::Tls;
use crate::websocket::{self, WebSocketCheck};
use crate::wire::Wire;

/// A timer that fires this late says that the probe's own loop stood still; on a healthy one it is late by a
/// millisecond or two.
const STALL: Duration = Duration::from_millis(100);

/// One question to one address, with one limit for all of it. Build it once and run it again and again.
#[derive(Clone, Debug)]
pub struct Check {
    /// Whom to ask. Names are not resolved here: a check must not depend on a name server.
    pub target: SocketAddr,
    /// The local address to ask from; `None` lets the system choose.
    pub source: Option<IpAddr>,
    /// For everything together: connect, handshake, request, answer.
    pub time_limit: Duration,
    /// What to ask, and what must come back.
    pub kind: Kind,
}

/// A kind of question, with what must come back.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Is a TCP connection accepted? (By the kernel: a stuck application still passes.)
    Tcp,
    /// Does a full TLS handshake succeed?
    Tls(Tls),
    /// Does an HTTP/1.1 request get the expected answer, over TLS or not?
    Http(HttpCheck),
    /// Can a WebSocket be opened and used, over TLS or not?
    WebSocket(WebSocketCheck),
    /// Does a SIP OPTIONS get a final response?
    Sip(SipCheck),
}

impl Check {
    /// A check from whatever local address the system chooses.
    #[must_use]
    pub fn new(target: SocketAddr, time_limit: Duration, kind: Kind) -> Self {
        Self { target, source: None, time_limit, kind }
    }

    /// Asks once. Always returns by the time limit, and may be dropped at any moment: its sockets close with it.
    pub async fn run(&self) -> Report {
        let mut meter = Meter::start();
        // Boxed: what a TLS stream and an HTTP connection keep on the way is several kilobytes.
        let outcome = timeout(self.time_limit, Box::pin(self.attempt(&mut meter))).await;
        let timings = meter.timings();
        let result = match outcome {
            Ok(result) => result,
            Err(_) => self.time_is_up(&mut meter, timings.total),
        };
        let result = result.map(line).map_err(|failure| Failure { phase: meter.phase, ..failure });
        Report { result, timings, certificate: meter.certificate }
    }

    fn time_is_up(&self, meter: &mut Meter, total: Duration) -> Result<String, Failure> {
        let late = total.saturating_sub(self.time_limit);
        match meter.on_time_limit.take() {
            // The target had passed before the time was up: only its goodbye took too long.
            Some(Ok(answer)) => Ok(answer),
            // A prober that stood still has not waited for an answer, whatever else was seen.
            _ if late >= STALL => Err(Failure::new(
                FailureKind::Local,
                format_args!("this prober stood still: its timer fired {} ms late", late.as_millis()),
            )),
            Some(Err(failure)) => Err(failure),
            None => Err(Failure::new(
                FailureKind::Silent,
                format_args!("no answer within {:?} ({})", self.time_limit, meter.phase),
            )),
        }
    }

    async fn attempt(&self, meter: &mut Meter) -> Result<String, Failure> {
        match &self.kind {
            Kind::Tcp => {
                Wire::connect(self, None, meter).await?;
                Ok("connected".to_owned())
            }
            Kind::Tls(tls) => {
                let mut wire = Wire::connect(self, Some(tls), meter).await?;
                let answer = wire.protocol();
                meter.passed(answer);
                wire.say_goodbye().await;
                Ok(answer.to_owned())
            }
            Kind::Http(check) => http::ask(check, Wire::connect(self, check.tls.as_ref(), meter).await?).await,
            Kind::WebSocket(check) => {
                let wire = Wire::connect(self, check.tls.as_ref(), meter).await?;
                websocket::ask(check, wire, meter).await
            }
            Kind::Sip(check) => sip::ask(check, self, meter).await,
        }
    }
}
