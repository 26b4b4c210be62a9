//! The verbs that take routes out of service, and back.

use std::time::Duration;

use clap::Subcommand;
use daemon::behind_sudo;
use settings::Span;

use crate::admin::api::{MaintenanceRequest, Time};

/// What is to be done about maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum MaintenanceVerb {
    /// Answer with the maintenance page, now and after restarts. Open WebSockets stay.
    On {
        /// One route, by its name or path; otherwise the whole site.
        #[arg(long, value_name = "PATH")]
        route: Option<String>,
        /// Ends by itself then, such as 2026-12-01T06:00:00+01:00.
        #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "span")]
        until: Option<Time>,
        /// Ends by itself after that time, such as 2h or 1h30m.
        #[arg(long = "for", value_name = "TIME", value_parser = span)]
        span: Option<Duration>,
        /// For the journal; no user is shown it.
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Serve again: everything, or one route.
    Off {
        /// That route alone, by its name or path.
        #[arg(long, value_name = "PATH")]
        route: Option<String>,
        /// For the journal: what was done meanwhile.
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// What is in maintenance, until when, and who ordered it.
    List,
}

impl MaintenanceVerb {
    /// The order, by this machine's clock; none: nothing is ordered.
    pub(super) fn order(&self, now: Time) -> Option<MaintenanceRequest> {
        let by = behind_sudo();
        match self.clone() {
            Self::On { route, until, span, reason } => {
                let after = |span: Duration| {
                    let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
                    Time::from_unix_ms(now.unix_ms().saturating_add(ms))
                };
                Some(MaintenanceRequest { on: true, route, until: until.or(span.map(after)), reason, by })
            }
            Self::Off { route, reason } => Some(MaintenanceRequest { on: false, route, until: None, reason, by }),
            Self::List => None,
        }
    }
}

fn time(text: &str) -> Result<Time, String> {
    text.parse().map_err(|error| format!("{error}: write date, time and zone, such as 2026-12-01T06:00:00+01:00"))
}

/// A year: what is longer is a slip of the pen, or a route to be taken out of the configuration.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

fn span(text: &str) -> Result<Duration, String> {
    let Some(Span(span)) = Span::parse(text) else {
        return Err("write a time with its unit, such as 2h or 1h30m".to_owned());
    };
    match span.is_zero() || span > LONGEST {
        true => Err("use 1s to 366d".to_owned()),
        false => Ok(span),
    }
}
