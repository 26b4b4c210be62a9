//! `check`: what the configuration means, every inequality with both sides, the bounds that follow, and what on this machine
//! stands in the way.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use daemon::{Account, AskError, Client, Service};
use failover::Span;
use http::Method;
use protocol::identity::Identity;
use serde::Serialize;

use super::{Exit, Options, WATCHDOG};
use crate::config::{CommandSpec, Config, Fence, Role, Services, SipProbe, Source, Warning, XivoConfig};
use crate::control::api::StatusView;
use crate::legacy_failover::{self, LegacyFailover};
use crate::node::liveness::patient;
use crate::roles::specs;
use crate::roles::times::{Compared, Told, compare};

/// Everything that was found, for people or as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    /// Relations between the times: all hold, or the file had been refused.
    inequalities: Vec<Inequality>,
    /// The bounds that follow from the file's times.
    bounds: Vec<Bound>,
    /// What is sound and may surprise all the same.
    warnings: Vec<Warning>,
    /// Where Asterisk listens, in a sentence, or why that is not known; nothing where there is no fence of ports.
    listens: Option<String>,
    /// What stands in the way on this machine.
    troubles: Vec<String>,
    /// How the times differ from those of the other voters, as far as the watchdog that runs here heard them.
    times: Vec<String>,
}

/// `left` is at least `right`.
#[derive(Debug, Serialize)]
struct Inequality {
    left: &'static str,
    left_ms: u64,
    right: &'static str,
    right_ms: f64,
}

/// A time that nothing takes longer than.
#[derive(Debug, Serialize)]
struct Bound {
    what: String,
    ms: u64,
}

/// Checks, and prints what was found; what is read, as the service would read it, or the user of that name.
pub fn check(options: &Options, user: Option<&str>) -> Exit {
    let service = Service { unit: "bascule-watchdog.service", user: None, home: Path::new("/etc/bascule") };
    let account = match Account::of_service(service, user, &options.config) {
        Ok(account) => account,
        Err(error) => return usage(&error),
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let load_and_look =
        || Config::load(&options.config).map(|(config, warnings)| (look(&config, warnings, &path), config));
    let looked = match &account {
        None => Ok(load_and_look()),
        Some(account) => account.looks(load_and_look),
    };
    let eyes = account.as_ref().map(|account| format!("(looked at as the user {}, as the service does)", account.name));
    let (found, config) = match looked {
        Ok(Ok(looked)) => looked,
        Ok(Err(errors)) => {
            let _ = match (options.json, eyes) {
                (true, _) => writeln!(io::stdout(), "{}", json(&errors.iter().collect::<Vec<_>>())),
                (false, Some(eyes)) => writeln!(io::stderr(), "{errors}\n{eyes}"),
                (false, None) => writeln!(io::stderr(), "{errors}"),
            };
            return Exit::Usage;
        }
        Err(error) => return usage(&error),
    };
    if let (false, Some(eyes)) = (options.json, eyes) {
        let _ = writeln!(io::stdout(), "{eyes}");
    }
    let mut found = found;
    // The watchdog is not asked as that user: its socket lets root in, and not everybody.
    if let Role::Xivo(xivo) = &config.role {
        found.compare_times(xivo, others(&config));
    }
    let text = if options.json { json(&found) } else { in_words(&config, &found) };
    let _ = writeln!(io::stdout(), "{}", text.trim_end());
    if found.troubles.is_empty() { Exit::Done } else { Exit::Failed }
}

fn usage(error: &impl std::fmt::Display) -> Exit {
    let _ = writeln!(io::stderr(), "{error}");
    Exit::Usage
}

/// Asks the watchdog that runs here what the other voters told of their times; the error says why it cannot.
fn others(config: &Config) -> Result<Told, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let client = Client { socket: config.control.clone(), program: &WATCHDOG };
    let status = runtime.block_on(client.ask(Method::GET, "/status", Vec::new()));
    let body = status.map_err(|error: AskError| error.to_string())?;
    let view: StatusView = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let duty = view.duty.ok_or("the watchdog that runs here is not that of a XiVO node")?;
    let (peer, witness) = (duty.voters.peer, duty.voters.witness);
    Ok(Told {
        peer_needs: peer.needs_ms,
        peer_promises: peer.promises_ms,
        witness_promises: witness.and_then(|witness| witness.promises_ms),
    })
}

impl Found {
    /// The file's times beside those that the other voters have: a restart with a file that they cannot promise to would
    /// find no vote.
    fn compare_times(&mut self, xivo: &XivoConfig, told: Result<Told, String>) {
        match told {
            Ok(told) => {
                let Compared { alarms, remarks } = compare(&xivo.duty.timing, &told);
                self.troubles.extend(alarms.into_iter().map(|alarm| format!("timing: {alarm}")));
                self.times = remarks;
            }
            Err(why) => {
                let why = why.lines().next().unwrap_or_default();
                self.times = vec![format!("whether the other voters have the same is not known: {why}")];
            }
        }
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Looks at the configuration and at the machine.
pub(super) fn look(config: &Config, warnings: Vec<Warning>, path: &std::ffi::OsStr) -> Found {
    let mut troubles = Vec::new();
    identity(config, &mut troubles);
    let mut listens = None;
    let (inequalities, bounds) = match &config.role {
        Role::Xivo(xivo) => {
            services(&xivo.services, path, &mut troubles);
            listens = ports(xivo, &mut troubles);
            (inequalities(xivo), bounds(xivo))
        }
        Role::Cc(cc) => {
            services(&cc.services, path, &mut troubles);
            if let Source::Command(asked) = &cc.xivo {
                program("xivo.status", &asked.command, path, &mut troubles);
            }
            let started = cc.services.start.time_limit + cc.services.verify_limit;
            let what = "from its XiVO's activation to a verified CC, if start and check use their limits".to_owned();
            (Vec::new(), vec![Bound { what, ms: ms(started) }])
        }
        Role::Mds(_) => (Vec::new(), Vec::new()),
    };
    if let Some(table) = &config.legacy_failover
        && let Some(trouble) = match legacy_failover::look(table) {
            LegacyFailover::Absent | LegacyFailover::Silent => None,
            LegacyFailover::Active { line, .. } => Some(format!(
                "{}:{line}: XiVO's own failover is active; `run` refuses beside it: bascule-watchdog takeover",
                table.display()
            )),
            LegacyFailover::Unknown(why) => Some(format!("{}: cannot be read: {why}", table.display())),
        }
    {
        troubles.push(trouble);
    }
    Found { inequalities, bounds, warnings, listens, troubles, times: Vec::new() }
}

/// Asks the node's Asterisk where it listens, and compares that with the fence.
fn ports(xivo: &XivoConfig, troubles: &mut Vec<String>) -> Option<String> {
    // Which ports a fence of commands holds, nobody but its author knows.
    if xivo.fence != Fence::Nft {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        runtime.block_on(specs::asterisk(&xivo.asterisk).ports()).map_err(|error| error.to_string())
    });
    Some(match asked {
        Ok(ports) => {
            troubles.extend(ports.beyond(&xivo.sip.ports).map(|open| format!("sip.ports: {open}")));
            format!("Asterisk listens on, or registers at, {}.", ports.sentence())
        }
        Err(why) => {
            // An Asterisk that does not run is no trouble: that of an inactive node never does.
            format!("Where Asterisk listens is not known, as it could not be asked; check again where it runs ({why}).")
        }
    })
}

fn identity(config: &Config, troubles: &mut Vec<String>) {
    match Identity::load(&config.identity) {
        Err(error) => {
            let error = settings::with_causes(&error);
            troubles.push(format!("identity: {error}; make it with `bascule certs`"));
        }
        Ok(identity) => {
            if let Some(trouble) = crate::config::mismatch(config, identity.who()) {
                troubles.push(format!("identity {}: {trouble}", config.identity.display()));
            }
            let ends = protocol::identity::expiry("this node", identity.days_left());
            troubles.extend(ends.map(|ends| format!("identity: {ends}")));
        }
    }
}

fn services(services: &Services, path: &std::ffi::OsStr, troubles: &mut Vec<String>) {
    // Whoever restarts, stops nothing: a stop that is never run is nobody's concern.
    let always = match &services.instance {
        Some(instance) => [("restart", &services.start), ("instance", instance)],
        None => [("start", &services.start), ("stop", &services.stop)],
    };
    let check = services.check.as_ref().map(|check| ("check", &check.command));
    let others = [("stopped", &services.stopped), ("fit", &services.fit), ("by_hand", &services.by_hand)];
    let others = others.into_iter().filter_map(|(key, command)| Some((key, command.as_ref()?)));
    for (key, command) in always.into_iter().chain(check).chain(others) {
        program(&format!("services.{key}"), command, path, troubles);
    }
}

/// Tells if the program of the command at this key is not there.
fn program(key: &str, CommandSpec { argv, .. }: &CommandSpec, path: &std::ffi::OsStr, troubles: &mut Vec<String>) {
    let program = argv.first().map_or("", String::as_str);
    if !is_program(program, path) {
        troubles.push(format!("{key}.command: there is no program {program:?} on this machine's PATH"));
    }
}

fn is_program(name: &str, path: &std::ffi::OsStr) -> bool {
    let executable = |file: &Path| {
        std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    match name.contains('/') {
        true => executable(Path::new(name)),
        false => std::env::split_paths(path).any(|directory| executable(&directory.join(name))),
    }
}

fn inequalities(xivo: &XivoConfig) -> Vec<Inequality> {
    let timing = &xivo.duty.timing;
    let row = |left, value, right, least: Duration| Inequality {
        left,
        left_ms: ms(value),
        right,
        right_ms: least.as_secs_f64() * 1000.0,
    };
    let out = timing.lease.max(timing.witness_restart) + timing.granularity;
    let mut rows = vec![
        row("lease", timing.lease, "2 heartbeat + request_limit", timing.shortest_lease()),
        row("promise", timing.promise, "(lease + pause + fence)(1 + 2 drift) + granularity", timing.shortest_promise()),
        row("quiet", timing.quiet, "promise", timing.promise),
        row("witness_out", timing.witness_out, "max(lease, witness_restart) + granularity", out),
        row("retry_limit", xivo.duty.retry_limit, "retry", xivo.duty.retry),
        row("hold_down_limit", xivo.duty.hold_down_limit, "hold_down", xivo.duty.hold_down),
    ];
    // Only without a fence is the stop what keeps phones out.
    if xivo.fence == Fence::None {
        rows.push(row("fence", timing.fence, "services.stop.time_limit", xivo.services.stop.time_limit));
    }
    rows
}

fn bounds(xivo: &XivoConfig) -> Vec<Bound> {
    let timing = &xivo.duty.timing;
    let Services { start, verify_limit, .. } = &xivo.services;
    let bound = |what: &str, time: Duration| Bound { what: what.to_owned(), ms: ms(time) };
    let dead = patient(xivo.sip.time_limit).fault_bound_silent();
    let mut bounds = vec![
        bound("from the death of the serving host to the other's start command (takeover)", timing.takeover_bound()),
        bound(
            "from that death to a verified node, if start and check use their limits (activation)",
            timing.activation_bound(start.time_limit, *verify_limit),
        ),
        bound("a serving node that is cut off serves on (fence bound)", timing.fence_bound()),
        bound("a node that was frozen or whose disk was lost grants nothing (quiet)", timing.quiet),
        bound("Main has been fit for, before Standby stops for it (hold_down)", xivo.duty.hold_down),
        bound("the same, after activations of Main that failed (hold_down_limit)", xivo.duty.hold_down_limit),
    ];
    if xivo.sip.check != SipProbe::Off {
        bounds.push(bound("telephony that answers no more is known to be dead (sip.time_limit)", dead));
    }
    bounds
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn in_words(config: &Config, found: &Found) -> String {
    let side = config.side().map(|side| format!(", {side}")).unwrap_or_default();
    let mut lines = vec![format!("role {}{side}: the configuration is sound.", config.kind())];
    let span = |ms: u64| Span(Duration::from_millis(ms));
    if !found.inequalities.is_empty() {
        lines.push("\nRelations between the times (timing:); the peer and the Edge need the same:".into());
    }
    for Inequality { left, left_ms, right, right_ms } in &found.inequalities {
        lines.push(format!("  {left} {left_ms} ms >= {right_ms:.1} ms = {right}"));
    }
    found.times.iter().for_each(|remark| lines.push(format!("  {remark}")));
    if !found.bounds.is_empty() {
        lines.push("\nBounds, at most:".into());
    }
    for Bound { what, ms } in &found.bounds {
        lines.push(format!("  {:>8}  {what}", span(*ms).to_string()));
    }
    if let Role::Xivo(xivo) = &config.role {
        lines.push(format!("\n{}", fence(xivo)));
        lines.extend(found.listens.clone());
        if xivo.witness.is_none() {
            lines.push(
                "No witness: this node is unguarded whenever its peer is silent; a cut can make two Actives.".into(),
            );
        }
    }
    for warning in &found.warnings {
        lines.push(format!("warning: {warning}"));
    }
    for trouble in &found.troubles {
        lines.push(format!("TROUBLE: {trouble}"));
    }
    lines.join("\n")
}

fn fence(xivo: &XivoConfig) -> String {
    let timing = &xivo.duty.timing;
    let stop = Span(xivo.services.stop.time_limit);
    match &xivo.fence {
        Fence::Nft => format!(
            "fence: nft, ports {}. The kernel lets phones in for one lease at a time: even a frozen watchdog serves {} at most.",
            xivo.sip.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            Span(timing.lease + timing.pause)
        ),
        Fence::None => format!(
            "fence: none. Only the stop command keeps phones out, so the fence's time is its limit ({stop}) and every takeover \
             waits for it: the promise must be {} or more, here it is {}. A frozen watchdog serves on.",
            Span(timing.shortest_promise()),
            Span(timing.promise)
        ),
        Fence::Command(_) => format!(
            "fence: by command, within {}. A frozen watchdog runs no command, and serves on.",
            Span(timing.fence)
        ),
    }
}
