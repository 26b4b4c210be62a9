//! The file, or the certificates that it names, are loaded anew and put to work without dropping a connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use settings::{Errors, Warning};

use crate::config::Config;
use crate::engine::{Handle, rehearse};
use crate::telemetry::metrics::Reload;
use crate::traffic::edge::Edge;

/// Loads what is on the disk. One at a time: what it decides is by what is in force.
pub(super) struct Loader {
    path: PathBuf,
    /// The file's text that is in force. A file that somebody is still writing is not loaded by a certificate's renewal.
    text: String,
    edge: Arc<Edge>,
    engine: Handle,
    /// Why the file on the disk was refused: a certificate that is renewed meanwhile does not mend it.
    refused: Option<Broken>,
}

/// The first mistake, and how many there are besides.
type Broken = (String, usize);

/// Reads a file, and what it names.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn load(path: &Path) -> Result<(String, Config, Vec<Warning>), Errors> {
    let text = settings::read_text(path)?;
    let (config, warnings) = Config::parse(&text, &path.display().to_string())?;
    Ok((text, config, warnings))
}

impl Loader {
    /// A loader of the file at `path`, which was loaded as `text`.
    pub(super) fn new(path: &Path, text: String, edge: Arc<Edge>, engine: Handle) -> Self {
        Self { path: path.to_owned(), text, edge, engine, refused: None }
    }

    /// Loads the file anew, as a signal asks. A bad one changes nothing and says why.
    pub(super) async fn reload(&mut self) {
        let path = self.path.clone();
        match self.take(move || load(&path)).await {
            Ok(text) => {
                (self.text, self.refused) = (text, None);
                tracing::info!(path = %self.path.display(), "the configuration was loaded anew");
            }
            Err(broken) => {
                self.refused = Some(broken.clone());
                self.engine.broken(broken.0, broken.1).await;
            }
        }
    }

    /// Reads the files of certificates anew that the configuration in force names. Bad ones change nothing and say why.
    /// Tells whether they are in use.
    pub(super) async fn renew(&mut self) -> bool {
        let (text, name) = (self.text.clone(), self.path.display().to_string());
        let parse = move || Config::parse(&text, &name).map(|(config, warnings)| (text, config, warnings));
        match self.take(parse).await {
            Ok(_) => {
                tracing::info!("certificates were read anew, as their files have changed");
                if let Some((error, more)) = self.refused.clone() {
                    self.engine.broken(error, more).await;
                }
                true
            }
            Err((error, more)) => {
                self.engine.broken(error, more).await;
                false
            }
        }
    }

    async fn take<L>(&self, load: L) -> Result<String, Broken>
    where
        L: FnOnce() -> Result<(String, Config, Vec<Warning>), Errors> + Send + 'static,
    {
        let failed = |why: String| {
            tracing::error!("the configuration was not loaded, nothing has changed: {why}");
            (why, 0)
        };
        // Files are read there, certificates among them: a disk that hangs holds up no request.
        let (text, config, warnings) = match tokio::task::spawn_blocking(load).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(errors)) => {
                tracing::error!("the configuration was not loaded, nothing has changed: {errors}");
                let mut each = errors.iter().map(ToString::to_string);
                let first = each.next().unwrap_or_default();
                return Err((first, each.len()));
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        for key in fixed(&self.edge.site().config, &config) {
            tracing::warn!("{key} has changed: it takes effect with the next start");
        }
        // First of all, as preparing retires the counters of the old one.
        rehearse(&config).map_err(|error| failed(settings::with_causes(&error)))?;
        let prepared = self.edge.prepare(Arc::new(config)).map_err(|error| failed(settings::with_causes(&error)))?;
        // The engine first, as it may refuse. From then on nothing can fail, so that requests and checks go by one
        // configuration.
        self.engine.reload(prepared.site.clone()).await.map_err(failed)?;
        self.edge.adopt(prepared);
        // Last: whoever waits for the count finds the new configuration at work.
        self.edge.metrics.reloaded(Reload::Taken);
        count_certificates(&self.edge);
        Ok(text)
    }
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
        ("live", old.live != new.live),
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
    let mut terms = edge.certificates.terms();
    // Of several for one name the series is that of the one that ends first: the last that is set stays.
    terms.sort_by_key(|(_, term)| std::cmp::Reverse(term.not_after));
    edge.metrics.certificates(terms.iter().map(|(name, term)| (name.as_str(), *term)));
}
