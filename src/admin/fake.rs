//! An engine that says what a test told it, and remembers what it was told.

use std::sync::Mutex;

use async_trait::async_trait;
use failover::Side;
use failover::health::State;
use failover::switch::Kind;
use failover::verdict::Verdict;

use super::api::{
    BackendStatus, CertificateStatus, CheckStatus, ConfigurationStatus, Done, DrainRequest, Explain, FreezeRequest,
    JournalEntry, MaintenanceRequest, Next, Outcome, Report, ResumeRequest, ServiceStatus, SessionCounts, SessionRow,
    SideStatus, Sides, Status, SwitchAnswer, SwitchRequest, SwitchSummary, SwitchoverStatus, Time,
};
use super::{EngineApi, EngineError};
pub(crate) use crate::live::state::history::fake::{entry, explain, report};

#[derive(Default)]
pub(crate) struct FakeEngine {
    /// Said by `ready`, if set.
    pub(crate) not_ready: Option<String>,
    /// Said by `alive`, if set.
    pub(crate) not_alive: Option<String>,
    /// Refuses each order with this, if set.
    pub(crate) refuse: Option<String>,
    /// Never answers a question.
    pub(crate) hangs: bool,
    /// Who ordered what, and why.
    pub(crate) orders: Mutex<Vec<(String, String, String)>>,
}

impl FakeEngine {
    fn order(&self, what: &str, by: &str, reason: &str) -> Result<Done, EngineError> {
        if let Some(why) = &self.refuse {
            return Err(EngineError::Refused(why.clone()));
        }
        self.orders.lock().unwrap().push((what.into(), by.into(), reason.into()));
        Ok(Done { sentence: format!("Done: {what}.") })
    }
}

#[async_trait]
impl EngineApi for FakeEngine {
    fn alive(&self) -> Result<(), String> {
        self.not_alive.clone().map_or(Ok(()), Err)
    }

    fn ready(&self) -> Result<(), String> {
        self.not_ready.clone().map_or(Ok(()), Err)
    }

    async fn status(&self) -> Result<Status, EngineError> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Ok(status())
    }

    async fn explain(&self) -> Result<Explain, EngineError> {
        Ok(explain())
    }

    async fn history(&self, limit: usize) -> Result<Vec<JournalEntry>, EngineError> {
        Ok((0..limit.min(5)).map(|back| entry(5 - back as u64)).collect())
    }

    async fn report(&self, number: u64) -> Result<Report, EngineError> {
        if number == 7 { Ok(report(7)) } else { Err(EngineError::NotFound(format!("There is no report {number}."))) }
    }

    async fn switch(&self, request: SwitchRequest) -> Result<SwitchAnswer, EngineError> {
        self.order("switch", &request.by, &request.reason)?;
        Ok(SwitchAnswer {
            switched: !request.dry_run,
            dry_run: request.dry_run,
            live: if request.dry_run { Side::Main } else { request.to },
            epoch: 8,
            explain: explain(),
            switchover: None,
            refused: None,
        })
    }

    async fn switchover(&self) -> Result<SwitchoverStatus, EngineError> {
        Err(EngineError::NotFound("No switch of the whole site was ordered.".into()))
    }

    async fn freeze(&self, request: FreezeRequest) -> Result<Done, EngineError> {
        self.order("freeze", &request.by, &request.reason)
    }

    async fn resume(&self, request: ResumeRequest) -> Result<Done, EngineError> {
        self.order("resume", &request.by, &request.reason)
    }

    async fn maintenance(&self, request: MaintenanceRequest) -> Result<Done, EngineError> {
        let what = format!("maintenance {} {}", request.on, request.route.as_deref().unwrap_or("all"));
        self.order(&what, &request.by, &request.reason)
    }

    async fn sessions(&self, limit: usize) -> Result<Vec<SessionRow>, EngineError> {
        Ok((0..limit.min(2)).map(|id| session(id as u64)).collect())
    }

    async fn drain(&self, request: DrainRequest) -> Result<Done, EngineError> {
        self.order("drain", &request.by, &request.reason)
    }
}

fn at(seconds: i64) -> Time {
    Time::from_unix_ms(1_700_000_000_000 + seconds * 1000)
}

pub(crate) fn session(id: u64) -> SessionRow {
    SessionRow {
        id,
        side: Some(Side::Main),
        route: "/xuc/api/2.0/cti".into(),
        service: "cc".into(),
        backend: "10.0.0.21".into(),
        client: "203.0.113.9".parse().unwrap(),
        login: Some("alice".into()),
        since: at(0),
        bytes_in: 1_200,
        bytes_out: 34_000,
        closing: false,
    }
}

pub(crate) fn status() -> Status {
    let side = |health, reason: &str| SideStatus { health, reason: reason.into(), since: Some(at(-3600)) };
    let check = CheckStatus {
        name: "http".into(),
        port: None,
        verdict: Verdict::Up,
        reason: "200 in 3 ms".into(),
        last: Some(Outcome { at: at(0), outcome: "ok".into(), latency_ms: 3.25 }),
        certificate_days: Some(12),
    };
    let service = |name: &str, side, address: &str| ServiceStatus {
        name: name.into(),
        side,
        required: side.is_some(),
        health: State::Working,
        reason: "all checks up".into(),
        backends: vec![BackendStatus {
            name: address.into(),
            address: format!("{address}:443").parse().unwrap(),
            verdict: Verdict::Up,
            checks: vec![check.clone()],
        }],
    };
    Status {
        sentence: "Main is live and works; Standby works and could take over.".into(),
        version: "0.1.0".into(),
        pid: 4242,
        started: at(-7200),
        now: at(0),
        live: Side::Main,
        epoch: 6,
        persisted: true,
        frozen: None,
        damped: false,
        observe: false,
        doubt: None,
        draining: false,
        maintenance: vec![],
        sides: Sides { main: side(State::Working, "cc and xivo work"), standby: side(State::Working, "cc works") },
        services: vec![
            service("cc", Some(Side::Main), "10.0.0.21"),
            service("cc", Some(Side::Standby), "10.0.0.22"),
            service("sip", None, "127.0.0.1"),
        ],
        sessions: SessionCounts { main: 198, standby: 0, shared: 5 },
        parked: 0,
        next: Next { sentence: "If Main died now, traffic would go to Standby.".into(), to: Some(Side::Standby) },
        last_switch: Some(SwitchSummary {
            epoch: 6,
            at: at(-5000),
            kind: Kind::Failback,
            from: Side::Standby,
            to: Side::Main,
            reason: "Standby is inactive.".into(),
        }),
        certificates: vec![CertificateStatus { name: "edge.example.org".into(), not_after: at(9 * 86400), days: 9 }],
        configuration: ConfigurationStatus { loaded: Some(at(-7200)), broken: None },
        alarms: vec!["The certificate of edge.example.org expires in 9 days.".into()],
        nodes: vec![],
        witness: None,
        takeovers: vec![],
        switchover: None,
    }
}
