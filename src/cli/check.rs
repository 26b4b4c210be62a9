//! `bascule check`: what a configuration comes to, its bounds, and with `--live` what the backends say right now.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use daemon::{Account, Client, Service, visible};
use failover::lease::Timing;
use http::Method;
use probe::tls::End;
use protocol::identity::{Identity, expiry};
use protocol::who::Who;
use protocol::wire::Times;
use protocol::wire::times::{Voter, differ, not_promised};
use rustix::fs::Access;
use serde_json::json;

use crate::admin::api::{NodeStatus, Status};
use crate::cli::EDGE;
use crate::config::{Config, Errors, Warning};
use crate::engine::{carriage_of, checks_of, probe_of, title};
use crate::traffic::upstream::placed;

/// What there is to print, and whether all is well.
pub struct Checked {
    /// For people, or JSON.
    pub text: String,
    /// How it went.
    pub verdict: Verdict,
}

/// How a check went; the exit code follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The configuration is sound, and every backend asked works.
    Well,
    /// The configuration is sound, a backend does not work.
    NotWorking,
    /// The configuration is wrong: the Edge would not start.
    Wrong,
}

/// Whether backends are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Only the file.
    Nobody,
    /// Each backend, once, by its own checks and as requests need it.
    Backends,
}

/// What was found in files, by whoever looked.
struct Found {
    config: Config,
    warnings: Vec<Warning>,
    identity: Option<Result<String, String>>,
    /// Directories the Edge writes to and that it may not write to.
    unwritable: Vec<String>,
}

/// What keeps the Edge from a start.
enum Wrong {
    File(Errors),
    Other(String),
}

/// Checks the file at `path`, and the times of its vote beside those of the nodes that an Edge at `socket` heard of. What is
/// read and written is looked at as the service would, or as the user of that name.
pub async fn check(path: &Path, socket: PathBuf, ask: Ask, user: Option<&str>, as_json: bool) -> Checked {
    // Not as root, who may read what the service may not: `check` would say yes, and the start no.
    let service = Service { unit: "bascule.service", user: Some("bascule"), home: Path::new("/etc/bascule") };
    let account = match Account::of_service(service, user, path) {
        Ok(account) => account,
        Err(error) => return wrong(Wrong::Other(settings::with_causes(&error)), None, as_json),
    };
    let found = match &account {
        None => look(path, Whose::Own),
        Some(account) => account
            .looks(|| look(path, Whose::Services))
            .unwrap_or_else(|error| Err(Wrong::Other(format!("cannot look as the user {}: {error}", account.name)))),
    };
    let Found { config, warnings, identity, unwritable } = match found {
        Ok(found) => found,
        Err(error) => return wrong(error, account.as_ref(), as_json),
    };
    let answers = match ask {
        Ask::Nobody => Vec::new(),
        Ask::Backends => ask_backends(&config).await,
    };
    let times = match &config.nodes {
        Some(nodes) => compare_times(&nodes.timing, socket).await,
        None => Vec::new(),
    };
    let promised = times.iter().all(|told| !told.is_denied);
    let sound = answers.iter().all(|answer| answer.works)
        && identity.as_ref().is_none_or(Result::is_ok)
        && unwritable.is_empty()
        && promised;
    let verdict = if sound { Verdict::Well } else { Verdict::NotWorking };
    let told = Told {
        warnings: &warnings,
        answers: &answers,
        identity: identity.as_ref(),
        unwritable: &unwritable,
        times: &times,
    };
    let looked_as = account.as_ref().map(|account| account.name.as_str());
    let text = match as_json {
        true => in_json(&config, &told, looked_as),
        false => in_words(&config, &told, looked_as),
    };
    Checked { text, verdict }
}

fn wrong(wrong: Wrong, account: Option<&Account>, as_json: bool) -> Checked {
    let text = match (&wrong, as_json) {
        (Wrong::File(errors), true) => json!({ "errors": errors.iter().collect::<Vec<_>>() }).to_string(),
        // One shape for all of them, so that a program need not tell them apart.
        (Wrong::Other(why), true) => json!({ "errors": [{ "message": why }] }).to_string(),
        (Wrong::File(errors), false) => errors.to_string(),
        (Wrong::Other(why), false) => why.clone(),
    };
    let text = match account {
        Some(Account { name, .. }) if !as_json => format!(
            "{text}\n({}; to let it read a file: chgrp {name} FILE; chmod g+r FILE; and chmod g+x on directories above)",
            eyes(name)
        ),
        _ => text,
    };
    Checked { text, verdict: Verdict::Wrong }
}

/// With whose eyes the files were looked at: what root may read, the service may not.
fn eyes(name: &str) -> String {
    format!("looked at as the user {name}, as the service does; --user root looks as root")
}

/// Whose rights the looking thread has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own,
    Services,
}

fn look(path: &Path, whose: Whose) -> Result<Found, Wrong> {
    let (config, warnings) = Config::load(path).map_err(Wrong::File)?;
    // What a start would fail on is wrong now.
    crate::traffic::edge::rehearse(&config).map_err(|error| Wrong::Other(settings::with_causes(&error)))?;
    crate::engine::rehearse(&config).map_err(|error| Wrong::Other(settings::with_causes(&error)))?;
    let identity = config.nodes.as_ref().map(|nodes| identity(&nodes.identity));
    // An administrator who is neither root nor the service may write to none of them, and that is well.
    let unwritable = if whose == Whose::Services { unwritable(&config) } else { Vec::new() };
    Ok(Found { config, warnings, identity, unwritable })
}

/// Where the Edge writes. What is not there yet, systemd or the Edge makes.
fn unwritable(config: &Config) -> Vec<String> {
    let parent = |path: &Path| path.parent().map(Path::to_owned);
    let state = Some(config.state.clone());
    let places = [
        ("state", state),
        ("admin", parent(&config.admin.socket)),
        ("live_file", config.live_file.as_deref().and_then(parent)),
    ];
    let refused = |(key, directory): (&str, Option<PathBuf>)| {
        let directory = directory.filter(|directory| directory.exists())?;
        let may = rustix::fs::access(&directory, Access::WRITE_OK | Access::EXEC_OK).is_ok();
        (!may).then(|| format!("{key}: {} may not be written to; change its owner", directory.display()))
    };
    places.into_iter().filter_map(refused).collect()
}

/// Who the Edge is to nodes, and for how many days; the error says what is wrong with its certificate.
fn identity(directory: &Path) -> Result<String, String> {
    let identity = Identity::load(directory).map_err(|error| settings::with_causes(&error))?;
    match (identity.who(), identity.days_left()) {
        (who @ Who::Edge { .. }, days) => match expiry("this Edge", days) {
            Some(ends) if days < 0 => Err(ends),
            Some(ends) => Ok(format!("{who}; {ends}")),
            None => Ok(format!("{who}, for {days} days")),
        },
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
    /// Its name, and its port if that is not the backend's.
    title: String,
    works: bool,
    detail: String,
    took_ms: f64,
}

async fn ask_backends(config: &Config) -> Vec<Answer> {
    let mut asked = Vec::new();
    for at in placed(config) {
        let service = &config.services[at.service.0];
        let judged = checks_of(service).into_iter().map(|check| (title(&check, at.backend), check));
        let carriage = carriage_of(config, &at).map(|check| (format!("{}, as requests need it", check.name), check));
        for (title, check) in judged.chain(carriage) {
            let side = at.side.map_or("shared", |side| side.label());
            let titles = (check.name.clone(), title);
            let named = (side, service.name.clone(), at.backend.name.clone(), titles);
            let probe = probe_of(&check, at.backend, config.probe.time_limit);
            // All at once: dead backends take their time limit together, not one after the other.
            asked.push(tokio::spawn(async move {
                let (side, service, backend, (check, title)) = named;
                let (works, detail, took_ms) = match probe {
                    Err(error) => (false, error.to_string(), 0.0),
                    Ok(probe) => {
                        let report = probe.run().await;
                        let end =
                            report.certificate.as_ref().map(|certificate| certificate.term.end(SystemTime::now()));
                        // Whoever trusts a key beyond its certificate's dates has said so.
                        let detail = match end {
                            Some(End::Soon(days)) => {
                                format!("{}, its certificate expires in {days} days", report.detail())
                            }
                            Some(End::Past(days)) => {
                                format!("{}, its certificate expired {days} days ago", report.detail())
                            }
                            Some(End::Far) | None => report.detail().to_owned(),
                        };
                        (report.is_up(), detail, report.timings.total.as_secs_f64() * 1000.0)
                    }
                };
                Answer { side, service, backend, check, title, works, detail, took_ms }
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

/// What is told beside the configuration itself.
struct Told<'a> {
    warnings: &'a [Warning],
    answers: &'a [Answer],
    identity: Option<&'a Result<String, String>>,
    unwritable: &'a [String],
    times: &'a [TimesTold],
}

fn in_words(config: &Config, told: &Told<'_>, looked_as: Option<&str>) -> String {
    let Told { warnings, answers, identity, unwritable, times } = *told;
    let mut text = config.summary(warnings).to_string();
    for why in unwritable {
        let _ = writeln!(text, "{why}");
    }
    if let Some(name) = looked_as {
        let _ = writeln!(text, "files: {}", eyes(name));
    }
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
        let Answer { side, service, backend, title, detail, took_ms, .. } = answer;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {side:<8} {service} {backend} ({title}): {mark}: {detail}, {took_ms:.1} ms");
    }
    text
}

fn in_json(config: &Config, told: &Told<'_>, looked_as: Option<&str>) -> String {
    let Told { warnings, answers, identity, unwritable, times } = *told;
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
        "unwritable": unwritable,
        "looked_as": looked_as,
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
