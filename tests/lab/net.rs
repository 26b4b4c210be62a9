//! Machines of a site as network namespaces on one switch, which is a namespace too. Faults are put on the switch: no
//! machine is told of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::outcome::{Outcome, because};

/// A machine of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Host {
    MainXivo,
    StandbyXivo,
    MainCc,
    StandbyCc,
    Mds1,
    Edge,
    Phone,
    User,
}

impl Host {
    pub(crate) const ALL: [Self; 8] = [
        Self::MainXivo,
        Self::StandbyXivo,
        Self::MainCc,
        Self::StandbyCc,
        Self::Mds1,
        Self::Edge,
        Self::Phone,
        Self::User,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MainXivo => "main-xivo",
            Self::StandbyXivo => "standby-xivo",
            Self::MainCc => "main-cc",
            Self::StandbyCc => "standby-cc",
            Self::Mds1 => "mds1",
            Self::Edge => "edge",
            Self::Phone => "phone",
            Self::User => "user",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::MainXivo => 11,
            Self::StandbyXivo => 12,
            Self::MainCc => 21,
            Self::StandbyCc => 22,
            Self::Mds1 => 31,
            Self::Edge => 41,
            Self::Phone => 51,
            Self::User => 61,
        }
    }

    pub(crate) fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, self.number())
    }

    /// Its port on the switch.
    fn port(self) -> String {
        format!("p{}", self.number())
    }
}

/// What a network does to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The cable is pulled: the machine loses its carrier.
    Unplugged(Host),
    /// Nothing comes or goes, and nobody is told.
    BlackHole(Host),
    /// Nothing arrives from the first at the second.
    OneWay(Host, Host),
    /// The two do not hear each other.
    Cut(Host, Host),
    /// So many of a hundred frames from this machine, and as many to it, are lost.
    Lossy(Host, u8),
    /// The machine neither gets nor sends ICMP.
    NoPing(Host),
}

impl Fault {
    fn hosts(self) -> Vec<Host> {
        match self {
            Self::Unplugged(host) | Self::BlackHole(host) | Self::Lossy(host, _) | Self::NoPing(host) => vec![host],
            Self::OneWay(one, other) | Self::Cut(one, other) => vec![one, other],
        }
    }

    fn rules(self) -> Vec<String> {
        let both = |host: Host, what: &str| {
            vec![format!("iifname {} {what} drop", host.port()), format!("oifname {} {what} drop", host.port())]
        };
        let one_way = |from: Host, to: Host| format!("iifname {} oifname {} drop", from.port(), to.port());
        match self {
            Self::Unplugged(_) => Vec::new(),
            Self::BlackHole(host) => both(host, ""),
            Self::OneWay(from, to) => vec![one_way(from, to)],
            Self::Cut(one, other) => vec![one_way(one, other), one_way(other, one)],
            Self::Lossy(host, percent) => both(host, &format!("numgen random mod 100 < {percent}")),
            Self::NoPing(host) => both(host, "ether type ip ip protocol icmp"),
        }
    }
}

/// The switch and all cables. Gone when dropped, with whatever still runs in it.
#[derive(Debug)]
pub(crate) struct Net {
    id: String,
    /// When something was done to a machine's link last.
    disturbed: Mutex<BTreeMap<Host, Instant>>,
}

impl Net {
    /// Lays out the network; `id` is part of every namespace's name.
    pub(crate) fn up(id: &str) -> Outcome<Self> {
        let net = Self { id: id.to_owned(), disturbed: Mutex::default() };
        let switch = net.switch();
        let mut batch = format!("netns add {switch}\n");
        for host in Host::ALL {
            batch += &format!("netns add {}\n", net.namespace(host));
        }
        ip(&["-batch", "-"], &batch)?;
        ip(
            &["-n", &switch, "-batch", "-"],
            "link set lo up\nlink add br0 type bridge forward_delay 0\naddr add 10.77.0.1/24 dev br0\nlink set br0 up\n",
        )?;
        for host in Host::ALL {
            let (namespace, port) = (net.namespace(host), host.port());
            let address = host.address();
            ip(
                &["-n", &namespace, "-batch", "-"],
                &format!(
                    "link set lo up\nlink add eth0 type veth peer name {port} netns {switch}\n\
                     addr add {address}/24 dev eth0\nlink set eth0 up\nroute add default via 10.77.0.1\n"
                ),
            )?;
            ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"], "")?;
            let open = ["netns", "exec", &namespace, "sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647"];
            ip(&open, "")?;
        }
        net.nft("add table bridge lab\nadd chain bridge lab faults { type filter hook forward priority 0; }\n")?;
        Ok(net)
    }

    pub(crate) fn namespace(&self, host: Host) -> String {
        format!("{}-{}", self.id, host.name())
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.id)
    }

    /// When a fault was last put on a machine's link.
    pub(crate) fn disturbed(&self, host: Host) -> Option<Instant> {
        self.disturbed.lock().unwrap_or_else(PoisonError::into_inner).get(&host).copied()
    }

    fn disturbs(&self, hosts: &[Host]) {
        let mut disturbed = self.disturbed.lock().unwrap_or_else(PoisonError::into_inner);
        disturbed.extend(hosts.iter().map(|host| (*host, Instant::now())));
    }

    /// Adds a fault to those there are.
    pub(crate) fn fault(&self, fault: Fault) -> Outcome {
        self.disturbs(&fault.hosts());
        if let Fault::Unplugged(host) = fault {
            return self.cable(host, "down");
        }
        self.nft(&fault.rules().iter().map(|rule| format!("add rule bridge lab faults {rule}\n")).collect::<String>())
    }

    /// Somebody on the way forgets every TCP connection that the machine has, and drops what belongs to one without a word. New
    /// ones pass. Returns how many there were.
    pub(crate) fn forget(&self, host: Host) -> Outcome<usize> {
        self.disturbs(&[host]);
        let listed = Command::new("ip")
            .args(["netns", "exec", &self.namespace(host), "ss", "-Htn4", "state", "established"])
            .output()
            .map_err(because("ss"))?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let mut rules = Vec::new();
        for line in listed.lines() {
            let ends: Vec<_> = line.split_whitespace().skip(2).filter_map(|end| end.split_once(':')).collect();
            let [(own, own_port), (other, other_port)] = ends[..] else { continue };
            if own == other {
                continue;
            }
            for (from, from_port, to, to_port) in
                [(own, own_port, other, other_port), (other, other_port, own, own_port)]
            {
                rules.push(format!(
                    "add rule bridge lab faults ip saddr {from} ip daddr {to} tcp sport {from_port} tcp dport {to_port} drop\n"
                ));
            }
        }
        self.nft(&rules.concat())?;
        Ok(rules.len() / 2)
    }

    /// Puts an end to all faults.
    pub(crate) fn heal(&self) -> Outcome {
        self.nft("flush chain bridge lab faults\n")?;
        Host::ALL.iter().try_for_each(|host| self.cable(*host, "up"))
    }

    /// Plugs a machine's cable in again.
    pub(crate) fn plug(&self, host: Host) -> Outcome {
        self.cable(host, "up")
    }

    fn cable(&self, host: Host, state: &str) -> Outcome {
        ip(&["-n", &self.switch(), "link", "set", &host.port(), state], "")
    }

    fn nft(&self, rules: &str) -> Outcome {
        ip(&["netns", "exec", &self.switch(), "nft", "-f", "-"], rules)
    }

    /// Does something on a machine, in a thread of its own: sockets it opens are that machine's.
    pub(crate) fn inside<T: Send + 'static>(
        &self,
        host: Host,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Outcome<JoinHandle<T>> {
        within(self.namespace(host), work)
    }

    /// Does something on the switch itself, where no fault between machines is felt, but for a pulled cable.
    pub(crate) fn on_the_switch<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Outcome<JoinHandle<T>> {
        within(self.switch(), work)
    }
}

fn within<T: Send + 'static>(namespace: String, work: impl FnOnce() -> T + Send + 'static) -> Outcome<JoinHandle<T>> {
    let (sender, entered) = std::sync::mpsc::channel();
    let name = namespace.clone();
    let thread = thread::Builder::new().name("inside".to_owned()).spawn(move || {
        let moved = enter(&namespace);
        let inside = moved.is_ok();
        let _ = sender.send(moved);
        // Outside nothing may happen: whoever started this is told.
        assert!(inside, "not inside");
        work()
    });
    entered.recv().map_err(|_| format!("{name}: the thread is gone"))??;
    thread.map_err(because("a thread"))
}

/// Moves this thread into a namespace, for good: sockets it opens from now on are there.
pub(crate) fn enter(namespace: &str) -> Outcome {
    let path = format!("/run/netns/{namespace}");
    let file = File::open(&path).map_err(because(&path))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(because(path))
}

impl Drop for Net {
    fn drop(&mut self) {
        let namespaces = Host::ALL.map(|host| self.namespace(host));
        for namespace in &namespaces {
            for pid in pids(namespace) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        for namespace in namespaces.iter().chain([&self.switch()]) {
            let _ = ip(&["netns", "del", namespace], "");
        }
    }
}

/// The processes of a namespace.
pub(crate) fn pids(namespace: &str) -> Vec<rustix::process::Pid> {
    let Ok(output) = Command::new("ip").args(["netns", "pids", namespace]).output() else { return Vec::new() };
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok().and_then(rustix::process::Pid::from_raw))
        .collect()
}

fn ip(arguments: &[&str], input: &str) -> Outcome {
    let what = || format!("ip {}", arguments.join(" "));
    let mut child = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(because("ip"))?;
    // Closed at the end of the statement.
    child.stdin.take().map(|mut pipe| pipe.write_all(input.as_bytes())).transpose().map_err(because("ip"))?;
    let output = child.wait_with_output().map_err(because("ip"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", what(), String::from_utf8_lossy(&output.stderr).trim()))
}
