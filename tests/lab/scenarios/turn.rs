//! A guest whose media goes through coturn, on the site's own port: a switch leaves a call on a media server alone.

use std::ffi::OsStr;
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::Stage;
use crate::machine::Program;
use crate::net::Host;
use crate::outcome::{Outcome, because, ensure, wait_for};
use crate::sip::{Phone, Udp, voice};
use crate::site::Site;
use crate::turn::{Relay, TURN};

const SOON: Duration = Duration::from_secs(10);
/// One packet of voice is this long.
const FRAME: Duration = Duration::from_millis(20);
/// The voice that is heard before the switch and behind it.
const ENOUGH: usize = 50;
/// What a listener may miss at most: 30 times what this machine needs when it is busy.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);
const TLS_PORT: u16 = 5349;

/// Whether coturn is installed.
pub(super) fn installed() -> bool {
    Command::new("turnserver").arg("--version").output().is_ok()
}

pub(super) fn survives(stage: &mut Stage) -> Outcome {
    let place = stage.place("turn")?;
    let mut site = Site::lay_out(&place, stage.binaries()?, false)?;
    let mut coturn = coturn(&site)?;
    let edge = Host::Edge.address();
    site.edge.reconfigure(|text| format!("{text}pass: [ {{ names: {TURN}, to: '{edge}:{TLS_PORT}' }} ]\n"))?;
    site.telephony.main.start()?;
    site.contact_centre(Host::MainCc, "start")?;
    site.serves(Host::MainXivo, SOON)?;

    let guest = Guest::call(&site)?;
    wait_for("the guest is heard", SOON, || ensure(guest.heard_since(guest.began) >= ENOUGH, || guest.story()))?;
    let since = Instant::now();
    site.stand_in_by_hand(SOON)?;
    let switched = Instant::now();
    wait_for("the guest is heard still", SOON, || ensure(guest.heard_since(switched) >= ENOUGH, || guest.story()))?;
    ensure(coturn.runs(), || "coturn has ended".to_owned())?;
    let call = guest.end()?;
    println!(
        "  through coturn: {} of {} packets came back, the longest silence {:.0} ms; {} of them since the switch began",
        call.heard.len(),
        call.sent,
        call.longest_silence().as_secs_f64() * 1000.0,
        call.heard.iter().filter(|at| **at >= since).count()
    );
    ensure(call.longest_silence() < LONGEST_SILENCE, || "the switch was heard".to_owned())?;
    // The last ones may be under way.
    ensure(call.heard.len() * 10 >= call.sent * 9, || "more than a tenth of the voice is lost".to_owned())
}

/// coturn on the Edge's machine, with the rules that are shipped and the addresses of this site.
fn coturn(site: &Site) -> Outcome<Program> {
    let machine = site.telephony.machine(Host::Edge)?;
    let pair = site.web.issue("turn", &[TURN])?;
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/coturn/turnserver-peers.conf");
    let peers = std::fs::read_to_string(&shipped).map_err(because(shipped.display()))?;
    let peers = peers.replace("=10.0.0.", "=10.77.0.");
    let (own, dir) = (Host::Edge.address(), machine.dir.display());
    let text = format!(
        "listening-ip={own}\nrelay-ip={own}\nlistening-port=3478\ntls-listening-port={TLS_PORT}\ncert={}\npkey={}\n\
         realm=edge.lab.test\nno-auth\nno-cli\nno-udp\nno-dtls\nlog-file=stdout\npidfile={dir}/turn.pid\n\
         userdb={dir}/turn.db\n{peers}",
        pair.chain.display(),
        pair.key.display(),
    );
    let path = machine.dir.join("turnserver.conf");
    std::fs::write(&path, text).map_err(because(path.display()))?;
    machine.start("coturn", &[OsStr::new("turnserver"), OsStr::new("-c"), path.as_os_str()])
}

/// How a call went.
struct Call {
    sent: usize,
    /// When packets of the guest's voice came back.
    heard: Vec<Instant>,
}

impl Call {
    fn longest_silence(&self) -> Duration {
        self.heard.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(Duration::MAX)
    }
}

/// Somebody outside who talks to the echo test of the media server.
struct Guest {
    began: Instant,
    heard: Arc<std::sync::Mutex<Vec<Instant>>>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<Outcome<usize>>,
}

impl Guest {
    fn call(site: &Site) -> Outcome<Self> {
        let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let tls = site.web.client()?;
        let work = {
            let (heard, over) = (heard.clone(), over.clone());
            move || talk(&tls, &heard, &over)
        };
        Ok(Self { began: Instant::now(), heard, over, thread: site.net().inside(Host::User, work)? })
    }

    fn heard_since(&self, since: Instant) -> usize {
        self.heard.lock().unwrap().iter().filter(|at| **at >= since).count()
    }

    fn story(&self) -> String {
        let ended = if self.thread.is_finished() { "the call has ended" } else { "the call is up or being set up" };
        format!("{ended}; {} packets were heard", self.heard.lock().unwrap().len())
    }

    /// Hangs up.
    fn end(self) -> Outcome<Call> {
        self.over.store(true, Ordering::Relaxed);
        let sent = self.thread.join().map_err(|_| "the guest panicked".to_owned())??;
        Ok(Call { sent, heard: std::mem::take(&mut *self.heard.lock().unwrap()) })
    }
}

/// Calls, and talks until it is over; how many packets were sent.
fn talk(tls: &Arc<ClientConfig>, heard: &std::sync::Mutex<Vec<Instant>>, over: &AtomicBool) -> Outcome<usize> {
    let mds = Host::Mds1.address();
    // coturn may have just been started.
    let mut relay = wait_for("a relay", SOON, || Relay::allocate(Host::Edge.address(), tls.clone()))?;
    // What the shipped rules do not name stays denied.
    let own = SocketAddrV4::new(Host::User.address(), 9);
    ensure(relay.bind(own).is_err(), || "coturn relays to anybody".to_owned())?;
    let mut phone = Phone::new(Udp::to(mds)?, "1002", mds, Host::User.address());
    let dialog = phone.dial_echo(relay.address, SOON)?;
    relay.bind(dialog.there.ok_or("the media server does not say where it hears")?)?;
    let mut sent = 0_usize;
    let mut next = Instant::now();
    while !over.load(Ordering::Relaxed) {
        relay.send(&voice(u16::try_from(sent % 0x1_0000).unwrap()))?;
        sent += 1;
        next += FRAME;
        // At least once, also when this thread is late: what has come is taken as fast as it comes.
        loop {
            if relay.receive(next.max(Instant::now() + Duration::from_millis(1)))?.is_none() {
                break;
            }
            heard.lock().unwrap().push(Instant::now());
        }
    }
    phone.end(&dialog, SOON)?;
    Ok(sent)
}
