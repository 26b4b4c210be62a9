//! Opens the connections of requests to backends, as those of WebSockets are opened: by our own connector.
//!
//! Pingora's own TLS client takes no verifier: it knows neither pinned keys nor self-signed anchors, and with
//! verification off it still refuses an X.509v1 certificate and an RSA key of 1024 bits, which probes and WebSockets of
//! that service accept. Its own streams read 64 KiB at once, however slowly the client takes them (see `budget`). So
//! Pingora gets finished streams from here, and does with them what it does with its own: HTTP, and a pool.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::http::custom;
use pingora::protocols::ALPN;
use pingora::protocols::tls::CustomALPN;
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::{Error, ErrorType, Result};

use super::connect::{ConnectError, Connector};

/// Connectors by the group key of their Pingora peers. Asked when a connection opens, never for a pooled one.
#[derive(Debug, Default)]
pub struct Dialer {
    // Weak: a configuration that is no more takes its connectors with it; a request holds the one it began under.
    connectors: Mutex<HashMap<u64, Weak<Connector>>>,
}

impl Dialer {
    /// Opens what `peer` asks for by `connector` from now on.
    pub fn enlist(&self, peer: &mut HttpPeer, connector: &Arc<Connector>) {
        // Never offered to anybody: this is how Pingora is told to ask a connector that is not its own.
        peer.options.alpn = ALPN::Custom(CustomALPN::new(b"bascule".to_vec()));
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        connectors.retain(|_, connector| connector.strong_count() > 0);
        connectors.insert(peer.group_key, Arc::downgrade(connector));
    }

    fn connector_of<P: Peer + 'static>(&self, peer: &P) -> Option<Arc<Connector>> {
        let peer = (peer as &dyn Any).downcast_ref::<HttpPeer>()?;
        self.connectors.lock().unwrap_or_else(PoisonError::into_inner).get(&peer.group_key)?.upgrade()
    }
}

/// A [`Dialer`] as Pingora takes it.
#[derive(Debug, Clone)]
pub struct Dialing(pub Arc<Dialer>);

#[async_trait]
impl custom::Connector for Dialing {
    /// None of its own: streams carry Pingora's HTTP/1.
    type Session = ();

    async fn get_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        peer: &P,
    ) -> Result<(custom::Connection<()>, bool)> {
        let Some(connector) = self.0.connector_of(peer) else {
            return Error::e_explain(ErrorType::InternalError, "a backend of no configuration");
        };
        let stream = connector.open().await.map_err(ConnectError::into_pingora)?;
        Ok((custom::Connection::Stream(Box::new(stream)), false))
    }

    async fn reused_http_session<P: Peer + Send + Sync + 'static>(&self, _: &P) -> Option<()> {
        None
    }

    async fn release_http_session<P: Peer + Send + Sync + 'static>(&self, (): (), _: &P, _: Option<Duration>) {}
}
