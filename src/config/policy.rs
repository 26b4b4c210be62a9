//! What a configuration means for the deciding machines.

use failover::{switch, verdict};

use super::{Config, Probing};

/// Most time added to a calm probe's start: a tenth of the interval, so that checks do not march in step.
const JITTER_SHARE: u32 = 10;

impl Probing {
    /// How checks are judged, with the figures that the file does not have.
    pub fn policy(&self) -> verdict::Policy {
        let default = verdict::Policy::DEFAULT;
        verdict::Policy {
            interval: self.interval,
            time_limit: self.time_limit,
            fall: u32::from(self.fall.get()),
            rise: u32::from(self.rise.get()),
            reprobe_refused: self.reprobe_refused,
            reprobe_silent: self.reprobe_silent,
            // Never slower than calm probes are: a short `interval` is the site's wish to know early.
            reprobe_rising: default.reprobe_rising.min(self.interval),
            stale_after: self.stale_after,
            // Silent probes overlap, `fall` of them, and with fewer at once a black hole would be found later than the
            // bound says.
            in_flight: default.in_flight.max(usize::from(self.fall.get())),
            jitter: self.interval / JITTER_SHARE,
        }
    }
}

impl Config {
    /// How the live side is decided.
    pub fn switch_policy(&self) -> switch::Policy {
        let (prober, default) = (self.probe.policy(), switch::Policy::DEFAULT);
        switch::Policy {
            failback: self.failback,
            observe: self.switch.observe,
            switches_per_hour: self.switch.per_hour.get(),
            // One fault of our own network is seen by the two sides' probes that far apart (E7).
            same_instant: default.same_instant.max(prober.interval + prober.jitter + prober.time_limit),
            // Until then evidence from before the doubt may still count.
            doubt_limit: default.doubt_limit.max(prober.stale_after),
            ..default
        }
    }
}
