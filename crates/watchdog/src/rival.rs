//! XiVO's own failover.
/// Says what is there, if it is.
pub fn present(_path: &std::path::Path) -> Option<String> { None }
