//! Watchdogs that are played: certificates of their own, the protocol's own link, and a telephony that is a word.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use failover::Side;
use failover::health::Status;
use failover::lease::{Answer, Ask as Wants, Report, Request, Timing};
use protocol::identity::{Expected, Keyring};
use protocol::issue::{Authority, Validity};
use protocol::link::{Limits, Link, LinkError};
use protocol::who::Who;
use protocol::wire::{Ask, Chosen, MediaServer, NodeReport, Role, Told, Vote, Wish, WishOutcome, Wished};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::site::{Site, free_ports};

/// Played nodes report five times as often as real ones.
const HEARTBEAT: Duration = Duration::from_millis(100);
const LIMITS: Limits = Limits {
    dial: Duration::from_secs(5),
    patience: Duration::from_secs(5),
    silence: Duration::from_secs(5),
    lanes: std::num::NonZeroU8::MIN,
};

/// A site with an endpoint for nodes.
pub struct Watched {
    pub site: Site,
    pub runtime: Runtime,
    pub address: std::net::SocketAddr,
    authority: Authority,
    directory: TempDir,
}

impl Watched {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create(&directory.path().join("ca"), "test").unwrap();
        let identity = directory.path().join("edge");
        authority.issue(&Who::edge("edge"), &identity, Validity::days(30)).unwrap();
        let [address] = free_ports();
        let extra = format!("nodes: {{ listen: '{address}', identity: {} }}", identity.display());
        let site = Site::start_with(&extra);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { site, runtime, address, authority, directory }
    }

    /// Makes an identity.
    pub fn identity(&self, who: &Who, valid: Validity) -> PathBuf {
        let path = self.directory.path().join(who.uri().replace(['/', ':'], "-"));
        if !path.exists() {
            self.authority.issue(who, &path, valid).unwrap();
        }
        path
    }

    /// Dials with an identity.
    pub fn dial(&self, identity: PathBuf) -> Link {
        let keyring = Arc::new(Keyring::open(&identity).unwrap());
        let _entered = self.runtime.enter();
        Link::new(self.address, Expected::Edge, keyring, LIMITS)
    }

    pub fn dial_as(&self, who: &Who) -> Link {
        self.dial(self.identity(who, Validity::days(30)))
    }

    pub fn ask(&self, link: &Link, ask: Ask) -> Result<Told, LinkError> {
        self.runtime.block_on(link.ask(ask))
    }

    /// Asks for the vote; none when it was refused, or nobody answered.
    pub fn vote(&self, link: &Link, from: Side, wants: Wants, campaign: u64) -> Option<Answer> {
        match self.ask(link, Ask::Vote(request(from, wants, campaign))) {
            Ok(Told::Vote(answer)) => Some(answer),
            _ => None,
        }
    }

    pub fn xivo(side: Side) -> Who {
        Who::of_side(Role::Xivo, side, &format!("{side}-xivo"))
    }

    /// Has a node report what the stage says of it, for ever.
    pub fn report(&self, stage: &Arc<Stage>, who: &Who) {
        let (link, stage, who) = (self.dial_as(who), stage.clone(), who.clone());
        self.runtime.spawn(async move {
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                let Some(report) = stage.turn(&who) else { continue };
                if let Ok(Told::Report { wish: Some(wish) }) = link.ask(Ask::Report(Box::new(report))).await {
                    stage.hear(&who, &wish);
                }
            }
        });
    }

    /// Both XiVO and both CC nodes report; Main serves.
    pub fn full(stage: &Arc<Stage>) -> Self {
        let watched = Self::start();
        for side in Side::BOTH {
            watched.report(stage, &Self::xivo(side));
            watched.report(stage, &Who::of_side(Role::Cc, side, &format!("{side}-cc")));
        }
        for side in Side::BOTH {
            let health = if side == Side::Main { "working" } else { "not_working" };
            watched.site.wait_health(side, health);
        }
        crate::site::wait_until("all four report", || {
            watched.site.status()["nodes"].as_array().is_some_and(|nodes| nodes.len() == 4)
        });
        watched
    }
}

pub fn request(from: Side, ask: Wants, campaign: u64) -> Request {
    let report = Report { status: Status::Inactive, fit: true, witness_out: false, unguarded: false };
    let needs = Timing::DEFAULT.shortest_promise();
    Request { from, ask, campaign, epoch: 0, report, settled: true, hears: true, instance: 1, needs }
}

/// What the played nodes do, and how they take wishes.
pub struct Stage(Mutex<Play>);

struct Play {
    nodes: BTreeMap<Side, Part>,
}

struct Part {
    status: Status,
    /// Answers wishes so; none: follows.
    refuses: Option<&'static str>,
    wished: Option<Wished>,
    chosen: Option<Chosen>,
    /// It is to serve as soon as the other does not.
    called: bool,
    accept_requests: bool,
    mute: bool,
}

impl Stage {
    pub fn new(main: Status, standby: Status) -> Arc<Self> {
        let part = |status| Part {
            status,
            refuses: None,
            wished: None,
            chosen: None,
            called: false,
            accept_requests: true,
            mute: false,
        };
        let nodes = BTreeMap::from([(Side::Main, part(main)), (Side::Standby, part(standby))]);
        Arc::new(Self(Mutex::new(Play { nodes })))
    }

    fn with<T>(&self, side: Side, act: impl FnOnce(&mut Part) -> T) -> T {
        act(self.0.lock().unwrap().nodes.get_mut(&side).unwrap())
    }

    pub fn set(&self, side: Side, status: Status) {
        self.with(side, |part| part.status = status);
    }

    pub fn refuse(&self, side: Side, why: &'static str) {
        self.with(side, |part| part.refuses = Some(why));
    }

    /// An operator at a node that serves has it step back; the other is to serve.
    pub fn deactivate(&self, side: Side, who: &str, reason: &str) {
        let chosen = Chosen { serves: side.other(), who: who.into(), reason: reason.into() };
        self.with(side, |part| (part.status, part.chosen) = (Status::Stopping, Some(chosen)));
        self.with(side.other(), |part| (part.chosen, part.called) = (None, true));
    }

    /// A node dies, and the other takes over.
    pub fn fail_over(&self, from: Side) {
        self.with(from, |part| part.status = Status::Inactive);
        self.with(from.other(), |part| (part.chosen, part.called) = (None, true));
    }

    pub fn ignore_requests(&self, side: Side) {
        self.with(side, |part| part.accept_requests = false);
    }

    pub fn mute(&self, side: Side) {
        self.with(side, |part| part.mute = true);
    }

    pub fn status(&self, side: Side) -> Status {
        self.with(side, |part| part.status)
    }

    /// A heartbeat: what takes time goes on, and is reported; none: the node is dead.
    fn turn(&self, who: &Who) -> Option<NodeReport> {
        let Who::Node { role, side: Some(side), .. } = who else { return None };
        let mut play = self.0.lock().unwrap();
        let other = play.nodes[&side.other()].status;
        let part = play.nodes.get_mut(side).unwrap();
        if part.mute {
            return None;
        }
        if *role == Role::Cc {
            let status = if part.status == Status::Active { Status::Active } else { Status::Inactive };
            return Some(report(status));
        }
        let mut told = report(part.status);
        let registered = part.status == Status::Active;
        let state = if registered { "Registered" } else { "Unregistered" }.to_owned();
        told.media_servers = BTreeMap::from([("mds1".to_owned(), MediaServer { registered, state })]);
        told.wished = part.wished.clone();
        told.chosen = part.chosen.clone();
        told.vote = Some(Vote { accept_requests: part.accept_requests, ..vote() });
        part.status = match part.status {
            Status::Stopping => Status::Inactive,
            Status::Starting => Status::Active,
            Status::Inactive if part.called && other == Status::Inactive => {
                part.called = false;
                Status::Starting
            }
            same => same,
        };
        Some(told)
    }

    fn hear(&self, who: &Who, wish: &Wish) {
        let Who::Node { side: Some(side), .. } = who else { return };
        let peer = self.status(side.other());
        self.with(*side, |part| {
            if part.wished.as_ref().is_some_and(|wished| wished.id >= wish.id) {
                return;
            }
            let outcome = match part.refuses {
                Some(why) => WishOutcome::Refused { reason: why.to_owned() },
                None if wish.to == *side && peer == Status::Active => {
                    WishOutcome::Refused { reason: "the peer serves".to_owned() }
                }
                None => WishOutcome::Followed,
            };
            if outcome == WishOutcome::Followed {
                part.called = wish.to == *side && part.status == Status::Inactive;
                if wish.to != *side && part.status == Status::Active {
                    part.status = Status::Stopping;
                }
            }
            part.wished = Some(Wished { id: wish.id, outcome });
        });
    }
}

pub fn report(status: Status) -> NodeReport {
    NodeReport {
        status,
        since: 0,
        because: String::new(),
        version: "0.1.0".into(),
        services: BTreeMap::new(),
        alarms: Vec::new(),
        failed_starts: None,
        certificate_days: Some(300),
        vote: None,
        media_servers: BTreeMap::new(),
        presence: None,
        wished: None,
        chosen: None,
        instance: None,
        made_us: None,
    }
}

/// What a XiVO node tells of its vote.
pub fn vote() -> Vote {
    Vote {
        epoch: 3,
        guard: None,
        fit: true,
        automatic: true,
        frozen: false,
        accept_requests: true,
        waiting: None,
        hears_peer: true,
        peer_host: None,
        takeover_ms: 5200,
        times: None,
    }
}
