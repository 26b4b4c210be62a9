//! A whole site: the network, and on each machine what a XiVO site has there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::asterisk::Asterisk;
use crate::certs::{FQDN, Flaw, Nodes, Pair, Web};
use crate::config;
use crate::daemon::Daemon;
use crate::machine::Machine;
use crate::net::{Host, Net};
use crate::outcome::{Outcome, because, ensure, wait_for};
use crate::relay;
use crate::sip::{Call, Phone, Udp};
use crate::watch::Watch;
use crate::web::{self, User};

/// Where things are found on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Part of the name of every namespace.
    pub(crate) id: String,
    /// What `need` brought.
    pub(crate) cache: PathBuf,
    /// Configurations, logs and state of this run.
    pub(crate) dir: PathBuf,
}

/// The machines with telephony, and who looks on.
#[derive(Debug)]
pub(crate) struct Telephony {
    pub(crate) watch: Watch,
    pub(crate) main: Asterisk,
    pub(crate) standby: Asterisk,
    pub(crate) mds1: Asterisk,
    pub(crate) machines: Vec<Machine>,
    // Last: machines go before the network does.
    pub(crate) net: Arc<Net>,
}

impl Telephony {
    /// A network, a media server that runs, and two XiVO that do not.
    pub(crate) fn up(place: &Place) -> Outcome<Self> {
        let net = Arc::new(Net::up(&place.id)?);
        let debian = place.cache.join("asterisk");
        let machines = Host::ALL.map(|host| Machine::new(&net, host, &place.dir, &debian));
        let machines = machines.into_iter().collect::<Outcome<Vec<_>>>()?;
        let on = |host: Host| -> Outcome<Asterisk> { Asterisk::lay_out(machine(&machines, host)?) };
        let (main, standby, mds1) = (on(Host::MainXivo)?, on(Host::StandbyXivo)?, on(Host::Mds1)?);
        mds1.start()?;
        let watch = Watch::start(&net, &mds1)?;
        Ok(Self { watch, main, standby, mds1, machines, net })
    }

    pub(crate) fn machine(&self, host: Host) -> Outcome<&Machine> {
        machine(&self.machines, host)
    }
}

/// The machines with a watchdog, in the order they are started: Main before Standby.
pub(crate) const WATCHED: [Host; 5] = [Host::MainXivo, Host::StandbyXivo, Host::MainCc, Host::StandbyCc, Host::Mds1];

/// A whole site: telephony, contact centres, watchdogs, the Edge in front, and a user.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) user: User,
    pub(crate) edge: Daemon,
    pub(crate) watchdogs: BTreeMap<Host, Daemon>,
    pub(crate) nodes: Nodes,
    pub(crate) web: Web,
    contact_centres: BTreeMap<Host, Vec<String>>,
    /// When somebody removed whose fence.
    pub(crate) removed: Vec<(Host, Instant)>,
    /// When somebody changed whose fence, where nobody need tell it: `nft` hangs.
    pub(crate) touched: Vec<(Host, Instant)>,
    /// Words of alarms that the scenario brings about: nobody who looks on could tell whether they are true.
    pub(crate) meant: Vec<&'static str>,
    pub(crate) telephony: Telephony,
}

impl Site {
    /// Starts everything, and waits until Main serves.
    pub(crate) fn up(place: &Place, binaries: &Path) -> Outcome<Self> {
        let mut site = Self::lay_out(place, binaries, true)?;
        site.edge.start()?;
        for host in WATCHED {
            site.watchdog(host)?.start()?;
        }
        site.settle(Duration::from_secs(40))?;
        Ok(site)
    }

    /// Everything but programs of ours; `watched`: the Edge has an endpoint for the watchdogs.
    pub(crate) fn lay_out(place: &Place, binaries: &Path, watched: bool) -> Outcome<Self> {
        let telephony = Telephony::up(place)?;
        let nodes = Nodes::new(&place.dir, &binaries.join("bascule"))?;
        let web = Web::new(&place.dir.join("web"))?;
        let shown = web.issue("edge", &[FQDN])?;
        let (bascule, watchdog) = (binaries.join("bascule"), binaries.join("bascule-watchdog"));
        let mut watchdogs = BTreeMap::new();
        let mut contact_centres = BTreeMap::new();
        for host in WATCHED {
            let machine = telephony.machine(host)?;
            nodes.issue(host, Flaw::None, &machine.dir.join("node"))?;
            let text = match host {
                Host::MainXivo => config::xivo(machine, &telephony.main),
                Host::StandbyXivo => config::xivo(machine, &telephony.standby),
                Host::Mds1 => config::mds(machine, &telephony.mds1),
                _ => {
                    let command = contact_centre(machine, &binaries.join("bascule-demo"), &shown)?;
                    contact_centres.insert(host, command.clone());
                    config::cc(machine, |verb| command.iter().cloned().chain([verb.to_owned()]).collect())
                }
            };
            watchdogs.insert(host, Daemon::lay_out(machine, &watchdog, &text)?);
        }
        let machine = telephony.machine(Host::Edge)?;
        nodes.issue(Host::Edge, Flaw::None, &machine.dir.join("node"))?;
        let edge = Daemon::lay_out(machine, &bascule, &config::edge(machine, &shown, &web.ca, watched))?;
        relay::start(&telephony.net, machine.dir.clone())?;
        let user = User::start(&telephony.net, web.client()?)?;
        Ok(Self {
            user,
            edge,
            watchdogs,
            nodes,
            web,
            contact_centres,
            removed: Vec::new(),
            touched: Vec::new(),
            meant: Vec::new(),
            telephony,
        })
    }

    pub(crate) fn watchdog(&mut self, host: Host) -> Outcome<&mut Daemon> {
        self.watchdogs.get_mut(&host).ok_or_else(|| format!("no watchdog on {}", host.name()))
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.telephony.watch
    }

    pub(crate) fn net(&self) -> &Net {
        &self.telephony.net
    }

    /// The Asterisk of a XiVO.
    pub(crate) fn asterisk(&self, host: Host) -> &Asterisk {
        if host == Host::StandbyXivo { &self.telephony.standby } else { &self.telephony.main }
    }

    /// Main dies, and somebody starts Standby's services, as on a site without watchdogs; returns when it serves.
    pub(crate) fn stand_in_by_hand(&mut self, limit: Duration) -> Outcome {
        self.telephony.main.kill()?;
        self.contact_centre(Host::MainCc, "stop")?;
        self.telephony.standby.start()?;
        self.contact_centre(Host::StandbyCc, "start")?;
        self.serves(Host::StandbyXivo, limit)
    }

    /// Waits until a side serves in full: telephony, media server, contact centre, and the user's requests.
    pub(crate) fn serves(&self, node: Host, limit: Duration) -> Outcome {
        let side = config::side(node).unwrap_or_default();
        let expected = [node == Host::MainXivo, node == Host::StandbyXivo];
        let start = Instant::now();
        wait_for(&format!("{side} serves in full"), limit, || {
            let serving = self.watch().serving();
            ensure(serving == expected, || format!("telephony answers on (main, standby): {serving:?}"))?;
            let registered = self.watch().registered();
            ensure(registered == [node.address()], || format!("registered at mds1: {registered:?}"))?;
            let last = self.user.last();
            let by = |request: &web::Request| request.asked > start && request.answer.as_deref() == Ok(side);
            ensure(last.as_ref().is_some_and(by), || {
                format!("the user's last request: {:?}", last.map(|last| last.answer))
            })
        })
    }

    /// Puts an end to every fault, starts what does not run, and waits until Main serves.
    pub(crate) fn settle(&mut self, limit: Duration) -> Outcome {
        self.net().heal()?;
        for host in [Host::MainXivo, Host::StandbyXivo] {
            self.asterisk(host).mend();
        }
        if !self.telephony.mds1.runs() {
            self.telephony.mds1.start()?;
        }
        for daemon in self.watchdogs.values_mut().chain([&mut self.edge]) {
            if daemon.runs() {
                daemon.signal(rustix::process::Signal::CONT)?;
            } else {
                daemon.start()?;
            }
        }
        self.serves(Host::MainXivo, limit)
    }

    /// The scenario brings about an alarm with these words.
    pub(crate) fn mean(&mut self, words: &'static str) {
        self.meant.push(words);
    }

    /// When the lab last did something to a machine's link or its program.
    pub(crate) fn disturbed(&self, host: Host) -> Option<Instant> {
        let daemon = if host == Host::Edge { Some(&self.edge) } else { self.watchdogs.get(&host) };
        self.net().disturbed(host).max(daemon.and_then(Daemon::disturbed))
    }

    /// When somebody changed a node's fence.
    pub(crate) fn touches(&self, host: Host) -> impl Iterator<Item = Instant> {
        let all = self.removed.iter().chain(&self.touched);
        all.filter(move |(of, _)| *of == host).map(|(_, at)| *at)
    }

    /// Somebody removes a node's fence, by this command; the alarms are held to it.
    pub(crate) fn remove_fence(&mut self, host: Host, command: &[&str]) -> Outcome {
        self.removed.push((host, Instant::now()));
        self.telephony.machine(host)?.must(command, Duration::from_secs(10)).map(drop)
    }

    /// Switches a machine off, as by its power cord, and forgets its watchdog.
    pub(crate) fn power_off(&mut self, host: Host) -> Outcome {
        self.telephony.machine(host)?.power_off()?;
        match host {
            Host::Edge => self.edge.kill(),
            _ => self.watchdogs.get_mut(&host).map_or(Ok(()), Daemon::kill),
        }
    }

    /// Switches a machine on: what a boot starts by itself is started.
    pub(crate) fn power_on(&mut self, host: Host) -> Outcome {
        self.net().plug(host)?;
        if host == Host::Mds1 {
            self.telephony.mds1.start()?;
        }
        match host {
            Host::Edge => self.edge.start(),
            _ => self.watchdogs.get_mut(&host).map_or(Ok(()), Daemon::start),
        }
    }

    /// Whether a contact centre's services run, by their own word.
    pub(crate) fn contact_centre_runs(&self, host: Host) -> bool {
        self.contact_centre(host, "status").is_ok()
    }

    /// What an administrator does to a contact centre's services: `start`, `stop` or `status`.
    pub(crate) fn contact_centre(&self, host: Host, verb: &str) -> Outcome {
        let mut command: Vec<&str> =
            self.contact_centres.get(&host).into_iter().flatten().map(String::as_str).collect();
        command.push(verb);
        self.telephony.machine(host)?.must(&command, Duration::from_secs(10)).map(drop)
    }

    /// What was seen since then, and what our programs said last: for somebody who wants to know why.
    pub(crate) fn account(&self, since: Instant) -> String {
        const LINES: usize = 12;
        let mut text = format!(
            "  telephony: {}\n  beside the nodes: {}\n  user: {}\n",
            self.watch().story(since),
            self.watch().story_beside(since),
            self.user.story(since)
        );
        for (name, daemon) in
            self.watchdogs.iter().map(|(host, daemon)| (host.name(), daemon)).chain([("edge", &self.edge)])
        {
            let log = daemon.log();
            // Each request of the user's has a line at the Edge.
            let lines: Vec<_> = log.lines().filter(|line| !line.contains("\"request\":")).collect();
            for line in &lines[lines.len().saturating_sub(LINES)..] {
                text += &format!("  {name}: {line}\n");
            }
        }
        text
    }

    pub(crate) fn call(&self, node: Host) -> Outcome<Call> {
        call(&self.telephony, node)
    }
}

/// Writes the service control of a contact centre; its command line, but for the verb.
fn contact_centre(machine: &Machine, demo: &Path, shown: &Pair) -> Outcome<Vec<String>> {
    let script = machine.dir.join("cc-service");
    fs::write(&script, include_str!("cc-service")).map_err(because(script.display()))?;
    let side = config::side(machine.host).unwrap_or_default().to_owned();
    let path = |path: &Path| path.display().to_string();
    Ok(vec!["/bin/sh".to_owned(), path(&script), path(demo), side, path(&shown.chain), path(&shown.key)])
}

/// A phone registers at a node and calls its echo test; it has to hear itself.
pub(crate) fn call(telephony: &Telephony, node: Host) -> Outcome<Call> {
    const SOON: Duration = Duration::from_secs(5);
    let work = move || -> Outcome<Call> {
        let mut phone = Phone::new(Udp::to(node.address())?, "1002", node.address(), Host::Phone.address());
        phone.register(SOON)?;
        phone.call_echo(SOON)
    };
    let thread = telephony.net.inside(Host::Phone, work)?;
    let call = thread.join().map_err(|_| "the phone panicked".to_owned())??;
    ensure(call.echoed > 0, || format!("a call by {} is answered, but nothing is heard", node.name()))?;
    Ok(call)
}

fn machine(machines: &[Machine], host: Host) -> Outcome<&Machine> {
    machines.iter().find(|machine| machine.host == host).ok_or_else(|| format!("no machine {}", host.name()))
}

impl Place {
    /// An empty directory for a site.
    pub(crate) fn fresh(&self, name: &str) -> Outcome<Self> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir).map_err(because(dir.display()))?;
        Ok(Self { dir, ..self.clone() })
    }

    pub(crate) fn has(&self, tree: &str) -> bool {
        Path::new(&self.cache).join(tree).join(".ready").is_file()
    }
}
