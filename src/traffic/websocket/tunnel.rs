//! The WebSocket tunnel: carries upgraded connections, and parts them from a demoted side without stranding anybody (E6).
//!
//! The caller exchanges the upgrade; from the 101 on the bytes belong to [`Relay`]. Which sessions exist, and which must
//! go, is the business of [`Sessions`]. Neither knows Pingora, TLS or routes.

mod close;
mod flow;
mod frame;
mod pacing;
mod relay;
mod report;
mod sessions;
mod user;

pub use close::{Close, UnsendableCode};
pub use pacing::Pacing;
pub use relay::{Early, Limits, Relay};
pub use report::{Carried, Outcome, Party, Report};
pub use sessions::{Command, Leaving, Listed, Opening, Pin, Refused, Session, Sessions, Tally};
pub use user::User;
