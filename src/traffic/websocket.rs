//! WebSockets, from the `Upgrade` to the last frame.

pub mod tunnel;
pub mod upgrade;
