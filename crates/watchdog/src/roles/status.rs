//! What every node shows of itself, whatever its role: at its socket, and to the Edge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use failover::duty::{Mode, Outcome};
use failover::health::Status;
use failover::lease::Instance;
use failover::{Instant, Side};
use protocol::identity::{Keyring, expiry};
use protocol::link::{Link, State};
use protocol::wire::{Chosen, NodeReport, Role, Vote, Wished};
use tokio::sync::watch;

use super::alarms::Alarms;
use crate::control::api::{self, Outside, Running, StatusView};
use crate::node::clock;
use crate::node::services::{self, Doing, Worker};
use crate::state::{Entry, Journal, Kind, Time};
use crate::telemetry::metrics::Metrics;

/// Who a node is, as each status repeats it.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub(super) role: Role,
    pub(super) side: Option<Side>,
    pub(super) name: String,
    /// Which machine of that name it is.
    pub(super) instance: Instance,
}

/// A connection, and where it leads.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) link: Link,
    /// As text, made once: each status repeats it.
    pub(super) address: String,
}

/// Where a node shows itself.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) view: watch::Sender<Arc<StatusView>>,
    pub(super) reports: watch::Sender<Arc<NodeReport>>,
    pub(super) edge: Option<Line>,
    pub(super) metrics: Arc<Metrics>,
}

/// What operators asked of a XiVO node.
#[derive(Debug, Default)]
pub(super) struct Requested {
    /// What became of the Edge's newest wish.
    pub(super) wished: Option<Wished>,
    /// What holds of what was lately chosen.
    pub(super) chosen: Option<Chosen>,
}

/// What a node does, since when and why.
#[derive(Debug, Clone)]
pub(super) struct Doings {
    pub(super) status: Status,
    pub(super) since: Time,
    pub(super) because: String,
}

impl Line {
    /// The connection, as people read it.
    pub(super) fn view(&self) -> api::Link {
        let state = self.link.state();
        api::Link { address: self.address.clone(), connected: state == State::Up, state: state.to_string() }
    }
}

impl Doings {
    pub(super) fn new(status: Status, because: &str) -> Self {
        Self { status, since: clock::wall(), because: because.to_owned() }
    }
}

impl Who {
    /// Returns what a node of any role shows.
    pub(super) fn view(&self, doings: &Doings, alarms: &Alarms, outside: Vec<Outside>) -> StatusView {
        StatusView {
            role: self.role,
            side: self.side,
            name: self.name.clone(),
            instance: self.instance,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            status: doings.status,
            since: doings.since,
            because: doings.because.clone(),
            alarms: alarms.sentences(clock::now()),
            failed_starts: alarms.failed_starts().cloned(),
            services: BTreeMap::new(),
            certificate_days: alarms.certificate_days(),
            outside,
            running: None,
            edge: None,
            duty: None,
            follows: None,
            presence: None,
        }
    }
}

impl Shown {
    /// Shows it. The Edge is told at once when something changed that is not a mere count of time.
    pub(super) fn show(&self, mut view: StatusView, requested: Requested) {
        view.edge = self.edge.as_ref().map(Line::view);
        self.metrics.show(&view);
        let mut report = report(&view, requested);
        self.reports.send_if_modified(|before| {
            let made = std::mem::replace(&mut report.made_us, before.made_us);
            let changed = **before != report;
            // Each turn is a newer word, though nobody is woken for it. Whoever stood still for long, and wakes, reports
            // before it has looked what became of its lease: by the time of its last turn that is no news to the Edge,
            // which would tell of two that serve.
            report.made_us = made;
            *before = Arc::new(report);
            changed
        });
        self.view.send_replace(Arc::new(view));
    }
}

/// What the Edge is told of a status.
pub(super) fn report(view: &StatusView, requested: Requested) -> NodeReport {
    let vote = view.duty.as_ref().map(|duty| Vote {
        epoch: duty.epoch,
        guard: duty.guard.clone(),
        fit: duty.fit,
        automatic: duty.mode == Mode::Automatic,
        frozen: duty.frozen,
        accept_requests: duty.accept_requests,
        waiting: duty.waiting.clone(),
        hears_peer: duty.voters.peer.link.connected,
        peer_host: duty.icmp.peer,
        takeover_ms: duty.takeover_ms,
        times: duty.times,
    });
    let own_expiry = view.certificate_days.and_then(|days| expiry("this node", days));
    NodeReport {
        status: view.status,
        since: u64::try_from(view.since.unix_ms()).unwrap_or(0),
        because: view.because.clone(),
        version: view.version.clone(),
        services: view.services.clone(),
        // Of its certificate the Edge is told the days, and says the rest itself.
        alarms: view.alarms.iter().filter(|alarm| own_expiry.as_ref() != Some(alarm)).take(16).cloned().collect(),
        failed_starts: view.failed_starts.clone(),
        certificate_days: view.certificate_days,
        vote,
        media_servers: view.duty.as_ref().map(|duty| duty.media_servers.clone()).unwrap_or_default(),
        presence: view.presence.clone(),
        wished: requested.wished,
        chosen: requested.chosen,
        instance: Some(view.instance),
        made_us: Some(clock::now().as_micros()),
    }
}

/// Notes what came of a start: one that failed is an alarm, unless nobody wanted it any more.
pub(super) fn note_start(journal: &Journal, alarms: &mut Alarms, report: &services::Report) {
    if let Some(why) = &report.why {
        note_failed_start(journal, alarms, why);
    } else if report.outcome == Outcome::Done
        && let Some(failed) = alarms.start_is_well()
    {
        note(journal, Kind::Cleared, &format!("it starts again, after {failed} failed starts"));
    }
}

/// Notes that a start failed, or could not even begin.
pub(super) fn note_failed_start(journal: &Journal, alarms: &mut Alarms, why: &str) {
    if let Some(sentence) = alarms.start_failed(why, clock::wall()) {
        note(journal, Kind::Alarm, sentence);
    }
}

/// Tells alarms and metrics of the node's own certificate. One that is renewed is taken by the next look.
pub(super) fn own_certificate(keyring: &Keyring, alarms: &mut Alarms, metrics: &Metrics) {
    let identity = keyring.current();
    metrics.certificate(identity.expires());
    let not_taken = keyring.not_taken().map(|not_taken| {
        let since = Time::from(not_taken.since);
        format!("the certificate on the disk does not load, since {since}; the old one is shown: {}", not_taken.why)
    });
    alarms.certificate(identity.days_left(), not_taken);
}

/// The command that runs, if one does.
pub(super) fn running(worker: &Worker, since: &mut Option<(Doing, Instant)>) -> Option<Running> {
    let doing = worker.doing();
    let now = clock::now();
    *since = match *since {
        Some((before, at)) if before == doing => Some((before, at)),
        _ => Some((doing, now)),
    };
    let what = match doing {
        Doing::Idle => return None,
        Doing::Starting => "start",
        Doing::Stopping => "stop",
    };
    let ms = since.map_or(Duration::ZERO, |(_, at)| now.since(at));
    Some(Running { what: what.to_owned(), ms: millis(ms) })
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How a command ended, as metrics name it.
pub(super) const fn ended(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Failed => "failed",
    }
}

/// Writes a sentence to the journal and to the log.
pub(super) fn note(journal: &Journal, kind: Kind, text: &str) {
    match kind {
        Kind::Alarm => tracing::warn!("{text}"),
        _ => tracing::info!("{text}"),
    }
    journal.append(Entry::new(kind, text));
}

/// Waits for the journal's disk, shortly: the next watchdog comes soon, and the lease does not wait.
pub(super) async fn settle(journal: &Journal) {
    let journal = journal.clone();
    let _ = host::blocking(move || Ok(journal.flush(Duration::from_millis(100)))).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::view;
    use crate::roles::alarms::Alarm;

    #[test]
    fn the_edge_is_told_the_days_of_a_certificate_and_no_second_alarm_of_them() {
        let mut shown = view();
        let mut alarms = Alarms::default();
        alarms.set(Alarm::Disk, Some("the state cannot be written".into()));
        alarms.certificate(9, None);
        shown.alarms = alarms.sentences(clock::now());
        shown.certificate_days = alarms.certificate_days();
        assert_eq!(shown.alarms.len(), 2, "{:?}", shown.alarms);
        let report = report(&shown, Requested::default());
        assert_eq!(
            (report.alarms.as_slice(), report.certificate_days),
            (&["the state cannot be written".to_owned()][..], Some(9))
        );
    }

    fn shown() -> (Shown, watch::Receiver<Arc<NodeReport>>) {
        let (reports, reported) = watch::channel(Arc::new(report(&view(), Requested::default())));
        let metrics = Arc::new(Metrics::new().unwrap());
        (Shown { view: watch::Sender::new(Arc::new(view())), reports, edge: None, metrics }, reported)
    }

    #[test]
    fn a_report_bears_the_time_of_the_loops_last_turn_and_not_that_of_its_sending() {
        let (shown, mut reported) = shown();
        shown.show(view(), Requested::default());
        reported.mark_unchanged();
        let first = reported.borrow().made_us.unwrap();
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(reported.borrow().made_us, Some(first), "nothing looked meanwhile");
        shown.show(view(), Requested::default());
        assert!(reported.borrow().made_us > Some(first));
        assert!(!reported.has_changed().unwrap(), "that alone is told with the next heartbeat");
        shown.show(StatusView { status: Status::Stopping, ..view() }, Requested::default());
        assert!(reported.has_changed().unwrap());
    }
}
