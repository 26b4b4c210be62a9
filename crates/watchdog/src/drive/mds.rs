//! Drives an MDS node: tells who is registered with it, and shouts when both nodes are.

use super::alarms::Alarms;
use super::journal::{Journal, Kind};
use super::show;
use crate::control::api::StatusView;
use crate::hands::asterisk::{Asterisk, Present};
use crate::hands::clock;
use crate::metrics::Metrics;
use failover::Side;
use failover::register::{Claims, Holder, Seen, Sight};
use protocol::identity::Keyring;
use protocol::wire::NodeReport;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::sleep;

/// How often Asterisk is asked.
const EVERY: Duration = Duration::from_millis(500);

/// An MDS node at work.
pub(super) struct Mds {
    pub(super) identity: show::Who,
    pub(super) asterisk: Asterisk,
    pub(super) main: IpAddr,
    pub(super) standby: IpAddr,
    pub(super) holder: Holder,
    /// Why Asterisk did not tell, if it did not.
    pub(super) mute: Option<String>,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<Metrics>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) view: watch::Sender<Arc<StatusView>>,
    pub(super) reports: watch::Sender<Arc<NodeReport>>,
    pub(super) since: SystemTime,
    pub(super) alarms: Alarms,
}

impl Mds {
    /// Runs until told to end.
    pub(super) async fn run(mut self, mut end: watch::Receiver<bool>) {
        while !*end.borrow() {
            self.look().await;
            self.show();
            crate::systemd::alive();
            tokio::select! {
                () = sleep(EVERY) => {}
                _ = end.changed() => {}
            }
        }
        self.journal.note(Kind::Watchdog, "the watchdog ends");
        self.journal.settle().await;
    }

    async fn look(&mut self) {
        let sight = match self.asterisk.contacts().await {
            Ok(contacts) => {
                self.unmute();
                Sight::Claims(claims(Present::among(&contacts, self.main, self.standby)))
            }
            Err(error) => {
                self.mute(error.to_string());
                Sight::Timer
            }
        };
        for seen in self.holder.handle(sight, clock::now()) {
            self.tell(&seen);
        }
    }

    fn mute(&mut self, why: String) {
        if self.mute.is_none() {
            self.since = SystemTime::now();
            self.journal.note(Kind::Alarm, &format!("Asterisk does not tell who is registered: {why}"));
        }
        self.mute = Some(why);
    }

    fn unmute(&mut self) {
        if self.mute.take().is_some() {
            self.since = SystemTime::now();
            self.journal.note(Kind::Status, "Asterisk tells who is registered");
        }
    }

    fn tell(&mut self, seen: &Seen) {
        let text = seen.to_string();
        match seen {
            Seen::Changed { .. } => self.journal.note(Kind::Status, &text),
            Seen::Conflict { .. } => {
                self.alarms.conflict(Some(text.clone()));
                self.journal.note(Kind::Alarm, &text);
            }
            Seen::ConflictOver { .. } => {
                self.alarms.conflict(None);
                self.journal.note(Kind::Status, &text);
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
