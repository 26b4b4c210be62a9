//! The metrics endpoint: Prometheus text on an address of its own. It takes no orders.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use daemon::{Answer, Handler, ServerLimits, not_allowed, not_found, refuse, well, whole};
use http::{Method, Request, StatusCode};
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;

/// The endpoint, open but not served yet.
#[derive(Debug)]
pub struct MetricsEndpoint {
    listener: TcpListener,
}

/// The address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("metrics: cannot listen on {address}: {source}; give another `metrics`, or off")]
pub struct MetricsEndpointError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

impl MetricsEndpoint {
    /// Binds the address.
    ///
    /// # Errors
    /// Names it.
    pub async fn open(address: SocketAddr) -> Result<Self, MetricsEndpointError> {
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Self { listener }),
            Err(source) => Err(MetricsEndpointError { address, source }),
        }
    }

    /// Serves until the future is dropped.
    pub async fn serve(self, registry: Registry) {
        daemon::serve("metrics", &self.listener, Arc::new(RequestHandler(registry)), ServerLimits::METRICS).await;
    }
}

struct RequestHandler(Registry);

impl Handler<SocketAddr> for RequestHandler {
    async fn answer(&self, request: Request<Bytes>, _: SocketAddr) -> Answer {
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/metrics" | "/healthz" if !read => not_allowed(request.method(), "GET"),
            "/metrics" => match TextEncoder::new().encode_to_string(&self.0.gather()) {
                Ok(text) => whole(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into_bytes()),
                Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "failed", error.to_string()),
            },
            "/healthz" => well(Ok(())),
            path => not_found(path),
        }
    }
}
