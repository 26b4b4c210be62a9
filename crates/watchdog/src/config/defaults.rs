//! Every default, in one place. conf/watchdog-*.yaml shows the same ones; tests compare them. The protocol's times are
//! those of [`failover::lease::Timing::DEFAULT`].

use std::time::Duration;

/// The file the verbs read.
pub const CONFIG: &str = "/etc/bascule/watchdog.yaml";

pub(super) const IDENTITY: &str = "/etc/bascule/node";
pub(super) const STATE: &str = "/var/lib/bascule";
pub(super) const CONTROL: &str = "/run/bascule/watchdog.sock";
pub(super) const METRICS: &str = "127.0.0.1:9603";
pub(super) const LEGACY_FAILOVER: &str = "/etc/cron.d/xivo-ha-slave";
pub(super) const SIP_PORTS: [u16; 3] = [5060, 5061, 5039];
pub(super) const SIP_PORT: u16 = 5060;
/// An Asterisk that is well answers within milliseconds.
pub(super) const SIP_TIME_LIMIT: Duration = Duration::from_millis(500);
/// Longer, and a dead one is noticed too late to call it a take-over.
pub(super) const SIP_LONGEST: Duration = Duration::from_secs(30);
pub(super) const ASTERISK: &str = "asterisk";
pub(super) const REGISTRATION: &str = "{mds}";
pub(super) const START_LIMIT: Duration = Duration::from_secs(90);
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(60);
/// The time limit of every other command.
pub(super) const COMMAND_LIMIT: Duration = Duration::from_secs(10);
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// From one look at the status of a XiVO without a watchdog to the next.
pub(super) const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// Such a XiVO is out of sight after so long: several questions in vain. It tells no epoch, so a longer silence may hide a
/// switch; a XiVO takes longer to be away and back.
pub(super) const STATUS_STALE_AFTER: Duration = Duration::from_secs(30);
pub(super) const RECOVER: Duration = Duration::from_secs(5);
pub(super) const VERIFY_LIMIT: Duration = Duration::from_secs(20);
/// A real xuc takes its time: a JVM.
pub(super) const CC_VERIFY_LIMIT: Duration = Duration::from_secs(120);
pub(super) const READY_STATUS: (u16, u16) = (200, 399);
pub(super) const READY_LIMIT: Duration = Duration::from_secs(2);
pub(super) const READY_INTERVAL: Duration = Duration::from_secs(1);
/// A XiVO that was not heard for so long is out of sight of its CC: ten heartbeats, two watches.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(5);
