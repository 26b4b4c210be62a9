//! The watchdog of one node. On a XiVO node it votes with its peers and serves only with a majority; on a CC it follows its
//! XiVO; on a media server it tells who is registered.
//!
//! ```text
//!  config ──▶ drive ──▶ failover's machines          decides nothing itself: feeds events, carries out outputs
//!               │  ├──▶ hands                        commands, checks, fence, ICMP, Asterisk
//!               │  ├──▶ state                        vote, epoch and wishes on the disk; the journal
//!               │  ├──▶ protocol                     peers, witness, those that follow
//!               │  └──▶ systemd, metrics, rival
//!  cli ──▶ control (a unix socket) ◀── drive's status; orders ──▶ drive
//! ```

pub mod cli;
pub mod config;
pub mod control;
pub mod drive;
pub mod hands;
pub mod metrics;
pub mod restarts;
pub mod rival;
pub mod state;
pub mod systemd;
mod times;
