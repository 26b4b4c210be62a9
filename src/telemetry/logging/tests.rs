use std::process::Command;

use prometheus::IntCounter;

use super::{LogError, filter, is_human, start};
use crate::config::{Log, LogFormat};

const CHILD: &str = "BASCULE_TEST_LOG_FORMAT";

/// Not a test of its own: logs are set up once a process, so the next ones look at this one from outside.
#[test]
fn a_child_says_what_its_parent_reads() {
    let Ok(format) = std::env::var(CHILD) else { return };
    let format = if format == "json" { LogFormat::Json } else { LogFormat::Human };
    let log = Log { format, level: "info".into(), access: false };
    let guard = start(&log, IntCounter::new("d", "d").unwrap()).unwrap();
    assert!(matches!(start(&log, IntCounter::new("d", "d").unwrap()), Err(LogError::Start(_))));
    tracing::info!(side = "standby", "the live side changed\u{1b}[2J\nroot did it");
    tracing::debug!("an attempt");
    log::info!(target: "somebody", "a record of log");
    log::warn!(target: "pingora_core::protocols", "a scan came by");
    log::error!(target: "pingora_core::protocols", "a listener broke");
    log::error!(target: "pingora_core::apps::http_app", "fails to read from downstream: buf: GET /?token=eyJ0");
    log::error!(target: "pingora_proxy", "Fail to proxy: /xuc?token=eyJ0");
    drop(guard);
}

fn child(format: &str) -> Vec<String> {
    let (_, here) = module_path!().split_once("::").unwrap();
    let test = format!("{here}::a_child_says_what_its_parent_reads");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(CHILD, format)
        .output()
        .unwrap();
    assert!(child.status.success());
    String::from_utf8(child.stderr).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn programs_get_one_object_a_line_with_records_of_log_too() {
    let lines = child("json");
    let rows: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 3, "{lines:?}");
    assert_eq!(rows[0]["side"], "standby");
    assert_eq!(rows[1]["message"], "a record of log");
    assert_eq!(rows[2]["message"], "a listener broke");
}

#[test]
fn people_get_lines_without_colours_where_there_is_no_terminal() {
    let lines = child("human");
    assert_eq!(lines.len(), 3, "{lines:?}");
    let text = lines.join("\n");
    assert!(text.contains("INFO the live side changed") && text.contains("side=\"standby\""), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn e8_no_library_logs_a_token_or_noise() {
    for format in ["json", "human"] {
        let text = child(format).join("\n");
        assert!(text.contains("a record of log"), "{text}");
        assert!(!text.contains("eyJ") && !text.contains("a scan came by"), "{text}");
    }
}

#[test]
fn a_filter_that_makes_no_sense_is_named() {
    let error = filter("bascule=loud").unwrap_err().to_string();
    assert!(error.contains("bascule=loud"), "{error}");
    assert!(filter("debug,pingora_core=trace").is_ok());
}

#[test]
fn people_read_on_a_terminal_and_programs_elsewhere_unless_told() {
    assert!(is_human(LogFormat::Auto, true) && !is_human(LogFormat::Auto, false));
    assert!(is_human(LogFormat::Human, false) && !is_human(LogFormat::Json, true));
}
