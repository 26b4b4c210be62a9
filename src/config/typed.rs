//! What is said of the Edge's file, beyond its keys.

use settings::Kind;

/// The Edge's file.
pub(super) static KIND: Kind = Kind {
    example: "conf/edge.yaml",
    least: "fqdn, certificate and sides",
    sample: "fqdn: edge.example.org",
    later: &LATER,
};

/// Keys of later versions: refused with their own words.
const LATER: [(&str, &str, &str); 1] = [(
    "nodes",
    "the door for nodes comes with the watchdogs and is not in this version",
    "remove it: an Edge alone judges by its probes",
)];
