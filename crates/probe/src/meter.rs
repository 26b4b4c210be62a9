//! What a probe under way has learned so far. It outlives the attempt, so that a time limit still knows how far it
//! came.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::{Failure, Phase};
use crate::report::Timings;
use crate::tls::CertificateInfo;

#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) phase: Phase,
    pub(crate) certificate: Option<CertificateInfo>,
    /// What the time limit finds if it strikes now and there is more to say than "no answer".
    pub(crate) on_time_limit: Option<Result<String, Failure>>,
    started: Instant,
    phase_began: Instant,
    decided: Option<Instant>,
    connect: Option<Duration>,
    tls: Option<Duration>,
    first_byte: FirstByte,
}

impl Meter {
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        Self {
            phase: Phase::Connect,
            certificate: None,
            on_time_limit: None,
            started: now,
            phase_began: now,
            decided: None,
            connect: None,
            tls: None,
            first_byte: FirstByte::default(),
        }
    }

    pub(crate) fn connected(&mut self) {
        self.connect = Some(self.enter(Phase::Answer));
    }

    /// For datagrams: there is nothing to wait for before asking.
    pub(crate) fn needs_no_connection(&mut self) {
        self.enter(Phase::Answer);
    }

    pub(crate) fn shaking_hands(&mut self) {
        self.enter(Phase::Tls);
    }

    pub(crate) fn secured(&mut self, certificate: Option<CertificateInfo>) {
        self.tls = Some(self.enter(Phase::Answer));
        self.certificate = certificate;
    }

    /// The target has passed. What follows is courtesy, and the time limit cannot change the result any more.
    pub(crate) fn passed(&mut self, answer: &str) {
        self.decided = Some(Instant::now());
        self.on_time_limit = Some(Ok(answer.to_owned()));
    }

    /// A handle for whoever sees the first byte of the answer.
    pub(crate) fn first_byte(&self) -> FirstByte {
        self.first_byte.clone()
    }

    pub(crate) fn timings(&self) -> Timings {
        Timings {
            connect: self.connect,
            tls: self.tls,
            first_byte: self.first_byte.0.get().map(|seen| seen.saturating_duration_since(self.phase_began)),
            total: self.decided.unwrap_or_else(Instant::now).saturating_duration_since(self.started),
        }
    }

    /// Returns how long the phase left behind took.
    fn enter(&mut self, phase: Phase) -> Duration {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.phase_began);
        self.phase_began = now;
        self.phase = phase;
        took
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct FirstByte(Arc<OnceLock<Instant>>);

impl FirstByte {
    /// Remembers the first call only.
    pub(crate) fn seen(&self) {
        self.0.get_or_init(Instant::now);
    }
}
