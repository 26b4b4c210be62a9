//! Mistakes, and the words they are answered with.

use super::{MINIMAL, errors, parse};

#[test]
fn five_mistakes_in_one_file_give_five_messages_with_line_key_and_remedy() {
    let text = "\
preset: xivo
fqnd: edge.example.org
certificate: { chain: /etc/bascule/tls/chain.pem, key: /etc/bascule/tls/key.pem }
sides:
  main: { cc: 10.0.0.300, xivo: 10.0.0.11 }
  standby: { cc: 10.0.0.22 }
probe:
  interval: 5
failback: stiky
";
    let expected = [
        "edge.yaml:2: fqnd: unknown key; did you mean fqdn?",
        "edge.yaml:5: sides.main.cc: \"10.0.0.300\" is not an address; write an IP address (10.0.0.21, \
         10.0.0.21:8443, [2001:db8::1]:443, https://10.0.0.21); names are not resolved here, so that a dead DNS \
         stops nobody",
        "edge.yaml:6: sides.standby.xivo: is missing, but required; write its address, or take xivo out of required",
        "edge.yaml:8: probe.interval: the number 5 is of the wrong kind; write a time with its unit, such as 800ms, \
         5s or 1m30s",
        "edge.yaml:9: failback: \"stiky\" is not known here; did you mean sticky? write sticky or prefer-main",
    ];
    assert_eq!(errors(text), expected);
}

#[test]
fn a_file_of_many_mistakes_has_the_first_told_and_is_not_read_for_each() {
    let keys = |count: usize| (0..count).fold(MINIMAL.to_owned(), |text, number| text + &format!("key{number}: 1\n"));
    let few = errors(&keys(90));
    assert_eq!(few.iter().filter(|error| error.contains("unknown key")).count(), 90, "{few:?}");
    let many = errors(&keys(80_000));
    assert!((2..10).contains(&many.len()), "{}", many.len());
    assert!(many[0].contains("key0: unknown key"), "{}", many[0]);
    assert!(many.last().unwrap().contains("there are more mistakes"), "{many:?}");
}

/// What is added to the smallest file, and where the only error must be: line, key, and words of the message.
const ADDED: &[(&str, usize, &str, &str)] = &[
    ("headers: { x frame: y }", 7, "headers.x frame", "is no header's name"),
    ("headers: { Content-Length: '5' }", 7, "headers.Content-Length", "said by whoever makes the answer"),
    ("headers: { x-a: '' }", 7, "headers.x-a", "is no header's value"),
    ("headers: { x-a: \"b\\r\\nc: d\" }", 7, "headers.x-a", "is no header's value"),
    ("headers: { x-a: café }", 7, "headers.x-a", "write visible ASCII"),
    ("headers: { x-a: b, X-A: c }", 7, "headers.X-A", "is listed already"),
    ("headers: { x-frame-option: off }", 7, "headers.x-frame-option", "did you mean x-frame-options?"),
    ("routes: [ { path: /xuc, headers: { te: x } } ]", 7, "routes[0].headers.te", "said by whoever makes the answer"),
    ("routes: [ { path: /xuc, methods: [] } ]", 7, "routes[0].methods", "nothing would be carried"),
    ("routes: [ { path: /xuc, methods: [get] } ]", 7, "routes[0].methods[0]", "write it in capitals"),
    ("routes: [ { path: /xuc, methods: GE T } ]", 7, "routes[0].methods", "is no method"),
    ("routes: [ { path: /xuc, methods: [GET, TRACE] } ]", 7, "routes[0].methods[1]", "carried on no route"),
    ("routes: [ { path: /xuc, methods: [GET, GET] } ]", 7, "routes[0].methods[1]", "is listed already"),
    (
        "routes: [ { path: /xuc, websocket: true, methods: POST } ]",
        7,
        "routes[0].methods",
        "has no GET, by which WebSockets are opened",
    ),
    ("headers: [ x ]", 7, "headers", "a mapping of names"),
    ("nodes: { listen: 10.1.0.41:9601 }", 7, "nodes.identity", "bascule certs edge"),
    ("nodes: { identity: /etc/bascule/node }", 7, "nodes.listen", "is missing"),
    ("nodes: { listen: 10.1.0.41, identity: /n }", 7, "nodes.listen", "not an address with a port"),
    ("nodes: { listen: 10.1.0.41:9601, identity: node }", 7, "nodes.identity", "not an absolute path"),
    (
        "nodes: { listen: 10.1.0.41:9601, identity: /n, timing: { promise: 2s } }",
        7,
        "nodes.timing.promise",
        "must be at least (lease + pause + fence)(1 + 2 drift) + granularity (2.4046s)",
    ),
    (
        "nodes: { listen: 10.1.0.41:9601, identity: /n, timing: { quiet: 2s } }",
        7,
        "nodes.timing.quiet",
        "must be at least promise (2.5s)",
    ),
    ("nodes: { listen: 10.1.0.41:9601, identity: /n, timing: { ttl: 2s } }", 7, "nodes.timing.ttl", "unknown key"),
    ("nodes: { listen: 10.1.0.41:443, identity: /n }", 7, "nodes.listen", "is used already"),
    ("live_file: live", 7, "live_file", "not an absolute path"),
    ("live: { listen: 10.1.0.41:9604 }", 7, "live.from", "is missing"),
    ("live: { from: 10.1.0.50 }", 7, "live.listen", "is missing"),
    ("live: { listen: 10.1.0.41, from: 10.1.0.50 }", 7, "live.listen", "not an address with a port"),
    ("live: { listen: 10.1.0.41:9604, from: 10.1.0.5/24 }", 7, "live.from", "is an address within 10.1.0.0/24"),
    ("live: { listen: 10.1.0.41:9604, from: [10.1.0.50, '::/0'] }", 7, "live.from[1]", "lets everybody"),
    ("live: { listen: 0.0.0.0:9600, from: 10.1.0.50 }", 7, "live.listen", "by 127.0.0.1:9600 of listen, metrics"),
    ("switches_per_hour: 4", 7, "switches_per_hour", "belongs at switch.switches_per_hour"),
    ("switch: { observe: true }", 7, "switch.observe", "belongs at observe"),
    ("aliases: [a.example.org, a_b]", 7, "aliases[1]", "not a host name"),
    ("aliases: EDGE.example.org", 7, "aliases", "served already"),
    ("aliases: [~]", 7, "aliases[0]", "has no value"),
    ("aliases: *.example.org", 7, "", "quote a value that begins with *"),
    (
        "shared: { mds: { a: 10.0.0.8, b: 10.0.0.9 } }\nservices: { mds: { port: 0 } }",
        8,
        "services.mds.port",
        "0 is no port",
    ),
    ("listen: { https: [0.0.0.0:443, 0.0.0.0:443] }", 7, "listen.https[1]", "already by listen.https[0]"),
    ("listen: { https: [0.0.0.0:443], http: 0.0.0.0:443 }", 7, "listen.http", "already by listen.https[0]"),
    ("listen: { https: [] }", 7, "listen.https", "is empty"),
    ("listen: { https: 443 }", 7, "listen.https", "not an address with a port"),
    ("listen: { https: ':443' }", 7, "listen.https", "not an address with a port"),
    ("listen: { http: 0.0.0.0:0 }", 7, "listen.http", "port 0"),
    ("metrics: 0.0.0.0:443", 7, "metrics", "is the public address"),
    ("metrics: 9600", 7, "metrics", "wrong kind"),
    ("admin: admin.sock", 7, "admin", "not an absolute path"),
    ("admin: { socket: /run/a, group: 'a b' }", 7, "admin.group", "no name of a group"),
    ("state: var", 7, "state", "not an absolute path"),
    ("log: { level: infoo }", 7, "log.level", "did you mean info"),
    ("log: { level: 'a=b=c' }", 7, "log.level", "not a filter"),
    ("log: { format: jsn }", 7, "log.format", "did you mean json"),
    ("tls: { min: 1.1 }", 7, "tls.min", "1.2 or 1.3"),
    ("required: []", 7, "required", "empty"),
    ("required: [cc, xivoo]", 7, "required[1]", "did you mean xivo"),
    ("shared: { cc: 10.0.0.9 }", 7, "shared.cc", "of the sides, too"),
    ("shared: { sip: 10.0.0.9 }\nrequired: [cc, sip]", 8, "required[1]", "shared by both"),
    ("shared: { 'a b': 10.0.0.9 }", 7, "shared.a b", "no plain name"),
    ("shared: { mds: 10.0.0.9 }", 7, "shared.mds", "a mapping of names"),
    ("shared: { sip: [] }", 7, "shared.sip", "empty"),
    ("shared: { sip: [10.0.0.9, 10.0.0.9] }", 7, "shared.sip[1]", "in the list already"),
    ("shared: { sip: [http://10.0.0.9, https://10.0.0.8] }", 7, "shared.sip[1]", "another scheme than shared.sip[0]"),
    ("shared: { sip: [{ address: 10.0.0.9, weight: 0 }] }", 7, "shared.sip[0].weight", "0 is no share"),
    ("shared: { sip: [{ address: 10.0.0.9, weight: 257 }] }", 7, "shared.sip[0].weight", "are too many"),
    ("limits: { connections: 18446744073709551615 }", 7, "limits.connections", "is more than 16777216"),
    ("limits: { h2_streams: 4097 }", 7, "limits.h2_streams", "is more than 4096"),
    ("shared: { sip: [{ addres: 10.0.0.9 }] }", 7, "shared.sip[0].addres", "did you mean address"),
    ("shared: { sip: { weight: 2 } }", 7, "shared.sip.address", "is missing"),
    ("shared: { sip: { address: 10.0.0.9, name: 'a b' } }", 7, "shared.sip.name", "no host"),
    ("shared: { sip: sip.example.org }", 7, "shared.sip", "names are not resolved"),
    ("services: { ccc: { port: 1 } }", 7, "services.ccc", "did you mean cc"),
    ("services: { cc: { port: 0 } }", 7, "services.cc.port", "0 is no port"),
    ("services: { cc: { port: 65536 } }", 7, "services.cc.port", "from 0 to 65535"),
    ("services: { cc: { host: 'https://x' } }", 7, "services.cc.host", "no host"),
    ("services: { cc: { scheme: htps } }", 7, "services.cc.scheme", "did you mean https"),
    ("services: { cc: { checks: ping } }", 7, "services.cc.checks", "write tcp or tls or sip"),
    ("services: { cc: { checks: { tcp: 1, sip: udp } } }", 7, "services.cc.checks", "exactly one kind"),
    ("services: { cc: { checks: [{ http: health }] } }", 7, "services.cc.checks[0].http.path", "is no path"),
    ("services: { cc: { checks: [{ http: { method: POST } }] } }", 7, "services.cc.checks[0].http.method", "GET, HEAD"),
    ("services: { cc: { checks: [{ http: { status: 99 } }] } }", 7, "services.cc.checks[0].http.status", "200-299"),
    (
        "services: { cc: { checks: [{ http: { headers: { Host: a } } }] } }",
        7,
        "services.cc.checks[0].http.headers.Host",
        "set by host",
    ),
    (
        "services: { cc: { checks: [{ tcp: { name: a } }, { sip: { name: a } }] } }",
        7,
        "services.cc.checks[1]",
        "called \"a\", too",
    ),
    ("services: { cc: { tls: { ca: a.pem } } }", 7, "services.cc.tls.ca", "not an absolute path"),
    ("upstream_tls: { ca: /nowhere.pem }", 7, "upstream_tls.ca", "does not exist"),
    ("upstream_tls: { ca: /bad/empty.pem }", 7, "upstream_tls.ca", "holds no certificate"),
    ("upstream_tls: { ca: /bad/text.pem }", 7, "upstream_tls.ca", "is not PEM"),
    ("upstream_tls: { ca: /bad/der.pem }", 7, "upstream_tls.ca", "cannot be trusted"),
    ("upstream_tls: { pin: abc }", 7, "upstream_tls.pin", "64 hex digits"),
    ("upstream_tls: { pin: [] }", 7, "upstream_tls.pin", "empty"),
    (
        "upstream_tls: { ca: /etc/bascule/xivo-ca.pem, verify: off }",
        7,
        "upstream_tls",
        "more than one of ca, pin and verify",
    ),
    ("upstream_tls: { name: '' }", 7, "upstream_tls.name", "no name a certificate can have"),
    ("upstream_tls: { verify: no }", 7, "upstream_tls.verify", "write system or off"),
    ("probe: { interval: 0s }", 7, "probe.interval", "0s is no time"),
    ("probe: { interval: 25h, stale_after: 5s }", 7, "probe.interval", "longer than 1d"),
    ("probe: { time_limit: 2s }", 7, "probe.time_limit", "must not be longer than interval (1 s)"),
    ("probe: { reprobe_silent: 2s }", 7, "probe.reprobe_silent", "must not be longer than interval (1 s)"),
    (
        "probe: { stale_after: 1800ms }",
        7,
        "probe.stale_after",
        "must be longer than interval + jitter + time_limit (1.9 s)",
    ),
    ("probe: { suspicion: 2s }", 7, "probe.suspicion", "longer than the interval, 1s"),
    ("probe: { fall: 0 }", 7, "probe.fall", "at least 1"),
    ("probe: { rise: 256 }", 7, "probe.rise", "from 0 to 255"),
    ("probe: { profile: faster }", 7, "probe.profile", "write normal or fast"),
    ("switch: { park_requests: 0 }", 7, "switch.park_requests", "at least 1"),
    ("switch: { switches_per_hour: 0 }", 7, "switch.switches_per_hour", "at least 1"),
    ("switch: { reconnect_rate: 0 }", 7, "switch.reconnect_rate", "at least 1"),
    ("switch: { reconnect_rate: some }", 7, "switch.reconnect_rate", "users per second, or all"),
    ("switch: { drain_limit: 5 }", 7, "switch.drain_limit", "with its unit"),
    ("limits: { head_bytes: 2MiB }", 7, "limits.head_bytes", "not between 1KiB and 1MiB"),
    ("limits: { head_bytes: 64K }", 7, "limits.head_bytes", "64KiB"),
    ("limits: { head_fields: 1000 }", 7, "limits.head_fields", "256"),
    (
        "limits: { connections: 10, connections_per_client: 11 }",
        7,
        "limits.connections_per_client",
        "more than limits.connections",
    ),
    ("limits: { h2_streams: -1 }", 7, "limits.h2_streams", "whole number"),
    ("failback: { prefer_main: {} }", 7, "failback.prefer_main", "did you mean prefer-main"),
    ("listen: { https: { proxy_protocol: { from: 10.0.0.0/8 } } }", 7, "listen.https.address", "is missing"),
    ("listen: { https: [{ address: 10.0.0.5 }] }", 7, "listen.https[0].address", "not an address with a port"),
    (
        "listen: { https: { address: '10.0.0.5:443', proxy_protocol: {} } }",
        7,
        "listen.https.proxy_protocol.from",
        "is missing",
    ),
    (
        "listen: { https: { address: '10.0.0.5:443', proxy_protocol: { from: [10.0.0.0/8, 10.0.0.1/8] } } }",
        7,
        "listen.https.proxy_protocol.from[1]",
        "an address within 10.0.0.0/8",
    ),
    (
        "listen: { https: { address: '10.0.0.5:443', proxy_protocol: { from: 0.0.0.0/0 } } }",
        7,
        "listen.https.proxy_protocol.from",
        "everybody say who they are",
    ),
    (
        "listen: { https: { address: '10.0.0.5:443', proxy_protocol: v2 } }",
        7,
        "listen.https.proxy_protocol",
        "wrong kind",
    ),
    ("tls: { unknown_name: reject }", 7, "tls.unknown_name", "write serve or refuse"),
    ("pass: [{ to: 10.0.0.9:5349 }]", 7, "pass[0].names", "is missing"),
    ("pass: [{ names: [], to: 10.0.0.9:5349 }]", 7, "pass[0].names", "the list is empty"),
    ("pass: [{ names: turn.example.org }]", 7, "pass[0].to", "is missing"),
    ("pass: [{ names: turn.example.org, to: [] }]", 7, "pass[0].to", "the list is empty"),
    ("pass: [{ names: turn.example.org, to: 10.0.0.9 }]", 7, "pass[0].to", "IP address and port"),
    ("pass: [{ names: turn.example.org, to: 'turn:5349' }]", 7, "pass[0].to", "names are not resolved"),
    (
        "pass: [{ names: turn.example.org, to: ['10.0.0.9:5349', '0.0.0.0:1'] }]",
        7,
        "pass[0].to[1]",
        "no address of a service",
    ),
    ("pass: [{ names: turn.example.org, to: 10.0.0.9:0 }]", 7, "pass[0].to", "no address of a service"),
    ("pass: [{ names: turn.example.org, to: 127.0.0.1:443 }]", 7, "pass[0].to", "is the Edge itself"),
    ("pass: [{ names: Edge.example.org, to: 10.0.0.9:5349 }]", 7, "pass[0].names", "a name of the site itself"),
    ("pass: [{ names: turn.exämple.org, to: 10.0.0.9:5349 }]", 7, "pass[0].names", "xn--caf-dma.example"),
    ("pass: [{ names: 10.0.0.9, to: 10.0.0.9:5349 }]", 7, "pass[0].names", "no name in a ClientHello"),
    ("pass: [{ names: '*turn.example.org', to: 10.0.0.9:5349 }]", 7, "pass[0].names", "no name in a ClientHello"),
    (
        "pass: [{ names: a.org, to: 10.0.0.9:1 }, { names: [b.org, A.org], to: 10.0.0.9:1 }]",
        7,
        "pass[1].names[1]",
        "passed on already by pass[0].names",
    ),
    (
        "tls: { unknown_name: refuse }\npass: [{ names: '*', to: 10.0.0.9:1 }]",
        7,
        "tls.unknown_name",
        "pass[0].names takes every other name",
    ),
    ("pass: [{ names: a.org, to: 10.0.0.9:1, proxy_protocol: v3 }]", 7, "pass[0].proxy_protocol", "did you mean v"),
    ("pass: [{ names: a.org, to: 10.0.0.9:1, idle: 0s }]", 7, "pass[0].idle", "0s is no time"),
    ("routes: { path: /a }", 7, "routes", "write a list"),
    ("routes: [{ service: cc }]", 7, "routes[0].path", "is missing"),
    ("routes: [{ path: /a }]", 7, "routes[0].service", "is missing"),
    ("routes: [{ path: /a, service: ccc }]", 7, "routes[0].service", "did you mean cc"),
    ("routes: [{ path: a, service: cc }]", 7, "routes[0].path", "is not absolute"),
    ("routes: [{ path: /a//b, service: cc }]", 7, "routes[0].path", "holds //"),
    ("routes: [{ path: /a/../b, service: cc }]", 7, "routes[0].path", "is not normalised"),
    ("routes: [{ path: '/a?b', service: cc }]", 7, "routes[0].path", "query"),
    ("routes: [{ path: /a/*, service: cc }]", 7, "routes[0].path", "match: prefix"),
    ("routes: [{ path: /%61, service: cc }]", 7, "routes[0].path", "decoded"),
    ("routes: [{ path: /a, service: cc }, { path: /a/, service: cc }]", 7, "routes[1].path", "listed already"),
    ("routes: [{ path: '/{mds}', service: cc }]", 7, "routes[0].path", "there are none"),
    ("routes: [{ path: /nothing, remove: true }]", 7, "routes[0].remove", "no route"),
    ("routes: [{ path: /xuc, close: 1005 }]", 7, "routes[0].close", "must not stand in a Close frame"),
    ("routes: [{ path: /xuc, close: { code: 5000 } }]", 7, "routes[0].close.code", "must not stand"),
    ("routes: [{ path: /xuc, websocket: maybe }]", 7, "routes[0].websocket", "write true or false"),
    (
        "routes: [{ path: /xuc, websocket: { subprotocols: ['a b'] } }]",
        7,
        "routes[0].websocket.subprotocols[0]",
        "no subprotocol",
    ),
    ("routes: [{ path: /xuc, zone: 'a b' }]", 7, "routes[0].zone", "known here: webapp, apis, auth, dapp, video, off"),
    ("routes: [{ path: /xuc, zone: atuh }]", 7, "routes[0].zone", "did you mean auth?"),
    ("routes: [{ path: /xuc, zone: { name: apsi } }]", 7, "routes[0].zone.name", "did you mean apis?"),
    ("routes: [{ path: /help, service: cc, zone: { burst: 3 } }]", 7, "routes[0].zone.name", "is missing"),
    ("routes: [{ path: /xuc, zone: { burst: 0 } }]", 7, "routes[0].zone.burst", "write at least 1"),
    ("routes: [{ path: /xuc, zone: { burst: 5000 } }]", 7, "routes[0].zone", "would wait 2m46s"),
    ("zones: { auth: { rate: 0/s } }", 7, "zones.auth.rate", "0/s lets nobody in; write at least 1/min"),
    ("zones: { auth: { rate: 20 } }", 7, "zones.auth.rate", "a rate such as 30/s or 20/min"),
    ("zones: { auth: { rate: 20r/m } }", 7, "zones.auth.rate", "a rate such as 30/s or 20/min"),
    ("zones: { auth: { rate: -1/s } }", 7, "zones.auth.rate", "a rate such as 30/s or 20/min"),
    ("zones: { auth: { rate: 99999999999/s } }", 7, "zones.auth.rate", "a rate such as 30/s or 20/min"),
    ("zones: { auth: { rate: 1000000/s } }", 7, "zones.auth.rate", "write at most 10000/s"),
    ("zones: { auth: { burst: 0 } }", 7, "zones.auth.burst", "write at least 1"),
    ("zones: { auth: { burst: 1000000 } }", 7, "zones.auth.burst", "write at most 100000"),
    ("zones: { auth: { delay: true, burst: 30 } }", 7, "zones.auth.delay", "would wait 1m30s"),
    ("zones: { auth: { addresses: 0 } }", 7, "zones.auth.addresses", "at least 1"),
    ("zones: { auth: { addresses: 100000000 } }", 7, "zones.auth.addresses", "write at most 16777216"),
    ("zones: { auth: { rat: 1/s } }", 7, "zones.auth.rat", "did you mean rate?"),
    ("zones: { mine: { burst: 3 } }", 7, "zones.mine.rate", "is missing"),
    ("zones: { mine: { rate: 3/s } }", 7, "zones.mine.burst", "is missing"),
    ("zones: { 'a b': { rate: 3/s, burst: 1 } }", 7, "zones.a b", "no name for a zone"),
    ("zones: { auth: none }", 7, "zones.auth", "write off"),
    ("rate_limits: { exempt: [10.0.0.1/8] }", 7, "rate_limits.exempt[0]", "within 10.0.0.0/8"),
    ("rate_limits: { exempt: lan }", 7, "rate_limits.exempt", "write a network"),
    ("rate_limits: { ipv6_prefix: 0 }", 7, "rate_limits.ipv6_prefix", "write 64"),
    ("rate_limits: { delayed: 0 }", 7, "rate_limits.delayed", "at least 1"),
    ("rate_limits: { relax_after_switch: { factor: 0 } }", 7, "rate_limits.relax_after_switch.factor", "at least 1"),
    (
        "rate_limits: { relax_after_switch: { factor: 5000 } }",
        7,
        "rate_limits.relax_after_switch.factor",
        "at most 1000",
    ),
    ("rate_limits: { relax_after_switch: { over: 0s } }", 7, "rate_limits.relax_after_switch.over", "0s is no time"),
    ("rate_limits: { relax_after_switch: never }", 7, "rate_limits.relax_after_switch", "write off"),
    ("routes: [{ path: /xuc, token: jws }]", 7, "routes[0].token", "did you mean jwt"),
    ("routes: [{ path: /xuc, body_limit: 10 }]", 7, "routes[0].body_limit", "with its unit"),
    ("fqdn: b.example.org", 7, "fqdn", "a second time, first on line 2"),
    ("observe:", 7, "observe", "has no value"),
    ("observe: ~", 7, "observe", "has no value"),
    ("observe: yes", 7, "observe", "true or false"),
    ("log: &a { level: info }", 7, "log", "an anchor"),
    ("log: { level: !x info }", 7, "log.level", "a tag"),
    ("? [a]\n: b", 7, "?", "not plain text"),
    ("---\na: b", 7, "", "a second document"),
    ("log:\n\tlevel: info", 8, "", "a tab"),
    ("log: {", 8, "", "not YAML"),
];

#[test]
fn each_mistake_is_answered_once_with_its_line_its_key_and_a_remedy() {
    let mut wrong = Vec::new();
    for (added, line, key, words) in ADDED {
        let found = errors(&format!("{MINIMAL}{added}\n"));
        let place = if key.is_empty() { format!("edge.yaml:{line}: ") } else { format!("edge.yaml:{line}: {key}: ") };
        let well = |error: &String| error.starts_with(&place) && error.contains(words) && error.contains("; ");
        if found.len() != 1 || !found.iter().all(well) {
            wrong.push(format!("{added}\n  {}\n  expected {place}… {words}", found.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is changed in the smallest file.
const CHANGED: &[(&str, &str, &[&str])] = &[
    ("fqdn: edge.example.org\n", "", &["1: fqdn: is missing"]),
    ("edge.example.org", "https://edge.example.org", &["2: fqdn: \"https://edge.example.org\" is not a host name"]),
    ("edge.example.org", "10.0.0.1", &["2: fqdn: \"10.0.0.1\" is not a host name"]),
    ("edge.example.org", "10.1", &["2: fqdn: the number 10.1 is of the wrong kind"]),
    ("preset: xivo", "preset: xvo", &["1: preset: \"xvo\" is not known here; did you mean xivo?"]),
    ("preset: xivo\n", "", &["1: routes: nothing would be carried"]),
    ("/etc/bascule/tls/key.pem", "/nowhere", &["3: certificate.key: \"/nowhere\" does not exist"]),
    ("/etc/bascule/tls/key.pem", "/other/key.pem", &["3: certificate: chain and key do not belong together"]),
    (
        "/etc/bascule/tls/key.pem",
        "/etc/bascule/tls/chain.pem",
        &["3: certificate.key: \"/etc/bascule/tls/chain.pem\" holds no private key"],
    ),
    (
        "/etc/bascule/tls/chain.pem",
        "/bad/empty.pem",
        &["3: certificate.chain: \"/bad/empty.pem\" holds no certificate"],
    ),
    ("/etc/bascule/tls/chain.pem", "/bad/text.pem", &["3: certificate.chain: \"/bad/text.pem\" is not PEM"]),
    (
        "/etc/bascule/tls/chain.pem",
        "/bad/der.pem",
        &["3: certificate.chain: \"/bad/der.pem\" has a certificate number 1 that cannot be read"],
    ),
    ("/etc/bascule/tls/chain.pem", "chain.pem", &["3: certificate.chain: \"chain.pem\" is not an absolute path"]),
    (", key: /etc/bascule/tls/key.pem", "", &["3: certificate.key: is missing"]),
    ("certificate: {", "certificat: {", &["3: certificat: unknown key; did you mean certificate?"]),
    ("  standby: { cc: 10.0.0.22, xivo: 10.0.0.12 }\n", "", &["4: sides.standby: has no services"]),
    ("  standby:", "  stanby:", &["6: sides.stanby: unknown key; did you mean standby?"]),
    (
        "sides:\n",
        "sides: {}\nextra:\n",
        &["4: sides.main: has no services", "4: sides.standby: has no services", "5: extra: unknown key"],
    ),
    ("main: { cc: 10.0.0.21, ", "main: { ", &["5: sides.main.cc: is missing, but required"]),
    ("cc: 10.0.0.21", "cc: [10.0.0.21, 10.0.0.x]", &["5: sides.main.cc[1]: \"10.0.0.x\" is not an address"]),
    ("cc: 10.0.0.21", "cc: http://10.0.0.21", &[]),
    (
        "cc: 10.0.0.21",
        "cc: [http://10.0.0.21, https://10.0.0.23]",
        &["5: sides.main.cc[1]: says another scheme than sides.main.cc[0]"],
    ),
    ("main: { cc", "main: { mds: 10.0.0.9, cc", &["5: sides.main.mds: is the word for media servers"]),
];

#[test]
fn each_mistake_in_what_must_be_there_is_answered_once() {
    let mut wrong = Vec::new();
    for (from, to, expected) in CHANGED {
        assert!(MINIMAL.contains(from), "{from}");
        let found = errors(&MINIMAL.replacen(from, to, 1));
        let mut pairs = found.iter().zip(*expected);
        if found.len() != expected.len()
            || !pairs.all(|(found, start)| found.starts_with(&format!("edge.yaml:{start}")))
        {
            wrong.push(format!("{from:?} -> {to:?}\n  {}\n  expected {expected:?}", found.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_text_that_is_no_mapping_is_answered_in_one_line() {
    for (text, words) in [
        ("", "edge.yaml:1: the file is empty; "),
        ("# nothing\n\n", "edge.yaml:1: the file is empty; "),
        ("---\n", "the file is empty; "),
        ("- a\n- b\n", "edge.yaml:1: the file holds no mapping; "),
        ("just words\n", "edge.yaml:1: the file holds no mapping; "),
        ("*a\n", "edge.yaml:1: "),
        ("\u{0}", "edge.yaml:1: "),
    ] {
        let found = errors(text);
        assert_eq!(found.len(), 1, "{text:?}: {found:?}");
        assert!(found[0].contains(words), "{text:?}: {found:?}");
    }
}

#[test]
fn a_byte_order_mark_and_line_ends_of_another_system_are_no_mistake() {
    assert_eq!(errors(&format!("\u{feff}{}", MINIMAL.replace('\n', "\r\n"))), [""; 0]);
}

#[test]
fn hostile_texts_are_refused_in_bounded_time() {
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned()
        + &('b'..='k')
            .zip('a'..'k')
            .map(|(name, of)| format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 9].join(", ")))
            .collect::<String>();
    assert!(errors(&bomb).iter().any(|error| error.contains("an alias")));
    assert!(errors(&"[".repeat(1 << 20)).len() == 1);
    assert!(
        errors(&(0..40).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>())[0].contains("32 levels")
    );
    assert!(errors(&"a: ".repeat(1000)).len() == 1);
    assert!(errors(&"x".repeat((1 << 20) + 1)).iter().any(|error| error.contains("larger than 1024 KiB")));
    let keys: String = (0..5000).map(|number| format!("key{number}: 1\n")).collect();
    assert_eq!(errors(&keys).len(), 101, "a hundred, and that there are more");
    assert_eq!(errors(&"a:\n".repeat(5000)).len(), 101);
}

#[test]
fn crowds_are_refused_before_anything_is_made_of_them() {
    let address = |number: usize| format!("10.{}.{}.{}", number >> 16, number >> 8 & 0xff, number & 0xff);
    let list = |count| (1..=count).map(address).collect::<Vec<_>>().join(",");
    let named = |count| (1..=count).map(|n| format!("s{n}: {}", address(n))).collect::<Vec<_>>().join(", ");
    let checks = "{ tcp: 1 }, { tcp: 2 }, { tcp: 3 }, { tcp: 4 }, { tcp: 5 }";
    for (added, words) in [
        // More than the balancer can number, and more than the machines can.
        (format!("shared: {{ sip: [{}] }}", list(65_536)), "shared.sip[4097]: more than 4096 items"),
        (format!("shared: {{ sip: [{}] }}", list(1021)), "sides: 1025 backends"),
        (format!("shared: {{ {} }}", named(30_000)), "sides: 30004 backends"),
        (format!("shared: {{ mds: {{ {} }} }}", named(1021)), "sides: 1025 backends"),
        (
            format!("shared: {{ sip: [{}] }}\nservices: {{ sip: {{ checks: [{checks}] }} }}", list(1000)),
            "services: 5004 checks",
        ),
        (format!("aliases: [{}]", "a.example.org, ".repeat(5000)), "aliases[4097]: more than 4096 items"),
    ] {
        let found = errors(&format!("{MINIMAL}{added}\n"));
        assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
    }
    assert_eq!(errors(&format!("{MINIMAL}shared: {{ sip: [{}] }}\n", list(1020))), [""; 0]);
}

#[test]
fn what_a_header_field_holds_is_never_repeated() {
    let text = format!(
        "{MINIMAL}services: {{ cc: {{ checks: [{{ http: {{ headers: {{ Authorization: \"secret\\n\" }} }} }}] }} }}\n"
    );
    let found = errors(&text);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("Authorization") && !found[0].contains("secret"));
}

#[test]
fn a_reason_too_long_for_a_close_frame_is_refused() {
    let text =
        |length: usize| format!("{MINIMAL}routes: [{{ path: /xuc, close: {{ reason: {} }} }}]\n", "x".repeat(length));
    assert_eq!(errors(&text(123)), [""; 0]);
    assert_eq!(errors(&text(124)).len(), 1);
}

#[test]
fn what_may_surprise_is_warned_of() {
    for (added, words) in [
        ("upstream_tls: { verify: off }", "edge.yaml:7: upstream_tls.verify: is off: WHOEVER ANSWERS"),
        ("routes: [{ path: /xuc, replay: always }]", "edge.yaml:7: routes[0].replay: always: a POST"),
        ("switch: { park_limit: 1s }", "edge.yaml:7: switch.park_limit: 1s is not longer than the 1s250ms"),
        ("metrics: 0.0.0.0:9600", "edge.yaml:7: metrics: 0.0.0.0:9600 is reached from everywhere"),
        ("aliases: [nowhere.example.org]", "edge.yaml:3: certificate: covers no nowhere.example.org"),
    ] {
        let (_, warnings) = parse(&format!("{MINIMAL}{added}\n")).unwrap();
        assert_eq!(warnings.len(), 1, "{added}: {warnings:?}");
        assert!(warnings[0].to_string().starts_with(words), "{}", warnings[0]);
    }
    let (_, warnings) = parse(&MINIMAL.replace("cc: 10.0.0.22", "cc: 10.0.0.21")).unwrap();
    assert!(warnings[0].to_string().contains("serves Main, too"), "{warnings:?}");
    let (_, warnings) = parse(&MINIMAL.replace("main: {", "main: { chat: 10.0.0.9,")).unwrap();
    assert!(warnings[0].to_string().starts_with("edge.yaml:6: sides.standby.chat: is missing"), "{warnings:?}");
}
