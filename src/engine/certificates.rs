//! What the Edge says of certificates: those it shows to browsers, and those that backends show to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::SystemTime;

use probe::tls::{End, Term};

use super::Engine;
use crate::admin::api::{CertificateStatus, Time};
use crate::config::{Check, Verify};

impl Engine {
    /// The certificates shown to browsers, with the days that each has left.
    pub(super) fn certificates(&self) -> Vec<CertificateStatus> {
        let now = SystemTime::now();
        let status = |(name, term): (String, Term)| CertificateStatus {
            name,
            not_after: Time::from_unix_ms(term.not_after.saturating_mul(1000)),
            days: term.days_left(now),
        };
        self.means.edge.certificates.terms().into_iter().map(status).collect()
    }

    /// One alarm for each certificate that turns browsers away now.
    pub(super) fn expired_certificates(&self) -> Vec<String> {
        of_browsers(self.means.edge.certificates.terms(), SystemTime::now(), |end| matches!(end, End::Past(_)))
    }

    /// One alarm for each certificate that is to be renewed: of the Edge, and of backends whose checks would fail with it.
    pub(super) fn expiring_certificates(&self) -> Vec<String> {
        let now = SystemTime::now();
        let mut alarms = of_browsers(self.means.edge.certificates.terms(), now, |end| matches!(end, End::Soon(_)));
        // Services that share a backend see one certificate, and each of their checks does.
        let mut seen: BTreeMap<SocketAddr, String> = BTreeMap::new();
        for (planned, last) in self.plan.checks.iter().zip(self.monitor.last()) {
            let Some(term) = last.as_ref().and_then(|last| last.certificate) else { continue };
            if let (true, End::Soon(days)) = (planned.heeds_dates, term.end(now)) {
                let place = &self.plan.backends[planned.backend];
                let service = &self.plan.site.config.services[place.service.0].name;
                let side = place.side.map_or("shared", failover::Side::label);
                let target = planned.probe.target;
                seen.entry(target).or_insert_with(|| {
                    format!("the certificate that {service} shows on {target} ({side}) expires in {days} days: then that backend is down; renew it there")
                });
            }
        }
        alarms.extend(seen.into_values());
        alarms
    }
}

/// Whether a check's verification looks at dates: a pinned key, or none at all, is trusted beyond them.
pub(super) fn heeds_dates(check: &Check) -> bool {
    check.kind.tls().is_some_and(|tls| matches!(tls.verify, Verify::System | Verify::Ca(_)))
}

fn of_browsers(terms: Vec<(String, Term)>, now: SystemTime, wanted: impl Fn(End) -> bool) -> Vec<String> {
    const REMEDY: &str = "replace its files, then: systemctl reload bascule";
    let told = |(name, term): (String, Term)| {
        let end = term.end(now);
        if !wanted(end) {
            return None;
        }
        let name = if name.is_empty() { "without a name".to_owned() } else { format!("of {name}") };
        Some(match end {
            End::Far => return None,
            End::Soon(days) => format!("the certificate {name} expires in {days} days; {REMEDY}"),
            End::Past(days) => format!("the certificate {name} EXPIRED {days} days ago, browsers refuse it; {REMEDY}"),
        })
    };
    terms.into_iter().filter_map(told).collect()
}
