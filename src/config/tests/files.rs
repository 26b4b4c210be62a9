//! Files on disk: the configuration itself, and the certificates it names.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::Config;
use super::MINIMAL;
use super::site::{SHELF, certificate};

fn load(path: &Path) -> String {
    Config::load(path).unwrap_err().to_string()
}

#[test]
fn a_file_is_loaded_with_the_certificates_it_names_and_an_open_key_is_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = certificate(&["edge.example.org"]);
    std::fs::write(directory.path().join("chain.pem"), chain).unwrap();
    std::fs::write(directory.path().join("key.pem"), key).unwrap();
    let file = directory.path().join("edge.yaml");
    let text = MINIMAL.replace("/etc/bascule/tls", &directory.path().display().to_string());
    std::fs::write(&file, text).unwrap();
    let key = directory.path().join("key.pem");
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let (config, warnings) = Config::load(&file).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.certificates[0].key, key);
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let (_, warnings) = Config::load(&file).unwrap();
    assert!(
        warnings[0].to_string().contains("certificate.key")
            && warnings[0].message.ends_with("every user of this machine")
    );
}

#[test]
fn a_file_that_cannot_be_read_is_answered_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let name = |name: &str| at(name).display().to_string();
    assert_eq!(load(&at("none")), format!("{}: does not exist; check the path, or create the file", name("none")));
    assert_eq!(load(directory.path()), format!("{}: is a directory; name the file in it", directory.path().display()));
    std::fs::write(at("latin1"), b"a: 1\nb: \xe9t\xe9\n").unwrap();
    assert_eq!(load(&at("latin1")), format!("{}:2: is not UTF-8; save the file as UTF-8 text", name("latin1")));
    std::fs::write(at("huge"), vec![b'x'; (1 << 20) + 1]).unwrap();
    assert!(load(&at("huge")).starts_with(&format!("{}: is larger than 1024 KiB; ", name("huge"))));
    std::fs::write(at("empty"), "").unwrap();
    assert!(load(&at("empty")).starts_with(&format!("{}:1: the file is empty; ", name("empty"))));
}

#[test]
fn what_is_no_regular_file_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(load(&socket).contains("is no regular file"));
}

#[test]
fn a_certificate_out_of_its_time_is_warned_of() {
    let at = |when: SystemTime| {
        let (_, warnings) = Config::parse_with(MINIMAL, "edge.yaml", &*SHELF, when).unwrap();
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let years = |count: u64| UNIX_EPOCH + Duration::from_secs(count * 31_556_952);
    assert_eq!(at(SystemTime::now()), "");
    assert!(at(years(1)).contains("edge.yaml:3: certificate.chain: is valid from"), "{}", at(years(1)));
    assert!(at(years(4000)).contains("edge.yaml:3: certificate.chain: expired on"), "{}", at(years(4000)));
}

#[test]
fn a_certificate_covers_a_name_or_a_whole_first_label() {
    let parse = |aliases: &str| {
        let text = format!("{MINIMAL}aliases: [{aliases}]\n");
        Config::parse_with(&text, "edge.yaml", &*SHELF, SystemTime::now()).unwrap().1.len()
    };
    assert_eq!(parse("a.alias.example.org"), 0);
    assert_eq!(parse("alias.example.org"), 1);
    assert_eq!(parse("a.b.alias.example.org, other.example.org"), 2);
    let two =
        MINIMAL.replace("certificate: {", "certificate:\n  - { chain: /other/chain.pem, key: /other/key.pem }\n  - {");
    assert_eq!(Config::parse_with(&two, "edge.yaml", &*SHELF, SystemTime::now()).unwrap().1, []);
}
