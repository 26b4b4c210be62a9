//! `bascule-demo`: a whole site on this machine, with nothing to prepare. Its sides are also what the end-to-end tests
//! put behind an Edge.
#![forbid(unsafe_code)]

pub mod certs;
pub mod cli;
pub mod parent;
pub mod remains;
pub mod side;
pub mod site;
