//! From a configured check to a probe that can be run, and to the word that metrics have for how it ended.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use failover::verdict::{Failure, Outcome};
use http::HeaderMap;
use http::uri::{Authority, PathAndQuery};
use probe::tls::{ALPN_HTTP1, Tls};
use probe::{BodyExpectation, Check, Exchange, HttpCheck, Kind, SipCheck, SipTransport, StatusSet};

use crate::config::{self, Backend, CheckKind, UpstreamTls};
use crate::telemetry::metrics::ProbeOutcome;
use crate::traffic::upstream::{TrustError, server_name, trust};

/// Why a check cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Its TLS is unusable.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A text of it is unusable.
    #[error("{what} {value:?} cannot be used")]
    Text {
        /// Which text.
        what: &'static str,
        /// The text.
        value: String,
    },
}

/// The probe of one check against one backend.
///
/// # Errors
/// A path, host, header or status of the check cannot be sent.
pub fn probe(check: &config::Check, backend: &Backend, limit: Duration) -> Result<Check, CheckError> {
    let target = SocketAddr::new(backend.address.ip(), check.port.unwrap_or(backend.address.port()));
    let tls = |tls: &UpstreamTls, alpn| -> Result<Tls, CheckError> {
        Ok(Tls::new(&trust(tls)?, server_name(tls, backend)?, alpn))
    };
    let kind = match &check.kind {
        CheckKind::Tcp => Kind::Tcp,
        CheckKind::Tls(upstream) => Kind::Tls(tls(upstream, &[])?),
        CheckKind::Http(http) => {
            let mut question = HttpCheck::get(path(&http.path)?, authority(http.host.as_deref(), target)?);
            question.method = http.method.clone();
            question.headers = http.headers.iter().cloned().collect::<HeaderMap>();
            question.status = statuses(&http.status)?;
            if let Some(text) = &http.body {
                question = question.expecting_body(BodyExpectation::Contains(Bytes::copy_from_slice(text.as_bytes())));
            }
            if http.json {
                question = question.expecting_body(BodyExpectation::Json);
            }
            question.tls = http.tls.as_ref().map(|upstream| tls(upstream, ALPN_HTTP1)).transpose()?;
            Kind::Http(question)
        }
        CheckKind::WebSocket(socket) => {
            let host = authority(socket.host.as_deref(), target)?;
            let mut question = probe::WebSocketCheck::new(path(&socket.path)?, host);
            question.subprotocol = match &socket.subprotocol {
                Some(text) => Some(text.parse().map_err(|_| unusable("subprotocol", text))?),
                None => None,
            };
            question.exchange = socket.echo.clone().map_or(Exchange::Nothing, Exchange::Echo);
            question.tls = socket.tls.as_ref().map(|upstream| tls(upstream, ALPN_HTTP1)).transpose()?;
            Kind::WebSocket(question)
        }
        CheckKind::Sip(sip) => {
            let mut question = SipCheck::new(match sip.transport {
                config::SipTransport::Udp => SipTransport::Udp,
                config::SipTransport::Tcp => SipTransport::Tcp,
            });
            question.status = statuses(&sip.status)?;
            Kind::Sip(question)
        }
    };
    Ok(Check::new(target, limit, kind))
}

fn unusable(what: &'static str, value: &str) -> CheckError {
    CheckError::Text { what, value: value.to_owned() }
}

fn path(text: &str) -> Result<PathAndQuery, CheckError> {
    text.parse().map_err(|_| unusable("path", text))
}

fn authority(host: Option<&str>, target: SocketAddr) -> Result<Authority, CheckError> {
    let text = host.map_or_else(|| target.to_string(), str::to_owned);
    text.parse().map_err(|_| unusable("host", &text))
}

fn statuses(ranges: &[(u16, u16)]) -> Result<StatusSet, CheckError> {
    let text: Vec<String> = ranges.iter().map(|(from, to)| format!("{from}-{to}")).collect();
    let text = text.join(",");
    text.parse().map_err(|_| unusable("status set", &text))
}

/// Runs a probe, or has a simulation say how it comes out.
pub(super) async fn run(probe: &Check) -> probe::Report {
    #[cfg(test)]
    if let Some(played) = super::simulation::prober(probe) {
        return played.await;
    }
    probe.run().await
}

/// The word of a probe's end in metrics.
pub(super) fn label(report: &probe::Report) -> ProbeOutcome {
    match report.outcome() {
        None => ProbeOutcome::Local,
        Some(Outcome::Ok) => ProbeOutcome::Ok,
        Some(Outcome::Failed(failure)) => match failure {
            Failure::Refused => ProbeOutcome::Refused,
            Failure::Reset => ProbeOutcome::Reset,
            Failure::Silent => ProbeOutcome::Silent,
            Failure::Unreachable => ProbeOutcome::Unreachable,
            Failure::Tls => ProbeOutcome::Tls,
            Failure::Overloaded => ProbeOutcome::Overloaded,
            Failure::Status(_) | Failure::Wrong => ProbeOutcome::Wrong,
        },
    }
}
