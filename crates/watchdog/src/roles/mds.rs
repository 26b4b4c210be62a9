//! Drives an MDS node: tells who is registered with it, and shouts when both nodes are.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use failover::Side;
use failover::health::Status;
use failover::register::{Claims, Holder, Seen, Sight};
use protocol::identity::Keyring;
use protocol::wire::{Presence, ServiceState};
use tokio::sync::watch;
use tokio::time::sleep;

use super::alarms::{Alarm, Alarms};
use super::mistakes::{Mistake, made};
use super::status::{Doings, Requested, Shown, Who, note, own_certificate, settle};
use crate::node::asterisk::{Asterisk, Present};
use crate::node::clock;
use crate::state::{Journal, Kind};

/// An MDS node at work.
pub(super) struct Mds {
    pub(super) who: Who,
    pub(super) asterisk: Asterisk,
    pub(super) main: IpAddr,
    pub(super) standby: IpAddr,
    pub(super) holder: Holder,
    /// Why Asterisk did not tell, if it did not.
    pub(super) mute: Option<String>,
    /// How often Asterisk is asked.
    pub(super) every: Duration,
    pub(super) journal: Journal,
    pub(super) keyring: Arc<Keyring>,
    pub(super) shown: Shown,
    pub(super) doings: Doings,
    pub(super) alarms: Alarms,
}

impl Mds {
    /// Runs until told to end.
    pub(super) async fn run(mut self, mut end: watch::Receiver<bool>) {
        while !*end.borrow() {
            self.look().await;
            self.show();
            crate::telemetry::systemd::alive();
            tokio::select! {
                biased;
                () = sleep(self.every) => {}
                _ = end.changed() => {}
            }
        }
        note(&self.journal, Kind::Run, "the watchdog ends");
        settle(&self.journal).await;
    }

    async fn look(&mut self) {
        let sight = match self.asterisk.contacts().await {
            Ok(contacts) => {
                self.unmute();
                Sight::Claims(claims(Present::among(&contacts, self.main, self.standby)))
            }
            Err(error) => {
                self.mute(error.to_string());
                // An Asterisk that does not answer shows nothing: what was registered is taken to be so still.
                Sight::Timer
            }
        };
        for seen in self.holder.handle(sight, clock::now()) {
            self.tell(&seen);
        }
    }

    fn show(&mut self) {
        own_certificate(&self.keyring, &mut self.alarms, &self.shown.metrics);
        let mut view = self.who.view(&self.doings, &self.alarms, Vec::new());
        let works = self.mute.is_none();
        let detail = self.mute.clone().unwrap_or_else(|| format!("registered: {}", self.holder.claims()));
        view.services.insert("asterisk".into(), ServiceState { works, detail });
        let (main, standby) = match self.holder.claims() {
            Claims::None => (false, false),
            Claims::One(side) => (side == Side::Main, side == Side::Standby),
            Claims::Both => (true, true),
        };
        view.presence = Some(Presence { main, standby, conflict: self.holder.has_conflict() });
        self.shown.show(view, Requested::default());
    }

    fn mute(&mut self, why: String) {
        // The silence is told once, when it begins: Asterisk is asked with each heartbeat.
        if self.mute.is_none() {
            let text = format!("Asterisk does not tell who is registered: {why}");
            note(&self.journal, Kind::Alarm, &text);
            self.doings = Doings::new(Status::Faulty, &text);
        }
        self.mute = Some(why);
    }

    fn unmute(&mut self) {
        if !made(Mistake::MuteStays) && self.mute.take().is_some() {
            self.doings = Doings::new(Status::Active, "Asterisk tells who is registered");
            note(&self.journal, Kind::Changed, &self.doings.because);
        }
    }

    fn tell(&mut self, seen: &Seen) {
        let text = seen.to_string();
        match seen {
            Seen::Changed { .. } => note(&self.journal, Kind::Changed, &text),
            Seen::Conflict { .. } => {
                self.alarms.set(Alarm::Conflict, Some(text.clone()));
                note(&self.journal, Kind::Alarm, &text);
            }
            Seen::ConflictOver { .. } => {
                self.alarms.set(Alarm::Conflict, None);
                note(&self.journal, Kind::Changed, &text);
            }
        }
    }
}

/// Who is registered, in the machine's terms.
pub(super) const fn claims(present: Present) -> Claims {
    match (present.main, present.standby) {
        (false, false) => Claims::None,
        (true, false) => Claims::One(Side::Main),
        (false, true) => Claims::One(Side::Standby),
        (true, true) => Claims::Both,
    }
}
