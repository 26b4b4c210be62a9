//! What can happen to a site, and what has to come of it.

mod commands;
mod cuts;
mod edge;
mod failover;
mod hostile;
mod operator;
mod phone;
mod random;
mod session;
mod telephony;
mod turn;
mod voters;
mod weak;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::alarms::Before;
use crate::outcome::Outcome;
use crate::site::{Place, Site};

/// How a scenario ended.
#[derive(Debug)]
pub(crate) enum End {
    Passed,
    /// Something it needs is not here.
    Skipped(String),
    /// What was expected did not come about, or came too late.
    Missed(String),
    /// Two served, or the scenario itself is broken: on no machine may that be.
    Failed(String),
}

/// A scenario by name.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    needs: &'static [Need],
    act: Act,
}

enum Act {
    /// On what it builds itself.
    Alone(fn(&mut Stage) -> Outcome),
    /// On the running site, where Main serves before and after. No two nodes may serve at any time.
    Site(fn(&mut Site) -> Outcome),
    /// The same, with faults drawn by this seed.
    Random(u64),
}

/// What a scenario cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Asterisk,
    /// The program `bascule`.
    Edge,
    /// The program `bascule-watchdog`.
    Watchdog,
    /// A real phone.
    Baresip,
    Faketime,
    /// The program `turnserver`.
    Coturn,
    /// A C compiler.
    Compiler,
}

const SITE: &[Need] = &[Need::Asterisk, Need::Edge, Need::Watchdog];

const fn on_site(name: &'static str, about: &'static str, act: fn(&mut Site) -> Outcome) -> Scenario {
    Scenario { name, about, needs: SITE, act: Act::Site(act) }
}

pub(crate) const fn random_day(seed: u64) -> Scenario {
    Scenario {
        name: "random",
        about: "random faults, several at once: never two serve, each alarm is true, and Main serves in the end",
        needs: SITE,
        act: Act::Random(seed),
    }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "parts",
        about: "the lab's own parts do what they are for",
        needs: &[Need::Asterisk],
        act: Act::Alone(telephony::parts),
    },
    Scenario {
        name: "phone",
        about: "a real phone with two registrars goes to Standby and comes back",
        needs: &[Need::Asterisk, Need::Baresip],
        act: Act::Alone(phone::follows),
    },
    Scenario {
        name: "edge-alone",
        about: "without watchdogs, a switch by hand takes users and their softphones along",
        needs: &[Need::Asterisk, Need::Edge],
        act: Act::Alone(edge::alone),
    },
    Scenario {
        name: "turn",
        about: "a call on a media server, its voice through coturn on port 443, does not notice a switch",
        needs: &[Need::Asterisk, Need::Edge, Need::Coturn],
        act: Act::Alone(turn::survives),
    },
    on_site(
        "main-cut-off",
        "Main's host is cut off: Standby serves all within 5 s, then Main again",
        failover::main_cut_off,
    ),
    on_site("asterisk-killed", "Asterisk dies on a Main that answers pings", failover::asterisk_killed),
    on_site("main-rebooted", "Main's host loses power and boots again", failover::main_rebooted),
    on_site("standby-unplugged", "Standby's cable is pulled: it stays silent", cuts::standby_unplugged),
    on_site("nodes-cut", "Main and Standby do not see each other: nothing switches", cuts::between_nodes),
    on_site("one-way-to-standby", "nothing arrives from Main at Standby: nothing switches", cuts::one_way_to_standby),
    on_site("one-way-to-main", "nothing arrives from Standby at Main: nothing switches", cuts::one_way_to_main),
    on_site("ping-dead", "no host answers a ping: nothing switches", cuts::ping_dead),
    on_site(
        "main-alone",
        "Main is cut off from all who vote, not from phones: it falls silent first",
        cuts::main_alone,
    ),
    on_site("main-mute", "nobody who votes hears Main, Main hears all", cuts::main_mute),
    on_site("main-deaf", "Main hears nobody who votes, all hear Main", cuts::main_deaf),
    on_site(
        "forgotten",
        "a firewall forgets all of Main's connections, new ones pass: Main serves on",
        cuts::forgotten,
    ),
    on_site("loss", "Main's link loses 30 % for a minute: Main serves on", cuts::loss),
    on_site("edge-then-main", "the Edge dies, both nodes agree on it, then Main dies", cuts::edge_then_main),
    on_site("edge-and-main", "the Edge and Main die together: Standby stays silent and alarms", cuts::edge_and_main),
    on_site("maintenance", "Standby is off while the Edge restarts: Main serves", cuts::maintenance),
    on_site("start-fails", "Standby's start command fails twice, then works", commands::start_fails),
    on_site("start-hangs", "Standby's start command hangs: it is never active", commands::start_hangs),
    on_site("start-lies", "Standby's start command says yes and starts nothing", commands::start_lies),
    on_site(
        "stop-hangs",
        "Main's stop command hangs when it has to step down: it is silent all the same",
        commands::stop_hangs,
    ),
    on_site(
        "fence-removed",
        "Main is fenced, its stop hangs, and somebody flushes the rule set: it is fenced again within a second",
        commands::fence_removed,
    ),
    on_site(
        "fence-stuck",
        "Main's nft hangs: Main serves on; then its table lets nobody in, either: it steps down, and Standby serves",
        commands::fence_stuck,
    ),
    on_site(
        "fence-fuzzed",
        "Main is fenced, its stop hangs, and its rules are flushed, emptied and crowded at random: it is fenced again",
        random::fence,
    ),
    on_site(
        "check-hangs",
        "Main's telephony dies and its check hangs: it gives Standby its vote once its fence is verified, and says so",
        commands::check_hangs,
    ),
    on_site("main-watchdog-killed", "Main's watchdog is killed and started again", failover::main_watchdog_killed),
    on_site(
        "main-watchdog-gone",
        "Main's watchdog is killed and not started again: the kernel closes its fence, Standby serves within 5 s",
        failover::main_watchdog_gone,
    ),
    on_site(
        "standby-watchdog-killed",
        "Standby's watchdog is killed and started again",
        failover::standby_watchdog_killed,
    ),
    on_site(
        "main-watchdog-frozen",
        "Main's watchdog stands still: the kernel closes its fence",
        failover::main_watchdog_frozen,
    ),
    on_site(
        "alone-frozen",
        "a Main that would serve alone stands still for 18 s, and wakes: it does not take its own silence for the others'",
        failover::alone_frozen,
    ),
    on_site(
        "standby-watchdog-frozen",
        "Standby's watchdog stands still: Main serves on",
        failover::standby_watchdog_frozen,
    ),
    Scenario {
        name: "clock",
        about: "the wall clock of Main's watchdog jumps: nothing switches",
        needs: &[Need::Asterisk, Need::Edge, Need::Watchdog, Need::Faketime],
        act: Act::Site(commands::clock),
    },
    on_site(
        "main-start-lies",
        "Main's start command says yes and starts nothing, for ever: Standby is taken down ever more rarely",
        weak::main_start_lies,
    ),
    on_site(
        "main-dies-soon",
        "Main's Asterisk dies 2 s after each start: Standby is taken down ever more rarely",
        weak::main_dies_soon,
    ),
    Scenario {
        name: "main-slow-disk",
        about: "a sync of Main's disk takes 0.9 s: Standby serves on until it is well",
        needs: &[Need::Asterisk, Need::Edge, Need::Watchdog, Need::Compiler],
        act: Act::Site(weak::main_slow_disk),
    },
    on_site("disk-full", "Standby cannot write its state: it never serves", commands::disk_full),
    on_site("other-version", "Standby speaks another version: Main serves on and says so", commands::version),
    on_site(
        "certificates",
        "Standby's certificate is expired, of another role, foreign: it gets no vote",
        commands::certificates,
    ),
    on_site("planned", "an operator switches to Standby and back", failover::planned),
    on_site(
        "longer-times",
        "Main is given longer times, and the others are forgotten: it gets no vote, and all say why; then they promise it",
        voters::longer_times,
    ),
    on_site(
        "restored",
        "a copy of Main is restored on another machine: it gets no vote, and all name it",
        voters::restored,
    ),
    on_site(
        "strangers",
        "twelve silent addresses fill every endpoint: voters find each other, and Standby takes over",
        hostile::strangers,
    ),
    on_site(
        "liar",
        "somebody with Standby's certificate tells ever higher epochs: Main starts, and then the real Standby does",
        hostile::liar,
    ),
    on_site(
        "flood",
        "one contact centre's certificate floods the Edge, and a watchdog cannot begin: neither fills a journal",
        hostile::flood,
    ),
    on_site("forced", "an operator forces Standby while Main serves: both serve, and all say so", operator::forced),
    on_site("frozen", "a frozen Standby does not start by itself, and does when let go", operator::frozen),
    on_site("upgrade", "Main's watchdog is replaced: telephony and users notice nothing", operator::upgrade),
    on_site(
        "slow-contact-centre",
        "Standby's contact centre needs 3 s: users wait, and see nothing half-started",
        operator::slow_contact_centre,
    ),
    on_site("mds-replaced", "the media server is replaced: Main is registered there again", operator::mds_replaced),
    on_site("power-cut", "all lose power and boot: Main serves in the end", operator::power_cut),
    Scenario { name: "random-1", ..random_day(1) },
    Scenario { name: "random-3", ..random_day(3) },
    Scenario { name: "random-5", ..random_day(5) },
];

/// What scenarios are played on.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) place: Place,
    binaries: Option<PathBuf>,
    /// The site that scenarios share, until one leaves it broken.
    site: Option<Site>,
    sites: usize,
    /// In the scenario that was played last.
    two_served: bool,
}

impl Stage {
    pub(crate) fn new(place: Place) -> Self {
        let binaries = std::env::var_os("BASCULE_LAB_BINARIES").map(PathBuf::from);
        // Tests are built into `deps`, beside which programs are.
        let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.to_owned());
        Self { place, binaries: binaries.or_else(beside), site: None, sites: 0, two_served: false }
    }

    fn binaries(&self) -> Outcome<&Path> {
        self.binaries.as_deref().ok_or_else(|| "no directory with programs".to_owned())
    }

    fn lacks(&self, need: Need) -> Option<String> {
        let program = |name: &str| {
            let there = self.binaries.as_ref().is_some_and(|binaries| binaries.join(name).is_file());
            (!there).then(|| format!("no program {name}"))
        };
        let tree =
            |name: &str, what: &str| (!self.place.has(name)).then(|| format!("no {what} (tests/lab/need brings it)"));
        match need {
            _ if !rustix::process::geteuid().is_root() => Some("only root can make network namespaces".to_owned()),
            Need::Asterisk => tree("asterisk", "Asterisk"),
            Need::Baresip => tree("phone", "baresip"),
            // The contact centres behind it are the demo's sides.
            Need::Edge => program("bascule").or_else(|| program("bascule-demo")),
            Need::Watchdog => program("bascule-watchdog"),
            Need::Coturn => (!turn::installed()).then(|| "no coturn".to_owned()),
            Need::Compiler => (!weak::compiler()).then(|| "no C compiler".to_owned()),
            Need::Faketime => commands::faketime().is_none().then(|| "no libfaketime".to_owned()),
        }
    }

    /// A network of its own for the next site: the last one may still be on its way out.
    fn place(&mut self, name: &str) -> Outcome<Place> {
        self.sites += 1;
        let id = format!("{}-{}", self.place.id, self.sites);
        // One that is played again finds nothing of the first time.
        Ok(Place { id, ..self.place.fresh(&format!("{name}-{}", self.sites))? })
    }

    /// The shared site, whole; a new one if there is none.
    fn site(&mut self) -> Outcome<&mut Site> {
        const SETTLE: Duration = Duration::from_secs(30);
        if let Some(site) = &mut self.site
            && let Err(why) = site.settle(SETTLE)
        {
            println!("  the site is not whole any more ({why}): a new one");
            self.site = None;
        }
        if self.site.is_none() {
            let start = Instant::now();
            let place = self.place("site")?;
            self.site = Some(Site::up(&place, self.binaries()?)?);
            println!("  a new site is up in {:.1} s", start.elapsed().as_secs_f64());
        }
        self.site.as_mut().ok_or_else(|| "no site".to_owned())
    }

    fn act(&mut self, act: &Act) -> Outcome {
        match act {
            Act::Alone(act) => act(self),
            Act::Site(act) => self.play(act),
            Act::Random(seed) => self.play(|site| random::day(site, *seed)),
        }
    }

    fn play(&mut self, act: impl FnOnce(&mut Site) -> Outcome) -> Outcome {
        let site = self.site()?;
        let since = Instant::now();
        let before = Before::of(site)?;
        let played = act(site);
        let safe = site.watch().never_two_serving(since);
        let two_served = safe.is_err();
        let played = safe.and(played).and_then(|()| before.judge(site, since));
        let told = played.map_err(|why| format!("{why}\n{}", site.account(since)));
        self.two_served |= two_served;
        if told.is_err() {
            // Whatever is left of it, the next scenario gets another.
            self.site = None;
        }
        told
    }
}

/// Plays one scenario to its end; a panic is a failure like any other.
pub(crate) fn play(scenario: &Scenario, stage: &mut Stage) -> End {
    if let Some(why) = scenario.needs.iter().find_map(|need| stage.lacks(*need)) {
        return End::Skipped(why);
    }
    stage.two_served = false;
    match catch_unwind(AssertUnwindSafe(|| stage.act(&scenario.act))) {
        Ok(Ok(())) => End::Passed,
        Ok(Err(why)) if stage.two_served => End::Failed(why),
        Ok(Err(why)) => End::Missed(why),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            End::Failed(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked").to_owned())
        }
    }
}
