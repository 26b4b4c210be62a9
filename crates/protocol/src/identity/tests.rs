use std::fs;

use failover::Side;
use tempfile::TempDir;

use super::*;
use crate::issue::{Authority, Validity};

fn main_node() -> Who {
    Who::of_side(crate::wire::Role::Xivo, Side::Main, "main-xivo")
}

fn made() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(&dir.path().join("ca"), "lab").unwrap();
    let node = dir.path().join("node");
    authority.issue(&main_node(), &node, Validity::days(30)).unwrap();
    (dir, node)
}

#[test]
fn an_identity_tells_who_it_is_and_for_how_long() {
    let (dir, node) = made();
    let identity = Identity::load(&node).unwrap();
    assert_eq!(*identity.who(), main_node());
    assert!((29..=30).contains(&identity.days_left()), "{}", identity.days_left());
    let authority = Authority::open(&dir.path().join("ca")).unwrap();
    let old = dir.path().join("old");
    authority.issue(&main_node(), &old, Validity::ended(0)).unwrap();
    assert!(Identity::load(&old).unwrap().days_left() < 0);
}

#[test]
fn nothing_is_overwritten() {
    let (dir, node) = made();
    let authority = Authority::open(&dir.path().join("ca")).unwrap();
    let error = authority.issue(&main_node(), &node, Validity::days(1)).unwrap_err();
    assert!(error.to_string().contains("key.pem"), "{error}");
    assert!(Authority::create(&dir.path().join("ca"), "lab").is_err());
}

#[test]
fn what_is_wrong_with_an_identity_is_said_with_its_file() {
    let (dir, node) = made();
    let other = dir.path().join("other");
    Authority::create(&dir.path().join("ca2"), "elsewhere")
        .unwrap()
        .issue(&main_node(), &other, Validity::days(1))
        .unwrap();
    let broken = |file: &str, from: Option<&Path>, expected: &str| {
        let keep = fs::read(node.join(file)).unwrap();
        match from {
            Some(from) => fs::write(node.join(file), fs::read(from).unwrap()).unwrap(),
            None => fs::remove_file(node.join(file)).unwrap(),
        }
        let error = Identity::load(&node).unwrap_err().to_string();
        fs::write(node.join(file), keep).unwrap();
        assert!(error.contains(file) && error.contains(expected), "{error}");
    };
    broken(KEY, None, "No such file");
    broken(KEY, Some(&other.join(KEY)), "is not the key of");
    broken(KEY, Some(&other.join(CHAIN)), "no private key");
    broken(CHAIN, Some(&other.join(KEY)), "no certificate");
    broken(CHAIN, Some(&node.join(CA)), "names no role");
    broken(CA, Some(&node.join(KEY)), "no certificate");
    broken(CA, Some(&other.join(CA)), "not issued by");
    Identity::load(&node).unwrap();
}

#[test]
fn a_renewed_certificate_is_taken_and_somebody_elses_is_not() {
    let (dir, node) = made();
    let keyring = Keyring::open(&node).unwrap();
    let authority = Authority::open(&dir.path().join("ca")).unwrap();
    let replace = |who: &Who, days| {
        fs::remove_dir_all(&node).unwrap();
        authority.issue(who, &node, Validity::days(days)).unwrap();
    };
    replace(&main_node(), 300);
    keyring.reload().unwrap();
    assert!(keyring.current().days_left() > 290);
    assert_eq!(keyring.not_taken(), None);
    replace(&Who::edge("edge"), 100);
    let error = keyring.reload().unwrap_err().to_string();
    assert!(error.contains("is the certificate of the Edge edge"), "{error}");
    assert!(keyring.current().days_left() > 290);
    // It lasts until one is taken, since the first.
    let first = keyring.not_taken().unwrap();
    assert_eq!(first.why, error);
    fs::remove_file(node.join(KEY)).unwrap();
    keyring.reload().unwrap_err();
    let second = keyring.not_taken().unwrap();
    assert!(second.since == first.since && second.why.contains(KEY), "{second:?}");
    replace(&main_node(), 200);
    keyring.reload().unwrap();
    assert_eq!(keyring.not_taken(), None);
}

#[test]
fn a_renewed_certificate_keeps_who_it_is_of_and_its_key_and_is_put_in_place_in_one_step() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(&dir.path().join("ca"), "lab").unwrap();
    let node = dir.path().join("node");
    authority.issue(&main_node(), &node, Validity::ended(100)).unwrap();
    let keyring = Keyring::open(&node).unwrap();
    let key = fs::read(node.join(KEY)).unwrap();
    let renewed = authority.renew(&node, |who| Validity::days(if *who == main_node() { 90 } else { 1 })).unwrap();
    assert_eq!(renewed, main_node());
    keyring.reload().unwrap();
    assert!((89..=90).contains(&keyring.current().days_left()));
    assert_eq!(fs::read(node.join(KEY)).unwrap(), key);
    assert_eq!(fs::read_dir(&node).unwrap().count(), 3, "nothing is left beside it");
    // Where only the certificate was copied to, its key is not needed.
    fs::remove_file(node.join(KEY)).unwrap();
    authority.renew(&node, |_| Validity::days(91)).unwrap();
    let other = Authority::create(&dir.path().join("ca2"), "elsewhere").unwrap();
    let refused = other.renew(&node, |_| Validity::days(9)).unwrap_err().to_string();
    assert!(refused.contains("chain.pem") && refused.contains("not issued by this authority"), "{refused}");
}

#[test]
fn what_is_said_of_a_certificate_grows_loud() {
    assert_eq!(expiry("it", 30), None);
    assert!(expiry("it", 29).unwrap().contains("expires in 29 days"));
    assert!(expiry("it", -1).unwrap().contains("EXPIRED 1 days ago: others take it for 59 days more"));
    assert!(expiry("it", -61).unwrap().contains("nobody takes it any more"));
}

#[test]
fn the_two_ends_of_a_link_agree_on_a_post_quantum_secret() {
    let (dir, node) = made();
    let edge = dir.path().join("edge");
    let authority = Authority::open(&dir.path().join("ca")).unwrap();
    authority.issue(&Who::edge("edge"), &edge, Validity::days(30)).unwrap();
    let config = Identity::load(&node).unwrap().client(Expected::Edge).unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut caller = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut door = rustls::ServerConnection::new(Identity::load(&edge).unwrap().server()).unwrap();
    // What one end writes, the other reads, until neither has more to say.
    while caller.wants_write() || door.wants_write() {
        let (mut asked, mut told) = (Vec::new(), Vec::new());
        while caller.wants_write() {
            caller.write_tls(&mut asked).unwrap();
        }
        let mut asked = &asked[..];
        while !asked.is_empty() {
            door.read_tls(&mut asked).unwrap();
            door.process_new_packets().unwrap();
        }
        while door.wants_write() {
            door.write_tls(&mut told).unwrap();
        }
        let mut told = &told[..];
        while !told.is_empty() {
            caller.read_tls(&mut told).unwrap();
            caller.process_new_packets().unwrap();
        }
    }
    assert!(!caller.is_handshaking() && !door.is_handshaking());
    let groups = [caller.negotiated_key_exchange_group(), door.negotiated_key_exchange_group()];
    assert_eq!(groups.map(|group| group.unwrap().name()), [rustls::NamedGroup::X25519MLKEM768; 2]);
}
