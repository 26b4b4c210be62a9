//! Whatever the watchdog does to its node, and whatever it sees of it. Nothing here decides.

pub mod asterisk;
pub mod clock;
pub mod command;
pub mod echo;
pub mod fence;
mod line;
pub mod liveness;
#[cfg(test)]
mod namespace;
pub mod outside;
#[cfg(test)]
pub(crate) mod played;
pub mod services;
#[cfg(test)]
mod telephone;

/// Asks services whether they work, over the network.
async fn ask(check: &probe::Check) -> probe::Report {
    #[cfg(test)]
    if let Some(stage) = played::stage() {
        return stage.ask(check).await;
    }
    check.run().await
}
