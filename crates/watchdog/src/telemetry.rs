//! What is told to those who watch: Prometheus, and systemd.

pub mod metrics;
pub mod systemd;
