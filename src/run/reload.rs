//! SIGHUP: the file is loaded anew and put to work without dropping a connection.

use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::engine::{Handle, rehearse};
use crate::traffic::edge::Edge;

/// Loads the file anew. A bad one changes nothing and says why.
pub(super) async fn reload(path: &Path, edge: &Arc<Edge>, handle: &Handle) {
    let failed = async |why: String| {
        tracing::error!("the configuration was not loaded, nothing has changed: {why}");
        handle.broken(why, 0).await;
    };
    let owned = path.to_owned();
    // Files are read there, certificates among them: a disk that hangs holds up no request.
    let loaded = tokio::task::spawn_blocking(move || Config::load(&owned)).await;
    let (config, warnings) = match loaded {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(errors)) => {
            tracing::error!("the configuration was not loaded, nothing has changed: {errors}");
            let mut each = errors.iter().map(ToString::to_string);
            let first = each.next().unwrap_or_default();
            return handle.broken(first, each.len()).await;
        }
        Err(error) => return failed(error.to_string()).await,
    };
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for key in fixed(&edge.site().config, &config) {
        tracing::warn!("{key} has changed: it takes effect with the next start");
    }
    // First of all, as preparing retires the counters of the old one.
    if let Err(error) = rehearse(&config) {
        return failed(settings::with_causes(&error)).await;
    }
    let prepared = match edge.prepare(Arc::new(config)) {
        Ok(prepared) => prepared,
        Err(error) => return failed(settings::with_causes(&error)).await,
    };
    // The engine first, as it may refuse. From then on nothing can fail, so that requests and checks go by one
    // configuration.
    if let Err(why) = handle.reload(prepared.site.clone()).await {
        return failed(why).await;
    }
    edge.adopt(prepared);
    count_certificates(edge);
    tracing::info!(path = %path.display(), "the configuration was loaded anew");
}

/// Keys that cannot change while the Edge runs.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let changed = [
        // Sockets, threads and the listener's TLS are made once, at the start.
        ("listen", old.listen != new.listen),
        ("tls.min", old.tls_min != new.tls_min),
        ("admin", old.admin != new.admin),
        ("metrics", old.metrics != new.metrics),
        ("nodes", old.nodes != new.nodes),
        ("state", old.state != new.state),
        ("live_file", old.live_file != new.live_file),
        ("log", old.log != new.log),
        // The options of h2 are made with the listener, and each connection gets a copy of them.
        ("limits.h2_streams", old.limits.h2_streams != new.limits.h2_streams),
        ("limits.keepalive of h2", old.limits.keepalive != new.limits.keepalive),
        ("limits.head_bytes of h2", old.limits.head_bytes != new.limits.head_bytes),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
}

pub(super) fn count_certificates(edge: &Edge) {
    let terms = edge.certificates.terms();
    // Of two for one name the first is shown.
    edge.metrics.certificates(terms.iter().rev().map(|(name, term)| (name.as_str(), *term)));
}
