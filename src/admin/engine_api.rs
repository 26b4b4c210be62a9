//! What the endpoints need of the engine.

use async_trait::async_trait;
use daemon::Health;

use super::api::{
    Done, DrainRequest, Explain, FreezeRequest, JournalEntry, MaintenanceRequest, Report, ResumeRequest, SessionRow,
    Status, SwitchAnswer, SwitchRequest, SwitchoverStatus,
};

/// The engine as operators see it. The endpoints put a time limit on each call; a call that is dropped leaves nothing half done.
#[async_trait]
pub trait EngineApi: Send + Sync + 'static {
    /// Whether the engine's loop turned lately. Takes no lock the loop may hold.
    ///
    /// # Errors
    /// One sentence why it did not.
    fn alive(&self) -> Result<(), String>;

    /// Whether a live side works.
    ///
    /// # Errors
    /// One sentence why none does.
    fn ready(&self) -> Result<(), String>;

    /// Everything on one screen.
    async fn status(&self) -> Result<Status, EngineError>;

    /// Why the live side is live: the last decision, with facts as they stand now.
    async fn explain(&self) -> Result<Explain, EngineError>;

    /// The newest `limit` entries, newest first.
    async fn history(&self, limit: usize) -> Result<Vec<JournalEntry>, EngineError>;

    /// The report of the switch that began epoch `number`.
    async fn report(&self, number: u64) -> Result<Report, EngineError>;

    /// Makes a side live, or says why not. Answers once the new epoch is on the disk; where watchdogs report, once the
    /// switch of the whole site has begun.
    async fn switch(&self, request: SwitchRequest) -> Result<SwitchAnswer, EngineError>;

    /// The last planned switch of the whole site.
    async fn switchover(&self) -> Result<SwitchoverStatus, EngineError>;

    /// Forbids automatic switches.
    async fn freeze(&self, request: FreezeRequest) -> Result<Done, EngineError>;

    /// Allows them again.
    async fn resume(&self, request: ResumeRequest) -> Result<Done, EngineError>;

    /// Has the site or a route answered with the maintenance page, or no longer. Answers once that is on the disk.
    async fn maintenance(&self, request: MaintenanceRequest) -> Result<Done, EngineError>;

    /// At most `limit` open sessions, oldest first.
    async fn sessions(&self, limit: usize) -> Result<Vec<SessionRow>, EngineError>;

    /// Takes no new connections and lets the old ones end.
    async fn drain(&self, request: DrainRequest) -> Result<Done, EngineError>;
}

impl Health for dyn EngineApi {
    fn alive(&self) -> Result<(), String> {
        EngineApi::alive(self)
    }

    fn ready(&self) -> Option<Result<(), String>> {
        // An Edge has an opinion on that; a watchdog, which shares the endpoint, has none.
        Some(EngineApi::ready(self))
    }
}

/// Why the engine did not do or say something. The message is the one sentence an operator reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The order is understood and not carried out.
    #[error("{0}")]
    Refused(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The question makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Not now: the Edge starts, stops, or is too busy.
    #[error("{0}")]
    Unavailable(String),
    /// Something broke.
    #[error("{0}")]
    Failed(String),
}

impl EngineError {
    /// The HTTP status it is told with.
    pub fn http_status(&self) -> http::StatusCode {
        match self {
            // At odds with how things stand (RFC 9110 section 15.5.10): the same order may be taken later.
            Self::Refused(_) => http::StatusCode::CONFLICT,
            Self::NotFound(_) => http::StatusCode::NOT_FOUND,
            Self::Invalid(_) => http::StatusCode::BAD_REQUEST,
            Self::Unavailable(_) => http::StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(_) => http::StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The one word a program can act upon.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::NotFound(_) => "not_found",
            Self::Invalid(_) => "invalid",
            Self::Unavailable(_) => "unavailable",
            Self::Failed(_) => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{EngineApi, EngineError};
    use crate::admin::api::FreezeRequest;
    use crate::admin::fake::FakeEngine;

    #[tokio::test]
    async fn a_refusal_is_a_conflict_and_leaves_nothing_done() {
        let fake = Arc::new(FakeEngine { refuse: Some("Not now.".into()), ..FakeEngine::default() });
        let engine: Arc<dyn EngineApi> = fake.clone();
        let error = engine.freeze(FreezeRequest::default()).await.unwrap_err();
        assert_eq!(error, EngineError::Refused("Not now.".into()));
        assert_eq!((error.http_status().as_u16(), error.word()), (409, "refused"));
        assert!(fake.orders.lock().unwrap().is_empty());
    }
}
