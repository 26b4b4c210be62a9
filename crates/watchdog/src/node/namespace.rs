//! Network namespaces for tests: two hosts, one cable.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A host of the test's own, gone with it.
pub(super) struct Host {
    name: String,
}

/// Two hosts, 10.99.0.1 and fd99::1, 10.99.0.2 and fd99::2, on one cable; none, said loudly, where they cannot be made.
pub(super) fn two_hosts() -> Option<(Host, Host)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = |host: char| format!("bwd{}-{number}{host}", std::process::id());
    let (a, b) = (name('a'), name('b'));
    let usable = ["ip", "nft"].iter().all(|program| Command::new(program).arg("-V").output().is_ok());
    if !usable || !run(&["netns", "add", &a]) {
        eprintln!("SKIPPED: needs root, `ip` and `nft` to make a network namespace");
        return None;
    }
    let hosts = (Host { name: a.clone() }, Host { name: b.clone() });
    assert!(run(&["netns", "add", &b]));
    assert!(run(&["-n", &a, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", &b]));
    for (host, end) in [(&a, 1), (&b, 2)] {
        assert!(run(&["-n", host, "address", "add", &format!("10.99.0.{end}/24"), "dev", "cable"]));
        assert!(run(&["-n", host, "address", "add", &format!("fd99::{end}/64"), "dev", "cable", "nodad"]));
        assert!(run(&["-n", host, "link", "set", "lo", "up"]));
        assert!(run(&["-n", host, "link", "set", "cable", "up"]));
    }
    Some(hosts)
}

fn run(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).output().is_ok_and(|output| output.status.success())
}

impl Host {
    /// Does something on the host. Sockets made there stay there.
    pub(super) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let space = File::open(format!("/run/netns/{}", self.name)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                act()
            });
            thread.join().unwrap()
        })
    }

    /// Pulls (`down`) or plugs (`up`) the host's end of the cable.
    pub(super) fn set_cable(&self, state: &str) {
        assert!(run(&["-n", &self.name, "link", "set", "cable", state]));
    }

    /// Runs a future on the host.
    pub(super) fn run<T: Send>(&self, act: impl AsyncFnOnce() -> T + Send) -> T {
        self.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(act())
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        run(&["netns", "delete", &self.name]);
    }
}
