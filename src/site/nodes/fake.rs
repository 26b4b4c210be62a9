//! Nodes for tests.

use std::collections::BTreeMap;

use failover::Side;
use failover::health::Status;
use protocol::wire::{NodeReport, Role, Vote};

use super::Node;

pub(crate) fn node(role: Role, side: Side, name: &str) -> Node {
    Node { role, side: (role != Role::Mds).then_some(side), name: name.to_owned() }
}

pub(crate) fn report(status: Status) -> NodeReport {
    NodeReport {
        status,
        since: 0,
        because: String::new(),
        version: "0.1.0".into(),
        services: BTreeMap::new(),
        alarms: Vec::new(),
        failed_starts: None,
        certificate_days: None,
        vote: None,
        media_servers: BTreeMap::new(),
        presence: None,
        wished: None,
        chosen: None,
        instance: None,
        made_us: None,
    }
}

pub(crate) fn vote() -> Vote {
    Vote {
        epoch: 3,
        guard: None,
        fit: true,
        automatic: true,
        frozen: false,
        accept_requests: true,
        waiting: None,
        hears_peer: true,
        peer_host: None,
        takeover_ms: 5200,
        times: None,
    }
}
