//! The endpoint for the nodes' watchdogs, and the times of the vote.

use std::net::SocketAddr;
use std::path::PathBuf;

use failover::lease::Timing;
use settings::{Findings, KeyPath};

use super::super::address;
use super::super::file::{NodesFile, TimingFile};
use super::super::{Listen, Nodes};
use super::endpoints::{self, absolute};
use super::tuning::span;

/// None when there is no such endpoint, or an error was noted.
pub(super) fn nodes(
    written: Option<NodesFile>,
    listen: &Listen,
    metrics: Option<SocketAddr>,
    findings: &mut Findings,
) -> Option<Nodes> {
    // One port cannot be two endpoints, and the nodes' speaks TLS of another authority.
    let taken: Vec<SocketAddr> = listen.https.iter().chain(&listen.http).chain(&metrics).copied().collect();
    let NodesFile { listen, identity, timing } = written?;
    let at = KeyPath::top("nodes");
    let listen = match listen {
        Some(text) => address::listener(&text)
            .map_err(|(message, remedy)| findings.error(&at.key("listen"), message, remedy))
            .ok()
            .inspect(|address| {
                if let Some(other) = taken.iter().find(|other| endpoints::overlap(other, address)) {
                    let message = format!("{address} is used already, by {other} of listen or metrics");
                    findings.error(&at.key("listen"), message, "give the nodes a port of their own");
                }
            }),
        None => {
            let remedy = "write the address nodes dial to, such as 10.1.0.41:9601";
            findings.missing(&at.key("listen"), "is missing", remedy);
            None
        }
    };
    let identity = match identity {
        Some(text) => {
            let path = PathBuf::from(text);
            absolute(&path, &at.key("identity"), findings).then_some(path)
        }
        None => {
            let remedy = "write the directory that `bascule certs edge` made, such as /etc/bascule/node";
            findings.missing(&at.key("identity"), "is missing", remedy);
            None
        }
    };
    let timing = resolve_timing(timing.unwrap_or_default(), &at.key("timing"), findings);
    Some(Nodes { listen: listen?, identity: identity?, timing: timing? })
}

fn resolve_timing(written: TimingFile, at: &KeyPath, findings: &mut Findings) -> Option<Timing> {
    let default = Timing::DEFAULT;
    let mut time = |written, default, key: &str| span(written, default, &at.key(key), findings);
    let heartbeat = time(written.heartbeat, default.heartbeat, "heartbeat");
    let request_limit = time(written.request_limit, default.request_limit, "request_limit");
    let lease = time(written.lease, default.lease, "lease");
    let pause = time(written.pause, default.pause, "pause");
    let fence = time(written.fence, default.fence, "fence");
    let granularity = time(written.granularity, default.granularity, "granularity");
    let promise = time(written.promise, default.promise, "promise");
    let quiet = time(written.quiet, default.quiet, "quiet");
    let witness_out = time(written.witness_out, default.witness_out, "witness_out");
    let witness_restart = time(written.witness_restart, default.witness_restart, "witness_restart");
    let timing = Timing {
        heartbeat: heartbeat?,
        request_limit: request_limit?,
        lease: lease?,
        pause: pause?,
        fence: fence?,
        drift_ppm: written.drift_ppm.unwrap_or(default.drift_ppm),
        granularity: granularity?,
        promise: promise?,
        quiet: quiet?,
        witness_out: witness_out?,
        witness_restart: witness_restart?,
    };
    // Of all times, though the Edge keeps two: the block is copied between the three voters, and one that breaks a
    // relation could make two nodes serve.
    let violations = timing.validate().err().unwrap_or_default();
    for violation in &violations {
        let remedy = "make them agree, and the same as in watchdog.yaml of both XiVO nodes";
        findings.error(&at.key(violation.field), violation.to_string(), remedy);
    }
    violations.is_empty().then_some(timing)
}
