//! Whether those who follow do: a CC its XiVO (W5), the registrations with a media server the XiVO that serves (W6); and
//! whether what they show is true, and nothing is missing.

use std::time::Duration;

use failover::health::Status;

use super::super::world::{CC, EDGE, HOSTS, MDS, Sick, Telephony, name};
use super::{Company, Event};

/// Who was well for so long beforehand follows promptly.
const WELL: Duration = Duration::from_secs(20);
/// The answer to a watch, a command, a look at what came of it.
const PROMPT: Duration = Duration::from_secs(5);
/// The longest pause after failures, what was under way, and a connection that is dialled again.
const LATE: Duration = Duration::from_secs(25);
/// Until a registration that was lost is made again at the latest, after the longest pause.
const REGISTERED: Duration = Duration::from_secs(35);
/// What a XiVO said reaches its CC within so long, and is acted upon.
const WORD: Duration = Duration::from_secs(6);
/// After a failure of its own a CC may start and stop for so long.
const RECOVERS: Duration = Duration::from_secs(25);
/// A XiVO that was not heard for five seconds is out of sight, and so is known soon.
const OUT_OF_SIGHT: Duration = Duration::from_secs(9);
const IN_SIGHT: Duration = Duration::from_secs(6);
/// Both are registered for longer than a takeover takes.
const CONFLICT: Duration = Duration::from_secs(5);
/// A media server's next look, and what it takes.
const LOOKED: Duration = Duration::from_secs(3);
/// What is over may be shown for so long.
const LINGERS: Duration = Duration::from_secs(5);
/// What a XiVO says may reach its CC before an operator is shown it, by so much.
const SHOWN: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Followers<'a> {
    /// Worlds of voters alone are not judged by this.
    there: bool,
    alive: [bool; HOSTS],
    frozen: [bool; HOSTS],
    sick: [Sick; HOSTS],
    /// When something was last wrong with a machine itself.
    ill: [Duration; HOSTS],
    /// When its watchdog last did not run, or stood still.
    halted: [Duration; HOSTS],
    xivo: [Xivo; 2],
    cc: [Cc<'a>; 2],
    mds: Mds<'a>,
}

#[derive(Default)]
struct Xivo {
    status: Option<Status>,
    since: Duration,
    /// When it was last said to be so.
    active: Option<Duration>,
    inactive: Option<Duration>,
    /// Whether it reaches the media server, and when it last did not.
    reaches: bool,
    cut_off: Duration,
    /// Since when it has not been active, though it reached the media server all the time before and since.
    left: Option<Duration>,
}

#[derive(Default)]
struct Cc<'a> {
    services: Services,
    hears: Company,
    /// When it last did not hear its XiVO well, when that began, and since when it does not at all.
    deaf: Duration,
    deaf_from: Duration,
    deaf_since: Option<Duration>,
    status: Option<Status>,
    since: Duration,
    alarms: &'a [String],
    start_failed: Option<Duration>,
    /// When it acted, and upon which word of its XiVO, before an operator was shown that.
    early: Option<(Duration, Status)>,
}

struct Services(Telephony);

impl Default for Services {
    fn default() -> Self {
        Self(Telephony::Stopped)
    }
}

#[derive(Default)]
struct Mds<'a> {
    contacts: [Option<Duration>; 2],
    answers: [bool; 2],
    /// Since when the same nodes are registered and answer, and which.
    claims: [bool; 2],
    since: Duration,
    status: Option<Status>,
    shown: Option<[bool; 2]>,
    alarms: &'a [String],
    /// Since when its Asterisk does not answer.
    mute: Option<Duration>,
}

impl<'a> Followers<'a> {
    pub(super) fn take(&mut self, at: Duration, event: &'a Event) -> Result<(), String> {
        match event {
            Event::Boots(host) => (self.alive[*host], self.frozen[*host]) = (true, false),
            Event::Dies(host) => self.dies(*host),
            Event::Frozen(host, frozen) => self.frozen[*host] = *frozen,
            Event::Sick(host, sick) => self.sick[*host] = *sick,
            Event::Struck(host) => self.ill[*host] = at,
            Event::Shown { side, status, .. } => self.xivo_shows(at, *side, *status),
            Event::Followers { services, hears, reaches, contacts, answers } => {
                self.there = true;
                for side in 0..2 {
                    (self.cc[side].services, self.cc[side].hears) = (Services(services[side]), hears[side]);
                    if self.xivo[side].reaches != reaches[side] {
                        (self.xivo[side].reaches, self.xivo[side].cut_off) = (reaches[side], at);
                    }
                }
                (self.mds.contacts, self.mds.answers) = (*contacts, *answers);
            }
            Event::Follows { host: MDS, status, present, alarms } => {
                (self.mds.status, self.mds.shown, self.mds.alarms) = (Some(*status), *present, alarms);
            }
            Event::Follows { host, status, alarms, .. } => {
                let cc = &mut self.cc[*host - CC[0]];
                if cc.status != Some(*status) {
                    (cc.status, cc.since) = (Some(*status), at);
                }
                cc.alarms = alarms;
            }
            Event::Starts(host) if *host > EDGE => self.starts(at, *host - CC[0]),
            Event::Stops(host) if *host > EDGE => self.stops(at, *host - CC[0]),
            Event::StartFails(host) if *host > EDGE => self.cc[*host - CC[0]].start_failed = Some(at),
            _ => {}
        }
        // What is wrong for a moment was wrong.
        (0..HOSTS).for_each(|host| self.was_ill(at, host));
        Ok(())
    }

    fn dies(&mut self, host: usize) {
        self.alive[host] = false;
        if let Some(xivo) = self.xivo.get_mut(host) {
            (xivo.status, xivo.left) = (None, None);
        }
        if host == MDS {
            (self.mds.status, self.mds.shown, self.mds.alarms) = (None, None, &[]);
        } else if host > EDGE {
            let cc = &mut self.cc[host - CC[0]];
            (cc.status, cc.alarms, cc.start_failed) = (None, &[], None);
        }
    }

    fn xivo_shows(&mut self, at: Duration, side: usize, status: Status) {
        let ill = self.ill[side].max(self.ill[MDS]);
        let xivo = &mut self.xivo[side];
        if xivo.status == Some(status) {
            return;
        }
        // It was well all the time, and takes its registrations back while it stops.
        let well = xivo.cut_off.max(ill) + WELL <= at;
        xivo.left = match (xivo.status, status) {
            (Some(Status::Active), Status::Stopping) if well => Some(at),
            (Some(Status::Stopping), Status::Inactive) => xivo.left,
            _ => None,
        };
        (xivo.status, xivo.since) = (Some(status), at);
    }

    /// A CC starts because its XiVO serves, or because what it runs died.
    fn starts(&mut self, at: Duration, side: usize) {
        self.cc[side].start_failed = None;
        self.acts(at, side, self.xivo[side].active, Status::Active);
    }

    /// A CC stops because its XiVO says that it is inactive, or because what it runs does not work: not because it hears
    /// nothing.
    fn stops(&mut self, at: Duration, side: usize) {
        self.acts(at, side, self.xivo[side].inactive, Status::Inactive);
    }

    fn acts(&mut self, at: Duration, side: usize, shown: Option<Duration>, word: Status) {
        let said = shown.is_some_and(|then| then + WORD >= self.heard(at, side));
        if !said && at > self.ill[CC[side]] + RECOVERS {
            self.cc[side].early = Some((at, word));
        }
    }

    /// What a CC acted upon is shown soon, or nobody said it.
    fn acted_rightly(&mut self, until: Duration, side: usize) -> Result<(), String> {
        let (xivo, cc) = (&self.xivo[side], &mut self.cc[side]);
        match cc.early {
            Some((at, word)) if xivo.status == Some(word) && xivo.since <= at + SHOWN => cc.early = None,
            Some((at, word)) if until > at + SHOWN => {
                let does = if word == Status::Active { "starts" } else { "stops" };
                return Err(format!("W5: {} {does} beside a XiVO that was not {word} lately", name(CC[side])));
            }
            _ => {}
        }
        Ok(())
    }

    /// From when the word may be that a CC acts upon: a cut holds it back.
    fn heard(&self, at: Duration, side: usize) -> Duration {
        let cc = &self.cc[side];
        if at <= cc.deaf + WORD { cc.deaf_from } else { at }
    }

    fn was_ill(&mut self, at: Duration, host: usize) {
        if !self.alive[host] || self.frozen[host] {
            self.halted[host] = self.halted[host].max(at);
        }
        if !self.alive[host] || self.frozen[host] || self.sick[host] != Sick::default() {
            self.ill[host] = self.ill[host].max(at);
        }
    }

    pub(super) fn pass(&mut self, from: Duration, until: Duration) -> Result<(), String> {
        if !self.there {
            return Ok(());
        }
        (0..HOSTS).for_each(|host| self.was_ill(until, host));
        for (side, host) in CC.into_iter().enumerate() {
            let xivo = &mut self.xivo[side];
            match xivo.status {
                Some(Status::Active) => xivo.active = Some(until),
                Some(Status::Inactive) => xivo.inactive = Some(until),
                _ => {}
            }
            if !xivo.reaches {
                xivo.cut_off = until;
            }
            let cc = &mut self.cc[side];
            if cc.hears != Company::Good {
                if cc.deaf + WORD < from {
                    cc.deaf_from = from;
                }
                cc.deaf = until;
            }
            let deaf = cc.hears == Company::None && self.alive[host] && !self.frozen[host];
            cc.deaf_since = cc.deaf_since.or(Some(until)).filter(|_| deaf);
            self.acted_rightly(until, side)?;
            self.cc_follows(until, side)?;
            self.cc_tells(until, side)?;
            self.is_registered(until, side)?;
        }
        self.mds_tells(until)
    }

    fn cc_follows(&self, until: Duration, side: usize) -> Result<(), String> {
        let (xivo, cc) = (&self.xivo[side], &self.cc[side]);
        let bad = self.ill[CC[side]].max(cc.deaf);
        let prompt = xivo.since > bad + WELL;
        let limit = if prompt { PROMPT } else { LATE };
        if until <= bad.max(xivo.since) + limit {
            return Ok(());
        }
        match (xivo.status, cc.services.0) {
            (Some(Status::Inactive), Telephony::Works | Telephony::Hangs) => {
                Err(format!("W5: {} runs beside an inactive XiVO for {limit:?}", name(CC[side])))
            }
            (Some(Status::Active), Telephony::Stopped | Telephony::Hangs) => {
                Err(format!("W5: {} does not serve beside an active XiVO for {limit:?}", name(CC[side])))
            }
            _ => Ok(()),
        }
    }

    fn cc_tells(&self, until: Duration, side: usize) -> Result<(), String> {
        let (cc, host) = (&self.cc[side], CC[side]);
        if !self.alive[host] || self.frozen[host] || cc.status.is_none() {
            return Ok(());
        }
        let shows = |words: &str| cc.alarms.iter().any(|alarm| alarm.contains(words));
        let ill = self.halted[host];
        if shows("out of sight") {
            if until > cc.deaf.max(ill) + IN_SIGHT {
                return Err(format!("a false alarm of {}: its XiVO is in sight", name(host)));
            }
        } else if cc.deaf_since.is_some_and(|since| until > since.max(ill) + OUT_OF_SIGHT) {
            return Err(format!("{} tells nobody that its XiVO is out of sight", name(host)));
        }
        if shows("does not start") {
            if cc.status == Some(Status::Active) && until > cc.since + LINGERS {
                return Err(format!("a false alarm of {}: it has started", name(host)));
            }
        } else if cc.start_failed.is_some_and(|since| until > since.max(ill) + LINGERS) {
            return Err(format!("{} tells nobody that it does not start", name(host)));
        }
        let known = ["out of sight", "does not start"];
        match cc.alarms.iter().find(|alarm| !known.iter().any(|words| alarm.contains(words))) {
            Some(alarm) => Err(format!("a false alarm of {}: {alarm:?}", name(host))),
            None => Ok(()),
        }
    }

    fn is_registered(&self, until: Duration, side: usize) -> Result<(), String> {
        let xivo = &self.xivo[side];
        let there = self.mds.contacts[side].is_some_and(|end| until < end);
        let bad = xivo.cut_off.max(self.ill[side]).max(self.ill[MDS]);
        if xivo.status == Some(Status::Active) && !there {
            let limit = if xivo.since > bad + WELL { PROMPT } else { REGISTERED };
            if until > bad.max(xivo.since) + limit {
                return Err(format!(
                    "W6: {} serves, and is not registered with the media server for {limit:?}",
                    name(side)
                ));
            }
        }
        let left = xivo.left.is_some_and(|left| bad <= left && until > xivo.since + PROMPT);
        if left && xivo.status == Some(Status::Inactive) && there {
            return Err(format!("W6: {} stopped, and is registered with the media server still", name(side)));
        }
        Ok(())
    }

    fn mds_tells(&mut self, until: Duration) -> Result<(), String> {
        let mds = &mut self.mds;
        let claims = [0, 1].map(|side| mds.contacts[side].is_some_and(|end| until < end) && mds.answers[side]);
        if mds.claims != claims {
            (mds.claims, mds.since) = (claims, until);
        }
        let Some(status) = mds.status.filter(|_| self.alive[MDS] && !self.frozen[MDS]) else { return Ok(()) };
        let told = mds.since.max(self.ill[MDS]) + LOOKED;
        let is_mute = self.sick[MDS].cli != Sick::default().cli;
        mds.mute = mds.mute.or(Some(until)).filter(|_| is_mute);
        if mds.mute.is_some_and(|since| until > since.max(self.halted[MDS]) + LOOKED) && status != Status::Faulty {
            return Err(format!("{} tells nobody that Asterisk does not tell who is registered", name(MDS)));
        }
        if !is_mute && until > self.ill[MDS] + LOOKED && status != Status::Active {
            return Err(format!("a false word of {}: Asterisk tells who is registered", name(MDS)));
        }
        if is_mute || until <= told {
            return Ok(());
        }
        if mds.shown != Some(claims) {
            return Err(format!("{} shows that {:?} are registered, and {claims:?} are", name(MDS), mds.shown));
        }
        let both = claims == [true; 2];
        let conflict = mds.alarms.iter().any(|alarm| alarm.contains("CONFLICT"));
        match mds.alarms.iter().find(|alarm| !(alarm.contains("CONFLICT") && both)) {
            Some(alarm) => Err(format!("a false alarm of {}: {alarm:?}", name(MDS))),
            None if both && !conflict && until > told + CONFLICT => {
                Err(format!("{} tells nobody that both nodes are registered", name(MDS)))
            }
            None => Ok(()),
        }
    }
}
