//! Commands, and what is started, stopped and checked.

use std::time::Duration;

use settings::{Findings, KeyPath, Span};

use crate::config::file::{AsteriskFile, CommandFile, RepeatedFile, ReplicationFile, ServicesFile};
use crate::config::preset::Preset;
use crate::config::{Asterisk, CommandSpec, Repeated, Replication, Services, defaults};

pub(super) fn services(
    written: Option<ServicesFile>,
    preset: Preset,
    verify_limit: Duration,
    findings: &mut Findings,
) -> Option<Services> {
    let at = KeyPath::top("services");
    let file = written.unwrap_or_default();
    let restarts = file.restart.is_some() || preset.restart.is_some();
    let (start, stop, instance) = if restarts {
        for (key, written) in [("start", file.start.is_some()), ("stop", file.stop.is_some())] {
            if written {
                let remedy =
                    "remove it; or write `preset: xivo-nextlts` for a CC that is stopped where it is not needed";
                findings.error(&at.key(key), "has no meaning beside services.restart", remedy);
            }
        }
        let start = required(file.restart, preset.restart, defaults::START_LIMIT, &at.key("restart"), findings);
        let limit = defaults::COMMAND_LIMIT;
        // An answer proves nothing: the services of before the restart answer, too.
        let instance = required(file.instance, preset.instance, limit, &at.key("instance"), findings);
        // Nothing orders a stop of services that are restarted; was it ever run, it must stop nothing.
        let stop = Some(CommandSpec { argv: vec!["true".into()], time_limit: limit });
        (start, stop, Some(instance?))
    } else {
        if file.instance.is_some() {
            let remedy = "write `services.restart`, or remove it";
            findings.error(&at.key("instance"), "has no meaning without services.restart", remedy);
        }
        let start = required(file.start, preset.start, defaults::START_LIMIT, &at.key("start"), findings);
        (start, required(file.stop, preset.stop, defaults::STOP_LIMIT, &at.key("stop"), findings), None)
    };
    let check = check(file.check, preset, &at.key("check"), findings);
    let mut optional = |file, key: &str| optional(file, None, defaults::COMMAND_LIMIT, &at.key(key), findings);
    let (stopped, fit, by_hand) =
        (optional(file.stopped, "stopped"), optional(file.fit, "fit"), optional(file.by_hand, "by_hand"));
    let recover = span(file.recover, defaults::RECOVER);
    let verify_limit = positive(file.verify_limit, verify_limit, &at.key("verify_limit"), findings);
    Some(Services { start: start?, stop: stop?, check, stopped, fit, by_hand, instance, recover, verify_limit })
}

fn check(file: Option<RepeatedFile>, preset: Preset, at: &KeyPath, findings: &mut Findings) -> Option<Repeated> {
    let RepeatedFile { command, time_limit, interval } = file.unwrap_or_default();
    let interval = positive(interval, defaults::CHECK_INTERVAL, &at.key("interval"), findings);
    let command = CommandFile { command, time_limit };
    let command = optional(Some(command), preset.check, defaults::COMMAND_LIMIT, at, findings)?;
    Some(Repeated { command, interval })
}

/// A command that no preset knows.
pub(super) fn demanded(file: CommandFile, at: &KeyPath, findings: &mut Findings) -> Option<CommandSpec> {
    required(Some(file), None, defaults::COMMAND_LIMIT, at, findings)
}

fn required(
    file: Option<CommandFile>,
    preset: Option<&[&str]>,
    limit: Duration,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<CommandSpec> {
    let before = findings.has_errors();
    let command = optional(Some(file.unwrap_or_default()), preset, limit, at, findings);
    if command.is_none() && (!before || !findings.is_reported(&at.key("command"))) {
        let remedy = "write program and arguments as a list, or `preset: xivo`";
        findings.missing(&at.key("command"), "is missing", remedy);
    }
    command
}

fn optional(
    file: Option<CommandFile>,
    preset: Option<&[&str]>,
    limit: Duration,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<CommandSpec> {
    let file = file?;
    let time_limit = positive(file.time_limit, limit, &at.key("time_limit"), findings);
    let known = || preset.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
    let argv = argv(file.command.or_else(known), &at.key("command"), findings)?;
    Some(CommandSpec { argv, time_limit })
}

/// A command line without a shell.
pub(super) fn argv(written: Option<Vec<String>>, at: &KeyPath, findings: &mut Findings) -> Option<Vec<String>> {
    let argv = written?;
    match argv.first() {
        None => {
            findings.error(at, "the list is empty", "write program and arguments, such as [xivo-service, start, all]")
        }
        Some(program) if program.is_empty() => findings.error(at, "the program has no name", "write it first"),
        // No shell takes it apart: a program of that whole name would be looked for, and not be there when it is
        // needed.
        Some(program) if argv.len() == 1 && program.contains(' ') => findings.error(
            at,
            format!("{program:?} is one word with spaces"),
            "write program and arguments apart: [xivo-service, start, all]; no shell reads them",
        ),
        Some(_) if argv.iter().any(|word| word.contains('\0')) => {
            findings.error(at, "holds a zero byte", "remove it");
        }
        Some(_) => return Some(argv),
    }
    None
}

pub(super) fn asterisk(written: Option<AsteriskFile>, findings: &mut Findings) -> Option<Asterisk> {
    let at = KeyPath::top("asterisk");
    let AsteriskFile { command, name } = written.unwrap_or_default();
    let command = command.or_else(|| Some(vec![defaults::ASTERISK.to_owned()]));
    let command = argv(command, &at.key("command"), findings);
    let name = name.unwrap_or_else(|| defaults::REGISTRATION.to_owned());
    // It becomes part of a line that Asterisk's command line reads.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.{}".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        let remedy = "write letters, digits, - _ and ., and {mds} for the media server's name";
        findings.error(&at.key("name"), format!("{name:?} is no name of a registration"), remedy);
        return None;
    }
    Some(Asterisk { command: command?, name })
}

pub(super) fn replication(written: Option<ReplicationFile>, findings: &mut Findings) -> Option<Replication> {
    let file = written?;
    let at = KeyPath::top("replication");
    let hold = required(file.hold, None, defaults::COMMAND_LIMIT, &at.key("hold"), findings);
    let resume = required(file.resume, None, defaults::COMMAND_LIMIT, &at.key("resume"), findings);
    Some(Replication { hold: hold?, resume: resume? })
}

pub(super) fn span(written: Option<Span>, default: Duration) -> Duration {
    written.map_or(default, |span| span.0)
}

/// Resolves a time that must be above zero.
pub(super) fn positive(written: Option<Span>, default: Duration, at: &KeyPath, findings: &mut Findings) -> Duration {
    let value = span(written, default);
    if value.is_zero() {
        findings.error(at, "0s is no time", format!("write a time such as {}", Span(default)));
    }
    value
}
