//! A XiVO node's decision: when it serves.
//!
//! The machine asks the other voters, holds its own vote, and tells the driver to start, to fence and to stop. Messages,
//! commands, the disk and the kernel's fence it leaves to the driver.

mod act;
mod ask;
mod asking;
mod disk;
mod explain;
mod guard;
mod machine;
mod output;
mod peer;
mod ready;
mod relapse;
mod running;
mod settings;
mod yielding;

pub use act::{Act, Refusal};
pub use ask::{PerVoter, RemoteVoter, Waiting};
pub use explain::Explanation;
pub use guard::{Guard, Surroundings, Unguarded};
pub use machine::{Duty, Event, Found, Handover, Life, Memory, Outcome};
pub use output::{Output, Phones, StartReason};
pub use relapse::Relapses;
pub use running::Why;
pub use settings::{Alone, Choice, Failback, Mode, Requests, Settings, Window, Wishes, Witness};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
