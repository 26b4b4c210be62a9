//! Mistakes of the engine. Each rule that keeps from one asks here whether a test makes it, and the simulation must notice.

/// What the engine could do wrong, made in the simulation to show that its judges notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "made by tests alone"))]
pub(super) enum Mistake {
    /// The loop waits for the disk whatever it takes.
    WaitsForDisk,
    /// What is to be kept is written with a switch, and not without one.
    LeavesUnwritten,
    /// Who ordered something is named for what the Edge does afterwards.
    AskerStays,
    /// All checks are probed with each turn.
    ProbesEachTurn,
    /// An order that was refused is said to be done.
    RefusalUntold,
    /// A reload forgets which side is live, and whether that is frozen.
    ReloadForgets,
    /// A reload forgets the switches of the last hour.
    ReloadForgetsBudget,
    /// The request path is not told of a switch.
    Unpublished,
    /// The request path is told that the live side works, whether or not it does.
    AlwaysServing,
    /// A switch is not in the journal.
    SwitchUnwritten,
    /// What a check came to is told to the next one.
    ChecksMixedUp,
    /// What nodes report says nothing of the health of their side.
    ReportUnheard,
    /// Old words of a node are taken for new ones.
    AgeIgnored,
    /// That a node fell silent is noticed by nobody.
    SilenceUntold,
    /// A move that completes a planned switch of the site is booked as the Edge's own.
    WishUntold,
    /// A wish of a planned switch that is over is still handed out.
    WishKept,
    /// A wish is handed to the node of the other side.
    WishMisplaced,
    /// How a planned switch ended is not in the journal.
    EndUntold,
    /// A node that does not answer a wish is waited for without need.
    WaitsForNodes,
    /// An alarm with these words is told to nobody.
    Silent(&'static str),
}

/// Tells whether a test makes this mistake.
#[cfg(not(test))]
pub(super) const fn made(_: Mistake) -> bool {
    false
}

#[cfg(test)]
pub(super) use making::{made, making, silent_about};

#[cfg(test)]
mod making {
    use std::cell::Cell;

    use super::Mistake;

    std::thread_local! {
        static MADE: Cell<Option<Mistake>> = const { Cell::new(None) };
    }

    /// Tells whether this thread makes this mistake.
    pub(in super::super) fn made(mistake: Mistake) -> bool {
        MADE.get() == Some(mistake)
    }

    /// Tells whether this thread tells nobody of an alarm.
    pub(in super::super) fn silent_about(alarm: &str) -> bool {
        matches!(MADE.get(), Some(Mistake::Silent(words)) if alarm.contains(words))
    }

    /// Runs a test that makes a mistake.
    pub(in super::super) fn making<T>(mistake: Option<Mistake>, run: impl FnOnce() -> T) -> T {
        MADE.set(mistake);
        let result = run();
        MADE.set(None);
        result
    }
}
