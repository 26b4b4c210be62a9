//! What a switch tells its driver to do, to keep and to say.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::decide::HoldReason;
use super::doubt::Doubt;
use super::machine::Act;
use crate::health::SideHealth;
use crate::names::{Explain, Names, display_numbered};
use crate::side::Side;
use crate::time::{Instant, Span};

/// What a driver must do for a [`Switch`](super::Switch), in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Keep this across restarts. Comes before the move it belongs to, so that a crash between the two forgets nothing.
    Persist(Memory),
    /// Move traffic, after the memory that came before it was persisted.
    SwitchTo(Move),
    /// `observe` is on: this move would have been made.
    WouldSwitch(Move),
    /// Probe the required checks of a side now.
    Reprobe {
        /// The side whose required checks are to be probed.
        side: Side,
        /// Why what is known is not enough.
        reason: ReprobeReason,
    },
    /// The rule that keeps traffic where it is changed.
    Stands(HoldReason),
    /// The Edge begins to doubt itself; older evidence no longer counts.
    SelfDoubt(Doubt),
    /// Newer evidence, or its time limit, ended a doubt.
    DoubtOver(Doubt),
    /// The budget of automatic switches is used up: only a dead side is left from now on.
    Damped {
        /// Automatic switches in the last hour.
        used: usize,
        /// When the budget allows one again.
        until: Option<Instant>,
    },
    /// The budget allows an automatic switch again.
    Undamped,
    /// Automatic switches are forbidden until an operator resumes.
    Frozen(FreezeReason),
    /// Automatic switches are allowed, and an operator's choice of Standby no longer binds.
    Resumed,
    /// An operator emptied the record of automatic switches.
    BudgetReset,
    /// An operator's act was not carried out.
    Refused {
        /// The act that was asked for.
        act: Act,
        /// The rule that stood against it.
        reason: Refusal,
    },
}

/// What must survive a restart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    /// The side that gets the traffic after a restart, too.
    pub live: Side,
    /// The switch epoch: grows by one with each switch.
    pub epoch: u64,
    /// Whether an operator forbade automatic switches.
    pub frozen: bool,
    /// What the last switch was.
    pub last: Option<Kind>,
    /// How long ago each automatic switch of the last hour was when this was written, oldest first. The driver keeps the
    /// time of writing, and adds what has passed since.
    pub switches: Vec<Duration>,
}

crate::closed_set! {
    /// What a switch is called.
    pub enum Kind {
        /// Main to Standby, by the machine's own rules.
        Failover => "failover",
        /// Standby to Main, by the machine's own rules.
        Failback => "failback",
        /// Either way, on an operator's word.
        Planned => "planned",
    }
}
crate::spelled!(Kind);

/// As a word within a sentence: journals and reports are read by people.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Planned => "planned switch",
            _ => self.label(),
        })
    }
}

/// One switch: from where, to where, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Move {
    /// The side that was live.
    pub from: Side,
    /// The side that is live.
    pub to: Side,
    /// The switch epoch that begins with it.
    pub epoch: u64,
    /// What it is called: failover, failback or planned.
    pub kind: Kind,
    /// When it was decided; traffic moves when it is on the disk.
    pub at: Instant,
    /// The facts it rests on, for the journal and the report (E8).
    pub cause: Cause,
}

/// Why a switch was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The live side does not work and the other does.
    LiveDoesNotWork {
        /// The health of the side left.
        left: SideHealth,
        /// Whether the budget was used up and the side left because it is dead.
        damped: bool,
    },
    /// Main has worked long enough, and is preferred.
    MainPreferred {
        /// How long it has worked.
        worked: Duration,
    },
    /// An operator asked for it, or a switch of the site came to this step.
    Operator {
        /// The health of the side chosen.
        chosen: SideHealth,
    },
}

impl Explain for Move {
    fn explain(&self, names: &dyn Names, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, epoch, kind, .. } = self;
        write!(f, "{kind} {from} -> {to} (epoch {epoch}): ")?;
        match &self.cause {
            Cause::LiveDoesNotWork { left, damped } => {
                write!(f, "{from} ")?;
                left.explain(names, f)?;
                write!(f, "; {to} works")?;
                f.write_str(if *damped { "; the switch budget is used up, but a dead side is left" } else { "" })
            }
            Cause::MainPreferred { worked } => {
                write!(f, "{to} has worked for {} and is preferred", Span(*worked))
            }
            Cause::Operator { chosen } => {
                write!(f, "an operator asked; {to} ")?;
                chosen.explain(names, f)
            }
        }
    }
}

/// Why a side must be probed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReprobeReason {
    /// It may become the target, and has not answered since the live side's trouble began.
    ConfirmTarget,
    /// It failed before the target answered; one more failure shows that the fault is not ours.
    ConfirmFault,
    /// Only evidence newer than the doubt counts.
    Doubt,
}

impl fmt::Display for ReprobeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConfirmTarget => "it must answer once more before traffic moves there",
            Self::ConfirmFault => "it must fail once more now that the other side answers",
            Self::Doubt => "only evidence newer than the self-doubt counts",
        })
    }
}

/// Why automatic switches are forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FreezeReason {
    /// An operator said so, and may say why.
    Operator,
    /// An operator forced traffic to a side not known to work; the next automatic decision would undo it.
    Forced,
}

impl fmt::Display for FreezeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operator => "frozen: an operator forbade automatic switches",
            Self::Forced => {
                "frozen: an operator forced the live side, and an automatic switch would undo it; resume ends it"
            }
        })
    }
}

/// Why an operator's act was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The side is live already.
    AlreadyLive(Side),
    /// The side is not known to work; force it to insist.
    NotWorking {
        /// The side that the act was about.
        side: Side,
        /// Its health, which did not allow the act.
        health: SideHealth,
    },
    /// `observe` is on: nothing moves.
    Observing,
}

impl Explain for Refusal {
    fn explain(&self, names: &dyn Names, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyLive(side) => write!(f, "{side} is live already"),
            Self::NotWorking { side, health } => {
                write!(f, "{side} ")?;
                health.explain(names, f)
            }
            Self::Observing => f.write_str("observe is on, nothing moves"),
        }
    }
}

impl Explain for Output {
    fn explain(&self, names: &dyn Names, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Persist(memory) => write!(f, "remember that {} is live in epoch {}", memory.live, memory.epoch),
            Self::SwitchTo(step) => step.explain(names, f),
            Self::WouldSwitch(step) => {
                f.write_str("would have switched, but only observes: ")?;
                step.explain(names, f)
            }
            Self::Reprobe { side, reason } => write!(f, "probe {side} again: {reason}"),
            Self::Stands(standing) => standing.explain(names, f),
            Self::SelfDoubt(doubt) => {
                write!(f, "{doubt}; both sides are probed again, and only what comes of that counts")
            }
            Self::DoubtOver(doubt) => write!(f, "over: {doubt}"),
            Self::Damped { used, until } => {
                write!(f, "DAMPED: {used} automatic switches within an hour; only a dead side is left")?;
                let Some(until) = until else { return Ok(()) };
                f.write_str(" until ")?;
                names.instant(*until, f)
            }
            Self::Undamped => f.write_str("no longer damped: the budget allows an automatic switch again"),
            Self::Frozen(reason) => write!(f, "{reason}"),
            Self::Resumed => f.write_str("resumed: automatic switches are allowed"),
            Self::BudgetReset => f.write_str("an operator reset the switch budget"),
            Self::Refused { act, reason } => {
                write!(f, "refused to {act}: ")?;
                reason.explain(names, f)
            }
        }
    }
}

display_numbered!(Output, Move, Refusal);
