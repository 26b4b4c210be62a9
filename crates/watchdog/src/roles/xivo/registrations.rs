//! Keeps a serving XiVO node registered with every media server (W6): drives the machine, asks Asterisk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use failover::register::{Act, Attempt, Event, MdsId, Outcome, Output, Registrar, Service, Settings, State};
use protocol::wire::MediaServer;
use tokio::sync::{mpsc, watch};

use crate::node::asterisk::{Asterisk, RegistrationState};
use crate::node::clock;
use crate::node::command::CommandSpec;
use crate::roles::mistakes::{Mistake, made};

/// How often a registration under way is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The registrations with all media servers.
#[derive(Debug)]
pub(super) struct Registrations {
    service: watch::Sender<Option<Service>>,
    state: watch::Receiver<BTreeMap<String, MediaServer>>,
    unregistering: Vec<CommandSpec>,
}

impl Registrations {
    /// Starts; nothing is done before the node is said to serve. `objects` are the media servers' names and those of the
    /// registrations in Asterisk's configuration.
    pub(super) fn start(asterisk: Asterisk, objects: Vec<(String, String)>, retry: Duration, limit: Duration) -> Self {
        let (service, told) = watch::channel(None);
        let (publish, state) = watch::channel(BTreeMap::new());
        let unregistering = objects.iter().map(|(_, object)| asterisk.unregistering(object)).collect();
        let count = u8::try_from(objects.len()).unwrap_or(Settings::MOST).min(Settings::MOST);
        let settings = Settings {
            retry,
            retry_limit: limit,
            answer_limit: Duration::from_secs(2),
            verify_every: Duration::from_secs(5),
            ..Settings::new(count)
        };
        let task = Task { asterisk: Arc::new(asterisk), objects: objects.into(), publish };
        host::spawn(task.run(settings, told));
        Self { service, state, unregistering }
    }

    /// Tells that the node serves, or stops.
    pub(super) fn tell(&self, service: Service) {
        self.service.send_replace(Some(service));
    }

    /// What takes the registrations back, for a stop to run first.
    pub(super) fn unregistering(&self) -> Vec<CommandSpec> {
        if made(Mistake::RegistrationLeft) {
            return Vec::new();
        }
        self.unregistering.clone()
    }

    /// How each is, now and at each change.
    pub(super) fn state(&self) -> watch::Receiver<BTreeMap<String, MediaServer>> {
        self.state.clone()
    }
}

struct Task {
    asterisk: Arc<Asterisk>,
    objects: Arc<[(String, String)]>,
    publish: watch::Sender<BTreeMap<String, MediaServer>>,
}

impl Task {
    async fn run(self, settings: Settings, mut told: watch::Receiver<Option<Service>>) {
        let mut registrar = Registrar::new(settings, clock::now());
        // There is room for each attempt under way, and for one before it that was given up and ends all the same.
        let (ended, mut endings) = mpsc::channel::<(Attempt, Outcome)>(usize::from(Settings::MOST) * 2);
        self.publish(&registrar);
        loop {
            let deadline = registrar.deadline();
            let event = tokio::select! {
                biased;
                changed = told.changed() => match changed {
                    Ok(()) => match *told.borrow_and_update() {
                        Some(service) => Event::Service(service),
                        None => continue,
                    },
                    Err(_) => return,
                },
                Some((attempt, outcome)) = endings.recv() => Event::Ended { attempt, outcome },
                () = clock::sleep_until(deadline.unwrap_or_default()), if deadline.is_some() => Event::Timer,
            };
            for output in registrar.handle(event, clock::now()) {
                match output {
                    Output::Register(attempt) => {
                        let stands = matches!(registrar.state(attempt.mds), Some(State::Registered { .. }));
                        let trusted = stands && made(Mistake::RegisteredOnce);
                        let act = if trusted { Act::Verify } else { Act::Register };
                        self.attempt(attempt, settings.answer_limit, &ended, act);
                    }
                    Output::Verify(attempt) => self.attempt(attempt, settings.answer_limit, &ended, Act::Verify),
                    // The stop has taken it back already, if it could; Asterisk may be gone by now.
                    Output::Unregister(attempt) => {
                        self.attempt(attempt, settings.answer_limit, &ended, Act::Unregister)
                    }
                    Output::Changed { mds, from, state } => self.say(mds, from, state),
                }
            }
            self.publish(&registrar);
        }
    }

    fn say(&self, mds: MdsId, from: State, state: State) {
        let Some((name, _)) = self.objects.get(mds.index()) else { return };
        match state {
            State::Failing { .. } => tracing::warn!(mds = name, "registration: {state}, was {from}"),
            _ => tracing::info!(mds = name, "registration: {state}, was {from}"),
        }
    }

    fn publish(&self, registrar: &Registrar) {
        let now = registrar.states().filter_map(|(mds, state)| {
            let (name, _) = self.objects.get(mds.index())?;
            let registered = matches!(state, State::Registered { .. });
            Some((name.clone(), MediaServer { registered, state: state.to_string() }))
        });
        let now = now.collect();
        self.publish.send_if_modified(|before: &mut BTreeMap<_, _>| {
            let changed = *before != now;
            *before = now;
            changed
        });
    }

    fn attempt(&self, attempt: Attempt, limit: Duration, ended: &mpsc::Sender<(Attempt, Outcome)>, act: Act) {
        let Some((_, object)) = self.objects.get(attempt.mds.index()) else { return };
        let (asterisk, object, ended) = (Arc::clone(&self.asterisk), object.clone(), ended.clone());
        host::spawn(async move {
            // The machine gives an attempt up at its limit; it must not take effect later.
            let done = tokio::time::timeout(limit, carry_out(&asterisk, &object, act)).await;
            let _ = ended.try_send((attempt, done.unwrap_or(Outcome::Failed)));
        });
    }
}

async fn carry_out(asterisk: &Asterisk, object: &str, act: Act) -> Outcome {
    let sent = match act {
        Act::Unregister if made(Mistake::RegistrationLeft) => return Outcome::NotRegistered,
        Act::Register => asterisk.register(object).await,
        Act::Unregister => asterisk.unregister(object).await,
        Act::Verify => Ok(()),
    };
    if let Err(error) = sent {
        tracing::debug!(object, %error, "Asterisk was not told");
        return Outcome::Failed;
    }
    // Asterisk answers the order at once and registers later: its table is looked at until it shows what came of that.
    // The attempt's limit ends the loop.
    loop {
        let state = match asterisk.registrations().await {
            Ok(all) => all.into_iter().find(|one| one.is(object)).map(|one| one.state),
            Err(error) => {
                tracing::debug!(object, %error, "Asterisk does not tell its registrations");
                return Outcome::Failed;
            }
        };
        match (act, state) {
            // Asterisk has no registration of this name, so nothing shows what the media server has.
            (_, None) => return Outcome::Failed,
            (Act::Register | Act::Verify, Some(RegistrationState::Registered)) => return Outcome::Registered,
            (Act::Register, Some(_)) => tokio::time::sleep(LOOK).await,
            (Act::Verify, Some(_)) => return Outcome::NotRegistered,
            (Act::Unregister, Some(RegistrationState::Registered)) => tokio::time::sleep(LOOK).await,
            (Act::Unregister, Some(_)) => return Outcome::NotRegistered,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::node::asterisk::AsteriskSpec;

    #[tokio::test]
    async fn w6_a_registration_whose_name_asterisk_cuts_is_seen_to_stand() {
        let long = "a-name-of-more-than-fifty-four-characters-that-asterisk-cuts-somewhere";
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("table");
        let row = format!("==========\n {:.54}  auth  Registered\n", format!("{long}/sip:10.0.0.31"));
        std::fs::write(&table, row).unwrap();
        let command = ["cat", table.to_str().unwrap()].join(" ");
        let command = ["sh", "-c", &command, "asterisk"].map(str::to_owned).to_vec();
        let asterisk = Asterisk::new(AsteriskSpec { command, time_limit: Duration::from_secs(60) });
        assert_eq!(carry_out(&asterisk, long, Act::Verify).await, Outcome::Registered);
        assert_eq!(carry_out(&asterisk, "another", Act::Verify).await, Outcome::Failed);
    }
}
