//! What systemd is told: ready, alive, in one line what the program does, and that it ends (sd_notify(3)). Without systemd
//! nobody listens.

use std::time::Duration;

use sd_notify::NotifyState;

/// The program does its work from now on: `systemctl start` returns, and units that are ordered behind it begin.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Sets the line that `systemctl status` shows first; the last one stays.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The decision loop turns: to be told every [`beat`], by that loop itself.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// The program ends from now on, and why: systemd counts `TimeoutStopSec` and calls it no failure.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// How often systemd wants to hear that the loop turns: half of `WatchdogSec`. None: it does not.
pub fn beat() -> Option<Duration> {
    let mut micros = 0;
    let wanted = sd_notify::watchdog_enabled(false, &mut micros);
    wanted.then(|| half(micros)).flatten()
}

fn half(micros: u64) -> Option<Duration> {
    Some(Duration::from_micros(micros / 2)).filter(|half| !half.is_zero())
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn systemd_hears_twice_in_its_time() {
        assert_eq!(super::half(3_000_000), Some(Duration::from_millis(1500)));
        assert_eq!(super::half(1), None);
    }

    #[test]
    fn without_systemd_nothing_is_told_and_nothing_fails() {
        super::ready("active");
        super::alive();
        super::stopping("ends");
    }
}
