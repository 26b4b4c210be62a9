//! What the service manager is told.

/// The loop turns.
pub fn alive() {}
/// What the daemon does, in a line.
pub fn status(_text: &str) {}
/// It has begun.
pub fn ready() {}
