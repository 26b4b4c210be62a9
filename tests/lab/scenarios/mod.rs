//! What can happen to a site, and what has to come of it.

mod telephony;

use std::panic::{AssertUnwindSafe, catch_unwind};

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
}

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "parts",
    about: "the lab's own parts do what they are for",
    needs: &[Need::Asterisk],
    act: telephony::parts,
}];

/// What scenarios are played on.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) place: Place,
}

impl Stage {
    pub(crate) fn new(place: Place) -> Self {
        Self { place }
    }

    fn lacks(&self, need: Need) -> Option<String> {
        match need {
            _ if !rustix::process::geteuid().is_root() => Some("only root can make network namespaces".to_owned()),
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
