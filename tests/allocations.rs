//! The decision about a request costs no memory.

use bascule::traffic::route::Asked;
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
