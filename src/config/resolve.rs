//! From what was written to what is meant: the only validation there is. Each part notes its errors and gives what it can.

mod certificates;
mod checks;
mod endpoints;
mod headers;
mod live;
mod nodes;
mod pass;
mod routes;
mod services;
mod tls;
mod tuning;
mod zones;

use std::time::SystemTime;

use settings::{Findings, KeyPath, item, quoted};

use super::file::{File, OneOrMany, PresetName};
use super::load::Files;
use super::{Config, TlsVersion, UnknownName, address, preset};

/// Resolves `user` over its preset. None when an error was noted.
pub(super) fn resolve(mut user: File, files: &dyn Files, now: SystemTime, findings: &mut Findings) -> Option<Config> {
    let beneath = preset::of(user.preset);
    let fqdn = fqdn(user.fqdn.take(), findings);
    let aliases = aliases(user.aliases.take(), fqdn.as_deref(), findings);
    let names: Vec<&str> = fqdn.iter().chain(&aliases).map(String::as_str).collect();
    let certificates = certificates::resolve(user.certificate.take(), &names, files, now, findings);
    let tls = user.tls.take().unwrap_or_default();
    // Both versions that are still thought sound; 1.0 and 1.1 are deprecated by RFC 8996.
    let tls_min = tls.min.unwrap_or(TlsVersion::V1_2);
    let watch_certificates = tls.watch.unwrap_or(true);
    let unknown_name = tls.unknown_name.unwrap_or(UnknownName::Serve);
    let listen = endpoints::listen(user.listen.take(), findings);
    let pass = pass::pass(user.pass.take(), unknown_name, &names, &listen, findings);
    let metrics = endpoints::metrics(user.metrics.take(), &listen, findings);
    let admin = endpoints::admin(user.admin.take(), findings);
    let nodes = nodes::nodes(user.nodes.take(), &listen, metrics, findings);
    let stale_cc = stale_cc(user.preset, nodes.is_some(), findings);
    let state = endpoints::state(user.state.take(), findings);
    let live_file = live::live_file(user.live_file.take(), &admin, findings);
    let live = live::endpoint(user.live.take(), &listen, metrics, nodes.as_ref(), findings);
    let log = endpoints::log(user.log.take().unwrap_or_default(), findings);
    let failback = tuning::failback(user.failback.take(), findings);
    let probe = tuning::probing(user.probe.take().unwrap_or_default(), findings);
    let switch = tuning::switching(user.switch.take().unwrap_or_default(), user.observe, probe.as_ref(), findings);
    let limits = tuning::limits(user.limits.take().unwrap_or_default(), findings);
    let services = services::resolve(&user, beneath, fqdn.as_deref(), files, findings);
    endpoints::nobody_calls_the_edge(&services, &listen, findings);
    let at = KeyPath::top("headers");
    let headers = headers::over(&[], beneath.headers.as_ref(), &at, findings);
    let headers = headers::over(&headers, user.headers.as_ref(), &at, findings);
    let rate_limits = zones::rate_limits(user.rate_limits.take().unwrap_or_default(), findings);
    let zones = zones::resolve(&user, beneath, findings);
    let common = routes::Common { services: &services, headers: &headers, zones: &zones };
    let (routes, left_out) = routes::resolve(&user, beneath, common, findings);
    let used: Vec<_> = routes.iter().filter_map(|route| route.zone).map(|zone| zone.zone).collect();
    zones::unused(&user, beneath, &zones, &used, findings);
    // Only here: each part resolves what it can, so that all mistakes are told at once.
    if findings.has_errors() {
        return None;
    }
    Some(Config {
        fqdn: fqdn?,
        aliases,
        listen,
        certificates,
        tls_min,
        watch_certificates,
        unknown_name,
        pass,
        services,
        routes,
        headers,
        left_out,
        stale_cc,
        zones: zones.zones,
        rate_limits: rate_limits?,
        failback: failback?,
        probe: probe?,
        switch: switch?,
        limits: limits?,
        admin,
        metrics,
        nodes,
        live,
        state,
        live_file,
        log,
    })
}

/// Whether an answer of a CC proves nothing of its being restarted; said where no node could say more.
fn stale_cc(preset: Option<PresetName>, nodes: bool, findings: &mut Findings) -> bool {
    let stale = preset == Some(PresetName::Xivo2025);
    if stale && !nodes {
        findings.warn(
            &KeyPath::top("preset"),
            "up to 2025.10 xuc is stale after a switch until it is restarted, and answers all the same: this Edge alone cannot see that",
            "run a CC watchdog on each CC (conf/watchdog-cc-2025.10.yaml; the XiVO needs none), and write `nodes` for its reports",
        );
    }
    stale
}

fn fqdn(written: Option<String>, findings: &mut Findings) -> Option<String> {
    let at = KeyPath::top("fqdn");
    let Some(name) = written else {
        findings.missing(&at, "is missing", "write the one name users browse, such as `fqdn: edge.example.org`");
        return None;
    };
    hostname(name, &at, findings)
}

fn aliases(written: Option<OneOrMany<String>>, fqdn: Option<&str>, findings: &mut Findings) -> Vec<String> {
    let at = KeyPath::top("aliases");
    let mut aliases: Vec<String> = Vec::new();
    for (index, name) in written.map(|list| list.0).unwrap_or_default().into_iter().enumerate() {
        let at = item(&at, index, findings);
        let Some(name) = hostname(name, &at, findings) else { continue };
        if fqdn == Some(name.as_str()) || aliases.contains(&name) {
            findings.error(&at, format!("{} is served already", quoted(&name)), "remove it here");
        }
        aliases.push(name);
    }
    aliases
}

fn hostname(name: String, at: &KeyPath, findings: &mut Findings) -> Option<String> {
    if address::is_hostname(&name) {
        // Compared with SNI and `Host`, which come in any case.
        return Some(name.to_ascii_lowercase());
    }
    findings.error(
        at,
        format!("{} is not a host name", quoted(&name)),
        "write a name without scheme, port or path, such as edge.example.org",
    );
    None
}
