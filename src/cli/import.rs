//! `bascule import`: the files of an existing Edge become a commented edge.yaml. It is printed, or written where nothing
//! is yet; what is not carried over goes to standard error, a line each, so that nobody finds it out by its absence.

mod diff;
mod known;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use failover::Side;
use import::{Disk, Draft, Given, ImportError, ROLES, Role, Source};
use serde_json::json;
use thiserror::Error;

use super::Exit;
use crate::admin::api::side;
use crate::config::Config;

/// What to read, and what the old files do not say.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Import {
    /// The old Edge's .env, or its nginx.conf; what that includes is looked for beside it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What it is; by default nginx for a name that ends in .conf, else env.
    #[arg(long)]
    format: Option<Format>,
    /// A variable that is not known here, or means something else: --map MY_XIVO=xivo. Keys: fqdn, alias, xivo, cc, sip,
    /// video, mds.NAME, turn_name, turn_on, host, assets_burst, chain, key, ignore.
    #[arg(long, value_name = "NAME=KEY", value_parser = mapped)]
    map: Vec<(String, Role)>,
    /// The preset to start from.
    #[arg(long, default_value = "xivo")]
    preset: String,
    /// The side whose addresses the file holds: the one that was live when it was written.
    #[arg(long, value_name = "SIDE", value_parser = side::parse, default_value = "main")]
    holds: Side,
    /// A service of Main: --main xivo=10.0.0.11. May be repeated, as the next two.
    #[arg(long, value_name = "SERVICE=ADDRESS", value_parser = pair)]
    main: Vec<(String, String)>,
    /// A service of Standby: --standby cc=10.0.0.22 --standby xivo=10.0.0.12.
    #[arg(long, value_name = "SERVICE=ADDRESS", value_parser = pair)]
    standby: Vec<(String, String)>,
    /// A service of both: --shared sip=http://127.0.0.1:8080, --shared mds.NAME=10.0.0.31.
    #[arg(long, value_name = "SERVICE=ADDRESS", value_parser = pair)]
    shared: Vec<(String, String)>,
    /// The certificate's full chain, PEM.
    #[arg(long, value_name = "FILE")]
    chain: Option<String>,
    /// Its key, PEM.
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
    /// The authority of the upstreams' certificates, PEM; without it whoever answers is believed, as the old Edge did.
    #[arg(long, value_name = "FILE")]
    upstream_ca: Option<String>,
    /// Where to listen, such as 0.0.0.0:8443 beside the old Edge; 0.0.0.0:443 unless said.
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Only watch at first: `observe: true`.
    #[arg(long)]
    observe: bool,
    /// Write here instead of to standard output; a file that exists is left alone.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Instead: what would differ, key by key, from the file that --config names.
    #[arg(long, conflicts_with = "out")]
    diff: bool,
}

/// How the old file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// `NAME=VALUE` lines, as Docker Compose reads them.
    Env,
    /// nginx's main file, or one with its servers.
    Nginx,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((service, address)) if !service.is_empty() && !address.is_empty() => {
            Ok((service.to_owned(), address.to_owned()))
        }
        _ => Err("write SERVICE=ADDRESS, as in xivo=10.0.0.12".to_owned()),
    }
}

fn mapped(text: &str) -> Result<(String, Role), String> {
    let (name, key) = text.split_once('=').ok_or_else(|| format!("write NAME=KEY; keys are {ROLES}"))?;
    Ok((name.to_owned(), key.parse()?))
}

/// Why there is no draft, or none where it was to go.
#[derive(Debug, Error)]
enum ImportFailure {
    /// The old file is not there, or the system does not let it be read.
    #[error("cannot read {}", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// Its bytes are no UTF-8: a value cut at a wrong place would be believed.
    #[error("{} is not UTF-8; save it as UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// A line of it, or of what it includes, has no meaning.
    #[error(transparent)]
    Wrong(#[from] ImportError),
    /// `--out` is there already, or cannot be made.
    #[error("cannot write {}; an import replaces no file", .0.display())]
    NotWritten(PathBuf, #[source] std::io::Error),
    /// The file of `--config` cannot be read, or is no YAML.
    #[error("cannot compare: {0}")]
    NotCompared(String),
}

/// Imports, and says what is left to do. Exit code 1 is a draft that does not pass `check` yet, or, with `--diff`, one
/// that differs.
pub fn run(import: &Import, config: &Path, as_json: bool) -> Exit {
    match carry_out(import, config, as_json) {
        Ok(exit) => exit,
        Err(error) => {
            say(&settings::with_causes(&error));
            if matches!(error, ImportFailure::NotWritten(..)) { Exit::Failed } else { Exit::Usage }
        }
    }
}

fn carry_out(import: &Import, config: &Path, as_json: bool) -> Result<Exit, ImportFailure> {
    let draft = drafted(import)?;
    if import.diff {
        return compare(&draft, config, as_json);
    }
    let name = import.out.as_deref().map_or_else(|| "the draft".to_owned(), |out| out.display().to_string());
    // What is missing would be told twice.
    let errors: Vec<String> = match draft.missing.is_empty() {
        true => Config::parse(&draft.yaml, &name)
            .err()
            .iter()
            .flat_map(|errors| errors.iter())
            .map(ToString::to_string)
            .collect(),
        false => Vec::new(),
    };
    if let Some(out) = &import.out {
        let written = std::fs::File::create_new(out).and_then(|mut file| file.write_all(draft.yaml.as_bytes()));
        written.map_err(|error| ImportFailure::NotWritten(out.clone(), error))?;
    }
    if as_json {
        let notes: Vec<_> = draft
            .notes
            .iter()
            .map(|note| json!({ "file": note.origin.file, "line": note.origin.line, "subject": note.subject, "reason": note.reason }))
            .collect();
        show(&json!({ "yaml": draft.yaml, "notes": notes, "missing": draft.missing, "errors": errors }).to_string());
    } else if import.out.is_none() {
        show(draft.yaml.trim_end());
    }
    draft.notes.iter().for_each(|note| say(&format!("{note}")));
    draft.missing.iter().for_each(|missing| say(&format!("missing: {missing}")));
    errors.iter().for_each(|error| say(error));
    Ok(if draft.missing.is_empty() && errors.is_empty() { Exit::Done } else { Exit::Failed })
}

fn drafted(import: &Import) -> Result<Draft, ImportFailure> {
    let source = read(&import.file)?;
    let by_name = if import.file.extension().is_some_and(|end| end == "conf") { Format::Nginx } else { Format::Env };
    Ok(match import.format.unwrap_or(by_name) {
        Format::Env => import::from_env(&source, &import.map, &given(import))?,
        Format::Nginx => {
            let files = Disk { limit: settings::LARGEST };
            import::from_nginx(&source, &files, &known::routes(&import.preset), &given(import))?
        }
    })
}

fn given(import: &Import) -> Given {
    Given {
        preset: import.preset.clone(),
        holds: import.holds,
        main: import.main.clone(),
        standby: import.standby.clone(),
        shared: import.shared.clone(),
        chain: import.chain.clone(),
        key: import.key.clone(),
        upstream_ca: import.upstream_ca.clone(),
        listen: import.listen.clone(),
        observe: import.observe,
    }
}

fn read(path: &Path) -> Result<Source, ImportFailure> {
    let bytes = settings::read_bytes(path).map_err(|error| ImportFailure::Unreadable(path.to_owned(), error))?;
    let text = String::from_utf8(bytes).map_err(|_| ImportFailure::NotText(path.to_owned()))?;
    Ok(Source { name: path.display().to_string(), text, path: path.to_owned() })
}

fn compare(draft: &Draft, config: &Path, as_json: bool) -> Result<Exit, ImportFailure> {
    let runs = settings::read_text(config).map_err(|errors| ImportFailure::NotCompared(errors.to_string()))?;
    let differences = diff::differences(&runs, &draft.yaml)
        .map_err(|why| ImportFailure::NotCompared(format!("{}: {why}; see `bascule check`", config.display())))?;
    if as_json {
        let listed: Vec<_> = differences
            .iter()
            .map(|found| json!({ "key": found.key, "runs": found.before, "import": found.after }))
            .collect();
        show(&json!({ "differences": listed }).to_string());
    } else {
        differences.iter().for_each(|found| show(&found.to_string()));
    }
    draft.notes.iter().for_each(|note| say(&format!("{note}")));
    Ok(if differences.is_empty() { Exit::Done } else { Exit::Failed })
}

fn show(text: &str) {
    // A closed pipe is the reader's business.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn say(text: &str) {
    // There is nobody else to tell.
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}
