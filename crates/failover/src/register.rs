//! Registrations of a XiVO node with every MDS (W6): the node's side holds them, the MDS's side sees who holds one.
//!
//! How an MDS is asked, and what a registration is there, it leaves to the driver.

mod holder;
mod output;
mod registrar;
mod settings;

pub use holder::{Claims, Holder, Seen, Sight};
pub use output::{Attempt, MdsId, Output, State};
pub use registrar::{Act, Event, Outcome, Registrar, Service};
pub use settings::{Settings, Violation};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
