//! What systemd is told by a watchdog.

pub use daemon::systemd::{beat, ready, status, stopping};

/// The decision loop turns: to be told every [`beat`], by that loop itself.
pub fn alive() {
    #[cfg(test)]
    crate::node::played::turned();
    daemon::systemd::alive();
}
