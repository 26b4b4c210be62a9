//! Watches whether telephony works while told so: a killed service is known within about a second, one lost packet kills
//! nobody.

mod monitoring;

use std::sync::Arc;
use std::time::Duration;

use failover::Instant;
use failover::health;
use failover::verdict::Policy;
use tokio::sync::watch;

use self::monitoring::Monitoring;
use super::clock;
use super::command::CommandSpec;

/// What is observed, and how often.
#[derive(Clone, Debug)]
pub struct LivenessSpec {
    /// SIP OPTIONS to the own address, or a CC's readiness; its time limit is the policy's.
    pub probe: Option<Arc<probe::Check>>,
    /// How the probe is paced and judged; [`POLICY`], or [`patient`].
    pub policy: Policy,
    /// Ends with exit code 0 when the services run. Slow, so it has its own pace: two refusals in a row count.
    pub check: Option<CommandSpec>,
    /// The time between two runs of the check command.
    pub check_interval: Duration,
}

/// Every half second; killed is seen in about half a second, frozen in about one and a half.
pub const POLICY: Policy = Policy {
    interval: Duration::from_millis(500),
    time_limit: Duration::from_millis(500),
    fall: 3,
    rise: 2,
    reprobe_refused: Duration::from_millis(10),
    reprobe_silent: Duration::from_millis(150),
    reprobe_rising: Duration::from_millis(100),
    stale_after: Duration::from_secs(3),
    in_flight: 8,
    jitter: Duration::ZERO,
};

/// Returns a policy by which an answer may take so long: a stall shorter than twice that is no death, as the probe after the
/// first that failed is answered when it is over. What refuses is seen as soon as it is asked.
pub fn patient(time_limit: Duration) -> Policy {
    // A probe has ended, or counts as silent, before the next calm one.
    let interval = POLICY.interval.max(time_limit);
    Policy { interval, time_limit, stale_after: POLICY.stale_after.max(interval * 3), ..POLICY }
}

/// Whether telephony is to be observed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// Yes; begins anew, with nothing known.
    On,
    /// It is not observed, and nothing is known of it.
    Off,
}

/// What is observed of telephony now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Debounced: one lost answer changes nothing.
    pub works: health::State,
    /// Why, in one printable line.
    pub detail: String,
    /// When the first bad sign of the present trouble came.
    pub first_sign: Option<Instant>,
}

/// The way to the task that monitors, which ends when this is dropped.
#[derive(Debug)]
pub struct Liveness {
    watching: watch::Sender<Watching>,
    observed: watch::Receiver<Observed>,
}

impl Liveness {
    /// Starts the task, not watching yet. Needs a tokio runtime.
    pub fn start(mut spec: LivenessSpec) -> Self {
        // Probe and judge share one limit: the judge reckons with probes that end within it.
        let time_limit = spec.policy.time_limit;
        spec.probe = spec.probe.map(|probe| Arc::new(probe::Check { time_limit, ..probe::Check::clone(&probe) }));
        let (watching, told) = watch::channel(Watching::Off);
        let (tell, observed) = watch::channel(Observed::not_watched());
        host::spawn(monitor(spec, told, tell));
        Self { watching, observed }
    }

    /// Says whether to watch. Saying the same again changes nothing.
    pub fn watch(&self, watching: Watching) {
        self.watching.send_if_modified(|before| std::mem::replace(before, watching) != watching);
    }

    /// Returns what is observed, now and at each change. After [`Watching::Off`] old news may still be on its way: read
    /// [`Observed::works`] only while watching.
    pub fn observed(&self) -> watch::Receiver<Observed> {
        self.observed.clone()
    }
}

impl Observed {
    fn not_watched() -> Self {
        Self { detail: "not watched".into(), ..Self::default() }
    }
}

async fn monitor(spec: LivenessSpec, mut told: watch::Receiver<Watching>, tell: watch::Sender<Observed>) {
    // An error says that nobody wants to know any more.
    while told.wait_for(|watching| *watching == Watching::On).await.is_ok() {
        // To watch anew begins with nothing known: what was seen before a stop says nothing of the next start.
        let goes_on = tokio::select! {
            biased;
            never = Monitoring::new(&spec, clock::now()).run(&tell) => match never {},
            told = told.wait_for(|watching| *watching == Watching::Off) => told.is_ok(),
        };
        if !goes_on {
            return;
        }
        tell.send_replace(Observed::not_watched());
    }
}

#[cfg(test)]
mod tests;
