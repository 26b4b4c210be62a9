//! The watchdog's program: command line, logs, run.

fn main() {}
