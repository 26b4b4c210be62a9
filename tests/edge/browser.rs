//! What a user sees, in a real Chromium: the address never changes, F5 helps, and the waiting page goes by itself.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use failover::Side;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::shared::blocking;
use crate::site::{FQDN, Site};
use crate::socket::token;
use crate::turns::alone;

/// Longer than the driver's own limit.
const PATIENCE: Duration = Duration::from_secs(180);
const CHROMIUM: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// Where the driver and what it needs are put, and the pictures.
const HOME: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/browser");

/// Programs it takes: where Chromium is; or why there is no browser.
fn equipment() -> Result<PathBuf, String> {
    static EQUIPMENT: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
        let chromium = CHROMIUM.iter().find_map(|name| program(name)).ok_or("chromium is not installed")?;
        for name in ["node", "npm"] {
            program(name).ok_or(format!("{name} is not installed"))?;
        }
        install()?;
        Ok(chromium)
    });
    EQUIPMENT.clone()
}

fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|path| path.join(name)).find(|path| path.is_file())
}

/// Puts the driver beside what it needs, outside the source tree.
fn install() -> Result<(), String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edge/browser");
    fs::create_dir_all(HOME).unwrap();
    let lock = "package-lock.json";
    let fresh = fs::read(source.join(lock)).ok() != fs::read(Path::new(HOME).join("installed")).ok();
    for name in ["drive.mjs", "package.json", lock] {
        fs::copy(source.join(name), Path::new(HOME).join(name)).unwrap();
    }
    if fresh {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund"]).env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1").current_dir(HOME);
        let done = npm.output().map_err(|error| error.to_string())?;
        if !done.status.success() {
            return Err(format!("npm ci: {}", String::from_utf8_lossy(&done.stderr)));
        }
        fs::copy(source.join(lock), Path::new(HOME).join("installed")).unwrap();
    }
    Ok(())
}

/// A browser that knows one site.
struct Browser {
    driver: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Browser {
    /// None, and says why, where a part is missing. Where everything should be there, that is a failure.
    fn at(site: &Site) -> Option<Self> {
        let chromium = match equipment() {
            Ok(chromium) => chromium,
            Err(why) if std::env::var_os("CI").is_none() => {
                println!("skipped: {why}");
                return None;
            }
            Err(why) => panic!("{why}"),
        };
        let mut command = Command::new("node");
        command.arg("drive.mjs").arg(chromium).args([&site.https.to_string(), FQDN, &spki(&site.certificate)]);
        command.current_dir(HOME).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut driver = command.spawn().unwrap();
        let (orders, said) = (driver.stdin.take(), BufReader::new(driver.stdout.take().unwrap()));
        let (tell, answers) = channel();
        std::thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Some(Self { driver, orders, answers })
    }

    #[track_caller]
    fn order(&mut self, order: &str, mut details: Value) -> Value {
        details["order"] = order.into();
        writeln!(self.orders.as_mut().unwrap(), "{details}").unwrap();
        let answer = self.answers.recv_timeout(PATIENCE).expect("the browser answers");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["error"].is_null(), "{order}: {}", answer["error"]);
        answer
    }

    /// F5.
    fn reload(&mut self) -> Value {
        self.order("reload", json!({}))
    }

    fn picture(&mut self, name: &str) {
        let path = Path::new(HOME).join(format!("{name}.png"));
        self.order("picture", json!({ "path": path }));
        println!("see {}", path.display());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser, then itself.
        self.orders = None;
        while self.answers.recv_timeout(PATIENCE).is_ok() {}
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// How Chromium is told to trust one key: SHA-256 of the public key, base64.
fn spki(certificate: &[u8]) -> String {
    let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
    STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.tbs_certificate.subject_pki.raw))
}

const PAGE: &str = "/ucassistant?agent=7";

/// Whose page is seen; null: one of the Edge's own.
#[track_caller]
fn assert_seen(seen: &Value, side: Option<Side>) {
    assert_eq!(seen["side"], json!(side.map(Side::label)), "{seen}");
    assert_eq!(seen["address"], format!("https://{FQDN}{PAGE}"), "the address never changes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e2_after_f5_a_browser_is_served_by_the_other_side_at_the_same_address_there_and_back() {
    let _alone = alone();
    blocking(|| {
        let mut site = Site::start_with("switch: { reconnect_rate: all }\n");
        let Some(mut browser) = Browser::at(&site) else { return };
        let cti = json!({ "path": format!("/xuc/api/2.0/cti?token={}", token("jdoe")) });
        assert_seen(&browser.order("visit", json!({ "path": PAGE, "locale": "en" })), Some(Side::Main));
        assert_eq!(browser.order("socket", cti.clone())["side"], "main");
        for (dies, serves) in [(Side::Main, Side::Standby), (Side::Standby, Side::Main)] {
            site.wait_health(serves, "working");
            site.side(dies).kill();
            let closed = browser.order("closed", json!({}));
            assert_eq!(closed, json!({ "code": 1012, "reason": "switched to the other side", "wasClean": true }));
            assert_seen(&browser.reload(), Some(serves));
            assert_eq!(browser.order("socket", cti.clone())["side"], serves.label());
            site.side(dies).start();
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_the_waiting_page_is_shown_in_the_users_language_and_goes_by_itself() {
    let _alone = alone();
    blocking(|| {
        let mut site = Site::start();
        let Some(mut browser) = Browser::at(&site) else { return };
        for (locale, language, title, comes) in [
            ("fr-FR", "fr", "Un instant, s’il vous plaît", Side::Standby),
            ("en-GB", "en", "One moment, please", Side::Main),
        ] {
            browser.order("visit", json!({ "path": PAGE, "locale": locale }));
            site.main.kill();
            site.standby.kill();
            site.wait_health(Side::Main, "not_working");
            site.wait_health(Side::Standby, "not_working");
            let waiting = browser.reload();
            assert_seen(&waiting, None);
            let [status, lang, said] = ["status", "lang", "title"].map(|what| &waiting[what]);
            assert_eq!((status, lang, said), (&json!(503), &json!(language), &json!(title)));
            browser.picture(&format!("waiting-{language}"));
            site.side(comes).start();
            assert_seen(&browser.order("becomes", json!({ "side": comes.label() })), Some(comes));
            browser.picture(&format!("back-{language}"));
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_agrees_with_the_edge_on_a_secret_that_no_quantum_computer_will_read() {
    let _alone = alone();
    blocking(|| {
        let site = Site::start();
        let Some(mut browser) = Browser::at(&site) else { return };
        browser.order("visit", json!({ "path": PAGE, "locale": "en" }));
        let security = browser.order("security", json!({ "path": PAGE }));
        assert_eq!([&security["protocol"], &security["keyExchangeGroup"]], ["TLS 1.3", "X25519MLKEM768"], "{security}");
        assert!(site.metric("bascule_tls_key_exchanges_total{group=\"x25519mlkem768\"}") >= 1.0);
    });
}
