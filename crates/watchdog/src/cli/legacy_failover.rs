//! `takeover` and `release`: XiVO's own failover out of the way, and back.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::{Exit, Options};
use crate::config::Config;
use crate::legacy_failover::{self, LegacyFailoverError, Outcome};
use crate::state::{Entry, Journal, Kind};

#[derive(Serialize)]
struct Told {
    changed: bool,
    sentence: String,
}

/// Moves XiVO's cron table aside, so that nobody decides beside the watchdog.
pub fn take_over(options: &Options) -> Exit {
    carry_out(options, |path, config, who| legacy_failover::take_over(path, &config.state, who))
}

/// Puts it back. Not beside a running watchdog.
pub fn release(options: &Options) -> Exit {
    carry_out(options, |path, config, _| {
        // Two would decide: every minute the cron table would undo what the watchdog does.
        if UnixStream::connect(&config.control).is_ok() {
            let source = io::Error::other("a watchdog runs; end it first: systemctl disable --now bascule-watchdog");
            return Err(LegacyFailoverError::Io { act: "put back", path: path.to_owned(), source });
        }
        legacy_failover::release(path, &config.state)
    })
}

fn carry_out(options: &Options, act: impl Fn(&Path, &Config, &str) -> Result<Outcome, LegacyFailoverError>) -> Exit {
    let config = match Config::load(&options.config) {
        Ok((config, _)) => config,
        Err(errors) => {
            let _ = writeln!(io::stderr(), "{errors}");
            return Exit::Usage;
        }
    };
    let told = match config.legacy_failover.as_deref() {
        None => Told { changed: false, sentence: "`legacy_failover: off`: there is nothing to do.".into() },
        Some(path) => {
            let who = daemon::who(&daemon::user(rustix::process::getuid().as_raw()), &daemon::behind_sudo());
            match act(path, &config, &who) {
                Ok(outcome) => {
                    let told = in_words(path, &outcome);
                    if told.changed {
                        note(&config.state, &told.sentence, &who);
                    }
                    told
                }
                Err(error) => {
                    let _ = writeln!(io::stderr(), "{error}");
                    return Exit::Failed;
                }
            }
        }
    };
    let text = match options.json {
        true => serde_json::to_string(&told).unwrap_or_default(),
        false => told.sentence,
    };
    let _ = writeln!(io::stdout(), "{text}");
    Exit::Done
}

fn in_words(path: &Path, outcome: &Outcome) -> Told {
    let path = path.display();
    let (changed, sentence) = match outcome {
        Outcome::Taken(kept) => (
            true,
            format!(
                "Moved {path} to {}: XiVO's own failover is off. Put it back with: bascule-watchdog release.",
                kept.display()
            ),
        ),
        Outcome::TakenAlready(kept) => {
            (false, format!("XiVO's own failover is off already; its table is {}.", kept.display()))
        }
        Outcome::NothingThere => (false, format!("There is nothing to do at {path}.")),
        Outcome::Released => (true, format!("Put {path} back: XiVO's own failover is on again.")),
        Outcome::Superseded => {
            (true, format!("XiVO has put a newer {path} there since: it stays, and the one kept aside is removed."))
        }
    };
    Told { changed, sentence }
}

/// The journal is for people: without it the act still counts.
fn note(state: &Path, sentence: &str, who: &str) {
    if let Ok(journal) = Journal::open(state) {
        journal.append(Entry::new(Kind::LegacyFailover, sentence).by(who, ""));
        journal.flush(Duration::from_secs(2));
    }
}
