//! What each program of ours has besides its purpose: a server for people and scrapers (HTTP and JSON over a unix socket or
//! an address of its own, with limits for everything), the client that the command lines use and how they print and end,
//! accounts of the system, what systemd is told, wall time. What is asked and answered is left to the programs.

mod account;
mod alike;
mod client;
mod escape;
mod exit;
mod inquiry;
mod maker;
mod metrics;
mod people;
mod server;
mod socket;
pub mod systemd;
mod time;
mod watched;

pub use account::{Account, NoAccount, Service};
pub use alike::alike;
pub use client::{AskError, Client, Program};
pub use escape::{visible, word};
pub use exit::Exit;
pub use inquiry::{Inquiry, Trouble, inquire};
pub use maker::Maker;
pub use metrics::{Health, MetricsEndpoint, MetricsEndpointError};
pub use people::{behind_sudo, clean, group, user, who};
pub use server::{
    Accept, Answer, ErrorBody, Handler, ServerLimits, json, not_allowed, not_found, refuse, serve, well, whole,
};
pub use socket::{Socket, SocketError};
pub use time::{Time, TimeError};
pub use watched::changes;
