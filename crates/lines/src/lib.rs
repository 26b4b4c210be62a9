//! Lines of both programs, written by a thread of their own: nobody who serves users, or holds a lease, waits for a
//! terminal, a pipe or a disk. What is said is left to the programs.

mod events;
mod lines;
mod log;

pub use events::Events;
pub use lines::Lines;
pub use log::{Form, Log, LogError};
