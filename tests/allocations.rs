//! The decision about a request costs no memory.

use std::net::IpAddr;
use std::time::Duration;

use bascule::traffic::route::Asked;
use tokio::time::Instant;

use site::{FQDN, Site};

#[path = "../benches/site/site.rs"]
mod site;

#[test]
fn a_decision_about_a_plain_path_allocates_nothing() {
    let one = Site::with_backends(1);
    let asked = |path, query, upgrade| Asked { method: "GET", host: Some(FQDN), path, query, upgrade };
    for (asked, served) in [
        (asked("/ccagent", None, None), true),
        (asked("/xuc/api/2.0/history/customer", Some("size=20"), None), true),
        (asked("/xuc/api/2.0/cti", Some("token=eyJh.eyJs.c2ln"), Some(None)), true),
        (asked("/wssip", Some("token=x"), Some(Some("sip"))), true),
        (asked("/wp-login.php", None, None), false),
    ] {
        let measured = allocation_counter::measure(|| assert_eq!(one.decide(&asked).is_ok(), served, "{asked:?}"));
        assert_eq!(measured.count_total, 0, "{asked:?}");
    }
}

#[test]
fn a_zone_counts_a_request_without_allocating() {
    let (one, now) = (Site::with_backends(1), Instant::now());
    let zones = one.zones();
    let login = Asked { method: "GET", host: Some(FQDN), path: "/xuc/api/2.0/auth/login", query: None, upgrade: None };
    let route = one.router.decide(&login).unwrap().route;
    for client in ["10.0.0.1", "192.0.2.1", "2001:db8::1"] {
        let client: IpAddr = client.parse().unwrap();
        // From the first to some that are over the rate, once narrow and once wide.
        for since in [now, now + Duration::from_secs(100)] {
            let measured = allocation_counter::measure(|| {
                for _ in 0..500 {
                    assert!(zones.ask(route, client, now + Duration::from_secs(100), since).is_some());
                }
            });
            assert_eq!(measured.count_total, 0, "{client}");
        }
    }
}
