//! What the preset makes of a short file.

use super::{MINIMAL, parse};

#[test]
fn six_lines_make_a_xivo_site() {
    let (config, warnings) = parse(MINIMAL).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.fqdn, "edge.example.org");
    let services: Vec<_> = config.services.iter().map(|service| (service.name.as_str(), service.required)).collect();
    assert_eq!(services, [("cc", true), ("xivo", true)]);
    assert!(config.routes.iter().any(|route| route.path == "/xuc/api/2.0/cti"));
}
