//! Ties a process to the one that started it: when standard input ends, its parent is gone and it ends too.

use std::io::{self, Read};

use rustix::process::{Signal, getpid, kill_process};

/// Sends this process SIGTERM when its standard input ends, however that comes about.
pub fn put_on() -> io::Result<()> {
    std::thread::Builder::new().name("leash".into()).spawn(hold).map(drop)
}

fn hold() {
    let mut stdin = io::stdin().lock();
    let mut ignored = [0; 64];
    loop {
        match stdin.read(&mut ignored) {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
        }
    }
    // A process may always signal itself; one that ends already needs no signal.
    let _ = kill_process(getpid(), Signal::TERM);
}
