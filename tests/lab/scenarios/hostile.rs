//! Whoever is on the network, or has a certificate of the site, and means ill: what they can do to a vote, an
//! endpoint and a journal.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use failover::Side;
use failover::health::Status;
use failover::lease::{Ask as Asked, Report, Request};
use protocol::identity::{Expected, Keyring};
use protocol::link::{Limits, Link};
use protocol::wire::{Ask, NodeReport, Role, Told};
use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;

use super::cuts::main_serves_on;
use super::failover::{BACK, failback, phases};
use crate::config::{NODE, WITNESS};
use crate::net::{Fault, Host};
use crate::outcome::{Outcome, because, ensure, wait_for};
use crate::site::Site;

const MAIN: Host = Host::MainXivo;
const STANDBY: Host = Host::StandbyXivo;
const SOON: Duration = Duration::from_secs(20);

/// Somebody's doings on a machine, until it is dropped or ended.
struct Doing<T> {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<Outcome<T>>>,
}

impl<T: Send + 'static> Doing<T> {
    fn start(
        site: &Site,
        host: Host,
        work: impl AsyncFnOnce(Arc<AtomicBool>) -> Outcome<T> + Send + 'static,
    ) -> Outcome<Self> {
        let end = Arc::new(AtomicBool::new(false));
        let until = end.clone();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(because("a runtime"))?.block_on(work(until))
        };
        Ok(Self { end, thread: Some(site.net().inside(host, work)?) })
    }

    fn end(mut self) -> Outcome<T> {
        self.end.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or_else(|| "it has ended".to_owned())?;
        thread.join().map_err(|_| "it panicked".to_owned())?
    }
}

impl<T> Drop for Doing<T> {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

fn finds_its_voters(site: &mut Site) -> Outcome {
    wait_for("Standby has found its voters", SOON, || {
        let status = site.watchdog(STANDBY)?.status()?;
        let up = |voter: &str| status.pointer(&format!("/voters/{voter}/link/connected")) == Some(&true.into());
        ensure(up("peer") && up("witness"), || status.to_string())
    })
}

/// Twelve addresses that connect and say nothing fill all places of the three voters' endpoints. Standby's watchdog
/// and the Edge are started anew and find each other all the same; then Main is cut off, and Standby takes over.
pub(super) fn strangers(site: &mut Site) -> Outcome {
    let machine = site.telephony.machine(Host::Phone)?.clone();
    let addresses: Vec<_> = (101..=112).map(|last| Ipv4Addr::new(10, 77, 0, last)).collect();
    let ip = |verb: &str| {
        let one = |address: &Ipv4Addr| format!("ip addr {verb} {address}/24 dev eth0");
        let all = addresses.iter().map(one).collect::<Vec<_>>().join(" && ");
        machine.must(&["/bin/sh", "-c", &all], SOON).map(drop)
    };
    ip("add")?;
    let (refused, held) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let silent = {
        let (addresses, refused, held) = (addresses.clone(), refused.clone(), held.clone());
        Doing::start(site, Host::Phone, async move |end| keep_silent(&addresses, &end, &refused, &held).await)?
    };
    let played = beside_strangers(site, &held);
    println!("  {} connections were turned away meanwhile", refused.load(Ordering::Relaxed));
    let ended = silent.end();
    ip("del")?;
    played.and(ended)
}

fn beside_strangers(site: &mut Site, held: &AtomicU64) -> Outcome {
    // More than the 128 places of each endpoint.
    wait_for("the endpoints are full", SOON, || {
        let held = held.load(Ordering::Relaxed);
        ensure(held >= 3 * 120, || format!("{held} connections are open"))
    })?;
    let since = Instant::now();
    site.watchdog(STANDBY)?.end()?;
    site.watchdog(STANDBY)?.start()?;
    finds_its_voters(site)?;
    wait_for("Main has Standby's vote again", SOON, || site.watchdog(MAIN)?.says("because", "and a spare vote"))?;
    site.edge.kill()?;
    site.edge.start()?;
    main_serves_after_the_edge(site, since)?;
    let since = Instant::now();
    site.net().fault(Fault::BlackHole(MAIN))?;
    phases(site, STANDBY, since, SOON)?;
    let healed = Instant::now();
    site.net().heal()?;
    failback(site, healed)
}

/// The Edge is back with all its nodes, and telephony did not notice.
fn main_serves_after_the_edge(site: &mut Site, since: Instant) -> Outcome {
    wait_for("Main has the Edge's vote again", SOON, || {
        site.watchdog(MAIN)?.says("because", "guarded by a majority")?;
        site.edge.says("nodes", "standby-cc")?;
        site.edge.says("nodes", "mds1")
    })?;
    site.serves(MAIN, SOON)?;
    let standby = site.watch().first_answer(STANDBY, since);
    ensure(standby.is_none(), || format!("Standby serves: {}", site.watch().story(since)))
}

/// Eleven connections of each address to each endpoint, and others in their place when they are ended.
async fn keep_silent(addresses: &[Ipv4Addr], end: &AtomicBool, refused: &AtomicU64, held: &AtomicU64) -> Outcome {
    const EACH: usize = 11;
    let endpoints = [(MAIN, NODE), (STANDBY, NODE), (Host::Edge, WITNESS)];
    let one = async |address: Ipv4Addr, endpoint: SocketAddr| {
        while !end.load(Ordering::Relaxed) {
            let begin = Instant::now();
            let _ = say_nothing(address, endpoint, end, held).await;
            if begin.elapsed() < Duration::from_millis(200) {
                refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    let places = endpoints.iter().flat_map(|(host, port)| {
        let endpoint = SocketAddr::from((host.address(), *port));
        addresses.iter().flat_map(move |address| [(*address, endpoint); EACH])
    });
    futures_util::future::join_all(places.map(|(address, endpoint)| one(address, endpoint))).await;
    Ok(())
}

async fn say_nothing(from: Ipv4Addr, to: SocketAddr, end: &AtomicBool, held: &AtomicU64) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((IpAddr::from(from), 0).into())?;
    let mut stream = tokio::time::timeout(Duration::from_secs(1), socket.connect(to)).await??;
    held.fetch_add(1, Ordering::Relaxed);
    let mut byte = [0];
    // Longer than any endpoint waits for a certificate; the end of the scenario is looked for meanwhile.
    for _ in 0..50 {
        let read = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut byte)).await;
        if read.is_ok() || end.load(Ordering::Relaxed) {
            break;
        }
    }
    held.fetch_sub(1, Ordering::Relaxed);
    Ok(())
}

/// A link with a machine's own certificate.
fn link(identity: &Path, to: SocketAddr, expected: Expected) -> Outcome<Link> {
    const PATIENT: Duration = Duration::from_secs(2);
    let keyring = Arc::new(Keyring::open(identity).map_err(because(identity.display()))?);
    let limits = Limits { dial: PATIENT, patience: PATIENT, silence: PATIENT, lanes: NonZeroU8::MIN };
    Ok(Link::new(to, expected, keyring, limits))
}

/// Somebody with Standby's certificate tells Main and the Edge ever higher epochs, each as far above the last as is
/// believed. Main's watchdog dies, and its lease with it: the next one starts all the same. Then the real Standby is
/// back and takes over a Main that dies, though it knows of none of these epochs.
pub(super) fn liar(site: &mut Site) -> Outcome {
    site.mean("TWO MACHINES");
    site.watchdog(STANDBY)?.end()?;
    let identity = site.telephony.machine(STANDBY)?.dir.join("node");
    let told = Arc::new(AtomicU64::new(0));
    let liar = {
        let told = told.clone();
        Doing::start(site, STANDBY, async move |end| lie(&identity, &end, &told).await)?
    };
    let played = beside_a_liar(site, &told);
    let highest = liar.end();
    site.watchdog(STANDBY)?.start()?;
    played?;
    println!("  {} lies, the last of epoch {}", told.load(Ordering::Relaxed), highest?);
    finds_its_voters(site)?;
    site.serves(MAIN, BACK)?;
    let since = Instant::now();
    site.net().fault(Fault::BlackHole(MAIN))?;
    phases(site, STANDBY, since, SOON)?;
    let healed = Instant::now();
    site.net().heal()?;
    failback(site, healed)
}

fn beside_a_liar(site: &mut Site, told: &AtomicU64) -> Outcome {
    /// A lease, a pause, and the peer's promise.
    const OVER: Duration = Duration::from_secs(3);
    wait_for("lies are heard", SOON, || {
        ensure(told.load(Ordering::Relaxed) > 40, || format!("{}", told.load(Ordering::Relaxed)))
    })?;
    site.serves(MAIN, SOON)?;
    site.watchdog(MAIN)?.kill()?;
    std::thread::sleep(OVER);
    let since = Instant::now();
    site.watchdog(MAIN)?.start()?;
    site.serves(MAIN, SOON)?;
    let back = site.watch().first_answer(MAIN, since).map_or(0.0, |at| at.duration_since(since).as_secs_f64());
    println!("  Main's next watchdog serves after {back:.2} s");
    Ok(())
}

/// Tells ever higher epochs until `end`; returns the highest.
async fn lie(identity: &Path, end: &AtomicBool, told: &AtomicU64) -> Outcome<u64> {
    /// Within what a voter believes at once (`LEAP` in `lease::epoch`).
    const FAR: u64 = (1 << 20) - 1;
    let main = (MAIN.address(), NODE).into();
    let main = link(identity, main, Expected::Xivo(Side::Main))?;
    let edge = link(identity, (Host::Edge.address(), WITNESS).into(), Expected::Edge)?;
    let mut epoch = 0;
    while !end.load(Ordering::Relaxed) {
        epoch += FAR;
        let request = Request {
            from: Side::Standby,
            ask: Asked::Hello,
            campaign: 0,
            epoch,
            report: Report { status: Status::Inactive, fit: true, witness_out: false, unguarded: false },
            settled: false,
            hears: true,
            instance: 4711,
            needs: Duration::from_millis(2405),
        };
        for link in [&main, &edge] {
            if let Ok(Ok(Told::Vote(answer))) = tokio::time::timeout(SOON, link.ask(Ask::Vote(request))).await {
                told.fetch_add(1, Ordering::Relaxed);
                // Who does not believe it is told less, and then again more.
                epoch = epoch.min(answer.epoch.saturating_add(FAR));
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(epoch)
}

/// Somebody with the certificate of Standby's contact centre reports another status and other alarms as fast as they
/// are taken: the Edge's journal keeps what it had, users lose nothing. Meanwhile that machine's watchdog cannot
/// begin, and is started again by something that never gives up.
pub(super) fn flood(site: &mut Site) -> Outcome {
    const LONG: Duration = Duration::from_secs(7);
    /// Of the node, of its side's health, and what the site itself has to tell meanwhile.
    const LINES: usize = 60 + 100 + 60;
    const BYTES: u64 = 128 << 10;
    const HOST: Host = Host::StandbyCc;
    // Whatever it says of itself the Edge has to show.
    site.mean("cc standby-cc of standby: ");
    let machine = site.telephony.machine(HOST)?.clone();
    let journal = site.telephony.machine(Host::Edge)?.dir.join("state/journal.jsonl");
    let read = || fs::read_to_string(&journal).map_err(because(journal.display()));
    let before = read()?;
    site.watchdog(HOST)?.end()?;
    let starts = machine.dir.join("run/bascule/starts");
    let _ = fs::remove_file(&starts);
    let (binary, counted) = (site.watchdog(HOST)?.binary().to_owned(), machine.dir.join("begun"));
    let _ = fs::remove_file(&counted);
    let config = machine.dir.join("cannot-begin.yaml");
    let text = fs::read_to_string(machine.dir.join("bascule-watchdog.yaml")).map_err(because("the configuration"))?;
    let text = text.replace(&format!("{}/node", machine.dir.display()), &format!("{}/nowhere", machine.dir.display()));
    fs::write(&config, text).map_err(because(config.display()))?;
    // What systemd does, without what limits it there.
    let again = format!(
        "while :; do echo >>{}; {} run --config {}; sleep 0.1; done",
        counted.display(),
        binary.display(),
        config.display()
    );
    let mut again = machine.start("again", &["setsid", "/bin/sh", "-c", &again].map(std::ffi::OsStr::new))?;
    let identity = machine.dir.join("node");
    let flood = Doing::start(site, HOST, async move |end| report_nonsense(&identity, &end).await)?;
    let since = Instant::now();
    let played = main_serves_on(site, since, LONG);
    let reports = flood.end();
    again.signal(Signal::KILL)?;
    again.kill()?;
    let _ = fs::remove_file(&starts);
    site.watchdog(HOST)?.start()?;
    played?;
    let begun = fs::read_to_string(&counted).map_err(because(counted.display()))?.lines().count();
    let after = read()?;
    let lines = after.lines().count().saturating_sub(before.lines().count());
    let bytes = after.len().saturating_sub(before.len()) as u64;
    println!(
        "  {} reports, {lines} lines of {bytes} bytes in the Edge's journal; {begun} starts of a watchdog",
        reports?
    );
    ensure(after.starts_with(&before), || "the Edge's journal does not have any more what it had".to_owned())?;
    ensure(lines <= LINES && bytes <= BYTES, || format!("the journal grew by {lines} lines, {bytes} bytes"))?;
    // Five at once, then ever longer pauses: 0.2, 0.4, 0.8, 1.6 and 3.2 s.
    ensure((6..=12).contains(&begun), || format!("{begun} starts in {:.0} s", LONG.as_secs_f64()))?;
    wait_for("the real one reports", SOON, || site.watchdog(HOST)?.says("edge", "\"connected\":true"))?;
    site.serves(MAIN, BACK)
}

/// Returns how many reports were taken.
async fn report_nonsense(identity: &Path, end: &AtomicBool) -> Outcome<u64> {
    let edge = link(identity, (Host::Edge.address(), WITNESS).into(), Expected::Edge)?;
    let statuses = [Status::Active, Status::Inactive, Status::Faulty, Status::Starting, Status::Stopping];
    let mut taken = 0;
    while !end.load(Ordering::Relaxed) {
        let word = || std::iter::repeat_with(fastrand::lowercase).take(200).collect::<String>();
        let report = NodeReport {
            status: statuses[fastrand::usize(0..statuses.len())],
            because: word(),
            alarms: std::iter::repeat_with(word).take(16).collect(),
            ..quiet_report()
        };
        let asked = edge.ask(Ask::Report(Box::new(report)));
        if let Ok(Ok(Told::Report { .. })) = tokio::time::timeout(SOON, asked).await {
            taken += 1;
        } else {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    ensure(taken > 0, || format!("no report of a {} was taken", Role::Cc))?;
    Ok(taken)
}

fn quiet_report() -> NodeReport {
    NodeReport {
        status: Status::Inactive,
        since: 0,
        because: String::new(),
        version: String::new(),
        services: Default::default(),
        alarms: Vec::new(),
        failed_starts: None,
        certificate_days: None,
        vote: None,
        media_servers: Default::default(),
        presence: None,
        wished: None,
        chosen: None,
        instance: None,
        made_us: None,
    }
}
