//! What is said of the Edge's file, beyond its keys.

use settings::Kind;

/// The Edge's file.
pub(super) static KIND: Kind =
    Kind { example: "conf/edge.yaml", least: "fqdn, certificate and sides", sample: "fqdn: edge.example.org" };
