//! Nodes that misbehave: commands, disks, clocks, versions and certificates.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::identity::{CA, CHAIN, KEY};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::cuts::main_serves_on;
use super::failover::{BACK, failback, phases};
use super::random::closed_again;
use crate::asterisk::Spoiled;
use crate::certs::Flaw;
use crate::config::{FENCED, NODE, WITNESS};
use crate::net::{Fault, Host};
use crate::outcome::{Outcome, because, ensure, wait_for};
use crate::sip;
use crate::site::Site;

const MAIN: Host = Host::MainXivo;
const STANDBY: Host = Host::StandbyXivo;

/// Standby's first starts fail: it and the Edge say so, with the command's last words. It tries again, and serves.
pub(super) fn start_fails(site: &mut Site) -> Outcome {
    const WORDS: &str = "exit code 1: licence missing";
    site.asterisk(STANDBY).spoil(Spoiled::FailStart(3))?;
    let since = Instant::now();
    site.net().fault(Fault::BlackHole(MAIN))?;
    wait_for("the Edge says why nobody serves", Duration::from_secs(15), || {
        let screen = site.edge.verb(&["status"])?;
        let shows = |words: &str| screen.lines().any(|line| line.contains(words) && line.contains(WORDS));
        ensure(shows("DOES NOT START: failed") && shows("does not start, since"), || screen.clone())
    })?;
    site.watchdogs.get(&STANDBY).ok_or("no Standby")?.says("alarms", WORDS)?;
    phases(site, STANDBY, since, Duration::from_secs(40))?;
    let screen = site.edge.verb(&["status"])?;
    ensure(!screen.contains(WORDS), || format!("it serves, and yet: {screen}"))?;
    let healed = Instant::now();
    site.net().heal()?;
    failback(site, healed)
}

/// Standby cannot start: it is never active, says why, and Main gets its duty back when it can.
fn never_starts(site: &mut Site, how: Spoiled) -> Outcome {
    site.asterisk(STANDBY).spoil(how)?;
    let since = Instant::now();
    site.net().fault(Fault::BlackHole(MAIN))?;
    std::thread::sleep(Duration::from_secs(12));
    let standby = site.watchdog(STANDBY)?;
    let active = standby.status()?.get("status").is_some_and(|status| status == "active");
    ensure(!active, || "Standby says it is active, and starts nothing".to_owned())?;
    ensure(site.watch().first_answer(STANDBY, since).is_none(), || site.watch().story(since))?;
    site.asterisk(STANDBY).mend();
    site.net().heal()?;
    site.serves(MAIN, Duration::from_secs(40))
}

pub(super) fn start_hangs(site: &mut Site) -> Outcome {
    never_starts(site, Spoiled::HangStart)
}

pub(super) fn start_lies(site: &mut Site) -> Outcome {
    never_starts(site, Spoiled::Lie)
}

/// Whether a node's WebSocket for phones takes connections.
fn takes_websockets(site: &Site, node: Host) -> Outcome<bool> {
    const WEBSOCKET: u16 = 5039;
    let to = (node.address(), WEBSOCKET).into();
    let dial = move || TcpStream::connect_timeout(&to, Duration::from_secs(1)).is_ok();
    site.net().inside(Host::Phone, dial)?.join().map_err(|_| "the phone panicked".to_owned())
}

/// A connection over which SIP is spoken, of either end's making.
struct Spoken {
    what: &'static str,
    stream: TcpStream,
    server: std::net::Ipv4Addr,
}

impl Spoken {
    fn open(site: &Site, what: &'static str, from: Host, to: Host, port: u16) -> Outcome<Self> {
        let server = to.address();
        let dial = move || TcpStream::connect_timeout(&(server, port).into(), Duration::from_secs(1));
        let stream = site.net().inside(from, dial)?.join().map_err(|_| format!("{what}: panicked"))?;
        let mut spoken = Self { what, stream: stream.map_err(because(what))?, server };
        ensure(spoken.is_answered(Duration::from_secs(5))?, || format!("{what}: no answer while Main serves"))?;
        Ok(spoken)
    }

    /// Whether the other end answers; an end of the connection is an error, as nothing is shown by it.
    fn is_answered(&mut self, limit: Duration) -> Outcome<bool> {
        let asked = sip::options(self.server, fastrand::u64(..), 1).replace("SIP/2.0/UDP", "SIP/2.0/TCP");
        self.stream.set_read_timeout(Some(limit)).map_err(because(self.what))?;
        self.stream.write_all(asked.as_bytes()).map_err(because(self.what))?;
        match self.stream.read(&mut [0; 4096]) {
            Ok(0) => Err(format!("{}: the connection is closed", self.what)),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(format!("{}: {error}", self.what)),
        }
    }
}

/// Main cannot stop when it has to: it is silent all the same, on the ports of its WebSocket and of the site's own, over
/// connections that stand, and over those that it made itself. `check` names what a fence would not reach.
pub(super) fn stop_hangs(site: &mut Site) -> Outcome {
    let checked = site.watchdog(MAIN)?.checked(str::to_owned)?;
    let listens = checked.lines().find(|line| line.contains("Asterisk listens on"));
    println!("  check: {}", listens.unwrap_or(&checked));
    let asked = |line: &str| line.contains("5039 (WebSocket") && line.contains("5070 (tcp");
    ensure(listens.is_some_and(asked), || format!("not asked: {checked}"))?;
    ensure(!checked.contains("leaves ports"), || checked.clone())?;
    let checked = site.watchdog(MAIN)?.checked(|text| text.replace(FENCED, ""))?;
    ensure(checked.contains("leaves ports of Asterisk's open: 5070 (tcp"), || format!("not told: {checked}"))?;
    ensure(takes_websockets(site, MAIN)?, || "Main's WebSocket takes nobody while it serves".to_owned())?;
    let mut spoken = [
        Spoken::open(site, "a phone's connection", Host::Phone, MAIN, 5060)?,
        Spoken::open(site, "a connection to the site's own port", Host::Phone, MAIN, 5070)?,
        Spoken::open(site, "a connection of Main's own", MAIN, Host::Mds1, 5060)?,
    ];
    site.mean("the stop could not be verified");
    site.asterisk(MAIN).spoil(Spoiled::HangStop)?;
    let since = Instant::now();
    site.net().fault(Fault::Cut(MAIN, STANDBY))?;
    site.net().fault(Fault::Cut(MAIN, Host::Edge))?;
    phases(site, STANDBY, since, Duration::from_secs(30))?;
    ensure(!takes_websockets(site, MAIN)?, || "Main's WebSocket takes phones, and it is fenced".to_owned())?;
    for spoken in &mut spoken {
        let heard = spoken.is_answered(Duration::from_secs(1))?;
        ensure(!heard, || format!("{} is answered, and Main is fenced", spoken.what))?;
    }
    println!("  fenced over {}", spoken.each_ref().map(|spoken| spoken.what).join(", "));
    println!("  seen: {}", site.watch().story(since));
    site.asterisk(MAIN).mend();
    site.net().heal()?;
    site.serves(MAIN, Duration::from_secs(40))
}

/// Main is fenced and cannot stop, and somebody flushes the kernel's rules: it answers for a second at most each time, says
/// so, and its status tells what the kernel has.
pub(super) fn fence_removed(site: &mut Site) -> Outcome {
    /// A look each second, and what that needs.
    const OPEN: Duration = Duration::from_millis(1_800);
    site.mean("the stop could not be verified");
    site.asterisk(MAIN).spoil(Spoiled::HangStop)?;
    let since = Instant::now();
    site.net().fault(Fault::Cut(MAIN, STANDBY))?;
    site.net().fault(Fault::Cut(MAIN, Host::Edge))?;
    phases(site, STANDBY, since, Duration::from_secs(30))?;
    for _ in 0..3 {
        let flushed = Instant::now();
        site.remove_fence(MAIN, &["nft", "flush", "ruleset"])?;
        let closed = closed_again(site, flushed);
        let until = Instant::now();
        site.telephony.watch.allow_two(flushed, until);
        closed?;
        let last = site.watch().last_answer(MAIN, flushed);
        let open = last.map_or(Duration::ZERO, |last| last.duration_since(flushed));
        println!("  Main answered for {:.2} s after the flush", open.as_secs_f64());
        ensure(open < OPEN, || format!("Main serves on: {}", site.watch().story(flushed)))?;
        std::thread::sleep(Duration::from_secs(1));
        let again = site.watch().first_answer(MAIN, until);
        ensure(again.is_none(), || format!("Main serves again: {}", site.watch().story(flushed)))?;
    }
    let status = site.watchdog(MAIN)?.status()?;
    let told = status.to_string();
    ensure(told.contains("removes the fence"), || format!("no alarm: {told}"))?;
    ensure(status.pointer("/duty/fence/state").or(status.pointer("/fence/state")) == Some(&"closed".into()), || told)?;
    site.asterisk(MAIN).mend();
    site.net().heal()?;
    site.serves(MAIN, Duration::from_secs(40))
}

/// `nft` hangs on Main: no renewal needs it. Then another table, which lets nobody in, is in the place of Main's: Main steps
/// down, is unfit, says so once, and is back when `nft` works again.
pub(super) fn fence_stuck(site: &mut Site) -> Outcome {
    const NFT: &str = "/usr/sbin/nft";
    const SOON: Duration = Duration::from_secs(5);
    let since = Instant::now();
    site.watchdog(MAIN)?.replace(NFT, Some("#!/bin/sh\nexec sleep 600\n"))?;
    main_serves_on(site, since, Duration::from_secs(6))?;
    wait_for("Main says so", SOON * 2, || site.watchdog(MAIN)?.says("alarms", "cannot be read back"))?;
    let rules = "delete table inet bascule; add table inet bascule; \
                 add chain inet bascule input { type filter hook input priority -150; }; \
                 add rule inet bascule input iif != lo udp dport 5060 drop";
    let since = Instant::now();
    site.touched.push((MAIN, Instant::now()));
    site.telephony.machine(MAIN)?.must(&["nft", rules], SOON)?;
    phases(site, STANDBY, since, Duration::from_secs(30))?;
    let status = site.watchdog(MAIN)?.status()?;
    ensure(status.pointer("/duty/fit").or(status.get("fit")) == Some(&false.into()), || {
        format!("Main says that it can serve: {status}")
    })?;
    site.watchdog(MAIN)?.says("alarms", "the fence does not work")?;
    let journal = site.watchdog(MAIN)?.journal()?;
    let told = journal.iter().filter(|entry| entry.to_string().contains("cannot let phones in")).count();
    println!("  Main's journal says {told} times that phones cannot be let in");
    ensure(told <= 3, || format!("Main's journal repeats itself: {journal:?}"))?;
    site.watchdog(MAIN)?.replace(NFT, None)?;
    site.serves(MAIN, Duration::from_secs(40))?;
    wait_for("Main reads its fence back", SOON * 2, || {
        let status = site.watchdog(MAIN)?.status()?.to_string();
        ensure(!status.contains("cannot be read back"), || status)
    })
}

/// Main's telephony dies, and the check that would verify its stop hangs. Standby sees nobody but Main, so that no other
/// vote than Main's lets it serve: it gets that as soon as Main's fence is verified, and Main says what hangs.
pub(super) fn check_hangs(site: &mut Site) -> Outcome {
    site.mean("the stop could not be verified");
    site.net().fault(Fault::Cut(STANDBY, Host::Edge))?;
    main_serves_on(site, Instant::now(), Duration::from_secs(2))?;
    site.asterisk(MAIN).spoil(Spoiled::HangCheck)?;
    let since = Instant::now();
    site.asterisk(MAIN).kill()?;
    wait_for("Standby serves by Main's vote", Duration::from_secs(40), || {
        ensure(site.watch().serving() == [false, true], || site.watch().story(since))
    })?;
    let first = site.watch().first_answer(STANDBY, since).map_or(0.0, |at| at.duration_since(since).as_secs_f64());
    println!("  Standby serves after {first:.2} s");
    site.watchdog(MAIN)?.says("alarms", "the stop could not be verified")?;
    site.watchdog(STANDBY)?.says("guard", "exposed")?;
    site.call(STANDBY)?;
    site.asterisk(MAIN).mend();
    site.net().heal()?;
    site.serves(MAIN, Duration::from_secs(60))
}

/// The wall clock of Main's watchdog jumps an hour ahead, then a day back: leases count on another clock.
pub(super) fn clock(site: &mut Site) -> Outcome {
    let faketime = faketime().ok_or_else(|| "no libfaketime".to_owned())?;
    let stamp = site.telephony.machine(MAIN)?.dir.join("clock");
    let step = |text: &str| std::fs::write(&stamp, text).map_err(because(stamp.display()));
    step("+0s\n")?;
    let variables = vec![
        format!("LD_PRELOAD={faketime}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", stamp.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    site.watchdog(MAIN)?.restart_with(variables)?;
    site.serves(MAIN, BACK)?;
    let since = Instant::now();
    step("+3600s\n")?;
    main_serves_on(site, since, Duration::from_secs(6))?;
    let since = Instant::now();
    step("-86400s\n")?;
    main_serves_on(site, since, Duration::from_secs(6))?;
    site.watchdog(MAIN)?.restart_with(Vec::new())?;
    site.serves(MAIN, BACK)
}

pub(crate) fn faketime() -> Option<String> {
    let found =
        Command::new("find").args(["/usr/lib", "-name", "libfaketime.so.1", "-print", "-quit"]).output().ok()?;
    Some(String::from_utf8_lossy(&found.stdout).trim().to_owned()).filter(|path| !path.is_empty())
}

/// The disk of Standby's state is full: it never becomes active, and says so; Main serves on.
pub(super) fn disk_full(site: &mut Site) -> Outcome {
    let state = site.telephony.machine(STANDBY)?.dir.join("state");
    site.mean("cannot be written");
    site.mean("has not been written for");
    site.watchdog(STANDBY)?.end()?;
    let mount = ["-t", "tmpfs", "-o", "size=16k,nr_inodes=16", "tmpfs"];
    let mounted = Command::new("mount").args(mount).arg(&state).status().map_err(because("mount"))?;
    ensure(mounted.success(), || format!("mount: {mounted}"))?;
    let played = full(site, &state);
    // Not before its processes are gone: they hold it.
    site.net().heal()?;
    site.watchdog(STANDBY)?.end()?;
    let unmounted = Command::new("umount").arg("-l").arg(&state).status().map_err(because("umount"))?;
    ensure(unmounted.success(), || format!("umount: {unmounted}"))?;
    played?;
    site.watchdog(STANDBY)?.start()?;
    site.serves(MAIN, Duration::from_secs(40))
}

fn full(site: &mut Site, state: &std::path::Path) -> Outcome {
    site.watchdog(STANDBY)?.start()?;
    wait_for("Standby's watchdog answers", BACK, || site.watchdog(STANDBY)?.status().map(drop))?;
    // Every free byte of it.
    let _ = std::fs::write(state.join("ballast"), vec![0; 64 << 10]);
    let since = Instant::now();
    main_serves_on(site, since, Duration::from_secs(5))?;
    site.net().fault(Fault::BlackHole(MAIN))?;
    std::thread::sleep(Duration::from_secs(10));
    ensure(site.watch().first_answer(STANDBY, since).is_none(), || {
        format!("a node that cannot write its promises serves: {}", site.watch().story(since))
    })?;
    site.watchdog(STANDBY)?.says("alarms", "writ")
}

/// A node of the version before stands where Standby was, answers and dials: nobody gives it a vote, Main serves on, and it
/// and the Edge say what it speaks.
pub(super) fn version(site: &mut Site) -> Outcome {
    site.mean("until it has this node's version");
    site.watchdog(STANDBY)?.end()?;
    let identity = site.telephony.machine(STANDBY)?.dir.join("node");
    let config = Arc::new(other_version(&identity)?);
    let listen = move || -> Outcome<()> {
        let listener = TcpListener::bind((STANDBY.address(), NODE)).map_err(because("the other version"))?;
        listener.set_nonblocking(true).map_err(because("the other version"))?;
        let end = Instant::now() + Duration::from_secs(6);
        let mut dialled = Instant::now();
        while Instant::now() < end {
            if dialled.elapsed() > Duration::from_millis(500) {
                dialled = Instant::now();
                for (host, port) in [(MAIN, NODE), (Host::Edge, WITNESS)] {
                    dial_as_before((host.address(), port).into())?;
                }
            }
            if let Ok((mut tcp, _)) = listener.accept() {
                let _ = tcp.set_nonblocking(false);
                let mut tls = rustls::ServerConnection::new(config.clone()).map_err(because("TLS"))?;
                // It ends in an alert: there is no common version.
                let _ = tls.complete_io(&mut tcp);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    };
    let since = Instant::now();
    let server = site.net().inside(STANDBY, listen)?;
    main_serves_on(site, since, Duration::from_secs(5))?;
    let said = site.watchdog(MAIN)?;
    let said = said.says("voters", "version").and_then(|()| said.says("alarms", "until it has this node's version"));
    let said = said.and_then(|()| {
        site.edge.says(
            "alarms",
            "the node at 10.77.0.12 speaks another version of the protocol (bascule/1, this edge bascule/",
        )
    });
    server.join().map_err(|_| "the other version panicked".to_owned())??;
    site.watchdog(STANDBY)?.start()?;
    said?;
    site.serves(MAIN, BACK)
}

const BEFORE: &[u8] = b"bascule/1";

/// Dials as a node of the version before does, and is told at once that there is no common one.
fn dial_as_before(to: std::net::SocketAddr) -> Outcome {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(because("TLS"))?;
    // The version is looked at before any certificate.
    let mut config = builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = vec![BEFORE.to_vec()];
    let name = rustls::pki_types::ServerName::try_from("node").map_err(because("TLS"))?;
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name).map_err(because("TLS"))?;
    let mut tcp = TcpStream::connect_timeout(&to, Duration::from_secs(1)).map_err(because(to))?;
    tcp.set_read_timeout(Some(Duration::from_secs(3))).map_err(because(to))?;
    let told = tls.complete_io(&mut tcp).err().map(|error| error.to_string()).unwrap_or_default();
    ensure(told.contains("NoApplicationProtocol"), || format!("{to} tells an older node: {told:?}"))
}

fn other_version(identity: &std::path::Path) -> Outcome<rustls::ServerConfig> {
    let read = |name: &str| std::fs::read(identity.join(name)).map_err(because(name));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(CHAIN)?).collect();
    let key = PrivateKeyDer::from_pem_slice(&read(KEY)?).map_err(because(KEY))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(because("TLS"))?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain.map_err(because(CHAIN))?, key).map_err(because("TLS"))?;
    config.alpn_protocols = vec![BEFORE.to_vec()];
    Ok(config)
}

/// Standby shows certificates nobody should believe: it gets no vote, and Main says what is wrong with them.
pub(super) fn certificates(site: &mut Site) -> Outcome {
    let identity = site.telephony.machine(STANDBY)?.dir.join("node");
    ensure(identity.join(CA).is_file(), || format!("{}: no certificates", identity.display()))?;
    site.mean("EXPIRED");
    for flaw in [Flaw::Expired, Flaw::Role(Host::StandbyCc), Flaw::Foreign] {
        site.watchdog(STANDBY)?.end()?;
        site.nodes.issue(STANDBY, flaw, &identity)?;
        site.watchdog(STANDBY)?.start()?;
        let since = Instant::now();
        let played = main_serves_on(site, since, Duration::from_secs(4)).and_then(|()| {
            site.net().fault(Fault::BlackHole(MAIN))?;
            std::thread::sleep(Duration::from_secs(6));
            ensure(site.watch().first_answer(STANDBY, since).is_none(), || {
                format!("with a certificate that is {flaw:?} it serves: {}", site.watch().story(since))
            })
        });
        site.net().heal()?;
        println!("  {flaw:?}: {}", last_line(&site.watchdog(STANDBY)?.log()));
        let _ = site.watchdog(STANDBY)?.kill();
        site.nodes.issue(STANDBY, Flaw::None, &identity)?;
        site.watchdog(STANDBY)?.start()?;
        played?;
        site.serves(MAIN, BACK)?;
    }
    Ok(())
}

fn last_line(log: &str) -> &str {
    log.lines().rev().find(|line| line.contains("ertificate") || line.contains("role")).unwrap_or("(nothing said)")
}
