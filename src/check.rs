//! `bascule check`: what a configuration comes to, its bounds, and with `--live` what the backends say right now.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use doors::{Client, visible};
use failover::lease::Timing;
use http::Method;
use protocol::identity::Identity;
use protocol::who::Who;
use protocol::wire::Times;
use protocol::wire::times::{Voter, differ, not_promised};
use serde_json::json;

use crate::cli::EDGE;
use crate::config::{Config, Warning};
use crate::control::api::{NodeStatus, Status};
use crate::engine::{checks_of, probe_of};
use crate::upstream::placed;

/// What there is to print, and whether all is well.
pub struct Checked {
    /// For people, or JSON.
    pub text: String,
    /// How it went.
    pub verdict: Verdict,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The configuration is sound, and every backend asked works.
    Well,
    /// The configuration is sound, a backend does not work.
    NotWorking,
    /// The configuration is wrong.
    Wrong,
}

/// Whether backends are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Only the file.
    Nobody,
    /// Each backend, once.
    Backends,
}

/// Checks the file at `path`, and the times of its vote beside those of the nodes that an Edge at `socket` heard of.
pub async fn check(path: &Path, socket: PathBuf, ask: Ask, as_json: bool) -> Checked {
    let (config, warnings) = match Config::load(path) {
        Ok(loaded) => loaded,
        Err(errors) => {
            let problems: Vec<_> = errors.iter().collect();
            let text = if as_json { json!({ "errors": problems }).to_string() } else { errors.to_string() };
            return Checked { text, verdict: Verdict::Wrong };
        }
    };
    // What a start would fail on is wrong now.
    let built = crate::edge::rehearse(&config).map_err(|error| settings::with_causes(&error));
    let built = built.and_then(|()| crate::engine::rehearse(&config).map_err(|error| settings::with_causes(&error)));
    if let Err(why) = built {
        let text = if as_json { json!({ "errors": [{ "message": why }] }).to_string() } else { why };
        return Checked { text, verdict: Verdict::Wrong };
    }
    let answers = match ask {
        Ask::Nobody => Vec::new(),
        Ask::Backends => ask_backends(&config).await,
    };
    let identity = config.nodes.as_ref().map(|nodes| identity(&nodes.identity));
    let times = match &config.nodes {
        Some(nodes) => compare_times(&nodes.timing, socket).await,
        None => Vec::new(),
    };
    let promised = times.iter().all(|told| !told.is_denied);
    let sound = answers.iter().all(|answer| answer.works) && identity.as_ref().is_none_or(Result::is_ok) && promised;
    let verdict = if sound { Verdict::Well } else { Verdict::NotWorking };
    let text = match as_json {
        true => in_json(&config, &warnings, &answers, identity.as_ref(), &times),
        false => in_words(&config, &warnings, &answers, identity.as_ref(), &times),
    };
    Checked { text, verdict }
}

/// Who the Edge is to nodes, and for how many days; the error says what is wrong with its certificate.
fn identity(directory: &Path) -> Result<String, String> {
    let identity = Identity::load(directory).map_err(|error| settings::with_causes(&error))?;
    match (identity.who(), identity.days_left()) {
        (Who::Edge { .. }, days) if days < 0 => Err(format!("{} has expired", directory.display())),
        (who @ Who::Edge { .. }, days) => Ok(format!("{who}, for {days} days")),
        (who, _) => Err(format!("{} is the identity of {who}, not of an Edge", directory.display())),
    }
}

/// What is to be said of a node's times.
struct TimesTold {
    sentence: String,
    /// The Edge would not give it its vote.
    is_denied: bool,
}

/// Nothing where no Edge runs: then no node was heard.
async fn compare_times(timing: &Timing, socket: PathBuf) -> Vec<TimesTold> {
    let client = Client { socket, program: &EDGE };
    let Ok(body) = client.ask(Method::GET, "/v1/status", Vec::new()).await else { return Vec::new() };
    let Ok(status) = serde_json::from_slice::<Status>(&body) else { return Vec::new() };
    let own = Times::from(timing);
    let told = |node: &NodeStatus| {
        let times = node.report.vote.as_ref().filter(|_| node.fresh)?.times?;
        let name = format!("the {} node {}", node.role, node.name);
        let denied = not_promised("this Edge", own.promises_ms, &name, times.needs_ms);
        let is_denied = denied.is_some();
        let of = |name, times| Voter { name, times };
        let sentence = denied.or_else(|| differ(of(&name, times), of("this Edge", own)))?;
        Some(TimesTold { sentence, is_denied })
    };
    status.nodes.iter().filter_map(told).collect()
}

struct Answer {
    side: &'static str,
    service: String,
    backend: String,
    check: String,
    works: bool,
    detail: String,
    took_ms: f64,
}

async fn ask_backends(config: &Config) -> Vec<Answer> {
    let mut asked = Vec::new();
    for at in placed(config) {
        let service = &config.services[at.service.0];
        for check in checks_of(service) {
            let side = at.side.map_or("shared", |side| side.name());
            let named = (side, service.name.clone(), at.backend.name.clone(), check.name.clone());
            let probe = probe_of(&check, at.backend, config.probe.time_limit);
            asked.push(tokio::spawn(async move {
                let (side, service, backend, check) = named;
                let (works, detail, took_ms) = match probe {
                    Err(error) => (false, error.to_string(), 0.0),
                    Ok(probe) => {
                        let report = probe.run().await;
                        (report.is_up(), report.detail().to_owned(), report.timings.total.as_secs_f64() * 1000.0)
                    }
                };
                Answer { side, service, backend, check, works, detail, took_ms }
            }));
        }
    }
    let mut answers = Vec::new();
    for answer in asked {
        // A probe does not panic.
        answers.extend(answer.await);
    }
    answers
}

fn in_words(
    config: &Config,
    warnings: &[Warning],
    answers: &[Answer],
    identity: Option<&Result<String, String>>,
    times: &[TimesTold],
) -> String {
    let mut text = config.summary(warnings).to_string();
    match identity {
        Some(Ok(who)) => text.push_str(&format!("to nodes this is {who}\n")),
        Some(Err(why)) => text.push_str(&format!("nodes.identity: {why}\n")),
        None => {}
    }
    for TimesTold { sentence, .. } in times {
        let _ = writeln!(text, "nodes.timing: {}", visible(sentence));
    }
    if !answers.is_empty() {
        text.push_str("\nright now:\n");
    }
    for answer in answers {
        let mark = if answer.works { "works" } else { "DOES NOT WORK" };
        let Answer { side, service, backend, check, detail, took_ms, .. } = answer;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {side:<8} {service} {backend} ({check}): {mark}: {detail}, {took_ms:.1} ms");
    }
    text
}

fn in_json(
    config: &Config,
    warnings: &[Warning],
    answers: &[Answer],
    identity: Option<&Result<String, String>>,
    times: &[TimesTold],
) -> String {
    let policy = config.probe.policy();
    let ms = |duration: std::time::Duration| duration.as_millis();
    let answers: Vec<_> = answers
        .iter()
        .map(|a| {
            json!({
                "side": a.side, "service": a.service, "backend": a.backend, "check": a.check, "works": a.works,
                "detail": a.detail, "took_ms": a.took_ms,
            })
        })
        .collect();
    json!({
        "fqdn": config.fqdn,
        "services": config.services.iter().map(|service| &service.name).collect::<Vec<_>>(),
        "routes": config.routes.iter().map(|route| &route.path).collect::<Vec<_>>(),
        "left_out": config.left_out,
        "bounds_ms": {
            "refused_from_first_sign": ms(policy.detection_bound_refused()),
            "silent_from_first_sign": ms(policy.detection_bound_silent()),
            "refused_from_fault": ms(policy.fault_bound_refused()),
            "silent_from_fault": ms(policy.fault_bound_silent()),
            "recovery": ms(policy.recovery_bound()),
        },
        "memory_bound_bytes": config.memory_bound(),
        "warnings": warnings,
        "answers": answers,
        "times": times
            .iter()
            .map(|told| json!({ "sentence": told.sentence, "denied": told.is_denied }))
            .collect::<Vec<_>>(),
        "identity": identity.map(|identity| match identity {
            Ok(who) => json!({ "who": who }),
            Err(why) => json!({ "error": why }),
        }),
    })
    .to_string()
}
