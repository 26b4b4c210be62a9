use std::collections::HashMap;
use std::io;
use std::path::Path;

use crate::tests::{changed, given, has};
use crate::{Draft, Files, Given, ImportError, Known, Limit, Source, from_nginx};

const SITE: &str = include_str!("tests/edge.conf");

struct Memory(HashMap<&'static str, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path.to_str().unwrap()).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let under = self.0.keys().filter_map(|path| path.strip_prefix(directory.to_str()?)?.strip_prefix('/'));
        Ok(under.map(str::to_owned).collect())
    }
}

fn known() -> Vec<Known> {
    let route = |path: &str, service: &str, zone: &str, burst, delay| Known {
        path: path.to_owned(),
        service: service.to_owned(),
        limit: Some(Limit { zone: zone.to_owned(), burst, delay }),
    };
    vec![
        route("/assets", "cc", "webapp", 50, false),
        route("/xuc", "cc", "apis", 10, true),
        route("/install/win64", "cc", "dapp", 15, false),
        route("/meetingrooms/token/validate", "xivo", "auth", 12, false),
        route("/wssip", "sip", "auth", 12, false),
        route("/wssip-{mds}", "sip", "auth", 12, false),
    ]
}

fn import(text: &str, files: &[(&'static str, &str)]) -> Result<Draft, ImportError> {
    let source = Source { name: "edge.conf".into(), text: text.to_owned(), path: "/etc/nginx/edge.conf".into() };
    let files = Memory(files.iter().map(|(path, text)| (*path, (*text).to_owned())).collect());
    let given = Given { chain: None, key: None, shared: Vec::new(), ..given() };
    from_nginx(&source, &files, &known(), &given)
}

#[test]
fn locations_limits_certificates_and_names_of_nginx_become_keys() {
    let draft =
        import(SITE, &[("/etc/nginx/zones/a.conf", "limit_req_zone $binary_remote_addr zone=auth:10m rate=20r/m;")])
            .unwrap();
    for line in [
        "fqdn: edge.example.org",
        "- www.example.org",
        "chain: /etc/nginx/ssl/fullchain.pem",
        "key: /etc/nginx/ssl/privkey.pem",
        "tls: { min: 1.3 }",
        "cc: 'https://10.0.0.21:443'",
        "xivo: 'https://10.0.0.11'",
        "sip: 'http://127.0.0.1:8080'",
        "apis: { rate: 30/s, burst: 10, delay: true }",
        "auth: { rate: 20/min, burst: 12, delay: false }",
        "- { path: /assets, zone: { name: apis, burst: 80, delay: false } }",
        "- { path: /recordings, match: exact, service: cc, websocket: true }",
        "- { path: /install/win64, remove: true }",
    ] {
        has(&draft, line);
    }
    assert!(draft.missing.is_empty(), "{:?}", draft.missing);
    let told: Vec<_> = draft.notes.iter().map(ToString::to_string).collect();
    for words in [
        "location ~ ^/x: a regular",
        "deny: NOBODY IS KEPT OUT",
        "location /old: rewrites",
        "location /dyn: $where is not set",
        "server: server status",
        "proxy_set_header: no fields are set",
        "proxy_redirect: redirections",
    ] {
        assert!(
            told.iter().any(|note| note.starts_with("edge.conf:") && note.contains(words)),
            "no {words} in {told:#?}"
        );
    }
    // The one of an upgrade happens anyway; what a field holds may be a secret.
    assert_eq!(told.iter().filter(|note| note.contains("proxy_set_header")).count(), 1, "{told:#?}");
    assert!(!draft.yaml.contains("eyes") && !told.iter().any(|note| note.contains("eyes")));
}

#[test]
fn what_nginx_would_not_read_is_an_error_with_its_line() {
    let deep = "a {".repeat(40);
    let many = "a;".repeat(30_000);
    let long = "x".repeat(20_000);
    for (text, words) in [
        ("a;\nb {\n", "edge.conf:3: the file ends inside a block"),
        ("a;\n}", "edge.conf:2: } closes nothing"),
        ("a b", "edge.conf:1: `a` is not ended"),
        ("a 'b", "edge.conf:1: a quote is opened"),
        (";", "edge.conf:1: a directive has no name"),
        ("x_by_lua_block { }", "is a program in Lua"),
        (deep.as_str(), "nested too deeply"),
        (many.as_str(), "more directives"),
        (long.as_str(), "longer than 16 KiB"),
        ("\ninclude gone.conf;", "edge.conf:2: /etc/nginx/gone.conf"),
        ("include edge.conf;", "includes itself"),
        ("include loop.conf;", "/etc/nginx/loop.conf:1: /etc/nginx/loop.conf includes itself"),
        ("include */x.conf;", "is a pattern that is not understood"),
    ] {
        let error = import(text, &[("/etc/nginx/loop.conf", "include l*.conf;")]).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn no_change_of_nginx_files_makes_the_importer_panic() {
    let pieces = ["{", "}", ";", "\"", "'", "\n", "\\", "#", "$", "${", "é", "\u{0}", "include *;", "location", " "];
    for text in changed(SITE, &pieces, 11) {
        match import(
            &text,
            &[("/etc/nginx/zones/a.conf", "limit_req_zone $binary_remote_addr zone=auth:10m rate=20r/m;")],
        ) {
            Err(error) => assert!(error.origin.line >= 1, "{error}"),
            Ok(draft) => assert!(draft.yaml.chars().all(|c| c == '\n' || crate::note::is_plain(c)), "{:?}", draft.yaml),
        }
    }
}
