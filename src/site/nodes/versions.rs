//! Nodes that speak another version of the protocol: they get no vote, their reports are not heard, and their row on the
//! Edge's screen is silent. Whoever forgot one in an upgrade reads it here.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use protocol::wire::VERSION;
use tokio::time::Instant;

/// Who tries dials again twice a second.
const REMEMBERED: Duration = Duration::from_secs(10);
/// What is called a version by somebody who has shown no certificate.
const MOST_CHARS: usize = 40;

/// Who was turned away for its version lately, of those that are configured: anybody may say so, and nobody has to believe
/// a stranger.
#[derive(Debug)]
pub struct Versions {
    known: HashSet<IpAddr>,
    seen: Mutex<BTreeMap<IpAddr, (String, Instant)>>,
}

impl Versions {
    /// Hears of nodes at these addresses only: a stranger fills no room here.
    pub fn of(known: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { known: known.into_iter().map(|address| address.to_canonical()).collect(), seen: Mutex::default() }
    }

    /// Before a certificate was shown: the address is all that is known of who dials.
    pub(super) fn hear(&self, from: IpAddr, offered: &str, now: Instant) {
        let from = from.to_canonical();
        if self.known.contains(&from) {
            // It ends up on an operator's screen, and came before any certificate.
            let offered = offered.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ');
            let offered = offered.take(MOST_CHARS).collect();
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(from, (offered, now));
        }
    }

    /// What of that needs a person, one sentence for each address.
    pub fn alarms(&self, now: Instant) -> Vec<String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, (_, at)| now.saturating_duration_since(*at) < REMEMBERED);
        let sentence = |(address, (offered, _)): (&IpAddr, &(String, Instant))| {
            format!(
                "the node at {address} speaks another version of the protocol ({offered}, this Edge {VERSION}): its reports are \
                 not heard, and it is given no vote, until both have one version"
            )
        };
        seen.iter().map(sentence).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_node_of_another_version_is_named_as_long_as_it_tries_and_a_stranger_is_not() {
        let node: IpAddr = [10, 0, 0, 11].into();
        let versions = Versions::of([node]);
        let began = Instant::now();
        versions.hear([10, 0, 0, 99].into(), "bascule/1", began);
        assert_eq!(versions.alarms(began), Vec::<String>::new());
        versions.hear("::ffff:10.0.0.11".parse().unwrap(), "bascule/1\u{1b}[31m", began);
        let alarms = versions.alarms(began + REMEMBERED / 2);
        let words = "the node at 10.0.0.11 speaks another version of the protocol (bascule/1[31m, this Edge bascule/";
        assert!(alarms.len() == 1 && alarms[0].starts_with(words), "{alarms:?}");
        versions.hear(node, &"x".repeat(5000), began + REMEMBERED / 2);
        assert!(versions.alarms(began + REMEMBERED).concat().len() < 300);
        assert_eq!(versions.alarms(began + REMEMBERED * 2), Vec::<String>::new());
    }
}
