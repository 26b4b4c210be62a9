//! The figures behind a verdict, their relations, and the bounds they promise.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::time::Span;

/// How a check is probed and judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Time between two probes while nothing is wrong.
    pub interval: Duration,
    /// Longest time one probe may take; the prober enforces it. At most `interval`.
    pub time_limit: Duration,
    /// Failures in a row that make the check down. At least 1.
    pub fall: u32,
    /// Successes in a row that make a down check up. At least 1.
    pub rise: u32,
    /// Time from one probe to the next after a refused or reset one, until the verdict is settled. At most
    /// `reprobe_silent`.
    pub reprobe_refused: Duration,
    /// Time from one probe to the next after any other bad sign, until the verdict is settled; also the shortest time
    /// between probes that signs of live traffic may cause. At most `interval`.
    pub reprobe_silent: Duration,
    /// Time from the first success of a down check to the probe that confirms it. At most `interval`.
    pub reprobe_rising: Duration,
    /// Time without any outcome after which nothing is known. More than `interval + jitter + time_limit`.
    pub stale_after: Duration,
    /// Most probes under way at once. At least `fall`, so that silent probes can overlap.
    pub in_flight: usize,
    /// Most time the driver adds to a calm probe's start, so that checks do not march in step. The machine never adds
    /// it; the bounds count it.
    pub jitter: Duration,
}

impl Policy {
    /// The defaults of DESIGN.md: killed services are seen in tens of milliseconds, black holes in about a second.
    pub const DEFAULT: Self = Self {
        interval: Duration::from_secs(1),
        time_limit: Duration::from_millis(800),
        fall: 3,
        rise: 2,
        reprobe_refused: Duration::from_millis(10),
        reprobe_silent: Duration::from_millis(150),
        reprobe_rising: Duration::from_millis(250),
        stale_after: Duration::from_secs(3),
        in_flight: 8,
        jitter: Duration::from_millis(100),
    };

    /// Returns the shortest sound `stale_after` for these figures: three calm probes, or one calm probe that waits its
    /// whole time limit and one more.
    pub fn default_stale_after(&self) -> Duration {
        let three = self.interval.saturating_mul(3);
        three.max(self.interval.saturating_add(self.time_limit.saturating_mul(2)))
    }

    /// Returns the longest time from a first sign in live traffic to `down` for a backend that refuses or resets, not
    /// counting the round trips of the `fall` refusals.
    pub fn detection_bound_refused(&self) -> Duration {
        // The first probe keeps its distance of `reprobe_silent` from the one before it; after a refusal, which is
        // fast, the next follow at once.
        self.reprobe_silent.saturating_add(self.reprobe_refused.saturating_mul(self.fall().saturating_sub(1)))
    }

    /// Returns the longest time from a first sign in live traffic to `down` for a backend that does not answer at all.
    pub fn detection_bound_silent(&self) -> Duration {
        // Probes that wait overlap, so the time limit counts once: that of the last one.
        self.reprobe_silent.saturating_mul(self.fall()).saturating_add(self.time_limit)
    }

    /// Returns the longest time from the fault itself to `down` for a backend that refuses or resets when no live traffic
    /// gives a sign: the next calm probe is the first sign. Round trips are not counted.
    pub fn fault_bound_refused(&self) -> Duration {
        let calm = self.interval.saturating_add(self.jitter);
        calm.saturating_add(self.reprobe_refused.saturating_mul(self.fall().saturating_sub(1)))
    }

    /// Returns the longest time from the fault itself to `down` for a backend that does not answer at all when no live
    /// traffic gives a sign: a calm probe times out, then the rest overlap.
    pub fn fault_bound_silent(&self) -> Duration {
        // The calm probe that meets the fault must time out before anything is known to be wrong.
        let first = self.interval.saturating_add(self.jitter).saturating_add(self.time_limit);
        match self.fall() {
            1 => first,
            fall => first.saturating_add(self.reprobe_silent.saturating_mul(fall - 2)).saturating_add(self.time_limit),
        }
    }

    /// Returns the longest time from the repair of a down backend to `up`, not counting the round trips of its answers.
    pub fn recovery_bound(&self) -> Duration {
        let calm = self.interval.saturating_add(self.jitter);
        calm.saturating_add(self.reprobe_rising.saturating_mul(self.rise().saturating_sub(1)))
    }

    /// Checks every relation between the figures.
    ///
    /// # Errors
    /// Returns all violated relations, in the order of the fields.
    pub fn validate(&self) -> Result<(), Vec<Violation>> {
        let positive = [
            ("interval", self.interval),
            ("time_limit", self.time_limit),
            ("reprobe_refused", self.reprobe_refused),
            ("reprobe_silent", self.reprobe_silent),
            ("reprobe_rising", self.reprobe_rising),
        ];
        let mut found: Vec<Violation> = positive
            .into_iter()
            .filter(|(_, value)| value.is_zero())
            .map(|(field, _)| Violation::Zero { field })
            .collect();
        let at_most = [
            ("time_limit", self.time_limit, "interval", self.interval),
            ("reprobe_refused", self.reprobe_refused, "reprobe_silent", self.reprobe_silent),
            ("reprobe_silent", self.reprobe_silent, "interval", self.interval),
            ("reprobe_rising", self.reprobe_rising, "interval", self.interval),
            ("jitter", self.jitter, "interval", self.interval),
        ];
        found.extend(
            at_most
                .into_iter()
                .filter(|(_, value, _, limit)| value > limit)
                .map(|(field, value, limit_field, limit)| Violation::TooLong { field, value, limit_field, limit }),
        );
        let counts = [("fall", self.fall as usize, 1, "1"), ("rise", self.rise as usize, 1, "1")];
        let flights = [("in_flight", self.in_flight, self.fall as usize, "fall")];
        found.extend(
            counts
                .into_iter()
                .chain(flights)
                .filter(|(_, value, least, _)| value < least)
                .map(|(field, value, least, least_field)| Violation::TooFew { field, value, least, least_field }),
        );
        // A healthy prober must not be taken for a silent one: its verdicts would become unknown between two of its
        // probes.
        let silence = self.interval.saturating_add(self.jitter).saturating_add(self.time_limit);
        if self.stale_after <= silence {
            found.push(Violation::StaleTooSoon { stale_after: self.stale_after, silence });
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    pub(crate) fn fall(&self) -> u32 {
        // No outcome at all would else be enough for a verdict, in a policy that nobody validated.
        self.fall.max(1)
    }

    pub(crate) fn rise(&self) -> u32 {
        self.rise.max(1)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A relation between the figures of a [`Policy`] that does not hold. Field names are those of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A time is zero, which would probe without end or never wait.
    Zero {
        /// The key as it is written in the configuration.
        field: &'static str,
    },
    /// A time is longer than another one allows.
    TooLong {
        /// The key as it is written in the configuration.
        field: &'static str,
        /// The value that is written there.
        value: Duration,
        /// The field that limits it.
        limit_field: &'static str,
        /// The value of the other key, which bounds it.
        limit: Duration,
    },
    /// A count is too low.
    TooFew {
        /// The key as it is written in the configuration.
        field: &'static str,
        /// The value that is written there.
        value: usize,
        /// The lowest value that makes sense.
        least: usize,
        /// What gives the lowest value: a field, or a number.
        least_field: &'static str,
    },
    /// `stale_after` would pass between the outcomes of a healthy prober.
    StaleTooSoon {
        /// What the configuration gives `stale_after`.
        stale_after: Duration,
        /// The longest silence of a healthy prober: `interval + jitter + time_limit`.
        silence: Duration,
    },
}

impl Violation {
    /// Returns the name of the field at fault.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Zero { field } | Self::TooLong { field, .. } | Self::TooFew { field, .. } => field,
            Self::StaleTooSoon { .. } => "stale_after",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Zero { field } => write!(f, "{field} must be more than 0 s"),
            Self::TooLong { field, value, limit_field, limit } => {
                write!(f, "{field} ({}) must not be longer than {limit_field} ({})", Span(value), Span(limit))
            }
            Self::TooFew { field, value, least, least_field: "1" } => {
                write!(f, "{field} ({value}) must be at least {least}")
            }
            Self::TooFew { field, value, least, least_field } => {
                write!(f, "{field} ({value}) must be at least {least_field} ({least})")
            }
            Self::StaleTooSoon { stale_after, silence } => write!(
                f,
                "stale_after ({}) must be longer than interval + jitter + time_limit ({})",
                Span(stale_after),
                Span(silence)
            ),
        }
    }
}

impl core::error::Error for Violation {}
