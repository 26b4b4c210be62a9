//! A voter's promise: whom it lets serve, for how long, and what it answers.
//!
//! The witness is a voter and nothing else; a XiVO node's own vote is one inside its [`duty`](crate::duty). How messages
//! travel, who may send them, and the disk, it leaves to the driver.

mod epoch;
mod message;
mod namesakes;
mod timing;
mod voter;

#[cfg(test)]
pub(crate) use epoch::LEAP;
pub(crate) use epoch::{believed, tellable};
pub use message::{Answer, Ask, Campaign, Instance, Report, Request, VoteReply};
pub use namesakes::Namesakes;
pub use timing::{Timing, Violation};
pub use voter::{Event, Memory, Output, Promise, Record, Voter};

#[cfg(test)]
mod tests;
