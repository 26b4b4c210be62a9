//! What can happen to a site, and what has to come of it.

mod edge;
mod telephony;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::outcome::Outcome;
use crate::site::Place;

/// How a scenario ended.
#[derive(Debug)]
pub(crate) enum End {
    Passed,
    /// Something it needs is not here.
    Skipped(String),
    Failed(String),
}

/// A scenario by name.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    needs: &'static [Need],
    act: fn(&mut Stage) -> Outcome,
}

/// What a scenario cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Asterisk,
    /// The program `bascule`.
    Edge,
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "parts",
        about: "the lab's own parts do what they are for",
        needs: &[Need::Asterisk],
        act: telephony::parts,
    },
    Scenario {
        name: "edge-alone",
        about: "without watchdogs, a switch by hand takes users and their softphones along",
        needs: &[Need::Asterisk, Need::Edge],
        act: edge::alone,
    },
];

/// What scenarios are played on.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) place: Place,
    binaries: Option<PathBuf>,
}

impl Stage {
    pub(crate) fn new(place: Place) -> Self {
        let binaries = std::env::var_os("BASCULE_LAB_BINARIES").map(PathBuf::from);
        // Tests are built into `deps`, beside which programs are.
        let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.to_owned());
        Self { place, binaries: binaries.or_else(beside) }
    }

    fn binaries(&self) -> Outcome<&Path> {
        self.binaries.as_deref().ok_or_else(|| "no directory with programs".to_owned())
    }

    fn has_program(&self, name: &str) -> bool {
        self.binaries.as_ref().is_some_and(|binaries| binaries.join(name).is_file())
    }

    fn lacks(&self, need: Need) -> Option<String> {
        match need {
            _ if !rustix::process::geteuid().is_root() => Some("only root can make network namespaces".to_owned()),
            Need::Edge => (!self.has_program("bascule")).then(|| "no program bascule".to_owned()),
            Need::Asterisk => {
                (!self.place.has("asterisk")).then(|| "no Asterisk (tests/lab/need brings it)".to_owned())
            }
        }
    }
}

/// Plays one scenario to its end; a panic is a failure like any other.
pub(crate) fn play(scenario: &Scenario, stage: &mut Stage) -> End {
    if let Some(why) = scenario.needs.iter().find_map(|need| stage.lacks(*need)) {
        return End::Skipped(why);
    }
    match catch_unwind(AssertUnwindSafe(|| (scenario.act)(stage))) {
        Ok(Ok(())) => End::Passed,
        Ok(Err(why)) => End::Failed(why),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            End::Failed(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked").to_owned())
        }
    }
}
