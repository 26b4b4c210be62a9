//! A XiVO site without a socket: what the request path decides with.

use std::sync::Arc;

use bascule::config::Config;
use bascule::live::{Live, Mode, View};
use bascule::traffic::route::{Asked, Refusal, Router};
use bascule::traffic::upstream::{Registers, SetUpError, Upstream, Upstreams};
use bascule::traffic::zones::Zones;
use failover::Side;

/// The name users browse.
pub(crate) const FQDN: &str = "edge.example.org";

/// One configuration, put to work.
pub(crate) struct Site {
    /// The configuration.
    pub(crate) config: Config,
    /// Its routes.
    pub(crate) router: Router,
    /// Its live side.
    pub(crate) live: Arc<Live>,
    /// Its backends.
    pub(crate) upstreams: Upstreams,
}

impl Site {
    /// A site of the preset `xivo` whose sides have so many backends of the service `cc`.
    pub(crate) fn with_backends(backends: usize) -> Self {
        let config = config(backends);
        let first = View { side: Side::Main, mode: Mode::Serving, epoch: 1 };
        let live = Arc::new(Live::new(first));
        let upstreams = upstreams(&config, &live).expect("upstreams without TLS need nothing");
        Self { router: Router::new(&config), config, live, upstreams }
    }

    /// Its zones.
    pub(crate) fn zones(&self) -> Zones {
        let uses = self.config.routes.iter().map(|route| route.zone);
        Zones::new(&self.config.zones, uses, &self.config.rate_limits, None)
    }

    /// The whole decision about a request: host, path, route, token, live side, backend.
    pub(crate) fn decide(&self, asked: &Asked<'_>) -> Result<&Upstream, Refusal> {
        let carried = self.router.decide(asked)?;
        let route = &self.router.routes()[carried.route];
        let pool = self.upstreams.pool(&self.config, route.service, self.live.view().side);
        Ok(pool.choose(&[]).expect("a pool has a backend"))
    }
}

fn upstreams(config: &Config, live: &Arc<Live>) -> Result<Upstreams, SetUpError> {
    Upstreams::new(config, 0, live, &Registers::default())
}

fn config(backends: usize) -> Config {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (chain, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed([FQDN.to_owned()]).expect("a certificate");
    std::fs::write(&chain, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let cc = |net: u8| {
        let each: Vec<String> = (1..=backends).map(|host| format!("'http://10.0.{net}.{host}'")).collect();
        each.join(", ")
    };
    let text = format!(
        "preset: xivo\nfqdn: {FQDN}\ncertificate: {{ chain: {}, key: {} }}\n\
         sides:\n  main: {{ cc: [ {} ], xivo: 'http://10.0.1.11' }}\n  standby: {{ cc: [ {} ], xivo: 'http://10.0.2.11' }}\n\
         shared: {{ sip: 'http://10.0.0.31:8080', video: 'http://10.0.0.32' }}\n",
        chain.display(),
        key.display(),
        cc(1),
        cc(2),
    );
    match Config::parse(&text, "edge.yaml") {
        Ok((config, _)) => config,
        Err(errors) => panic!("{errors}"),
    }
}
