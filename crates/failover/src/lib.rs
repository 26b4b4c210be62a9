//! The pure heart of Bascule: machines that decide, and nothing else.
//!
//! No clock, socket, log, randomness or hash order: time is an argument, what happened is an event, and what is to be
//! done is a value that carries its reason. A driver reads the clock, runs the probes, feeds the events and carries out
//! the outputs; it decides nothing.
//!
//! ```text
//!  probe outcomes, signs of live traffic        verdicts, node reports            health of both sides, acts
//!        |                                            |                                  |
//!        v                                            v                                  v
//!  verdict::Judge  -- Changed, Confirmed -->  health::Health  -- Changed, -->    switch::Switch  --> SwitchTo, Persist
//!   (one a check)                              (one a site)      Confirmed        (one an Edge)   --> Reprobe (to Judge)
//! ```
//!
//! ```text
//!  the other voters' answers, the peer's requests,                          a node's requests
//!  outcomes of commands, operators                                                |
//!        |                                                                        v
//!        v                                                                  lease::Voter  --> Persist, Answer
//!  duty::Duty  --> Persist, Ask, Answer, Permit, Start, Fence, Stop         (the witness; one inside each duty)
//!   (one a XiVO node)
//!        | status
//!        v
//!  follow::Follower  --> Start, Stop
//!   (one a CC)
//!
//!  whether the node serves, outcomes of attempts                    who is registered with an MDS
//!        |                                                                        |
//!        v                                                                        v
//!  register::Registrar  --> Register, Verify, Unregister            register::Holder  --> Conflict
//!   (one a XiVO node)                                                 (one an MDS)
//! ```
//!
//! One contract for all: `handle(&mut self, event, now) -> outputs` and `deadline(&self) -> Option<Instant>`. Call
//! `handle` with the machine's `Timer` event at its deadline. A spurious timer, a late one, time that stands still and
//! time that steps back are harmless.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests measure, and wait for real threads and processes"))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod duty;
pub mod follow;
pub mod health;
mod label;
pub mod lease;
#[cfg(feature = "serde")]
mod millis;
mod names;
pub mod register;
mod side;
pub mod switch;
mod time;
mod traps;
pub mod verdict;

pub use label::Label;
#[cfg(feature = "serde")]
#[doc(hidden)]
pub use label::used_by_macros;
pub use names::{Explain, Named, Names, Numbered};
pub use side::{PerSide, Side, UnknownSide};
pub use time::{Instant, Span};

#[cfg(test)]
mod chance;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod walked;
