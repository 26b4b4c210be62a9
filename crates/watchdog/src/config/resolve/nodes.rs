//! Nodes that follow: a CC, a media server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use failover::follow::Idle;
use failover::lease::Timing;
use failover::{PerSide, follow};
use settings::{Findings, KeyPath, Short, absolute, item, quoted};

use super::commands::{asterisk, demanded, positive, services, span};
use super::endpoints::{host, remote};
use super::side;
use super::xivo::required;
use crate::config::file::{CommandFile, File, ReadyFile, RepeatedFile, TimingFile, XivosFile};
use crate::config::{CcConfig, MdsConfig, Ready, ReadyTrust, Repeated, Source, defaults, preset};

pub(super) fn cc(file: File, findings: &mut Findings) -> Option<CcConfig> {
    let side = side(file.side, findings);
    let edge = edge(file.edge.as_deref(), findings);
    let xivo = source(file.xivo, findings);
    let beneath = preset::cc(file.preset);
    let checked =
        file.services.as_ref().and_then(|services| services.check.as_ref()).is_some_and(|c| c.command.is_some());
    let services = services(file.services, beneath, defaults::CC_VERIFY_LIMIT, findings);
    let (ready_known, ready) = (beneath.ready.is_some() || file.ready.is_some(), ready(file.ready, beneath, findings));
    // A CC that nothing looks at would be `active` as soon as its command ends, and users be sent to a xuc that still
    // starts.
    if !checked && !ready_known {
        let at = KeyPath::top("ready");
        let remedy = "write `ready: { check: 'https://127.0.0.1/xuc/api/2.0/auth/check', status: [200, 401] }`";
        findings.missing(&at, "is missing, and there is no services.check: nothing tells whether the CC works", remedy);
    }
    let retry = positive(file.retry, RETRY, &KeyPath::top("retry"), findings);
    let retry_limit = span(file.retry_limit, RETRY_LIMIT);
    if retry_limit < retry {
        findings.error(&KeyPath::top("retry_limit"), "is shorter than retry", "write retry or more");
    }
    let (xivo, services) = (xivo?, services?);
    let stale_after = match xivo {
        Source::Watchdog(_) => defaults::STALE_AFTER,
        Source::Command(_) => defaults::STATUS_STALE_AFTER,
    };
    let idle = if services.instance.is_some() { Idle::Stale } else { Idle::Stopped };
    Some(CcConfig {
        side: side?,
        xivo,
        edge: edge.ok()?,
        follow: follow::Settings { stale_after, retry, retry_limit, idle },
        heartbeat: heartbeat(file.timing, findings),
        services,
        ready: match ready_known {
            true => Some(ready?),
            false => None,
        },
    })
}

/// Where a CC's XiVO tells what it does: its watchdog, or a command.
fn source(written: Option<Short<XivosFile>>, findings: &mut Findings) -> Option<Source> {
    let at = KeyPath::top("xivo");
    match written {
        Some(Short(XivosFile { one: None, main: None, standby: None, status: Some(status) })) => {
            let at = at.key("status");
            let interval = positive(status.interval, defaults::STATUS_INTERVAL, &at.key("interval"), findings);
            let RepeatedFile { command, time_limit, .. } = status;
            let command = demanded(CommandFile { command, time_limit }, &at, findings)?;
            // A question that outlasts the silence would make each answer the first after an outage.
            if command.time_limit + interval >= defaults::STATUS_STALE_AFTER / 2 {
                let remedy = "write shorter times: both together less than 15s";
                findings.error(&at, "time_limit and interval are too long: a silence of 30s is an outage", remedy);
            }
            Some(Source::Command(Repeated { command, interval }))
        }
        Some(Short(XivosFile { one: None, .. })) => {
            findings.error(
                &at,
                "a CC follows one XiVO, that of its side",
                "write its watchdog's address, such as `xivo: 10.0.0.11:9602`, or `xivo: { status: { command: [...] } }`",
            );
            None
        }
        written => {
            let one = written.and_then(|short| short.0.one);
            required("xivo", one.as_deref(), "10.0.0.11:9602", remote, findings).map(Source::Watchdog)
        }
    }
}

pub(super) fn mds(file: File, findings: &mut Findings) -> Option<MdsConfig> {
    let edge = edge(file.edge.as_deref(), findings);
    let at = KeyPath::top("xivo");
    let XivosFile { one, main, standby, status } = file.xivo.map(|short| short.0).unwrap_or_default();
    if one.is_some() {
        let remedy = "write both: `xivo: { main: 10.0.0.11, standby: 10.0.0.12 }`";
        findings.error(&at, "a media server knows both XiVOs, by their addresses", remedy);
    }
    if status.is_some() {
        let remedy = "remove it; a media server asks its own Asterisk";
        findings.error(&at.key("status"), "has no meaning for a media server", remedy);
    }
    let mut address = |key: &str, text: Option<String>| match text {
        Some(text) => host(&text, &at.key(key), findings),
        None => {
            findings.missing(&at.key(key), "is missing", "write that XiVO's address as its contacts bear it");
            None
        }
    };
    let (main, standby) = (address("main", main), address("standby", standby));
    if main.is_some() && main == standby {
        findings.error(&at.key("standby"), "is the same as main", "write the other XiVO's address");
    }
    let asterisk = asterisk(file.asterisk, findings);
    let heartbeat = heartbeat(file.timing, findings);
    Some(MdsConfig {
        edge: edge.ok()?,
        xivo: PerSide { main: main?, standby: standby? },
        asterisk: asterisk?,
        heartbeat,
    })
}

const RETRY: Duration = Duration::from_secs(1);
const RETRY_LIMIT: Duration = Duration::from_secs(30);

/// Where to report to; `Err`: noted.
fn edge(written: Option<&str>, findings: &mut Findings) -> Result<Option<SocketAddr>, ()> {
    match written {
        Some(text) => remote("edge", text, "10.1.0.41:9601", findings).map(Some).ok_or(()),
        None => {
            let remedy = "write the Edge's `nodes` address, such as 10.1.0.41:9601";
            findings.warn(&KeyPath::top("edge"), "is not set: this node reports to nobody", remedy);
            Ok(None)
        }
    }
}

fn heartbeat(written: Option<TimingFile>, findings: &mut Findings) -> Duration {
    let at = KeyPath::top("timing");
    let file = written.unwrap_or_default();
    let heartbeat = file.heartbeat;
    // Who writes times of the vote here believes that they hold: they hold where votes are given.
    if (TimingFile { heartbeat, ..TimingFile::default() }) != file {
        findings.error(&at, "only heartbeat has a meaning on a node that does not vote", "remove the other times");
    }
    positive(heartbeat, Timing::DEFAULT.heartbeat, &at.key("heartbeat"), findings)
}

fn ready(written: Option<Short<ReadyFile>>, beneath: preset::Preset, findings: &mut Findings) -> Option<Ready> {
    let at = KeyPath::top("ready");
    let file = written.map(|short| short.0).unwrap_or_default();
    let (known_url, known_status) = beneath.ready.unzip();
    // The preset's statuses belong to the preset's question.
    let known_status = known_status.filter(|_| file.check.is_none());
    let check_at = if findings.tree().has(&at.key("check")) { at.key("check") } else { at.clone() };
    let url = file.check.as_deref().or(known_url);
    let Some(url) = url else {
        if findings.tree().has(&at) {
            findings.missing(
                &at.key("check"),
                "is missing",
                "write a URL such as https://127.0.0.1/xuc/api/2.0/auth/check",
            );
        }
        return None;
    };
    let target = target(url, &check_at, findings);
    let status_at = at.key("status");
    let status = match (file.status, known_status) {
        (Some(list), _) => list.0,
        (None, Some(known)) => known.to_vec(),
        (None, None) => Vec::new(),
    };
    for (index, status) in status.iter().enumerate().filter(|(_, status)| !(100..=699).contains(*status)) {
        let at = item(&status_at, index, findings);
        findings.error(&at, format!("{status} is no status"), "write a status such as 200");
    }
    let status = match status.is_empty() {
        true => vec![defaults::READY_STATUS],
        false => status.into_iter().map(|status| (status, status)).collect(),
    };
    let ca = file.ca.map(PathBuf::from).filter(|path| absolute(path, &at.key("ca"), findings));
    let time_limit = positive(file.time_limit, defaults::READY_LIMIT, &at.key("time_limit"), findings);
    let interval = positive(file.interval, defaults::READY_INTERVAL, &at.key("interval"), findings);
    let Target { address, authority, path, https } = target?;
    if https && ca.is_none() && !address.ip().is_loopback() {
        let remedy = "write `ca:` with the PEM file of its authority";
        findings.warn(&check_at, format!("the certificate of {address} is not checked"), remedy);
    }
    let tls = https.then(|| ca.map_or(ReadyTrust::Off, ReadyTrust::Ca));
    Some(Ready { address, authority, path, tls, status, time_limit, interval })
}

struct Target {
    address: SocketAddr,
    authority: String,
    path: String,
    https: bool,
}

fn target(url: &str, at: &KeyPath, findings: &mut Findings) -> Option<Target> {
    let parsed: Option<http::Uri> = url.parse().ok();
    let found = parsed.and_then(|uri| {
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        let ip = authority.host().trim_matches(['[', ']']).parse().ok()?;
        let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Some(Target { address: SocketAddr::new(ip, port), authority: authority.to_string(), path, https })
    });
    if found.is_none() {
        let remedy =
            "write http:// or https://, an IP address and a path, such as https://127.0.0.1/xuc/api/2.0/auth/check";
        findings.error(at, format!("{} is no URL that can be asked", quoted(url)), remedy);
    }
    found
}
