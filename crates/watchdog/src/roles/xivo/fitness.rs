//! Whether a node can serve: what its telephony, its disk and people say. No clock, no I/O.

use std::fmt;
use std::time::Duration;

use failover::Instant;

/// Judges whether a node can serve.
///
/// Telephony that died makes it unfit until the services are stopped and `recover` has passed; somebody who stopped them on
/// purpose, until that person starts them again.
#[derive(Debug, Clone)]
pub(super) struct Fitness {
    recover: Duration,
    dead: Option<Dead>,
    rest_until: Instant,
    disk: bool,
    fence: Option<String>,
    by_hand: Option<ByHand>,
    unready: Option<String>,
}

#[derive(Debug, Clone)]
struct Dead {
    detail: String,
}

/// Who stopped the services on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ByHand {
    /// A person, who will start them again or say so.
    Person(String),
    /// An upgrade that is under way, and will end.
    Upgrade(String),
}

/// Why a node cannot serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Telephony died; the services are being stopped, or it has not been long enough since.
    Dead(String),
    /// It died a moment ago.
    Recovering,
    /// Somebody stopped the services on purpose.
    ByHand(String),
    /// The state cannot be written.
    Disk,
    /// The fence does not work: phones could not be let in.
    Fence(String),
    /// The check of fitness says no.
    Unready(String),
}

impl Unfit {
    /// One word for all that is told of this in other words each time.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Dead(_) => "dead",
            Self::Recovering => "recovering",
            Self::ByHand(_) => "by hand",
            Self::Disk => "disk",
            Self::Fence(_) => "fence",
            Self::Unready(_) => "unready",
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dead(detail) => write!(f, "telephony is dead: {detail}"),
            Self::Recovering => f.write_str("telephony died a moment ago"),
            Self::ByHand(what) => write!(f, "stopped from outside: {what}"),
            Self::Disk => f.write_str("the state cannot be written"),
            Self::Fence(why) => write!(f, "the fence does not work: {why}"),
            Self::Unready(said) => write!(f, "the check of fitness says no: {said}"),
        }
    }
}

impl Fitness {
    pub(super) const fn new(recover: Duration) -> Self {
        Self { recover, dead: None, rest_until: Instant::ORIGIN, disk: true, fence: None, by_hand: None, unready: None }
    }

    /// Telephony of a serving node died.
    pub(super) fn died(&mut self, detail: &str) {
        self.dead = Some(Dead { detail: detail.to_owned() });
    }

    /// The services are stopped, and verified to be.
    pub(super) fn stopped(&mut self, now: Instant) {
        // Only a death is followed by a rest: an orderly stop leaves a node that could serve again at once.
        if self.dead.take().is_some() {
            self.rest_until = now + self.recover;
        }
    }

    /// The state could be written, or not.
    pub(super) const fn disk(&mut self, writable: bool) {
        self.disk = writable;
    }

    /// Phones could not be let in, or the fence works. The first words stay while it lasts.
    pub(super) fn fence(&mut self, failed: Option<String>) {
        self.fence = failed.map(|now| self.fence.take().unwrap_or(now));
    }

    /// Somebody stopped the services on purpose, or started them again.
    pub(super) fn by_hand(&mut self, what: Option<ByHand>) {
        self.by_hand = what;
    }

    /// No packages are being installed any more.
    pub(super) fn upgrade_is_over(&mut self) {
        if matches!(self.by_hand, Some(ByHand::Upgrade(_))) {
            self.by_hand = None;
        }
    }

    /// The check of fitness said no, or yes.
    pub(super) fn unready(&mut self, said: Option<String>) {
        self.unready = said;
    }

    /// Returns when the answer may change by time alone; another after [`Fitness::stopped`].
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        (now < self.rest_until).then_some(self.rest_until)
    }

    /// Why the node cannot serve, if so. What keeps an inactive node from starting stops no serving one: a full disk is no
    /// reason to end calls.
    pub(super) fn unfit(&self, now: Instant, serves: bool) -> Option<Unfit> {
        // Dead telephony alone stops a node that serves: nobody is served by it any more.
        if let Some(dead) = &self.dead {
            return Some(Unfit::Dead(dead.detail.clone()));
        }
        if serves {
            return None;
        }
        if let Some(ByHand::Person(what) | ByHand::Upgrade(what)) = &self.by_hand {
            Some(Unfit::ByHand(what.clone()))
        } else if !self.disk {
            Some(Unfit::Disk)
        } else if let Some(why) = &self.fence {
            Some(Unfit::Fence(why.clone()))
        } else if let Some(said) = &self.unready {
            Some(Unfit::Unready(said.clone()))
        } else if now < self.rest_until {
            Some(Unfit::Recovering)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECOVER: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn a_node_whose_telephony_died_is_fit_again_a_while_after_the_stop() {
        let mut fitness = Fitness::new(RECOVER);
        assert_eq!(fitness.unfit(at(1), true), None);
        fitness.died("refused");
        assert_eq!(fitness.unfit(at(1), true), Some(Unfit::Dead("refused".into())));
        assert_eq!(fitness.unfit(at(9), false), Some(Unfit::Dead("refused".into())), "until it is stopped");
        fitness.stopped(at(9));
        assert_eq!(fitness.unfit(at(13), false), Some(Unfit::Recovering));
        assert_eq!(fitness.deadline(at(13)), Some(at(14)));
        assert_eq!((fitness.unfit(at(14), false), fitness.deadline(at(14))), (None, None));
        fitness.stopped(at(20));
        assert_eq!(fitness.unfit(at(20), false), None, "an orderly stop is no illness");
    }

    #[test]
    fn what_keeps_a_node_from_starting_ends_no_calls() {
        let mut fitness = Fitness::new(RECOVER);
        fitness.disk(false);
        fitness.unready(Some("no database".into()));
        fitness.by_hand(Some(ByHand::Person("marker".into())));
        assert_eq!(fitness.unfit(at(1), true), None);
        assert_eq!(fitness.unfit(at(1), false), Some(Unfit::ByHand("marker".into())));
        fitness.upgrade_is_over();
        assert_eq!(fitness.unfit(at(1), false), Some(Unfit::ByHand("marker".into())), "that was a person");
        fitness.by_hand(Some(ByHand::Upgrade("packages".into())));
        fitness.upgrade_is_over();
        assert_eq!(fitness.unfit(at(1), false), Some(Unfit::Disk));
        fitness.disk(true);
        fitness.fence(Some("no such set".into()));
        fitness.fence(Some("no such table".into()));
        assert_eq!(fitness.unfit(at(1), true), None, "a permit that lasts may still be renewed");
        assert_eq!(fitness.unfit(at(1), false), Some(Unfit::Fence("no such set".into())));
        fitness.fence(None);
        assert_eq!(fitness.unfit(at(1), false), Some(Unfit::Unready("no database".into())));
        fitness.unready(None);
        assert_eq!(fitness.unfit(at(1), false), None);
    }
}
