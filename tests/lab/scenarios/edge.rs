//! An Edge alone: somebody switches by hand, no watchdog anywhere.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Stage;
use crate::net::Host;
use crate::outcome::{Outcome, because, ensure};
use crate::relay::live_side;
use crate::sip::Phone;
use crate::site::Site;
use crate::web::WebSocket;

const SOON: Duration = Duration::from_secs(10);

pub(super) fn alone(stage: &mut Stage) -> Outcome {
    let place = stage.place("edge-alone")?;
    let mut site = Site::lay_out(&place, stage.binaries()?, false)?;
    site.telephony.main.start()?;
    site.contact_centre(Host::MainCc, "start")?;
    site.edge.start()?;
    site.serves(Host::MainXivo, SOON)?;
    let softphone = Softphone::start(&site)?;
    let (node, _) = softphone.next("registered", SOON)?;
    ensure(node == "main", || format!("the softphone is registered on {node}"))?;

    let since = Instant::now();
    site.telephony.main.kill()?;
    site.contact_centre(Host::MainCc, "stop")?;
    site.telephony.standby.start()?;
    site.contact_centre(Host::StandbyCc, "start")?;
    site.serves(Host::StandbyXivo, SOON)?;
    let moved = site.user.first_answer("standby", since).map_or(0.0, |at| at.duration_since(since).as_secs_f64());
    println!("  the user is on Standby after {moved:.2} s: {}", site.user.story(since));
    let (how, closed) = softphone.next("closed", SOON)?;
    let (node, registered) = softphone.next("registered", SOON)?;
    println!(
        "  the softphone's WebSocket was closed ({how}) after {:.2} s, it is registered on {node} after {:.2} s",
        closed.duration_since(since).as_secs_f64(),
        registered.duration_since(since).as_secs_f64()
    );
    ensure(node == "standby", || format!("the softphone is registered on {node}"))?;
    softphone.end()
}

/// A browser's telephone: registered through the Edge, and again each time its WebSocket ends.
pub(super) struct Softphone {
    told: Receiver<(&'static str, String, Instant)>,
    end: Sender<()>,
    thread: JoinHandle<Outcome>,
}

impl Softphone {
    pub(super) fn start(site: &Site) -> Outcome<Self> {
        let tls = site.web.client()?;
        let edge = site.telephony.machine(Host::Edge)?.dir.clone();
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let work = move || -> Outcome {
            loop {
                // A sender that is gone is an end as well.
                if ended.try_recv() != Err(mpsc::TryRecvError::Empty) {
                    return Ok(());
                }
                let Some(mut socket) = register(&tls) else {
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                };
                let _ = tell.send(("registered", live_side(&edge), Instant::now()));
                loop {
                    if ended.try_recv() != Err(mpsc::TryRecvError::Empty) {
                        return Ok(());
                    }
                    if let Ok(code) = socket.closed(Duration::from_millis(200)) {
                        let how = code.map_or("no Close frame".to_owned(), |code| format!("code {code}"));
                        let _ = tell.send(("closed", how, Instant::now()));
                        break;
                    }
                }
            }
        };
        let thread = site.net().inside(Host::User, work)?;
        Ok(Self { told, end, thread })
    }

    /// What it tells next has to be this.
    pub(super) fn next(&self, what: &str, limit: Duration) -> Outcome<(String, Instant)> {
        let (is, detail, at) =
            self.told.recv_timeout(limit).map_err(because(format!("the softphone is not {what} in time")))?;
        ensure(is == what, || format!("the softphone is {is} ({detail}), not {what}"))?;
        Ok((detail, at))
    }

    pub(super) fn end(self) -> Outcome {
        drop(self.end);
        self.thread.join().map_err(|_| "the softphone panicked".to_owned())?
    }
}

fn register(tls: &Arc<rustls::ClientConfig>) -> Option<WebSocket> {
    let socket = WebSocket::open(tls).ok()?;
    // Whichever node it reaches answers to any of its names.
    let mut phone = Phone::new(socket, "1003", Host::MainXivo.address(), Host::User.address());
    phone.register(Duration::from_secs(1)).ok()?;
    Some(phone.hang_up())
}
