//! The steps, and what the facts say of each.

use std::fmt;
use std::time::Duration;

use failover::health::Status;
use failover::{PerSide, Side};
use protocol::wire::WishOutcome;

use super::facts::Facts;

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The node that serves is asked to hand over.
    HandOver,
    /// The node that serves stops telephony, and says that it is inactive.
    Stop,
    /// The other starts telephony, and says that it is active.
    Start,
    /// The new one is registered with every media server.
    Register,
    /// The contact centre follows.
    Contact,
    /// The Edge moves its traffic.
    Traffic,
    /// All that was moved works.
    Verify,
}

impl Step {
    /// All, in order.
    pub const ALL: &'static [Self] =
        &[Self::HandOver, Self::Stop, Self::Start, Self::Register, Self::Contact, Self::Traffic, Self::Verify];

    pub(super) fn next(self) -> Option<Self> {
        Self::ALL.get(self as usize + 1).copied()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::HandOver => "hand over",
            Self::Stop => "stop telephony",
            Self::Start => "start telephony",
            Self::Register => "register with media servers",
            Self::Contact => "start contact centre",
            Self::Traffic => "move traffic",
            Self::Verify => "verify",
        })
    }
}

/// How long each step may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until the node has answered a wish.
    pub hand_over: Duration,
    /// For its stop command and the check that nothing runs.
    pub stop: Duration,
    /// For the other's start command and its check.
    pub start: Duration,
    /// For registrations.
    pub register: Duration,
    /// For the contact centre's start command and its check.
    pub contact: Duration,
    /// For the probes to see it.
    pub traffic: Duration,
    /// For the sessions to move.
    pub verify: Duration,
    /// For all to be as it was.
    pub undo: Duration,
}

impl Limits {
    /// That of a step.
    pub const fn of(&self, step: Step) -> Duration {
        match step {
            Step::HandOver => self.hand_over,
            Step::Stop => self.stop,
            Step::Start => self.start,
            Step::Register => self.register,
            Step::Contact => self.contact,
            Step::Traffic => self.traffic,
            Step::Verify => self.verify,
        }
    }
}

/// What the facts say of a step.
pub(super) enum Progress {
    /// The step is done.
    Passed(String),
    /// Not yet; if it stays so, the step fails.
    Waiting(String),
    /// Not yet; if it stays so, that is no reason to go back.
    Lingers(String),
    /// The step cannot be done.
    Failed(String),
}

use Progress::{Failed, Lingers, Passed, Waiting};

impl Step {
    pub(super) fn progress(self, to: Side, facts: &Facts, wished: &PerSide<Option<u64>>) -> Progress {
        let from = to.other();
        match self {
            Self::HandOver => hand_over(from, facts, wished[from]),
            Self::Stop => stop(to, facts),
            Self::Start => start(to, facts, wished[to]),
            Self::Register => register(to, facts),
            Self::Contact => contact(to, facts),
            Self::Traffic => traffic(to, facts),
            Self::Verify => verify(to, facts),
        }
    }
}

/// Why a node does not follow the wish with this number.
pub(super) fn refusal(facts: &Facts, side: Side, wish: Option<u64>) -> Option<String> {
    let wished = facts.xivo(side)?.wished.as_ref()?;
    match &wished.outcome {
        WishOutcome::Refused { reason } if Some(wished.id) == wish => Some(reason.clone()),
        _ => None,
    }
}

/// Whether a node has answered the wish with this number.
pub(super) fn answered(facts: &Facts, side: Side, wish: Option<u64>) -> bool {
    let newest = facts.xivo(side).and_then(|xivo| xivo.wished.as_ref());
    wish.is_none() || newest.is_some_and(|wished| Some(wished.id) == wish)
}

fn hand_over(from: Side, facts: &Facts, wish: Option<u64>) -> Progress {
    if let Some(reason) = refusal(facts, from, wish) {
        return Failed(format!("{from} does not follow: {reason}"));
    }
    match facts.xivo(from) {
        None => Waiting(format!("{from} is not heard of")),
        // It does not serve, whether it follows or not: that is what the step is for.
        Some(xivo) if !matches!(xivo.status, Status::Active | Status::Starting) => {
            Passed(format!("{from} is {}", xivo.status))
        }
        Some(_) if wish.is_some() && answered(facts, from, wish) => Passed(format!("{from} follows")),
        Some(_) => Waiting(format!("{from} has not answered")),
    }
}

fn stop(to: Side, facts: &Facts) -> Progress {
    let from = to.other();
    // An active target has the votes, so the source has not: it has stopped, heard of or not.
    if facts.xivo(from).is_none() && facts.is_active(to) {
        return Passed(format!("{from} is not heard of, and {to} has the votes"));
    }
    match facts.xivo(from).map(|xivo| xivo.status) {
        Some(Status::Inactive) => Passed(format!("{from} is inactive")),
        Some(Status::Faulty) => Failed(format!("{from} is faulty")),
        _ => Waiting(format!("{from} {}", facts.in_words(from))),
    }
}

fn start(to: Side, facts: &Facts, wish: Option<u64>) -> Progress {
    match facts.xivo(to).map(|xivo| xivo.status) {
        Some(Status::Active) => Passed(format!("{to} is active")),
        Some(Status::Faulty) => Failed(format!("{to} is faulty")),
        // It took its duty back, as nobody took it up.
        _ if facts.serves(to.other()) => Failed(format!("{to} did not start, and {} serves again", to.other())),
        _ => match refusal(facts, to, wish) {
            Some(reason) => Failed(format!("{to} does not follow: {reason}")),
            None => Waiting(format!("{to} {}", facts.in_words(to))),
        },
    }
}

fn register(to: Side, facts: &Facts) -> Progress {
    let Some(xivo) = facts.xivo(to) else { return Waiting(format!("{to} is not heard of")) };
    let missing: Vec<String> = xivo
        .media_servers
        .iter()
        .filter(|(_, server)| !server.registered)
        .map(|(name, server)| format!("{name}: {}", server.state))
        .collect();
    if !missing.is_empty() {
        return Waiting(missing.join("; "));
    }
    // A media server that has both would send calls to the node that stopped.
    if !facts.conflicts.is_empty() {
        return Waiting(format!("both XiVO nodes are registered with {}", facts.conflicts.join(", ")));
    }
    match xivo.media_servers.len() {
        0 => Passed("there is none".to_owned()),
        count => Passed(format!("{count} verified")),
    }
}

fn contact(to: Side, facts: &Facts) -> Progress {
    if !facts.has_cc_nodes {
        return Passed("no CC node reports: probes judge them".to_owned());
    }
    let cc = &facts.half(to).cc;
    // One is enough, as one backend is (`nodes::Registry::word`).
    if let Some(active) = cc.iter().find(|cc| cc.status == Status::Active) {
        return Passed(format!("{} is active", active.name));
    }
    match cc.first() {
        Some(first) => Waiting(format!("{} is {}", first.name, first.status)),
        None => Waiting(format!("no CC of {to} is heard of")),
    }
}

fn traffic(to: Side, facts: &Facts) -> Progress {
    if facts.live == to {
        return Passed(format!("{to} is live"));
    }
    Waiting(format!("{to} {}", facts.half(to).health))
}

fn verify(to: Side, facts: &Facts) -> Progress {
    let half = facts.half(to);
    if facts.live != to {
        // The Edge has moved it away by its own rules: a failover, which this must not work against.
        return Failed(format!("traffic is on {}", facts.live));
    }
    if !half.works {
        return Waiting(format!("{to} {}", half.health));
    }
    if !facts.is_active(to) {
        return Waiting(format!("{to} {}", facts.in_words(to)));
    }
    match facts.half(to.other()).sessions {
        0 => Passed(format!("{to} serves and works, and no session is left on {}", to.other())),
        left => Lingers(format!("{to} serves and works; {left} sessions are left on {}", to.other())),
    }
}
