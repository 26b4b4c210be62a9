//! The run loops: they feed the machines and carry out what those decide.

use std::path::Path;

use crate::config::Config;

/// Why the watchdog ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// This program has no run loop.
    #[error("the run loop is not built")]
    NotBuilt,
}

/// Runs the node's watchdog until it is told to end.
///
/// # Errors
/// Why it could not begin, or go on.
pub async fn run(config: Config, config_path: &Path) -> Result<(), RunError> {
    let _ = (config, config_path);
    Err(RunError::NotBuilt)
}
