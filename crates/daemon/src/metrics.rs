//! The metrics endpoint: Prometheus text on an address of its own, and whether the program is well. It says nothing of users
//! and takes no orders.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

use crate::server::{Answer, Handler, ServerLimits, not_allowed, not_found, refuse, serve, well, whole};

/// What a program says of itself to whoever looks after it.
pub trait Health: Send + Sync + 'static {
    /// Whether its loop turns, for `/healthz`.
    ///
    /// # Errors
    /// One sentence on what is wrong.
    fn alive(&self) -> Result<(), String>;

    /// Whether it does its work, for `/readyz`. None: the program knows of no such state, and has no such path.
    fn ready(&self) -> Option<Result<(), String>>;
}

/// The endpoint, open but not served yet.
#[derive(Debug)]
pub struct MetricsEndpoint {
    listener: TcpListener,
}

/// The address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("metrics: cannot listen on {address}; give another `metrics`, or `off`")]
pub struct MetricsEndpointError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

impl MetricsEndpoint {
    /// Binds the address.
    ///
    /// # Errors
    /// The address cannot be had: somebody listens there, or it is none of this machine.
    pub async fn open(address: SocketAddr) -> Result<Self, MetricsEndpointError> {
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Self { listener }),
            Err(source) => Err(MetricsEndpointError { address, source }),
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the future is dropped.
    pub async fn serve<H: Health + ?Sized>(self, registry: Registry, health: Arc<H>) {
        let handler = Arc::new(RequestHandler { registry, health });
        serve("metrics", &self.listener, handler, ServerLimits::METRICS).await;
    }
}

/// Answers scrapers, and who asks whether the program is alive and ready: nobody who could change anything.
struct RequestHandler<H: ?Sized> {
    registry: Registry,
    health: Arc<H>,
}

impl<H: Health + ?Sized> Handler<SocketAddr> for RequestHandler<H> {
    async fn answer(&self, request: Request<Bytes>, _: SocketAddr) -> Answer {
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        let path = request.uri().path();
        let ready = if path == "/readyz" { self.health.ready() } else { None };
        match (path, ready) {
            ("/metrics" | "/healthz", _) | (_, Some(_)) if !read => not_allowed(request.method(), "GET"),
            ("/metrics", _) => metrics(self.registry.clone()).await,
            ("/healthz", _) => well(self.health.alive()),
            (_, Some(ready)) => well(ready),
            (path, None) => not_found(path),
        }
    }
}

/// Encodes what is counted. Collectors read /proc, so this is kept off the loop.
async fn metrics(registry: Registry) -> Answer {
    match spawn_blocking(move || TextEncoder::new().encode_to_string(&registry.gather())).await {
        Ok(Ok(text)) => whole(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into_bytes()),
        Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "failed", error.to_string()),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "failed", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    struct Program {
        ready: Option<Result<(), String>>,
    }

    impl Health for Program {
        fn alive(&self) -> Result<(), String> {
            Ok(())
        }

        fn ready(&self) -> Option<Result<(), String>> {
            self.ready.clone()
        }
    }

    async fn ask(address: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn serving(ready: Option<Result<(), String>>) -> SocketAddr {
        let registry = Registry::new();
        let counter = IntCounter::new("bascule_test_total", "A test.").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.inc();
        let endpoint = MetricsEndpoint::open("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = endpoint.address().unwrap();
        tokio::spawn(endpoint.serve(registry, Arc::new(Program { ready })));
        address
    }

    #[tokio::test]
    async fn a_scraper_gets_text_and_nobody_gets_the_admin_api() {
        let address = serving(Some(Err("Neither side works.".into()))).await;
        let text = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("version=0.0.4"), "{text}");
        assert!(text.ends_with("bascule_test_total 1\n"), "{text}");
        assert!(ask(address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with("ok\n"));
        let unready = ask(address, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(unready.starts_with("HTTP/1.1 503") && unready.ends_with("Neither side works.\n"), "{unready}");
        assert!(ask(address, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 404"));
        for path in ["/metrics", "/healthz", "/readyz"] {
            let answer = ask(address, &format!("POST {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_program_that_knows_of_no_readiness_has_no_such_path() {
        let address = serving(None).await;
        for method in ["GET", "POST"] {
            let answer = ask(address, &format!("{method} /readyz HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        }
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let endpoint = MetricsEndpoint::open("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = endpoint.address().unwrap();
        let error = MetricsEndpoint::open(address).await.unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
