//! Every default, in one place. conf/edge.yaml shows the same ones; a test compares them.

use std::time::Duration;

use super::file::ProfileFile;

pub(super) const HTTPS: [&str; 1] = ["0.0.0.0:443"];
// Whoever reaches it may read it, as it asks nobody who they are: so from this machine alone.
pub(super) const METRICS: &str = "127.0.0.1:9600";
pub(super) const ADMIN_SOCKET: &str = "/run/bascule/admin.sock";
pub(super) const STATE: &str = "/var/lib/bascule";
pub(super) const LIVE_FILE: &str = "live";
pub(super) const LOG_LEVEL: &str = "info";
pub(super) const ACCESS_LOG: bool = true;
pub(super) const OBSERVE: bool = false;

pub(super) const SIP_PORT: u16 = 5060;
pub(super) const WEIGHT: u16 = 1;
// A redirect, to a login page for instance, is an answer of an application that works.
pub(super) const HTTP_STATUS: (u16, u16) = (200, 399);
// A refusal (401, 404) is an answer of a telephony that works; 5xx and 6xx say themselves that it does not.
pub(super) const SIP_STATUS: (u16, u16) = (200, 499);
pub(super) const CHECK_METHOD: &str = "GET";
pub(super) const CHECK_PATH: &str = "/";

// Service restart, in IANA's registry of close codes: the client is meant to come back.
pub(super) const CLOSE_CODE: u16 = 1012;
pub(super) const CLOSE_REASON: &str = "switched to the other side";
pub(super) const RESPONSE_LIMIT: Duration = Duration::from_secs(60);
pub(super) const BODY_LIMIT: u64 = 10 << 20;

/// TURN refreshes its allocations within ten minutes (RFC 8656 section 3.2), over the connection itself.
pub(super) const PASS_IDLE: Duration = Duration::from_secs(3600);

pub(super) const HOLD_DOWN: Duration = Duration::from_secs(60);

/// Defaults of a probe profile.
pub(super) struct Profile {
    pub(super) interval: Duration,
    pub(super) time_limit: Duration,
    pub(super) rise: u8,
    pub(super) fall: u8,
    pub(super) reprobe_refused: Duration,
    pub(super) reprobe_silent: Duration,
    pub(super) suspicion: Duration,
    pub(super) stale_after: Duration,
}

pub(super) const fn profile(name: ProfileFile) -> Profile {
    match name {
        ProfileFile::Normal => Profile {
            interval: Duration::from_secs(1),
            time_limit: Duration::from_millis(800),
            rise: 2,
            fall: 3,
            reprobe_refused: Duration::from_millis(10),
            reprobe_silent: Duration::from_millis(150),
            suspicion: Duration::from_millis(300),
            stale_after: Duration::from_secs(5),
        },
        ProfileFile::Fast => Profile {
            interval: Duration::from_millis(500),
            time_limit: Duration::from_millis(400),
            rise: 2,
            fall: 3,
            reprobe_refused: Duration::from_millis(5),
            reprobe_silent: Duration::from_millis(50),
            suspicion: Duration::from_millis(100),
            stale_after: Duration::from_secs(3),
        },
    }
}

pub(super) mod switch {
    use std::time::Duration;

    pub(in crate::config) const PER_HOUR: u32 = 4;
    // Longer than a silent side takes to be found and left (2.85 s without traffic): else those who wait get the page
    // just before the switch that would have served them.
    pub(in crate::config) const PARK_LIMIT: Duration = Duration::from_secs(5);
    pub(in crate::config) const PARK_REQUESTS: usize = 1000;
    // Everybody who is closed logs on again. With `DRAIN_LIMIT`, 6000 users leave at this rate: more than an Edge of
    // 20,000 connections has.
    pub(in crate::config) const RECONNECT_RATE: u32 = 200;
    pub(in crate::config) const DRAIN_LIMIT: Duration = Duration::from_secs(30);
}

pub(super) mod rate_limits {
    use std::time::Duration;

    /// Private networks (RFC 1918), loopback, link-local and unique local addresses: users inside, as XiVO's proxy has it.
    pub(in crate::config) const EXEMPT: [&str; 8] = [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "::1",
        "fc00::/7",
        "fe80::/10",
    ];
    /// What one subscriber has (RFC 6177).
    pub(in crate::config) const IPV6_PREFIX: u8 = 64;
    pub(in crate::config) const DELAY: bool = true;
    /// At 16 bytes each a MiB a zone: more clients at once than a site of 5,000 users has.
    pub(in crate::config) const ADDRESSES: usize = 65_536;
    pub(in crate::config) const DELAYED: usize = 1000;
    /// A hundred users behind one address, with three requests of zone auth each, are back within five seconds.
    pub(in crate::config) const RELAX_FACTOR: u32 = 30;
    /// Twice as long as sessions are closed after a switch.
    pub(in crate::config) const RELAX_OVER: Duration = Duration::from_secs(60);
}

pub(super) mod limits {
    use std::time::Duration;

    pub(in crate::config) const CLIENT_HELLO: Duration = Duration::from_secs(5);
    pub(in crate::config) const HANDSHAKE: Duration = Duration::from_secs(10);
    pub(in crate::config) const REQUEST_HEAD: Duration = Duration::from_secs(10);
    pub(in crate::config) const KEEPALIVE: Duration = Duration::from_secs(75);
    pub(in crate::config) const REQUEST_BODY: Duration = Duration::from_secs(30);
    pub(in crate::config) const HEAD_BYTES: u64 = 64 << 10;
    pub(in crate::config) const HEAD_FIELDS: usize = 100;
    // As many as a worker of the web proxy had that a XiVO Edge runs otherwise: about 5000 users with two WebSockets
    // each.
    pub(in crate::config) const CONNECTIONS: usize = 20_000;
    // Whole offices, and the phones behind a carrier's NAT, share one address.
    pub(in crate::config) const CONNECTIONS_PER_CLIENT: usize = 4096;
    // RFC 9113 section 6.5.2 advises 100 at least.
    pub(in crate::config) const H2_STREAMS: u32 = 128;
    pub(in crate::config) const MEMORY: u64 = 512 << 20;
    pub(in crate::config) const CONNECT: Duration = Duration::from_secs(2);
    pub(in crate::config) const WRITE_STALL: Duration = Duration::from_secs(30);
    pub(in crate::config) const DRAIN: Duration = Duration::from_secs(30);
}
