//! The watchdog of one node. On a XiVO node it votes with its peers and serves only with a majority; on a CC it follows its
//! XiVO; on a media server it tells who is registered.
//!
//! ```text
//!  config ──▶ roles ──▶ failover's machines          decide nothing themselves: feed events, carry out outputs
//!               │  ├──▶ node                         commands, checks, fence, ICMP, Asterisk
//!               │  ├──▶ state                        vote, epoch and wishes on the disk; the journal
//!               │  ├──▶ protocol                     peers, witness, those that follow
//!               │  └──▶ telemetry                    Prometheus, systemd
//!  cli ──▶ control (a unix socket) ◀── the roles' status; orders ──▶ roles
//!  cli ──▶ legacy_failover                           XiVO's own cron table
//! ```

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests measure, and wait for real threads and processes"))]

pub mod cli;
pub mod config;
pub mod control;
pub mod legacy_failover;
pub mod node;
pub mod roles;
pub mod state;
pub mod telemetry;
