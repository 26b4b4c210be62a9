//! Local doors of both programs: HTTP and JSON over a unix socket or an address of their own, with limits for everything,
//! and the client that the command lines use. What is asked and answered is left to the programs.

mod account;
mod alike;
mod client;
mod escape;
mod people;
mod server;
mod socket;
mod time;

pub use account::{Account, NoAccount, Service};
pub use alike::alike;
pub use client::{AskError, Client, Program};
pub use escape::{visible, word};
pub use people::{clean, group, user, who};
pub use server::{
    Accept, Answer, ErrorBody, Handler, ServerLimits, json, not_allowed, not_found, refuse, serve, well, whole,
};
pub use socket::{Socket, SocketError};
pub use time::{Time, TimeError};
