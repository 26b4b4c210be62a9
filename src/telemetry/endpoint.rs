//! The metrics endpoint: Prometheus text on an address of its own. Says nothing of users, takes no orders.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use daemon::{Answer, Handler, ServerLimits, not_allowed, not_found, refuse, well, whole};
use http::{Method, Request, StatusCode};
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

use crate::admin::EngineApi;

/// The endpoint, open but not served yet.
#[derive(Debug)]
pub struct MetricsEndpoint {
    listener: TcpListener,
}

/// The address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("metrics: cannot listen on {address}")]
pub struct MetricsEndpointError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

impl MetricsEndpoint {
    /// Binds the address.
    pub async fn open(address: SocketAddr) -> Result<Self, MetricsEndpointError> {
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Self { listener }),
            Err(source) => Err(MetricsEndpointError { address, source }),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the future is dropped.
    pub async fn serve(self, registry: Registry, engine: Arc<dyn EngineApi>) {
        daemon::serve("metrics", &self.listener, Arc::new(RequestHandler { registry, engine }), ServerLimits::METRICS)
            .await;
    }
}

/// Answers scrapers.
struct RequestHandler {
    registry: Registry,
    engine: Arc<dyn EngineApi>,
}

impl Handler<SocketAddr> for RequestHandler {
    async fn answer(&self, request: Request<Bytes>, _: SocketAddr) -> Answer {
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/metrics" | "/healthz" | "/readyz" if !read => not_allowed(request.method(), "GET"),
            "/metrics" => self.metrics().await,
            "/healthz" => well(self.engine.alive()),
            "/readyz" => well(self.engine.ready()),
            path => not_found(path),
        }
    }
}

impl RequestHandler {
    /// Collectors read /proc, so this is kept off the loop.
    async fn metrics(&self) -> Answer {
        let registry = self.registry.clone();
        let encoded = spawn_blocking(move || {
            let mut text = Vec::with_capacity(64 * 1024);
            TextEncoder::new().encode(&registry.gather(), &mut text).map(|()| text)
        });
        match encoded.await {
            Ok(Ok(text)) => whole(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
            Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "failed", error.to_string()),
            Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "failed", error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus::{IntCounter, Registry};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::MetricsEndpoint;
    use crate::admin::fake::FakeEngine;

    async fn ask(address: std::net::SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_scraper_gets_text_and_nobody_gets_the_admin_api() {
        let registry = Registry::new();
        let counter = IntCounter::new("bascule_test_total", "A test.").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.inc();
        let endpoint = MetricsEndpoint::open("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = endpoint.address().unwrap();
        let engine = FakeEngine { not_ready: Some("Neither side works.".into()), ..FakeEngine::default() };
        let serving = tokio::spawn(endpoint.serve(registry, Arc::new(engine)));

        let text = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("version=0.0.4"), "{text}");
        assert!(text.ends_with("bascule_test_total 1\n"), "{text}");
        assert!(ask(address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with("ok\n"));
        let unready = ask(address, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(unready.starts_with("HTTP/1.1 503") && unready.ends_with("Neither side works.\n"), "{unready}");
        assert!(ask(address, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 404"));
        assert!(ask(address, "POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 405"));
        serving.abort();
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let endpoint = MetricsEndpoint::open("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = endpoint.address().unwrap();
        let error = MetricsEndpoint::open(address).await.unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
