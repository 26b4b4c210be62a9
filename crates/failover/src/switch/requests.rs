//! What requests do while traffic stays where it is: a decision as much as the move itself. A page for users who could be
//! served is an outage of the Edge's own making; a request that waits for a decision which nobody is about to make waits in
//! vain.

use super::decide::HoldReason;
use super::machine::Switch;
use crate::health::{Diagnosis, State};
use crate::time::Instant;
use crate::traps::{Trap, made};

/// What the request path does with a request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A decision is near: requests wait for it.
    Deciding,
    /// Requests go to the live side.
    Serving,
    /// Neither side works: users get the waiting page.
    Waiting,
}

/// What is known beside the switch itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    /// The live side has been judged once, or there was time enough for it: from then on not knowing is no reason to let
    /// anybody wait.
    pub judged: bool,
    /// A planned switch of the whole site is under way, and brings traffic to the other side soon.
    pub switchover: bool,
}

impl Switch {
    /// Returns what requests do now. The answer may change with each event and, as a hold ends by time, with time.
    pub fn mode(&self, known: Known, now: Instant) -> Mode {
        let live = &self.sides[self.live()];
        match live.state {
            State::Working => Mode::Serving,
            State::Unknown if known.judged => Mode::Serving,
            State::Unknown => Mode::Deciding,
            State::NotWorking if known.switchover => Mode::Deciding,
            State::NotWorking => {
                let dead = live.diagnosis().is_some_and(Diagnosis::is_dead);
                self.explain(now).standing.mode(dead)
            }
        }
    }
}

impl HoldReason {
    /// What requests do while this holds traffic on a live side that does not work, and is `dead` or merely ill.
    fn mode(self, dead: bool) -> Mode {
        match self {
            Self::Settling { .. }
            | Self::ConfirmingTarget(_)
            | Self::ConfirmingFault { .. }
            | Self::Doubting { .. }
            | Self::OtherUnknown(_)
            | Self::Moving { .. } => Mode::Deciding,
            // We only watch: somebody else decides, and what does not work here may work there.
            Self::Observing { .. } => Mode::Serving,
            // Traffic may not leave a side that is ill: what still works there is better than a page.
            Self::Frozen { .. } | Self::Damped { .. } if !dead && !made(Trap::PageForTheIll) => Mode::Serving,
            Self::NeitherWorks(_)
            | Self::Frozen { .. }
            | Self::Damped { .. }
            | Self::LiveWorks(_)
            | Self::LiveUnknown(_)
            | Self::HoldingDown { .. }
            | Self::OperatorChose => Mode::Waiting,
        }
    }
}
