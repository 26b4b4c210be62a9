//! Mistakes of a driver. Each rule that keeps from one asks here whether a test makes it, and the simulation must notice.

/// What a driver could do wrong, made in the simulation to show that its judges notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "made by tests alone"))]
pub(crate) enum Mistake {
    /// A vote is given before it is on the disk.
    AnswersUnwritten,
    /// A lease lets phones in without an end.
    PermitsForever,
    /// The fence is not looked at again.
    FenceTrusted,
    /// A start that is not carried out is not reported.
    LostStart,
    /// The loop waits for the disk whatever it writes.
    WaitsForDisk,
    /// The alarm of a fence that failed is never taken back.
    AlarmStays,
    /// What failed is forgotten with each start that fails: the next comes at once.
    StartsAgain,
    /// A CC that could not ask its XiVO once asks it no more.
    NeverAsksAgain,
    /// A CC takes a XiVO that it does not hear for one that is inactive.
    SilenceIsInactive,
    /// A CC's services die, and nothing is made of it.
    DeathUnnoticed,
    /// A CC's loop waits while its services are started or stopped.
    WaitsForCommand,
    /// The alarm of a XiVO out of sight is never taken back.
    OutOfSightStays,
    /// A registration that Asterisk believes in is not made again.
    RegisteredOnce,
    /// A node that stops leaves its registrations.
    RegistrationLeft,
    /// That Asterisk does not tell who is registered is never taken back.
    MuteStays,
    /// An alarm with these words is told to nobody.
    Silent(&'static str),
}

/// Tells whether a test makes this mistake.
#[cfg(not(test))]
pub(crate) const fn made(_: Mistake) -> bool {
    false
}

#[cfg(test)]
pub(crate) use making::{made, making, silent_about};

#[cfg(test)]
mod making {
    use std::cell::Cell;

    use super::Mistake;

    std::thread_local! {
        static MADE: Cell<Option<Mistake>> = const { Cell::new(None) };
    }

    /// Tells whether this thread makes this mistake.
    pub(crate) fn made(mistake: Mistake) -> bool {
        MADE.get() == Some(mistake)
    }

    /// Tells whether this thread tells nobody of an alarm.
    pub(crate) fn silent_about(alarm: &str) -> bool {
        matches!(MADE.get(), Some(Mistake::Silent(words)) if alarm.contains(words))
    }

    /// Runs a test that makes a mistake.
    pub(crate) fn making<T>(mistake: Option<Mistake>, run: impl FnOnce() -> T) -> T {
        MADE.set(mistake);
        let result = run();
        MADE.set(None);
        result
    }
}
