//! The admin endpoint: the JSON API over a unix socket, for root and a group. Who may come in is the socket's mode; who
//! did what is the kernel's word (`SO_PEERCRED`).

use std::sync::Arc;

use bytes::Bytes;
use daemon::{
    Answer, Handler, ServerLimits, Socket, SocketError, clean, json, not_allowed, not_found, refuse, well, who,
};
use http::{Method, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::unix::UCred;

use super::api::{DrainRequest, FreezeRequest, MaintenanceRequest, ResumeRequest, SwitchRequest};
use super::{EngineApi, EngineError};
use crate::config;

/// Most rows one answer holds: what fits into a few hundred kilobytes.
pub const MOST_ROWS: usize = 1000;
const HISTORY_ROWS: usize = 20;
const SESSION_ROWS: usize = 100;
/// Where orders are taken, each by POST.
const ORDERS: [&str; 5] = ["/v1/switch", "/v1/freeze", "/v1/resume", "/v1/maintenance", "/v1/drain"];

/// The endpoint, open but not served yet.
#[derive(Debug)]
pub struct AdminEndpoint {
    socket: Socket,
    limits: ServerLimits,
}

impl AdminEndpoint {
    /// Binds the socket, mode 0660.
    ///
    /// # Errors
    /// What is in the way at that path, or that there is no such group.
    pub async fn open(admin: &config::Admin) -> Result<Self, SocketError> {
        let socket = Socket::bind(&admin.socket, admin.group.as_deref()).await?;
        Ok(Self { socket, limits: ServerLimits::ADMIN })
    }

    /// Serves until the future is dropped.
    pub async fn serve(self, engine: Arc<dyn EngineApi>) {
        daemon::serve("admin", &self.socket.listener, Arc::new(RequestHandler { engine }), self.limits).await;
    }
}

struct RequestHandler {
    engine: Arc<dyn EngineApi>,
}

impl Handler<UCred> for RequestHandler {
    async fn answer(&self, request: Request<Bytes>, peer: UCred) -> Answer {
        match self.route(&request, peer).await {
            Ok(answer) => answer,
            Err(error) => refuse(error.http_status(), error.word(), error.to_string()),
        }
    }
}

impl RequestHandler {
    async fn route(&self, request: &Request<Bytes>, peer: UCred) -> Result<Answer, EngineError> {
        let path = request.uri().path();
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        let write = *request.method() == Method::POST;
        match path {
            // Without the engine's queue: a loop that hangs is what this is to tell.
            "/healthz" if read => Ok(well(self.engine.alive())),
            "/readyz" if read => Ok(well(self.engine.ready())),
            "/v1/status" if read => told(&self.engine.status().await?),
            "/v1/walk" if read => told(&self.engine.switchover().await?),
            "/v1/explain" if read => told(&self.engine.explain().await?),
            "/v1/history" if read => told(&self.engine.history(limit(request, HISTORY_ROWS)?).await?),
            "/v1/sessions" if read => told(&self.engine.sessions(limit(request, SESSION_ROWS)?).await?),
            _ if ORDERS.contains(&path) => match write {
                true => self.order(path, request, peer).await,
                false => Ok(not_allowed(request.method(), "POST")),
            },
            "/healthz" | "/readyz" | "/v1/status" | "/v1/walk" | "/v1/explain" | "/v1/history" | "/v1/sessions" => {
                Ok(not_allowed(request.method(), "GET"))
            }
            _ => match path.strip_prefix("/v1/reports/") {
                Some(number) if read => told(&self.engine.report(report_number(number)?).await?),
                Some(_) => Ok(not_allowed(request.method(), "GET")),
                None => Ok(not_found(path)),
            },
        }
    }

    async fn order(&self, path: &str, request: &Request<Bytes>, peer: UCred) -> Result<Answer, EngineError> {
        // Who did it is the kernel's word. What they say of themselves, behind `sudo` for instance, stands beside it.
        let by = |claimed: &str| who(&daemon::user(peer.uid()), claimed);
        match path {
            "/v1/switch" => {
                let order: SwitchRequest = body(request)?;
                let order = SwitchRequest { by: by(&order.by), reason: clean(&order.reason), ..order };
                told(&self.engine.switch(order).await?)
            }
            "/v1/freeze" => {
                let order: FreezeRequest = body(request)?;
                told(&self.engine.freeze(FreezeRequest { by: by(&order.by), reason: clean(&order.reason) }).await?)
            }
            "/v1/resume" => {
                let order: ResumeRequest = body(request)?;
                told(&self.engine.resume(ResumeRequest { by: by(&order.by), reason: clean(&order.reason) }).await?)
            }
            "/v1/maintenance" => {
                let order: MaintenanceRequest = body(request)?;
                let order = MaintenanceRequest { by: by(&order.by), reason: clean(&order.reason), ..order };
                told(&self.engine.maintenance(order).await?)
            }
            _ => {
                let order: DrainRequest = body(request)?;
                told(&self.engine.drain(DrainRequest { by: by(&order.by), reason: clean(&order.reason) }).await?)
            }
        }
    }
}

fn told(body: &impl Serialize) -> Result<Answer, EngineError> {
    Ok(json(StatusCode::OK, body))
}

/// An empty body is an order without words.
fn body<T: DeserializeOwned>(request: &Request<Bytes>) -> Result<T, EngineError> {
    let bytes = request.body();
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes).map_err(|error| EngineError::Invalid(format!("The order makes no sense: {error}.")))
}

fn report_number(text: &str) -> Result<u64, EngineError> {
    text.parse().map_err(|_| EngineError::Invalid(format!("`{text}` is no number of a report.")))
}

fn limit(request: &Request<Bytes>, default: usize) -> Result<usize, EngineError> {
    match request.uri().query() {
        None | Some("") => Ok(default),
        Some(query) => query
            .strip_prefix("limit=")
            .and_then(|text| text.parse::<usize>().ok())
            // Refused and not cut: a program that asks for more must not take a part for all.
            .filter(|limit| (1..=MOST_ROWS).contains(limit))
            .ok_or_else(|| EngineError::Invalid(format!("`?{query}` makes no sense: use ?limit=1 to {MOST_ROWS}."))),
    }
}

#[cfg(test)]
mod tests;
