//! What a browser keeps open: a WebSocket through the Edge, and another one each time it ends.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::net::Host;
use crate::outcome::{Outcome, because, ensure};
use crate::relay::live_side;
use crate::sip::Phone;
use crate::site::Site;
use crate::web::WebSocket;

/// Opens a WebSocket, and says which side it is on.
type Open = fn(&Arc<ClientConfig>, &Path) -> Outcome<(WebSocket, String)>;

/// One user's session, from its start until [`Session::end`].
pub(super) struct Session {
    name: &'static str,
    told: Receiver<(&'static str, String, Instant)>,
    end: Sender<()>,
    thread: JoinHandle<Outcome>,
}

impl Session {
    /// A browser's telephone: registered by SIP.
    pub(super) fn softphone(site: &Site) -> Outcome<Self> {
        Self::start(site, "softphone", |tls, edge| {
            let socket = WebSocket::sip(tls)?;
            // Whichever node it reaches answers to any of its names.
            let mut phone = Phone::new(socket, "1003", Host::MainXivo.address(), Host::User.address());
            phone.register(Duration::from_secs(1))?;
            Ok((phone.hang_up(), live_side(edge)))
        })
    }

    /// A contact centre's client: logged on, with a CTI socket.
    pub(super) fn cti(site: &Site) -> Outcome<Self> {
        Self::start(site, "CTI client", |tls, _| WebSocket::cti(tls))
    }

    fn start(site: &Site, name: &'static str, open: Open) -> Outcome<Self> {
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
                let Ok((mut socket, side)) = open(&tls, &edge) else {
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                };
                let _ = tell.send(("on", side, Instant::now()));
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
        Ok(Self { name, told, end, thread })
    }

    /// What it tells next has to be this: it is `on` a side, or `closed` with a code.
    pub(super) fn next(&self, what: &str, limit: Duration) -> Outcome<(String, Instant)> {
        let (is, detail, at) =
            self.told.recv_timeout(limit).map_err(because(format!("the {} is not {what} in time", self.name)))?;
        ensure(is == what, || format!("the {} is {is} ({detail}), not {what}", self.name))?;
        Ok((detail, at))
    }

    /// It is told at the switch that its service restarts (RFC 6455: 1012), and goes on with the other side; when it did.
    pub(super) fn moves(&self, side: &str, since: Instant, limit: Duration) -> Outcome<Duration> {
        let (how, closed) = self.next("closed", limit)?;
        ensure(how == "code 1012", || format!("the {} was closed with {how}", self.name))?;
        let (on, at) = self.next("on", limit)?;
        ensure(on == side, || format!("the {} is on {on}, not on {side}", self.name))?;
        let (closed, at) = (closed.duration_since(since), at.duration_since(since));
        println!(
            "  {}: closed ({how}) after {:.2} s, on {side} after {:.2} s",
            self.name,
            closed.as_secs_f64(),
            at.as_secs_f64()
        );
        Ok(at)
    }

    pub(super) fn end(self) -> Outcome {
        drop(self.end);
        self.thread.join().map_err(|_| format!("the {} panicked", self.name))?
    }
}
