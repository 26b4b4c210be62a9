//! Sees whether services run or are stopped: by their check, and by asking them.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use failover::follow::is_restarted;
use futures_util::StreamExt;
use futures_util::future::join;
use futures_util::stream::FuturesUnordered;
use probe::{FailureKind, Kind};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{Found, Services};
use crate::node::ask;
use crate::node::command::{CommandSpec, Ending, Ran};

/// From one probe to the next.
const PROBE_PACE: Duration = Duration::from_millis(50);
/// From the end of one command to the next.
const COMMAND_PACE: Duration = Duration::from_millis(250);
/// Probes under way at once, spread over their time limit: a service that begins to answer is seen soon, though those
/// asked before it did have not given up.
const PROBES: u32 = 8;

/// What was seen last, for the words of a failure.
#[derive(Debug, Default)]
pub(super) struct Notes {
    instance: Mutex<String>,
    check: Mutex<String>,
    probe: Mutex<String>,
}

impl Notes {
    fn instance(&self, said: impl fmt::Display) {
        *locked(&self.instance) = format!("; instance: {said}");
    }

    fn check(&self, said: impl fmt::Display) {
        *locked(&self.check) = format!("; check: {said}");
    }

    fn probe(&self, said: &str) {
        *locked(&self.probe) = format!("; asked, it says: {said}");
    }
}

fn locked(text: &Mutex<String>) -> MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", locked(&self.instance), locked(&self.check), locked(&self.probe))
    }
}

impl Services {
    /// Looks once whether the services run.
    pub async fn look(&self) -> Found {
        if !self.can_be_looked_at() {
            return Found::Unclear("nothing is configured to look at the services by".into());
        }
        let (spec, notes) = (&self.spec, Notes::default());
        let check = async { Some(spec.check.as_ref()?.run().await) };
        let stopped = async { Some(spec.stopped.as_ref()?.run().await) };
        let probe = async { Some(ask(spec.probe.as_ref()?).await) };
        // All are asked beside each other: a check command that hangs would else hide what SIP shows.
        let ((check, stopped), probe) = join(join(check, stopped), probe).await;
        if let Some(ran) = check.as_ref().or(stopped.as_ref()) {
            notes.check(ran);
        }
        if let Some(report) = &probe {
            notes.probe(report.detail());
        }
        // `stopped` alone shows that they are stopped, never that they work.
        let asked = spec.check.is_some() || spec.probe.is_some();
        let runs = asked && check.as_ref().is_none_or(Ran::is_done) && probe.as_ref().is_none_or(probe::Report::is_up);
        let stopped = match stopped {
            Some(ran) => ran.is_done(),
            None => {
                let dead = spec.probe.as_ref().zip(probe.as_ref()).is_none_or(|(probe, report)| is_dead(probe, report));
                dead && check.as_ref().is_none_or(says_no)
            }
        };
        match (runs, stopped) {
            (true, false) => Found::Running,
            (false, true) => Found::Stopped,
            // Whoever must be safe takes them for running: half stopped is not stopped (W1).
            _ => Found::Unclear(format!("neither surely running nor surely stopped{notes}")),
        }
    }

    pub(super) fn can_be_looked_at(&self) -> bool {
        self.spec.check.is_some() || self.spec.stopped.is_some() || self.spec.probe.is_some()
    }

    /// Asks which instance runs; none: nothing is configured to ask by.
    pub(super) async fn instance(&self) -> Option<Ran> {
        Some(self.spec.instance.as_ref()?.run().await)
    }

    /// Waits until another instance than the former runs, and then until that works: in this order, so that no answer of the
    /// former counts.
    pub(super) async fn started(&self, former: Option<&Ran>, notes: &Notes) {
        if let (Some(command), Some(former)) = (&self.spec.instance, former) {
            let before = word(former);
            if before.is_none() {
                // Without it nothing is proven: the next attempt, after this command, will know it.
                notes.instance(format_args!("not known before the restart: {former}"));
                return std::future::pending().await;
            }
            loop {
                let ran = command.run().await;
                if is_restarted(before, word(&ran)) {
                    break;
                }
                notes.instance(format_args!("still the one of before the restart, or not known: {ran}"));
                sleep(COMMAND_PACE).await;
            }
            notes.instance("another one than before");
        }
        self.running(notes).await;
    }

    /// Waits until they run, by check and SIP.
    pub(super) async fn running(&self, notes: &Notes) {
        let check = async {
            if let Some(check) = &self.spec.check {
                until(check, notes, Ran::is_done).await;
            }
        };
        let probe = async {
            if let Some(probe) = &self.spec.probe {
                until_answered(probe, notes).await;
            }
        };
        join(check, probe).await;
    }

    /// Waits until they are stopped.
    pub(super) async fn stopped(&self, notes: &Notes) {
        if let Some(stopped) = &self.spec.stopped {
            return until(stopped, notes, Ran::is_done).await;
        }
        let check = async {
            if let Some(check) = &self.spec.check {
                until(check, notes, says_no).await;
            }
        };
        let probe = async {
            if let Some(probe) = &self.spec.probe {
                until_dead(probe, notes).await;
            }
        };
        join(check, probe).await;
    }
}

/// What a command said, if it ended well.
fn word(ran: &Ran) -> Option<&str> {
    ran.is_done().then_some(ran.output.as_str())
}

/// A check that could not be run, or not to its end, says nothing.
fn says_no(ran: &Ran) -> bool {
    matches!(ran.ending, Ending::ExitCode(_))
}

/// Returns whether what was asked does not work; a prober's own trouble is no evidence. Whoever answers SIP at all lives. A web service
/// may be asked through a proxy that goes on answering for it when it is stopped: any failure is its own.
fn is_dead(probe: &probe::Check, report: &probe::Report) -> bool {
    use FailureKind::{Refused, Reset, Silent, Unreachable};
    report.result.as_ref().is_err_and(|failure| match probe.kind {
        Kind::Http(_) | Kind::WebSocket(_) => failure.kind.blames_target(),
        Kind::Sip(_) | Kind::Tcp | Kind::Tls(_) => matches!(failure.kind, Refused | Reset | Silent | Unreachable),
    })
}

async fn until(command: &CommandSpec, notes: &Notes, content: impl Fn(&Ran) -> bool) {
    loop {
        let ran = command.run().await;
        notes.check(&ran);
        if content(&ran) {
            return;
        }
        sleep(COMMAND_PACE).await;
    }
}

async fn until_answered(probe: &probe::Check, notes: &Notes) {
    let mut flights = FuturesUnordered::new();
    let mut pace = interval(PROBE_PACE);
    // A machine that stood still must not make up for the probes it missed all at once.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut newest = Instant::now();
    loop {
        tokio::select! {
            biased;
            Some(report) = flights.next(), if !flights.is_empty() => {
                let report: probe::Report = report;
                notes.probe(report.detail());
                if report.is_up() {
                    return;
                }
            }
            now = pace.tick() => if flights.is_empty() || now - newest >= probe.time_limit / PROBES {
                newest = now;
                flights.push(Box::pin(ask(probe)));
            },
        }
    }
}

async fn until_dead(probe: &probe::Check, notes: &Notes) {
    loop {
        let report = ask(probe).await;
        notes.probe(report.detail());
        if is_dead(probe, &report) {
            return;
        }
        sleep(PROBE_PACE).await;
    }
}
