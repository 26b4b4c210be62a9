//! What the engine says of itself: journal entries, the status, and why things are as they are.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use failover::health::{self, Health, Reason, SideHealth, State as HealthState};
use failover::switch::WhatIf;
use failover::verdict::Verdict;
use failover::{Explain as _, Instant, Side};

use super::Engine;
use super::act::Asker;
use super::nodes::Nodes;
use crate::admin::api::{
    BackendStatus, BrokenConfiguration, CheckStatus, Event, Explain, JournalEntry, Next, Outcome, ServiceStatus,
    SessionCounts, SideStatus, Sides, Status, Time,
};
use crate::traffic::upstream::Upstream;
use crate::traffic::websocket::tunnel::Pin;

impl Engine {
    /// Notes what the Edge begins with.
    pub(super) async fn note_start(&mut self) {
        for alarm in self.alarms.clone() {
            tracing::error!("{alarm}");
            self.journal(Event::Alarm, alarm);
        }
        let (live, epoch) = (self.switcher.switch.live(), self.switcher.switch.epoch());
        let sentence = format!("bascule {} started; {live} is live in epoch {epoch}", env!("CARGO_PKG_VERSION"));
        tracing::info!("{sentence}");
        self.journal(Event::Started, sentence);
        let metrics = &self.means.metrics;
        metrics.frozen.set(i64::from(self.switcher.frozen.is_some()));
        metrics.observe.set(i64::from(self.plan.site.config.switch.observe));
        metrics.live(live, epoch);
        // At once, not with the first switch: a disk that takes nothing is told of while it does no harm.
        self.switcher.persist(self.switcher.switch.memory(self.clock.now())).await;
    }

    /// Writes an entry about the present state, of what nobody asked for.
    pub(super) fn journal(&self, event: Event, sentence: String) {
        self.journal_of(event, sentence, None);
    }

    /// Writes an entry about the present state, with who asked for what came of it.
    pub(super) fn journal_of(&self, event: Event, sentence: String, asker: Option<&Asker>) {
        let (by, why) = asker.cloned().map(|Asker { by, why }| (by, why)).unzip();
        let entry = JournalEntry {
            at: Time::now(),
            epoch: self.switcher.switch.epoch(),
            event,
            live: self.switcher.switch.live(),
            by,
            why: why.filter(|why| !why.is_empty()),
            explain: self.explanation(sentence),
        };
        self.means.state.note(entry);
    }

    /// Facts, rule and outcome of the present state, under this sentence.
    pub(super) fn explanation(&self, sentence: String) -> Explain {
        let told = self.switcher.switch.explain(self.clock.now());
        let names = self.plan.names();
        let mut facts: Vec<String> =
            Side::BOTH.into_iter().map(|side| format!("{side} {}", told.sides[side].named(names))).collect();
        facts.push(format!("{} is live in epoch {}", told.live, told.epoch));
        facts.push(format!("{} of {} automatic switches of this hour are used", told.budget.used, told.budget.limit));
        if let Some(doubt) = told.doubt {
            facts.push(doubt.to_string());
        }
        if let Some(frozen) = &self.switcher.frozen {
            facts.push(format!("frozen by {} since {}: {}", frozen.by, frozen.since, frozen.why));
        }
        if told.observe {
            facts.push("observe is on: nothing moves".to_owned());
        }
        Explain {
            sentence,
            facts,
            rule: told.standing.named(names).to_string(),
            outcome: format!("if {} died now: {}", told.live, told.if_live_died.named(names)),
        }
    }

    /// Why the live side is live, now.
    pub(super) fn explain_now(&self) -> Explain {
        let told = self.switcher.switch.explain(self.clock.now());
        let reason = match &self.switcher.last {
            Some(last) => format!("; the last switch: {}", last.reason),
            None => String::new(),
        };
        self.explanation(format!("{}{reason}", told.standing.named(self.plan.names())))
    }

    pub(super) fn note_service(&self, output: &health::Output) {
        tracing::info!("{}", output.named(self.plan.names()));
    }

    pub(super) fn note_side(&mut self, side: Side, output: &health::Output) {
        let sentence = output.named(self.plan.names()).to_string();
        let state = self.monitor.health.side(side).state;
        self.means.metrics.health(side, state);
        if state == HealthState::NotWorking {
            tracing::warn!("{sentence}");
        } else {
            tracing::info!("{sentence}");
        }
        // A node's word changes health, too: a side that comes and goes does not push the rest out of the journal.
        let now = self.clock.now();
        if let Some(hidden) = self.health_sentences[side].take(now) {
            if hidden > 0 {
                self.journal(Event::Health, format!("{side}: {hidden} more changes came too fast to be written down"));
            }
            self.journal(Event::Health, sentence);
        }
    }

    /// Everything on one screen.
    pub(super) fn status(&self) -> Status {
        let now = self.clock.now();
        let told = self.switcher.switch.explain(now);
        let driver = self.switchover.as_ref();
        let nodes = driver.map(|driver| &driver.nodes);
        let names = self.plan.names();
        let to = match told.if_live_died {
            WhatIf::Moves { to, .. } => Some(to),
            WhatIf::Stays(_) => None,
        };
        Status {
            sentence: told.standing.named(names).to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: self.clock.started(),
            now: Time::now(),
            live: told.live,
            epoch: told.epoch,
            persisted: self.switcher.is_persisted(),
            frozen: self.switcher.frozen.clone(),
            damped: told.budget.is_spent(),
            observe: told.observe,
            doubt: told.doubt.map(|doubt| doubt.to_string()),
            draining: self.draining,
            maintenance: self.switcher.maintenance.all().to_vec(),
            sides: Sides::from_fn(|side| self.side_status(&told.sides[side])),
            services: self.services(),
            sessions: self.session_counts(),
            parked: u64::try_from(self.means.edge.parking.parked()).unwrap_or(u64::MAX),
            next: Next { sentence: format!("If {} died now: {}", told.live, told.if_live_died.named(names)), to },
            last_switch: self.switcher.last.clone(),
            certificates: self.certificates(),
            configuration: self.configuration.clone(),
            // What turns users away comes first, what will do so in some days last: people read from the top.
            alarms: self
                .expired_certificates()
                .into_iter()
                .chain(self.carriage_alarms())
                .chain(self.configuration_alarm())
                .chain(self.staleness_alarm(nodes, now))
                .chain(nodes.iter().flat_map(|nodes| nodes.alarms(now)))
                .chain(self.alarms.iter().cloned())
                .chain(self.means.state.trouble())
                .chain(self.expiring_certificates())
                .collect(),
            nodes: nodes.map(|nodes| nodes.rows(self.clock)).unwrap_or_default(),
            witness: nodes.map(|nodes| nodes.witness_row(now)),
            takeovers: nodes.map(|nodes| nodes.takeovers(now)).unwrap_or_default(),
            switchover: driver.and_then(|driver| driver.status().cloned()),
        }
    }

    /// Nothing is lost yet, and a restart would be the end: systemd does not try again with a wrong file.
    fn configuration_alarm(&self) -> Option<String> {
        let BrokenConfiguration { since, error, more } = self.configuration.broken.as_ref()?;
        let besides = if *more > 0 { format!(" (and {more} more)") } else { String::new() };
        Some(format!(
            "the configuration on the disk does not load, since {since}; a restart would fail: {error}{besides}"
        ))
    }

    /// A CC up to 2025.10 answers although it is stale; whether it was restarted, its watchdog alone knows.
    fn staleness_alarm(&self, nodes: Option<&Nodes>, now: Instant) -> Option<String> {
        let live = self.switcher.switch.live();
        let unseen = self.plan.site.config.stale_cc && !nodes.is_some_and(|nodes| nodes.hears_cc(live, now));
        unseen.then(|| {
            format!(
                "whether xuc is stale cannot be seen: no CC watchdog of {live} reports, and up to 2025.10 a xuc that was not \
                 restarted since the switch answers, too; run one on each CC, and until then `xivocc-dcomp restart xuc` by hand"
            )
        })
    }

    /// What live requests meet and no check looks at. A backend that is down is told of by its checks.
    fn carriage_alarms(&self) -> Vec<String> {
        let now = tokio::time::Instant::now();
        let live = self.switcher.switch.live();
        let serving = |upstream: &&Arc<Upstream>| {
            upstream.side.is_none_or(|side| side == live) && !upstream.down.load(Ordering::Acquire)
        };
        let told = |upstream: &Arc<Upstream>| {
            let (sentence, since) = upstream.connector.trouble.standing(now)?;
            let place = self.plan.backends.get(upstream.index)?;
            let service = &self.plan.site.config.services[place.service.0].name;
            let (side, since) = (place.side.map_or("shared", Side::label), Time::from(since));
            Some(format!(
                "requests to {service} ({side}) cannot be carried, since {since}, and none of its checks looks at that: {sentence}"
            ))
        };
        self.plan.site.upstreams.all().filter(serving).filter_map(told).collect()
    }

    fn side_status(&self, side: &SideHealth) -> SideStatus {
        SideStatus {
            health: side.state,
            reason: side.reason.named(self.plan.names()).to_string(),
            since: match side.reason {
                Reason::NothingToJudge => None,
                _ => Some(self.clock.wall(side.since)),
            },
        }
    }

    fn services(&self) -> Vec<ServiceStatus> {
        let names = self.plan.names();
        let told = |health: Option<&health::ServiceHealth>| match health {
            Some(health) => (health.state, health.reason.named(names).to_string()),
            None => (HealthState::Unknown, String::new()),
        };
        let each = |(index, (service, side)): (usize, &(crate::config::ServiceIndex, Option<Side>))| {
            let config = &self.plan.site.config.services[service.0];
            let id = health::ServiceId(u16::try_from(index).unwrap_or(u16::MAX));
            let (health, reason) = told(self.monitor.health.service(id));
            let backends = self.plan.backends.iter().filter(|b| (b.service, b.side) == (*service, *side));
            ServiceStatus {
                name: config.name.clone(),
                side: *side,
                required: config.required,
                health,
                reason,
                backends: backends.map(|place| self.backend(place)).collect(),
            }
        };
        self.plan.services.iter().enumerate().map(each).collect()
    }

    fn backend(&self, place: &super::plan::Place) -> BackendStatus {
        let checks: Vec<CheckStatus> = place.checks.iter().map(|check| self.check(check.index())).collect();
        let verdicts = || checks.iter().map(|check| check.verdict);
        let verdict = if verdicts().any(|verdict| verdict == Verdict::Down) {
            Verdict::Down
        } else if verdicts().all(|verdict| verdict == Verdict::Up) {
            Verdict::Up
        } else {
            Verdict::Unknown
        };
        let service = &self.plan.site.config.services[place.service.0];
        let backend = &service.backends(place.side.unwrap_or(Side::Main))[place.position];
        BackendStatus { name: place.name.clone(), address: backend.address, verdict, checks }
    }

    fn check(&self, check: usize) -> CheckStatus {
        let report = self.monitor.report(check);
        let last = self.monitor.last()[check].as_ref();
        CheckStatus {
            name: self.plan.checks[check].name.clone(),
            port: self.plan.checks[check].port,
            verdict: report.verdict,
            // Of TLS the machine knows that it failed; why is what has to be repaired.
            reason: match last.filter(|last| last.failed_tls && report.verdict != Verdict::Up) {
                Some(last) => format!("{}: {}", report.reason, last.detail),
                None => report.reason.to_string(),
            },
            last: last.map(|last| Outcome {
                at: last.at,
                outcome: last.detail.clone(),
                latency_ms: last.took.as_secs_f64() * 1000.0,
            }),
            certificate_days: last.and_then(|last| Some(last.certificate?.days_left(std::time::SystemTime::now()))),
        }
    }

    fn session_counts(&self) -> SessionCounts {
        let mut counts = SessionCounts::default();
        for tally in self.means.edge.sessions.tally() {
            let count = u64::try_from(tally.sessions).unwrap_or(u64::MAX);
            match tally.pin {
                Pin::Side(Side::Main) => counts.main += count,
                Pin::Side(Side::Standby) => counts.standby += count,
                Pin::Follows(_) | Pin::Stays => counts.shared += count,
            }
        }
        counts
    }

    /// The health machine, for orders that look before they act.
    pub(super) fn health(&self) -> &Health {
        &self.monitor.health
    }
}
