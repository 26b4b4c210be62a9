use std::io::Write as _;
use std::num::{NonZeroU8, NonZeroU32, NonZeroUsize};
use std::process::{Command, Stdio};
use std::time::Duration;

use failover::Side;
use failover::health::State;
use failover::switch::{Failback, Kind};
use failover::verdict::Verdict;
use probe::tls::Term;
use prometheus::{Registry, TextEncoder};

use super::{Alpn, By, Handshake, Metrics, ProbeOutcome, Refusal, Reload};
use crate::config::{
    Admin, Backend, Config, HostHeader, Limits, Listen, Log, LogFormat, Matching, Pass, Place, Probing, ProxyHeader,
    Rate, RateLimits, RateUnit, Route, Service, ServiceIndex, Switching, TlsVersion, UnknownName, Zone, fake,
};
use crate::telemetry::logging::Ended;

fn backend(address: &str) -> Backend {
    Backend { address: address.parse().unwrap(), name: address.into(), weight: NonZeroUsize::MIN }
}

fn service(name: &str, place: Place) -> Service {
    Service { name: name.into(), place, required: false, tls: None, host: HostHeader::Fqdn, checks: vec![] }
}

fn route(name: &str, service: usize) -> Route {
    Route { service: ServiceIndex(service), ..fake::route(name, Matching::Prefix) }
}

fn limits() -> Limits {
    let s = Duration::from_secs(1);
    let (n32, n) = (NonZeroU32::MIN, NonZeroUsize::MIN);
    Limits {
        client_hello: s,
        handshake: s,
        request_head: s,
        keepalive: s,
        request_body: s,
        head_bytes: n,
        head_fields: n,
        connections: n,
        connections_per_client: n,
        h2_streams: n32,
        memory: (64 << 20).try_into().unwrap(),
        connect: s,
        write_stall: s,
        drain: s,
    }
}

fn config(services: Vec<Service>, routes: Vec<Route>) -> Config {
    let s = Duration::from_secs(1);
    let (n8, n32, n) = (NonZeroU8::MIN, NonZeroU32::MIN, NonZeroUsize::MIN);
    Config {
        fqdn: "edge.example.org".into(),
        aliases: vec![],
        listen: Listen { https: vec![], http: vec![], proxied: vec![] },
        certificates: vec![],
        tls_min: TlsVersion::V1_2,
        watch_certificates: false,
        unknown_name: UnknownName::Serve,
        stale_cc: false,
        pass: vec![Pass {
            names: vec!["turn.example.org".into(), "*".into()],
            to: vec![],
            proxy_protocol: ProxyHeader::None,
            idle: s,
        }],
        services,
        routes,
        headers: vec![],
        left_out: vec![],
        zones: vec![Zone {
            name: "auth".into(),
            rate: Rate { requests: 20, per: RateUnit::Minute },
            burst: n32,
            delay: false,
            addresses: n,
        }],
        rate_limits: RateLimits { exempt: vec![], ipv6_prefix: 64, delayed: n, relax: None },
        failback: Failback::Sticky,
        probe: Probing {
            interval: s,
            time_limit: s,
            rise: n8,
            fall: n8,
            reprobe_refused: s,
            reprobe_silent: s,
            suspicion: s,
            stale_after: s,
        },
        switch: Switching {
            observe: false,
            per_hour: n32,
            park_limit: s,
            park_requests: n,
            reconnect_rate: None,
            drain_limit: s,
        },
        limits: limits(),
        admin: Admin { socket: "/run/bascule/admin.sock".into(), group: None },
        nodes: None,
        live: None,
        live_file: None,
        metrics: None,
        state: "/var/lib/bascule".into(),
        log: Log { format: LogFormat::Json, level: "info".into(), access: true },
    }
}

fn site() -> Config {
    let cc = Place::Sides { main: vec![backend("10.0.0.21:443")], standby: vec![backend("10.0.0.22:443")] };
    let sip = Place::Shared(vec![backend("127.0.0.1:8080")]);
    config(vec![service("cc", cc), service("sip", sip)], vec![route("/xuc", 0), route("/wssip", 1)])
}

fn text(registry: &Registry) -> String {
    TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
}

/// A registry in which every family has at least one series.
fn busy() -> (Registry, Metrics) {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry).unwrap();
    let children = metrics.configure(&site());
    metrics.live(Side::Standby, 7);
    metrics.switched(Kind::Failover, Side::Main);
    metrics.health(Side::Main, State::NotWorking);
    metrics.handshake(TlsVersion::V1_3, Alpn::H2, Handshake::Resumed);
    metrics.reloaded(Reload::Taken);
    metrics.refused.of(Refusal::NoRoute).inc();
    metrics.loop_lag.set(0.002);
    metrics.request_duration.of(By::Standby).observe(0.02);
    let term = Term { not_before: 1, not_after: 2 };
    metrics.certificates([("edge.example.org", term)]);
    children.routes[0].answered(By::Standby, 204);
    children.routes[1].sessions_open.of(By::Shared).inc();
    children.routes[1].sessions_ended.of(Ended::Switched).inc();
    let check = &children.services[0].backends(Side::Main)[0].checks[0];
    check.probed(ProbeOutcome::Refused, 0.001);
    check.verdict(Verdict::Down);
    check.certificate(term);
    (registry, metrics)
}

#[test]
fn metrics_are_clean_under_promtool() {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let promtool = command.spawn();
    let Ok(mut promtool) = promtool else {
        println!("skipped: promtool missing");
        return;
    };
    let (registry, _metrics) = busy();
    promtool.stdin.take().unwrap().write_all(text(&registry).as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn states_are_sets_of_which_one_is_true() {
    let (registry, _metrics) = busy();
    let text = text(&registry);
    for line in [
        r#"bascule_live{side="main"} 0"#,
        r#"bascule_live{side="standby"} 1"#,
        "bascule_switch_epoch 7",
        r#"bascule_switches_total{from="main",kind="failover",to="standby"} 1"#,
        r#"bascule_side_health{side="main",state="not_working"} 1"#,
        r#"bascule_side_health{side="main",state="unknown"} 0"#,
        r#"bascule_side_health{side="standby",state="unknown"} 1"#,
        r#"bascule_check_verdict{backend="10.0.0.21:443",check="tcp",service="cc",side="main",state="down"} 1"#,
        r#"bascule_check_verdict{backend="127.0.0.1:8080",check="tcp",service="sip",side="shared",state="unknown"} 1"#,
        r#"bascule_requests_total{code="2xx",route="/xuc",side="standby"} 1"#,
        r#"bascule_sessions_open{route="/wssip",side="shared"} 1"#,
        r#"bascule_sessions_ended_total{reason="switched",route="/wssip"} 1"#,
        r#"bascule_certificate_not_before_timestamp_seconds{name="edge.example.org"} 1"#,
        r#"bascule_certificate_not_after_timestamp_seconds{name="edge.example.org"} 2"#,
        r#"bascule_tls_handshakes_total{alpn="h2",result="resumed",version="1.3"} 1"#,
    ] {
        assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
    }
}

#[test]
fn what_cannot_be_has_no_series() {
    let (registry, _metrics) = busy();
    let text = text(&registry);
    for absent in [
        r#"kind="failover",to="main""#,
        r#"bascule_sessions_open{route="/wssip",side="main"}"#,
        r#"bascule_sessions_open{route="/xuc",side="edge"}"#,
        r#"not_after_timestamp_seconds{backend="10.0.0.22:443""#,
        "unseen",
    ] {
        assert!(!text.contains(absent), "{absent}");
    }
}

#[test]
fn a_reload_keeps_counts_of_what_stays_and_forgets_what_is_gone() {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry).unwrap();
    let old = metrics.configure(&site());
    old.routes[0].answered(By::Main, 200);
    let mut site = site();
    site.routes.truncate(1);
    let new = metrics.configure(&site);
    new.routes[0].answered(By::Main, 200);
    old.routes[1].answered(By::Shared, 200);
    let text = text(&registry);
    assert!(text.contains(r#"bascule_requests_total{code="2xx",route="/xuc",side="main"} 2"#), "{text}");
    assert!(!text.contains(r#"route="/wssip""#), "{text}");
}

#[test]
fn one_registry_takes_the_metrics_once() {
    let registry = Registry::new();
    let _metrics = Metrics::new(&registry).unwrap();
    assert!(Metrics::new(&registry).is_err());
}

// Alerts and dashboards of the site's own go by these words.
#[test]
fn every_label_is_spelled_as_it_always_was() {
    let (registry, _metrics) = busy();
    let _witness = super::nodes::WitnessMetrics::new(&registry).unwrap();
    let nodes = super::nodes::NodesMetrics::new(&registry).unwrap();
    let node = super::nodes::NodeLabels { role: "xivo", side: Some(Side::Main), name: "n" };
    nodes.status(node, failover::health::Status::Active.into());
    nodes.guard(node, None);
    let mut found: std::collections::BTreeMap<String, std::collections::BTreeSet<String>> = Default::default();
    for family in registry.gather() {
        for metric in family.get_metric() {
            for label in metric.get_label() {
                let of = format!("{} {}", family.name(), label.name());
                found.entry(of).or_default().insert(label.value().to_owned());
            }
        }
    }
    let mut lines = String::new();
    for (of, words) in &found {
        // What the site is called is its own.
        let ours = ["backend", "check", "name", "route", "service", "version", "zone"];
        if of.contains("build_info")
            || ours.iter().any(|name| of.ends_with(&format!(" {name}"))) && !of.contains("tls_handshakes")
        {
            continue;
        }
        lines += &format!("{of}: {}\n", words.iter().map(String::as_str).collect::<Vec<_>>().join(" "));
    }
    assert_eq!(lines, include_str!("labels.txt"), "{lines}");
}
