//! What a watchdog that ends leaves to the next, so that an upgrade stops no telephony: a file that is gone after a boot,
//! and read once.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use failover::Instant;
use failover::duty::{Handover, PerVoter, Unguarded};
use serde::{Deserialize, Serialize};
use store::Document;

const BOOT: &str = "/proc/sys/kernel/random/boot_id";

const DOCUMENT: Document = Document {
    format: "bascule handover",
    version: 1,
    program: "bascule-watchdog",
    what: "handover",
    anew: "to let the lease run out",
};

#[derive(Debug, Serialize, Deserialize)]
struct Left {
    /// The kernel's word for this boot: its clock's instants mean nothing in another.
    boot: String,
    #[serde(flatten)]
    handover: HandoverForm,
}

/// [`Handover`]. Times are microseconds of the boot's clock.
#[derive(Debug, Serialize, Deserialize)]
struct HandoverForm {
    epoch: u64,
    campaign: u64,
    peer: Option<u64>,
    witness: Option<u64>,
    /// Microseconds. Without it the file is of a version whose nodes all had the same times.
    #[serde(default)]
    held: Option<u64>,
    unguarded: Option<Unguarded>,
}

impl From<Handover> for HandoverForm {
    fn from(from: Handover) -> Self {
        Self {
            epoch: from.epoch,
            campaign: from.campaign,
            peer: from.grants.peer.map(Instant::as_micros),
            witness: from.grants.witness.map(Instant::as_micros),
            held: Some(u64::try_from(from.held.as_micros()).unwrap_or(u64::MAX)),
            unguarded: from.unguarded,
        }
    }
}

impl From<HandoverForm> for Handover {
    fn from(form: HandoverForm) -> Self {
        let instant = |micros: Option<u64>| micros.map(Instant::from_micros);
        Self {
            epoch: form.epoch,
            campaign: form.campaign,
            grants: PerVoter { peer: instant(form.peer), witness: instant(form.witness) },
            // A version that wrote none had one set of times: its lease counts as it is.
            held: form.held.map_or(Duration::MAX, Duration::from_micros),
            unguarded: form.unguarded,
        }
    }
}

/// Leaves a handover at `path`.
///
/// # Errors
/// What the system says; the next watchdog then lets the lease run out.
pub fn leave(path: &Path, handover: Handover) -> io::Result<()> {
    #[cfg(test)]
    if let Some(stage) = crate::node::played::stage() {
        stage.leave(Some(handover));
        return Ok(());
    }
    leave_in(path, handover, boot()?)
}

/// Removes what was left at `path`.
///
/// # Errors
/// What the system says; the next watchdog may go on with it then.
pub fn forget(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    if let Some(stage) = crate::node::played::stage() {
        stage.leave(None);
        return Ok(());
    }
    fs::remove_file(path)
}

fn leave_in(path: &Path, handover: Handover, boot: String) -> io::Result<()> {
    // In the loop, with each renewal: a disk must not hold it up, should the directory be on one.
    DOCUMENT.save_until_boot(path, &Left { boot, handover: handover.into() })
}

/// Takes what was left at `path`: it is gone afterwards. Nothing if there is none, or it is of another boot or damaged.
///
/// # Errors
/// That it could not be removed: it is not used then, as it could be read twice.
pub fn take(path: &Path) -> io::Result<Option<Handover>> {
    #[cfg(test)]
    if let Some(stage) = crate::node::played::stage() {
        return Ok(stage.take());
    }
    let left: Option<Left> = DOCUMENT.load(path).unwrap_or_else(|error| {
        tracing::warn!(%error, "the handover is of no use");
        None
    });
    // The file is removed before it is used: a second watchdog that read it would go on with the same lease.
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let now = boot()?;
    Ok(left.filter(|left| left.boot == now).map(|left| left.handover.into()))
}

/// The kernel's word for this boot.
pub(super) fn boot() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use failover::Instant;
    use failover::duty::{Handover, PerVoter, Unguarded};

    use super::{leave, leave_in, take};

    const HANDOVER: Handover = Handover {
        epoch: 7,
        campaign: 9,
        grants: PerVoter { peer: Some(Instant::from_micros(123_456)), witness: None },
        held: Duration::from_millis(2_300),
        unguarded: Some(Unguarded::WitnessOut),
    };

    #[test]
    fn a_handover_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handover.json");
        leave(&path, HANDOVER).unwrap();
        assert_eq!(take(&path).unwrap(), Some(HANDOVER));
        assert_eq!(take(&path).unwrap(), None);
    }

    #[test]
    fn a_handover_of_another_boot_or_a_damaged_one_is_gone_and_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handover.json");
        leave_in(&path, HANDOVER, "another boot".into()).unwrap();
        assert_eq!(take(&path).unwrap(), None);
        assert!(!path.exists());
        std::fs::write(&path, "{").unwrap();
        assert_eq!(take(&path).unwrap(), None);
        assert!(!path.exists());
    }

    #[test]
    fn every_word_of_a_handover_is_spelled_as_it_always_was() {
        for (why, told) in [
            ("\"no_witness\"", "Some(NoWitness)"),
            ("\"witness_out\"", "Some(WitnessOut)"),
            ("\"alone\"", "Some(Alone)"),
            ("\"forced\"", "Some(Forced)"),
            ("null", "unguarded: None"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("handover.json");
            let boot = super::boot().unwrap();
            let text = format!(
                r#"{{
  "format": "bascule handover",
  "version": 1,
  "boot": "{boot}",
  "epoch": 7,
  "campaign": 9,
  "peer": 123456,
  "witness": null,
  "held": 2300000,
  "unguarded": {why}
}}
"#
            );
            std::fs::write(&path, &text).unwrap();
            let handover = take(&path).unwrap().unwrap();
            assert!(format!("{handover:?}").contains(told), "{handover:?}");
            leave(&path, handover).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
