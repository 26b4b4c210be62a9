//! The operator's command line.

use doors::Program;

/// The watchdog, as messages name it.
pub static WATCHDOG: Program = Program {
    name: "watchdog",
    unit: "bascule-watchdog",
    elsewhere: "--config FILE names it as `control`",
    allowed: "of the group bascule",
};
