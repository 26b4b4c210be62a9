//! The metrics door: Prometheus text on an address of its own. Takes no orders.

use super::Metrics;
use bytes::Bytes;
use doors::{Answer, DoorLimits, Handler, not_allowed, not_found, refuse, whole};
use http::{Method, Request, StatusCode};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Serves the metrics from now on, until the program ends.
///
/// # Errors
/// The address cannot be had.
pub async fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tokio::spawn(serve_at(listener, metrics));
    Ok(())
}

/// Serves until the future is dropped.
pub(super) async fn serve_at(listener: TcpListener, metrics: Arc<Metrics>) {
    doors::serve("metrics", &listener, Arc::new(Desk(metrics)), DoorLimits::METRICS).await;
}

/// Answers scrapers.
struct Desk(Arc<Metrics>);

impl Handler<SocketAddr> for Desk {
    async fn answer(&self, request: Request<Bytes>, _: SocketAddr) -> Answer {
        match (request.uri().path(), request.method()) {
            ("/metrics", &Method::GET | &Method::HEAD) => match self.0.text() {
                Ok(text) => whole(StatusCode::OK, prometheus::TEXT_FORMAT, text),
                Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "failed", error.to_string()),
            },
            ("/metrics", method) => not_allowed(method, "GET"),
            (path, _) => not_found(path),
        }
    }
}
