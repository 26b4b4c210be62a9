//! Every short form that is documented, beside its long one.

use std::time::Duration;

use super::super::{Config, Failback, Place, TlsVersion, Verify};
use super::{MINIMAL, parse};

fn with(more: &str) -> Config {
    parse(&format!("{MINIMAL}{more}\n")).unwrap_or_else(|errors| panic!("{more}: {errors}")).0
}

#[test]
fn a_short_form_means_what_its_long_form_means() {
    for (short, long) in [
        ("aliases: a.alias.example.org", "aliases: [a.alias.example.org]"),
        ("aliases: A.alias.example.org", "aliases: [a.alias.example.org]"),
        ("listen: { https: '[::]:443' }", "listen: { https: ['[::]:443'] }"),
        ("shared: { sip: 10.0.0.9 }", "shared: { sip: [10.0.0.9] }"),
        ("shared: { sip: 10.0.0.9 }", "shared: { sip: { address: 10.0.0.9 } }"),
        ("shared: { sip: 10.0.0.9 }", "shared: { sip: [{ address: 10.0.0.9, name: 10.0.0.9, weight: 1 }] }"),
        ("shared: { sip: 2001:db8::1 }", "shared: { sip: { address: '[2001:db8::1]', name: '[2001:db8::1]' } }"),
        ("shared: { mds: { a: 10.0.0.9 } }", "shared: { mds: { a: [10.0.0.9] } }"),
        ("required: cc", "required: [cc]"),
        ("admin: /run/x", "admin: { socket: /run/x }"),
        ("failback: prefer-main", "failback: { prefer-main: { hold_down: 60s } }"),
        ("failback: sticky", ""),
        ("probe: { interval: 2s, stale_after: 1m30s }", "probe: { interval: 2000ms, stale_after: 90s }"),
        ("switch: { reconnect_rate: 200 }", "switch: { reconnect_rate: '200' }"),
        ("services: { cc: { checks: tcp } }", "services: { cc: { checks: [{ tcp: {} }] } }"),
        ("services: { cc: { checks: tls } }", "services: { cc: { checks: [tls] } }"),
        (
            "services: { cc: { checks: sip } }",
            "services: { cc: { checks: [{ sip: { transport: udp, port: 5060 } }] } }",
        ),
        ("services: { cc: { checks: { sip: tcp } } }", "services: { cc: { checks: [{ sip: { transport: tcp } }] } }"),
        ("services: { cc: { checks: { tcp: 8443 } } }", "services: { cc: { checks: { tcp: { port: 8443 } } } }"),
        (
            "services: { cc: { checks: { http: /a } } }",
            "services: { cc: { checks: { http: { path: /a, status: [200-399] } } } }",
        ),
        (
            "services: { cc: { checks: { http: { status: 200 } } } }",
            "services: { cc: { checks: { http: { status: [200-200] } } } }",
        ),
        (
            "services: { cc: { checks: { websocket: /a } } }",
            "services: { cc: { checks: [{ websocket: { path: /a } }] } }",
        ),
        ("routes: [{ path: /xuc, close: 4001 }]", "routes: [{ path: /xuc, close: { code: 4001 } }]"),
        ("routes: [{ path: /xuc, websocket: true }]", "routes: [{ path: /xuc, websocket: { subprotocols: [] } }]"),
        (
            "routes: [{ path: /xuc, websocket: { subprotocols: sip } }]",
            "routes: [{ path: /xuc, websocket: { subprotocols: [sip] } }]",
        ),
        ("routes: [{ path: /xuc, websocket: false }]", ""),
        ("tls: { min: 1.3 }", "tls: { min: '1.3' }"),
    ] {
        assert_eq!(with(short), with(long), "{short}");
    }
}

#[test]
fn words_in_the_place_of_values_are_understood() {
    assert_eq!(with("metrics: off").metrics, None);
    assert_eq!(with("switch: { reconnect_rate: all }").switch.reconnect_rate, None);
    assert_eq!(with("upstream_tls: { verify: off }").services[0].tls.as_ref().unwrap().verify, Verify::Off);
    assert_eq!(with("tls: { min: 1.3 }").tls_min, TlsVersion::V1_3);
    assert_eq!(
        with("failback: { prefer-main: { hold_down: 2m } }").failback,
        Failback::PreferMain { hold_down: Duration::from_secs(120) }
    );
    assert!(with("observe: true").switch.observe);
}

#[test]
fn a_pin_is_read_with_and_without_colons_and_in_a_list() {
    let pins =
        |pin: &str| match with(&format!("upstream_tls: {{ pin: {pin} }}")).services[0].tls.clone().unwrap().verify {
            Verify::Pin(pins) => pins,
            other => panic!("{other:?}"),
        };
    let (plain, colons) = ("ab".repeat(32), ["AB"; 32].join(":"));
    assert_eq!(pins(&format!("'{plain}'")), [[0xab; 32]]);
    assert_eq!(pins(&format!("['{plain}', '{colons}']")), [[0xab; 32]; 2]);
}

#[test]
fn an_address_gets_scheme_and_port_from_itself_then_the_service_then_the_preset() {
    for (address, settings, port, tls) in [
        ("10.0.0.9", "", 8080, false),
        ("10.0.0.9:81", "", 81, false),
        ("http://10.0.0.9", "", 80, false),
        ("https://10.0.0.9", "", 443, true),
        ("https://10.0.0.9:8443", "", 8443, true),
        ("10.0.0.9", "{ scheme: https }", 443, true),
        ("10.0.0.9", "{ port: 82 }", 82, false),
        ("http://10.0.0.9", "{ port: 82 }", 82, false),
        ("'[2001:db8::1]:83'", "{ port: 82 }", 83, false),
    ] {
        let settings = if settings.is_empty() { String::new() } else { format!("services: {{ sip: {settings} }}") };
        let config = with(&format!("shared: {{ sip: {address} }}\n{settings}"));
        let sip = config.services.iter().find(|service| service.name == "sip").unwrap();
        let Place::Shared(backends) = &sip.place else { panic!() };
        assert_eq!((backends[0].address.port(), sip.tls.is_some()), (port, tls), "{address} {settings}");
    }
}

#[test]
fn the_summary_names_sides_services_checks_routes_and_what_is_left_out() {
    let (config, warnings) = parse(&format!("{MINIMAL}upstream_tls: {{ verify: off }}\nobserve: true\n")).unwrap();
    let summary = config.summary(&warnings).to_string();
    for words in [
        "edge.example.org on 0.0.0.0:443",
        "main\n  cc (required): https://10.0.0.21:443, trust: NOT VERIFIED, checks: GET /xuc/api/2.0/auth/check answers 200-499 with JSON",
        "xivo (required): https://10.0.0.12:443, trust: NOT VERIFIED, checks: SIP OPTIONS over udp on port 5060 answers 200-499",
        "routes: 16; left out: /wssip-{mds} (no mds), ",
        "left at most 170ms after the first bad sign, a silent one 1s250ms; with no traffic to give one, 1s120ms and 2s850ms after",
        "closes the sessions of 200 users a second, what is left after 30s (6000 users) at once",
        "memory: 3706MiB at most, whatever clients do: 20000 connections of 160KiB (limits.connections; a head of limits.head_bytes each) and 512MiB for requests",
        "zones: per client address, IPv6 by /64; 5MiB for their accounts; 1000 requests at most wait for their time\n  webapp: 30/s, \
         burst 20, delayed; 65536 addresses in 1MiB\n",
        "  auth: 20/min, burst 12, not delayed; 65536 addresses in 1MiB\n",
        "  exempt: 10.0.0.0/8, 172.16.0.0/12, ",
        "; after a switch 30 times as wide, and as before within 1m\n",
        "failback: sticky; at most 4 automatic switches an hour; observes only: moves nothing",
        "warning: edge.yaml:7: upstream_tls.verify: is off: WHOEVER ANSWERS",
    ] {
        assert!(summary.contains(words), "{words}\n{summary}");
    }
}
