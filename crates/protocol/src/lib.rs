//! What the nodes of a site and its Edge say to each other, and how they know each other.
//!
//! ```text
//!  XiVO node ── Vote ──────────────▶ XiVO node, Edge        nodes dial; the Edge never does
//!  any node  ── Report ────────────▶ Edge                   the reply may hand over an operator's wish
//!  CC        ── Watch ─────────────▶ its XiVO node          answered when the status changes
//! ```
//!
//! One TCP connection with TLS 1.3 carries many calls at once; both ends show a certificate of the site's own CA that
//! names their role. What is voted is decided in [`failover`]; what is reported, by who calls.

pub mod endpoint;
mod frames;
pub mod identity;
#[cfg(feature = "issue")]
pub mod issue;
pub mod link;
#[cfg(feature = "played")]
pub mod played;
pub mod who;
pub mod wire;
