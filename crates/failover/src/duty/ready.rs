//! What keeps an inactive node from wanting to serve, as far as it is no vote's and no operator's.

use super::disk::Disk;
use super::settings::Window;
use crate::time::Instant;

/// Whether the node could serve, and when its turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Readiness {
    pub(super) fit_since: Option<Instant>,
    pub(super) disk: Disk,
    /// It does not want before.
    pub(super) rest_until: Instant,
    /// When a node that stepped back last had a reason to believe that its peer takes over.
    pub(super) yielded_at: Instant,
    /// Whether a serving Standby may give its duty back now.
    pub(super) window: Window,
}

impl Readiness {
    pub(super) const fn new(now: Instant, rest_until: Instant) -> Self {
        Self { fit_since: None, disk: Disk::new(now), rest_until, yielded_at: now, window: Window::Closed }
    }

    /// A node that says again that it is fit has been so since the first time: the hold-down counts from there.
    pub(super) fn is_fit(&mut self, now: Instant) {
        self.fit_since = self.fit_since.or(Some(now));
    }

    /// Tells until when the node rests. A rest that is over is no deadline: the driver would turn without end.
    pub(super) fn rests_until(&self, now: Instant) -> Option<Instant> {
        (now < self.rest_until).then_some(self.rest_until)
    }
}
