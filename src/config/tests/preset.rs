//! What the preset makes of a short file, and how a file is laid over it.

use super::super::{
    CheckKind, Config, Follow, HostHeader, Matching, Place, Replay, Route, SipTransport, Token, WebSocket,
};
use super::{MINIMAL, errors, parse};
use crate::config::preset_text;

/// A site that has everything the preset knows.
fn whole_site(more: &str) -> Config {
    let shared =
        "shared: { sip: http://127.0.0.1:8080, video: 10.0.0.51, mds: { mds1: 10.0.0.31, north_2: 10.0.0.32 } }";
    parse(&format!("{MINIMAL}{shared}\n{more}\n")).unwrap().0
}

fn route<'a>(config: &'a Config, path: &str) -> &'a Route {
    config.routes.iter().find(|route| route.path == path).unwrap_or_else(|| panic!("no route {path}"))
}

fn zone_of<'a>(config: &'a Config, path: &str) -> (&'a str, u32, bool) {
    let used = route(config, path).zone.unwrap_or_else(|| panic!("{path} has no zone"));
    (&config.zones[used.zone.0].name, used.burst.get(), used.delay)
}

fn service_of<'a>(config: &'a Config, path: &str) -> &'a str {
    &config.services[route(config, path).service.0].name
}

#[test]
fn six_lines_make_a_xivo_site() {
    let (config, warnings) = parse(MINIMAL).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.fqdn, "edge.example.org");
    let services: Vec<_> = config.services.iter().map(|service| (service.name.as_str(), service.required)).collect();
    assert_eq!(services, [("cc", true), ("xivo", true)]);
    assert!(config.services.iter().all(|service| service.tls.is_some() && service.host == HostHeader::Fqdn));
    assert!(config.left_out.iter().any(|left| left.path == "/wssip" && left.service == "sip"));
    assert!(config.left_out.iter().any(|left| left.path == "/wssip-{mds}" && left.service == "mds"));
    assert!(config.routes.iter().all(|route| !route.path.starts_with("/wssip") && !route.path.starts_with("/video")));
}

#[test]
fn the_generations_are_known_by_version_and_an_edge_alone_says_what_it_cannot_see() {
    let of = |preset: &str| parse(&MINIMAL.replace("preset: xivo", preset)).unwrap();
    let (newest, none) = of("preset: xivo-nextlts");
    assert!(newest == of("preset: xivo").0 && !none.iter().any(|warning| warning.to_string().contains("stale")));
    let (old, warnings) = of("preset: xivo-2025.10");
    assert!(old.stale_cc);
    let told: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|told| told.contains("cannot see that") && told.contains("CC watchdog")), "{told:?}");
    let with = of("nodes: { listen: '127.0.0.1:9601', identity: /etc/bascule/node }\npreset: xivo-2025.10").1;
    assert!(!with.iter().any(|warning| warning.to_string().contains("stale")), "{with:?}");
}

#[test]
fn each_preset_can_be_read_as_it_is_written() {
    for name in ["xivo", "xivo-nextlts", "xivo-2025.10"] {
        assert!(preset_text(name).is_some_and(|text| text.contains("routes:")), "{name}");
    }
    assert_eq!(preset_text("xivo-1"), None);
}

#[test]
fn headers_are_the_presets_under_the_sites_under_a_routes() {
    let config = whole_site(
        "headers: { X-Frame-Options: off, referrer-policy: no-referrer }\n\
         routes: [ { path: /xuc, headers: { x-frame-options: DENY, referrer-policy: off } } ]",
    );
    let of = |headers: &[(http::HeaderName, http::HeaderValue)]| -> Vec<String> {
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    };
    let site = of(&config.headers);
    assert_eq!(site[..2], ["strict-transport-security: max-age=31536000", "x-content-type-options: nosniff"]);
    assert_eq!(site[2], "referrer-policy: no-referrer");
    assert_eq!(of(&route(&config, "/ccagent").headers), site);
    let xuc = of(&route(&config, "/xuc").headers);
    assert!(xuc.contains(&"x-frame-options: DENY".to_owned()), "{xuc:?}");
    assert!(!xuc.iter().any(|header| header.starts_with("referrer-policy")), "{xuc:?}");
}

#[test]
fn the_preset_lists_the_routes_of_the_field_with_their_zones_and_services() {
    let config = whole_site("");
    assert_eq!(config.left_out, []);
    let expected = "
        webapp cc /ccagent /ucassistant /switchboard
        webapp/50 cc /assets /config /pwa-worker.js /static/offline.html
        webapp/50 video /video/css /video/images /video/lang /video/libs /video/sounds
        apis cc /xuc /version
        apis/10 video /video/external_api.js
        auth cc /xuc/api/2.0/auth/login /xuc/api/2.0/cti /invitation/video
        auth xivo /meetingrooms/token/validate
        auth sip /wssip /wssip-mds1 /wssip-north_2
        dapp cc /install/win64 /updates/win64 /updates/debian
        video video /video /video/xmpp-websocket /video/colibri-ws";
    let mut count = 0;
    for line in expected.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let (zone, service) = (words.next().unwrap(), words.next().unwrap());
        // With a burst of the route's own: not delayed.
        let (zone, own) = zone.split_once('/').map_or((zone, None), |(zone, burst)| (zone, Some(burst)));
        let known = config.zones.iter().find(|known| known.name == zone).unwrap();
        let (burst, delay) = own.map_or((known.burst, known.delay), |burst| (burst.parse().unwrap(), false));
        for path in words {
            assert_eq!(zone_of(&config, path), (zone, burst.get(), delay), "{path}");
            assert_eq!(service_of(&config, path), service, "{path}");
            count += 1;
        }
    }
    assert_eq!(config.routes.len(), count, "no route but these");
}

#[test]
fn the_preset_limits_requests_as_the_proxy_of_the_field_does() {
    let config = whole_site("");
    let zones: Vec<_> = config
        .zones
        .iter()
        .map(|zone| format!("{} {} {} {}", zone.name, zone.rate, zone.burst, if zone.delay { "delayed" } else { "" }))
        .collect();
    let expected =
        ["webapp 30/s 20 delayed", "apis 30/s 10 delayed", "auth 20/min 12 ", "dapp 20/min 15 ", "video 20/s 12 "];
    assert_eq!(zones, expected);
    let exempt = |client: &str| config.rate_limits.exempt.iter().any(|net| net.contains(client.parse().unwrap()));
    for client in ["10.1.2.3", "172.31.0.1", "192.168.1.1", "127.0.0.1", "169.254.1.1", "::1", "fd00::1", "fe80::1"] {
        assert!(exempt(client), "{client}");
    }
    for client in ["203.0.113.9", "172.32.0.1", "100.64.0.1", "2001:db8::1"] {
        assert!(!exempt(client), "{client}");
    }
}

#[test]
fn zones_are_laid_over_the_presets_key_by_key_and_routes_may_leave_theirs() {
    let config = whole_site(
        "zones: { auth: { rate: 60/min }, video: off, rooms: { rate: 5/s, burst: 4, delay: false, addresses: 100 } }\n\
         routes:\n  - { path: /ccagent, zone: off }\n  - { path: /assets, zone: { burst: 80 } }\n  - { path: /config, \
         zone: auth }\n  - { path: /video/libs, zone: rooms }",
    );
    let auth = config.zones.iter().find(|zone| zone.name == "auth").unwrap();
    assert_eq!((auth.rate.to_string().as_str(), auth.burst.get(), auth.delay), ("60/min", 12, false));
    assert_eq!(route(&config, "/ccagent").zone, None);
    assert_eq!(route(&config, "/video").zone, None, "the zone is off");
    assert_eq!(zone_of(&config, "/assets"), ("webapp", 80, false), "laid over the preset's");
    assert_eq!(zone_of(&config, "/config"), ("auth", 12, false), "another zone takes nothing from the one before");
    assert_eq!(zone_of(&config, "/video/libs"), ("rooms", 4, false));
}

#[test]
fn the_preset_carries_websockets_where_the_field_does_and_nowhere_else() {
    let config = whole_site("");
    let sip = WebSocket::Allowed { subprotocols: vec!["sip".to_owned()] };
    let any = WebSocket::Allowed { subprotocols: vec![] };
    let expected = [
        ("/xuc/api/2.0/cti", any.clone(), Token::Jwt, Follow::Nothing),
        ("/wssip", sip.clone(), Token::Present, Follow::Live),
        ("/wssip-mds1", sip.clone(), Token::Present, Follow::Nothing),
        ("/wssip-north_2", sip, Token::Present, Follow::Nothing),
        ("/video/xmpp-websocket", any.clone(), Token::None, Follow::Nothing),
        ("/video/colibri-ws", any, Token::None, Follow::Nothing),
    ];
    for (path, websocket, token, follow) in &expected {
        let route = route(&config, path);
        assert_eq!((&route.websocket, route.token, route.follow), (websocket, *token, *follow), "{path}");
        assert_eq!((route.close.code, route.replay), (1012, Replay::Idempotent));
    }
    let others = config.routes.iter().filter(|route| expected.iter().all(|(path, ..)| route.path != *path));
    assert!(others.into_iter().all(|route| route.websocket == WebSocket::No && route.token == Token::None));
}

#[test]
fn the_preset_checks_xuc_behind_nginx_and_telephony_behind_xivo() {
    let config = whole_site("");
    let checks = |name: &str| config.services.iter().find(|service| service.name == name).unwrap().checks.clone();
    let CheckKind::Http(http) = &checks("cc")[0].kind else { panic!() };
    assert_eq!((http.path.as_str(), http.json, http.tls.is_some()), ("/xuc/api/2.0/auth/check", true, true));
    assert_eq!((http.host.as_deref(), http.status.as_slice()), (Some("edge.example.org"), [(200, 499)].as_slice()));
    for name in ["xivo", "mds.mds1", "mds.north_2"] {
        let [check] = &checks(name)[..] else { panic!() };
        let CheckKind::Sip(sip) = &check.kind else { panic!() };
        assert_eq!((check.port, sip.transport), (Some(5060), SipTransport::Udp), "{name}");
    }
    assert!(matches!(checks("sip")[0].kind, CheckKind::Tcp));
}

#[test]
fn the_longest_path_comes_first_and_exact_before_prefix() {
    let config = whole_site("routes: [{ path: /help, service: cc }, { path: /help, match: exact, service: xivo }]");
    let order: Vec<_> = config.routes.iter().map(|route| (route.path.len(), route.matching)).collect();
    assert!(order.is_sorted_by(|a, b| a.0 > b.0 || a.0 == b.0 && (a.1 == b.1 || a.1 == Matching::Exact)));
    let help: Vec<_> = config.routes.iter().filter(|route| route.path == "/help").map(|route| route.matching).collect();
    assert_eq!(help, [Matching::Exact, Matching::Prefix]);
}

#[test]
fn a_route_of_the_same_path_is_laid_over_the_presets_key_by_key() {
    let plain = whole_site("");
    let config = whole_site("routes: [{ path: /wssip, service: xivo, close: 4000 }, { path: /video/, zone: auth }]");
    assert_eq!(config.routes.len(), plain.routes.len());
    let wssip = route(&config, "/wssip");
    assert_eq!((service_of(&config, "/wssip"), wssip.close.code, wssip.token), ("xivo", 4000, Token::Present));
    assert_eq!((wssip.matching, wssip.follow), (Matching::Exact, Follow::Live));
    assert_eq!(zone_of(&config, "/video"), ("auth", 12, false));
}

#[test]
fn a_route_of_the_preset_can_be_taken_away_and_others_added() {
    let config = whole_site("routes: [{ path: /install/win64, remove: true }, { path: /, match: exact, service: cc }]");
    assert!(config.routes.iter().all(|route| route.path != "/install/win64"));
    assert_eq!(route(&config, "/").matching, Matching::Exact);
}

#[test]
fn a_path_for_each_media_server_can_be_led_to_the_media_server_itself() {
    let config =
        whole_site(r#"routes: [{ path: "/wssip-{mds}", service: "mds.{mds}" }, { path: /wssip-mds1, zone: dapp }]"#);
    assert_eq!(service_of(&config, "/wssip-north_2"), "mds.north_2");
    let written_out = route(&config, "/wssip-mds1");
    assert_eq!((zone_of(&config, "/wssip-mds1").0, written_out.name.as_str()), ("dapp", "/wssip-mds1"));
}

#[test]
fn settings_of_a_service_are_laid_over_the_presets_key_by_key() {
    let config = whole_site(
        "services: { xivo: { checks: { sip: { transport: tcp, port: 5080 } } }, cc: { port: 8443 }, mds: { port: 80 }, mds.mds1: { port: 81 } }",
    );
    let addresses: Vec<_> = config
        .services
        .iter()
        .map(|service| (service.name.as_str(), service.backends(failover::Side::Main)[0].address.port()))
        .collect();
    assert_eq!(
        addresses,
        [("cc", 8443), ("xivo", 443), ("sip", 8080), ("video", 443), ("mds.mds1", 81), ("mds.north_2", 80)]
    );
    assert_eq!(config.services[1].checks[0].port, Some(5080));
    assert!(matches!(&config.services[1].checks[0].kind, CheckKind::Sip(sip) if sip.transport == SipTransport::Tcp));
    assert_eq!(config.services[0].checks.len(), 1, "the preset's check stays");
}

#[test]
fn a_shared_service_of_the_preset_may_live_on_the_sides_instead() {
    let text =
        MINIMAL.replace("main: {", "main: { sip: 10.0.0.11,").replace("standby: {", "standby: { sip: 10.0.0.12,");
    let (config, _) = parse(&text).unwrap();
    let sip = config.services.iter().find(|service| service.name == "sip").unwrap();
    assert!(
        matches!(&sip.place, Place::Sides { main, standby } if main[0].address.port() == 8080 && standby.len() == 1)
    );
    assert!(!sip.required && sip.tls.is_none());
}

#[test]
fn a_site_without_preset_lists_everything_and_requires_every_service_of_its_sides() {
    let text = MINIMAL.replace("preset: xivo\n", "routes: [{ path: /, service: cc }]\nshared: { chat: 10.0.0.9 }\n");
    let (config, warnings) = parse(&text).unwrap();
    assert_eq!(warnings, []);
    let services: Vec<_> =
        config.services.iter().map(|service| (service.name.as_str(), service.required, service.checks.len())).collect();
    assert_eq!(services, [("cc", true, 0), ("xivo", true, 0), ("chat", false, 0)]);
    assert_eq!(config.routes.len(), 1);
}

#[test]
fn a_required_service_that_stands_nowhere_is_asked_for_on_both_sides() {
    let found = errors(&MINIMAL.replace(", xivo: 10.0.0.11", "").replace(", xivo: 10.0.0.12", ""));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("edge.yaml:5: sides.main.xivo: is missing, but required"));
    assert!(found[1].starts_with("edge.yaml:6: sides.standby.xivo: is missing, but required"));
}
