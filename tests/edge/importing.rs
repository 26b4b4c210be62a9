//! `bascule import`: an old Edge's files become a configuration that is checked, run and answers.

use std::net::SocketAddr;

use failover::Side;

use crate::client::Client;
use crate::site::{Site, bascule, free_ports};

/// As XiVO's documentation lays out an Edge on one server.
const ENV: &str = include_str!("../../crates/import/src/tests/site.env");

/// Addresses of loopback that no other run of this test has: XiVO's telephony is looked for at its one port, 5060.
fn network() -> String {
    let id = std::process::id();
    format!("127.{}.{}", 64 + id % 128, id / 128 % 250)
}

/// A site that stands where the played file says; the file, and the options an administrator would type.
struct Old {
    site: Site,
    options: Vec<String>,
}

impl Old {
    fn new() -> Self {
        let mut site = Site::plan("");
        let net = network();
        let (chain, key) = (site.path("chain.pem"), site.path("key.pem"));
        for (side, host) in [(Side::Main, 11), (Side::Standby, 12)] {
            let at = |port: u16| -> SocketAddr { format!("{net}.{host}:{port}").parse().unwrap() };
            let process = site.side(side);
            (process.address, process.sip) = (at(8443), at(5060));
            process.tls = Some((chain.clone(), key.clone()));
            process.start();
        }
        // One process plays XiVO and CC of a side. Port 443 belongs to root alone.
        let env = ENV
            .replace("10.0.0.11", &format!("{net}.11:8443"))
            .replace("10.0.0.21", &format!("{net}.11:8443"))
            .replace("10.0.0", &net)
            .replace("10.0.9", &net);
        std::fs::write(site.path(".env"), env).unwrap();
        let standby = format!("{net}.12:8443");
        let options = [
            "--standby".to_owned(),
            format!("xivo={standby}"),
            "--standby".to_owned(),
            format!("cc={standby}"),
            "--shared".to_owned(),
            format!("sip=http://{}", free_ports::<1>()[0]),
            format!("--chain={}", chain.display()),
            format!("--key={}", key.display()),
            format!("--listen={}", site.https),
        ];
        Self { site, options: options.into() }
    }
}

fn told(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn an_env_of_an_old_edge_is_imported_checked_run_and_answers() {
    let Old { mut site, options } = Old::new();
    let env = site.path(".env");
    let import = |more: &[&str]| bascule().arg("import").arg(&env).args(&options).args(more).output().unwrap();
    std::fs::remove_file(site.path("edge.yaml")).unwrap();
    let out = format!("--out={}", site.path("edge.yaml").display());
    let output = import(&[&out]);
    let notes = told(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{notes}");
    assert!(notes.contains(".env:19: TURN_SECRET: ") && !notes.contains("eyes"), "{notes}");
    // Nothing is replaced.
    let again = import(&[&out]);
    assert!(
        again.status.code() == Some(1) && told(&again.stderr).contains("replaces no file"),
        "{}",
        told(&again.stderr)
    );
    site.order(&["check"]);
    let same = import(&["--diff", "--config", &site.path("edge.yaml").display().to_string()]);
    assert_eq!((same.status.code(), told(&same.stdout)), (Some(0), String::new()));
    // What belongs to this machine and not to the site: the defaults are one for every Edge on it.
    let draft = std::fs::read_to_string(site.path("edge.yaml")).unwrap();
    let directory = env.parent().unwrap().to_owned();
    let at = |name: &str| directory.join(name).display().to_string();
    let here = format!("admin: {}\nmetrics: '{}'\nstate: {}\n", at("admin.sock"), site.metrics, at("state"));
    site.write_config(&(draft + &here));
    site.start_edge();
    site.wait_health(Side::Main, "working");
    site.wait_health(Side::Standby, "working");
    let client = Client::of(&site);
    for path in ["/version", "/xuc/lab/headers", "/assets/app.js"] {
        let answer = client.get(path).await.unwrap();
        assert_eq!(answer.side(), "main", "{path}");
    }
    assert_eq!(client.get("/elsewhere").await.unwrap().status.as_u16(), 404);
    site.main.kill();
    assert_eq!(client.get("/version").await.unwrap().side(), "standby");
    let differs = import(&["--diff", "--json", "--config", &at("edge.yaml")]);
    let list: serde_json::Value = serde_json::from_slice(&differs.stdout).unwrap();
    let keys: Vec<_> = list["differences"].as_array().unwrap().iter().map(|found| found["key"].clone()).collect();
    assert_eq!((differs.status.code(), keys), (Some(1), vec!["admin".into(), "metrics".into(), "state".into()]));
}

#[test]
fn an_import_that_lacks_something_says_what_and_check_refuses_its_lines() {
    let site = Site::plan("");
    std::fs::write(site.path(".env"), "EDGE_FQDN=edge.example.org\nXIVO_HOST=127.0.0.1\n").unwrap();
    let output = bascule().arg("import").arg(site.path(".env")).output().unwrap();
    let missing = told(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{missing}");
    for option in
        ["--standby xivo=ADDRESS", "--standby cc=ADDRESS", "--main cc=ADDRESS", "--chain FILE", "--shared sip=ADDRESS"]
    {
        assert!(missing.contains(option), "no {option} in {missing}");
    }
    site.write_config(&told(&output.stdout));
    let (code, text) = site.verb(&["check"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("sides.standby.xivo: ") && text.contains("FILL-IN"), "{text}");
}

#[test]
fn what_cannot_be_imported_is_an_error_with_file_and_line() {
    let site = Site::plan("");
    let path = site.path(".env");
    for (content, words) in [
        (&b"A=1\nnonsense\n"[..], ".env:2: is no NAME=VALUE"),
        (b"A=\xff\n", "is not UTF-8"),
        (&[b'#'; 2 << 20][..], "cannot read"),
    ] {
        std::fs::write(&path, content).unwrap();
        let output = bascule().arg("import").arg(&path).output().unwrap();
        let text = told(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(words) && output.stdout.is_empty(), "{text}");
    }
}

#[test]
fn an_nginx_conf_of_an_old_edge_becomes_a_configuration_that_check_takes() {
    let site = Site::plan("");
    let at = |name: &str| site.path(name).display().to_string();
    std::fs::create_dir(site.path("zones")).unwrap();
    let auth = "limit_req_zone $binary_remote_addr zone=auth:10m rate=20r/m;\n";
    std::fs::write(site.path("zones/auth.conf"), auth).unwrap();
    let old = include_str!("../../crates/import/src/nginx/tests/edge.conf");
    std::fs::write(site.path("old.conf"), old).unwrap();
    let standby = ["--standby", "xivo=10.0.0.12", "--standby", "cc=10.0.0.22"];
    let files = [format!("--chain={}", at("chain.pem")), format!("--key={}", at("key.pem"))];
    let import = || {
        let mut command = bascule();
        command.arg("import").arg(site.path("old.conf")).args(standby).args(&files);
        command
    };
    let output = import().output().unwrap();
    let (draft, notes) = (told(&output.stdout), told(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{notes}\n{draft}");
    // What has no key is told by file and line.
    for line in ["old.conf:21: ", "old.conf:25: ", "old.conf:26: ", "old.conf:27: "] {
        assert!(notes.contains(line), "no {line} in {notes}");
    }
    site.write_config(&draft);
    let checked = site.order(&["check"]);
    assert!(checked.contains("10.0.0.22") && checked.contains("10.0.0.11"), "{checked}");
    let same = import().args(["--diff", "--config", &at("edge.yaml")]).output().unwrap();
    assert_eq!((same.status.code(), told(&same.stdout)), (Some(0), String::new()));
}
