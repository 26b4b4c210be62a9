use failover::Side;

use crate::{Draft, FILL_IN, Given, Role, Source, from_env};

/// Laid out as the documentation of XiVO's Edge has it.
const SITE: &str = include_str!("tests/site.env");

pub(crate) fn source(text: &str) -> Source {
    Source { name: ".env".to_owned(), text: text.to_owned(), path: "/etc/docker/edge/.env".into() }
}

/// What somebody gives who types no option.
fn bare() -> Given {
    Given {
        preset: "xivo".to_owned(),
        holds: Side::Main,
        main: Vec::new(),
        standby: Vec::new(),
        shared: Vec::new(),
        chain: None,
        key: None,
        upstream_ca: None,
        listen: Vec::new(),
        observe: false,
    }
}

pub(crate) fn given() -> Given {
    let pairs = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    Given {
        standby: pairs(&[("cc", "10.0.0.22"), ("xivo", "10.0.0.12")]),
        shared: pairs(&[("sip", "http://127.0.0.1:8080")]),
        chain: Some("/etc/bascule/tls/chain.pem".to_owned()),
        key: Some("/etc/bascule/tls/key.pem".to_owned()),
        ..bare()
    }
}

fn draft(text: &str) -> Draft {
    from_env(&source(text), &[], &given()).unwrap()
}

#[track_caller]
pub(crate) fn has(draft: &Draft, line: &str) {
    assert!(draft.yaml.lines().any(|found| found.trim() == line), "no `{line}` in\n{}", draft.yaml);
}

#[test]
fn every_value_of_a_sites_env_has_its_key_and_the_line_it_comes_from() {
    let draft = draft(SITE);
    for line in [
        "fqdn: edge.example.org",
        "# EDGE_FQDN in .env:6",
        "xivo: '10.0.0.11'",
        "cc: '10.0.0.21'",
        "xivo: '10.0.0.12'",
        "mds1: '10.0.0.31'",
        "video: '10.0.0.51'",
        "- names: turn.example.org",
        "to: '10.0.9.5:3478'",
        "- { path: /assets, zone: { burst: 80 } }",
        "- { path: /video/css, zone: { burst: 80 } }",
    ] {
        has(&draft, line);
    }
    assert!(draft.missing.is_empty() && !draft.yaml.contains(&format!(": {FILL_IN}")), "{}", draft.yaml);
}

#[test]
fn every_variable_is_carried_over_or_named_with_its_line_and_reason() {
    let draft = draft(SITE);
    for (index, line) in SITE.lines().enumerate() {
        let Some((name, _)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let at = format!(".env:{}", index + 1);
        let carried = draft.yaml.contains(&format!("# {name} in {at}"));
        let noted = draft.notes.iter().any(|note| note.origin.to_string() == at && note.subject == name);
        // What only decides about another value has no line of its own.
        let decides = matches!(name, "EDGE_NGINX_TURN_PROXY" | "EDGE_HOST_IP");
        assert!(carried || noted || decides, "{name} is lost in\n{}", draft.yaml);
    }
}

#[test]
fn no_value_that_is_not_carried_over_is_repeated_for_it_may_be_a_secret() {
    let Draft { yaml, notes, .. } =
        draft("EDGE_FQDN=edge.example.org\nTURN_SECRET=s3cr3t\nNEW_PASSWORD='hush'\nX=${Y:-hush}\n");
    let told = format!("{yaml}{notes:?}");
    assert!(
        told.contains("TURN_SECRET")
            && told.contains("NEW_PASSWORD")
            && !told.contains("s3cr3t")
            && !told.contains("hush"),
        "{told}"
    );
}

#[test]
fn what_nobody_has_said_is_a_line_that_no_check_takes() {
    let draft = from_env(&source("XIVO_HOST=10.0.0.11\n"), &[], &bare()).unwrap();
    let missing: Vec<_> = draft.missing.iter().map(|line| line.split(':').next().unwrap()).collect();
    let expected = [
        "fqdn",
        "certificate.chain",
        "certificate.key",
        "sides.main.cc",
        "sides.standby.cc",
        "sides.standby.xivo",
        "shared.sip",
    ];
    assert_eq!(missing, expected);
    assert_eq!(draft.yaml.lines().filter(|line| line.ends_with(": FILL-IN")).count(), expected.len(), "{}", draft.yaml);
}

#[test]
fn a_file_written_during_an_outage_holds_standbys_addresses() {
    let given = Given {
        holds: Side::Standby,
        main: vec![("xivo".to_owned(), "10.0.0.11".to_owned()), ("cc".to_owned(), "10.0.0.21".to_owned())],
        standby: Vec::new(),
        ..given()
    };
    let draft = from_env(&source("XIVO_HOST=10.0.0.12\nXIVOCC_HOST=10.0.0.22\n"), &[], &given).unwrap();
    let standby = draft.yaml.split_once("  standby:").unwrap().1;
    assert!(standby.contains("xivo: '10.0.0.12'") && standby.contains("cc: '10.0.0.22'"), "{}", draft.yaml);
}

#[test]
fn compose_and_the_importer_read_the_same_values() {
    for (text, value) in [
        ("A=edge.example.org", "edge.example.org"),
        ("A= edge.example.org  # the name", "edge.example.org"),
        ("export A=\"edge.example.org\" # the name", "edge.example.org"),
        ("A='edge.example.org'", "edge.example.org"),
        ("D=example.org\nA=edge.$D", "edge.example.org"),
        ("D=example.org\nA=edge.${D}", "edge.example.org"),
        ("A=${N:-edge.example.org}", "edge.example.org"),
        ("N=\nA=${N:-edge.example.org}", "edge.example.org"),
        ("N=edge\nA=${N-other}.example.org", "edge.example.org"),
        ("A=wrong.example.org\r\nA=edge.example.org\r", "edge.example.org"),
        ("\u{feff}A=edge.example.org", "edge.example.org"),
    ] {
        let roles = [("A".to_owned(), Role::Fqdn)];
        let draft = from_env(&source(text), &roles, &given()).unwrap();
        has(&draft, &format!("fqdn: {value}"));
    }
}

#[test]
fn a_mistake_names_file_line_and_remedy_and_nothing_is_drafted_from_half_a_file() {
    let long = format!("A={}", "x".repeat(5000));
    let many = "A=1\n".repeat(3000);
    let doubling: String = (1..40).map(|n| format!("A{n}=${{A{}}}${{A{}}}\n", n - 1, n - 1)).collect();
    let doubling = format!("A0=xxxxxxxx\n{doubling}");
    for (text, at, words) in [
        ("A=1\nhost 10.0.0.1\n", ".env:2", "is no NAME=VALUE"),
        ("A=1\n\n2B=1\n", ".env:3", "is no name of a variable"),
        ("A=\"1\nB=2\n", ".env:1", "a quote is opened and not closed"),
        ("A=${B\n", ".env:1", "is not closed"),
        (long.as_str(), ".env:1", "too long"),
        (many.as_str(), ".env:2001", "more variables than any Edge"),
        (doubling.as_str(), ".env:", "too long"),
    ] {
        let error = from_env(&source(text), &[], &given()).unwrap_err().to_string();
        assert!(error.starts_with(at) && error.contains(words) && error.contains("; "), "{error}");
    }
}

#[test]
fn values_that_cannot_stand_under_their_key_are_noted_and_left_to_be_written() {
    for (text, name, why) in [
        ("XIVO_HOST=xivo.example.org", "XIVO_HOST", "is no IP address"),
        ("XIVO_HOST=ftp://10.0.0.1", "XIVO_HOST", "is no IP address"),
        ("EDGE_FQDN=10.0.0.1", "EDGE_FQDN", "is no full name"),
        ("EDGE_FQDN='a b.org'", "EDGE_FQDN", "is no full name"),
        ("EDGE_FQDN=${HOST}", "EDGE_FQDN", "names HOST, which is not set above"),
        ("EDGE_FQDN=", "EDGE_FQDN", "is empty"),
        ("ASSETS_BURST=many", "ASSETS_BURST", "is no number"),
        ("MEETINGROOM_HOST=10.0.0.1\nJITSI_HOST=10.0.0.2", "JITSI_HOST", "MEETINGROOM_HOST says another address"),
        ("TURN_FQDN=turn.example.org", "TURN_FQDN", "EDGE_NGINX_TURN_PROXY is not true"),
        ("SIDECAR=10.0.0.1", "SIDECAR", "--map NAME=KEY"),
    ] {
        let draft = draft(text);
        let note = draft.notes.iter().find(|note| note.subject == name);
        assert!(note.is_some_and(|note| note.reason.contains(why)), "{text}: {:?}", draft.notes);
    }
}

#[test]
fn a_variable_of_the_sites_own_can_be_told_its_key() {
    let roles = ["MY_XIVO=xivo", "MY_MDS=mds.lyon_2", "XIVOCC_TAG=ignore", "GONE=cc"]
        .map(|told| told.split_once('=').map(|(name, role)| (name.to_owned(), role.parse().unwrap())).unwrap());
    let text = "MY_XIVO=10.0.0.11\nMY_MDS=10.0.0.33\nXIVOCC_TAG=2025.10\n";
    let draft = from_env(&source(text), &roles, &given()).unwrap();
    has(&draft, "xivo: '10.0.0.11'");
    has(&draft, "lyon_2: '10.0.0.33'");
    let told: Vec<_> = draft.notes.iter().map(|note| note.subject.as_str()).collect();
    assert_eq!(told, ["GONE"]);
    assert!("nonsense".parse::<Role>().is_err() && "mds.a b".parse::<Role>().is_err());
}

#[test]
fn no_text_of_an_old_file_leaves_its_comment() {
    let evil = "XIVO_HOST=10.0.0.11\nEVIL\u{1b}[31m=1\n";
    let error = from_env(&source(evil), &[], &given()).unwrap_err().to_string();
    assert!(!error.contains('\u{1b}'), "{error:?}");
    let roles = [("K".to_owned(), Role::Key), ("F".to_owned(), Role::Fqdn)];
    let named = Source {
        name: "a\nfailback: prefer-main #".to_owned(),
        ..source("K=\"/x\\nobserve: true\"\nF=\"a.org\\nx: y\"\n")
    };
    let draft = from_env(&named, &roles, &given()).unwrap();
    assert!(
        !draft
            .yaml
            .lines()
            .any(|line| line.starts_with("observe") || line.starts_with("failback") || line.starts_with("x:")),
        "{}",
        draft.yaml
    );
}

/// 4000 texts that were cut, or have pieces in the place of up to four characters.
pub(crate) fn changed(text: &str, pieces: &[&str], seed: u64) -> impl Iterator<Item = String> {
    let mut dice = fastrand::Rng::with_seed(seed);
    (0..4000).map(move |round| {
        let mut text: Vec<char> = text.chars().collect();
        match round % 3 {
            0 => text.truncate(dice.usize(..text.len())),
            _ => {
                for _ in 0..=dice.usize(..4) {
                    let at = dice.usize(..text.len());
                    text.splice(at..=at, pieces[dice.usize(..pieces.len())].chars());
                }
            }
        }
        text.into_iter().collect()
    })
}

#[test]
fn no_change_of_a_file_makes_it_panic_or_lose_a_line() {
    let pieces = ["$", "${", "}", "\"", "'", "\n", "=", "#", "\\", "\u{0}", "é", "${A:-", " ", "\u{2028}", "[", "://"];
    for text in changed(SITE, &pieces, 7) {
        // An error names its line; a draft holds no line of the file's own making.
        match from_env(&source(&text), &[], &given()) {
            Err(error) => assert!(error.origin.line >= 1 && error.origin.line <= text.lines().count(), "{error}"),
            Ok(draft) => assert!(draft.yaml.chars().all(|c| c == '\n' || crate::note::is_plain(c)), "{:?}", draft.yaml),
        }
    }
}
