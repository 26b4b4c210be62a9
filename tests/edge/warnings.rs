//! What `bascule check` warns of although it can be run, and the mistakes that only the whole of a file shows.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

use crate::site::{FQDN, Process, Site, bascule, free_ports};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn authority(name: &str) -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, name);
    let pem = parameters.self_signed(&key).unwrap().pem();
    Authority { issuer: Issuer::new(parameters, key), pem }
}

/// A leaf and its key, good for so many days from now.
fn leaf(by: &Authority, days: i64, kind: &'static rcgen::SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(kind).unwrap();
    let mut parameters = CertificateParams::new([FQDN.to_owned()]).unwrap();
    let now = SystemTime::now();
    let end = time::OffsetDateTime::from(now) + time::Duration::days(days);
    parameters.not_before = (now - Duration::from_secs(400 * 24 * 3600)).into();
    parameters.not_after = end;
    (parameters.signed_by(&key, &by.issuer).unwrap().pem(), key.serialize_pem())
}

#[test]
fn a_chain_that_browsers_may_refuse_is_warned_of_with_what_to_do() {
    let site = Site::plan("");
    let (mine, strange) = (authority("mine"), authority("strange"));
    let write = |chain: &str, key: &str| {
        fs::write(site.path("chain.pem"), chain).unwrap();
        fs::write(site.path("key.pem"), key).unwrap();
    };
    let (good, key) = leaf(&mine, 300, &PKCS_ECDSA_P256_SHA256);
    write(&format!("{good}{}", mine.pem), &key);
    let told = site.order(&["check"]);
    assert!(!told.contains("chain.pem") && !told.contains("certificate.chain"), "{told}");
    let ended = {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "ended");
        parameters.not_before = time::OffsetDateTime::UNIX_EPOCH;
        parameters.not_after = time::OffsetDateTime::now_utc() - time::Duration::days(5);
        let pem = parameters.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(parameters, key), pem }
    };
    let (under_ended, under_ended_key) = leaf(&ended, 300, &PKCS_ECDSA_P256_SHA256);
    let (soon, soon_key) = leaf(&mine, 20, &PKCS_ECDSA_P256_SHA256);
    let (past, past_key) = leaf(&mine, -2, &PKCS_ECDSA_P256_SHA256);
    for (what, chain, key, said, remedy) in [
        ("without its intermediate", good.clone(), &key, "the leaf alone", "append the intermediate"),
        ("a stranger", format!("{good}{}", strange.pem), &key, "has a stranger", "alone"),
        ("wrong order", format!("{good}{}{}", strange.pem, mine.pem), &key, "wrong order", "leaf first"),
        ("soon", format!("{soon}{}", mine.pem), &soon_key, "expires on", "days; renew it"),
        ("expired", format!("{past}{}", mine.pem), &past_key, "expired on", "browsers refuse it"),
        (
            "its issuer has",
            format!("{under_ended}{}", ended.pem),
            &under_ended_key,
            "number 2",
            "some browsers refuse it",
        ),
    ] {
        write(&chain, key);
        let told = site.order(&["check"]);
        let line = told.lines().find(|line| line.contains(said)).unwrap_or_else(|| panic!("{what}: {told}"));
        assert!(line.contains(remedy) && line.contains("certificate.chain"), "{what}: {line}");
    }
}

#[test]
fn two_certificates_of_a_kind_for_one_name_are_warned_of_as_only_the_first_is_shown() {
    let site = Site::plan("");
    let mine = authority("mine");
    let write = |kind| {
        let (second, key) = leaf(&mine, 300, kind);
        fs::write(site.path("second.pem"), format!("{second}{}", mine.pem)).unwrap();
        fs::write(site.path("second-key.pem"), key).unwrap();
    };
    write(&PKCS_ECDSA_P256_SHA256);
    let at = |name: &str| site.path(name).display().to_string();
    let one = format!("{{ chain: {}, key: {} }}", at("chain.pem"), at("key.pem"));
    let two = format!("[ {one}, {{ chain: {}, key: {} }} ]", at("second.pem"), at("second-key.pem"));
    site.write_config(&site.config().replace(&one, &two));
    let told = site.order(&["check"]);
    let line = told.lines().find(|line| line.contains("is never shown")).unwrap_or_else(|| panic!("{told}"));
    assert!(line.contains(FQDN) && line.contains("keep one of each kind of key"), "{line}");
    // Of another kind it is for clients that cannot verify the first.
    write(&PKCS_ED25519);
    let told = site.order(&["check"]);
    assert!(!told.contains("is never shown"), "{told}");
}

#[test]
fn ipv6_alone_is_warned_of_unless_ipv4_stands_beside_it() {
    let site = Site::plan("");
    let [free] = free_ports::<1>();
    let port = free.port();
    let config = site.config();
    let listen = format!("https: ['{}']", site.https);
    for (https, warned) in [
        (format!("https: ['[::]:{port}']"), true),
        (format!("https: ['[::]:{port}', '0.0.0.0:{port}']"), false),
        (format!("https: ['0.0.0.0:{port}']"), false),
    ] {
        site.write_config(&config.replace(&listen, &https));
        let told = site.order(&["check"]);
        assert_eq!(told.contains("takes IPv6 alone"), warned, "{https}: {told}");
        assert_eq!(told.contains(&format!("list 0.0.0.0:{port} beside it")), warned, "{https}: {told}");
    }
}

#[test]
fn an_upstream_that_is_the_edge_itself_is_a_mistake() {
    let site = Site::plan("");
    let config = site.config();
    let main = site.main.address.to_string();
    let every =
        config.replace(&format!("https: ['{}']", site.https), &format!("https: ['0.0.0.0:{}']", site.https.port()));
    for (config, upstream) in [
        (config.clone(), site.https.to_string()),
        (config.clone(), site.http.to_string()),
        (every.clone(), site.https.to_string()),
        (every, format!("127.0.0.9:{}", site.https.port())),
    ] {
        site.write_config(&config.replace(&main, &upstream));
        for verb in ["check", "run"] {
            let (code, told) = site.verb(&[verb]);
            assert_eq!(code, Some(2), "{verb}, {upstream}: {told}");
            assert!(
                told.contains(&format!("{upstream}, a backend of ")) && told.contains("is the Edge itself"),
                "{told}"
            );
        }
    }
    site.write_config(&config);
    site.order(&["check"]);
}

#[test]
fn a_fifo_among_the_state_files_ends_the_start_at_once_and_is_named() {
    let mut site = Site::prepare("");
    site.start_edge();
    site.stop_edge();
    // Keys of tickets are replaced with a word, as nothing is lost with them.
    let counts = |entry: &fs::DirEntry| entry.path().is_file() && entry.file_name() != "ticket-keys";
    let files: Vec<_> = fs::read_dir(site.path("state")).unwrap().flatten().filter(counts).collect();
    assert!(!files.is_empty());
    for file in files {
        let (path, kept) = (file.path(), fs::read(file.path()).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut command = bascule();
        let log = fs::File::create(site.path("fifo.log")).unwrap();
        command.arg("run").arg("--config").arg(site.path("edge.yaml")).stderr(log).stdout(std::process::Stdio::null());
        // Waits for its end, and fails if that does not come.
        let code = Process::spawn(&mut command).wait();
        let told = fs::read_to_string(site.path("fifo.log")).unwrap();
        assert!(code == Some(1) && told.contains(&path.display().to_string()), "{}: {code:?} {told}", path.display());
        fs::remove_file(&path).unwrap();
        fs::write(&path, kept).unwrap();
    }
    site.start_edge();
}
