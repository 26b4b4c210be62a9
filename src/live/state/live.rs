//! The live side and the switch epoch on the disk.

use std::io;
use std::path::{Path, PathBuf};

use daemon::Time;
use failover::Side;
use failover::switch::Kind;
use serde::{Deserialize, Serialize};
use store::{Document, DocumentError};

use crate::site::maintenance::Maintenance;

const DOCUMENT: Document = Document {
    format: "bascule live side",
    version: 1,
    program: "bascule",
    what: "live side",
    anew: "to let health choose the live side",
};
/// Past switches kept: enough for any budget per hour that makes sense.
pub const SWITCHES_KEPT: usize = 200;

/// What a restarted Edge must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveState {
    /// The side that receives traffic.
    pub live: Side,
    /// Grows by one with each switch; never goes back.
    pub epoch: u64,
    /// Who forbids automatic switches, or none.
    pub frozen: Option<Frozen>,
    /// The last switches, oldest first; the last [`SWITCHES_KEPT`] are written.
    pub switches: Vec<PastSwitch>,
    /// An operator's choice of the live side still binds.
    // Not in files of earlier versions.
    #[serde(default)]
    pub chosen: bool,
    /// What operators took out of service. Here and not in a file of its own: an order is on the disk or not, as a whole.
    // Absent where nothing is, as in files of earlier versions, which can read what they know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintenance: Vec<Maintenance>,
}

/// A switch that counts against the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastSwitch {
    /// The epoch it began.
    pub epoch: u64,
    /// When.
    pub at: Time,
    /// What sort.
    pub kind: Kind,
    /// The side it made live.
    pub to: Side,
}

/// An operator forbids automatic switches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Who forbade it; `bascule` where a forced switch did.
    pub by: String,
    /// Why, in the operator's words; shown on every screen as long as it holds.
    pub why: String,
    /// Since when.
    pub since: Time,
}

/// Why the file is of no use.
pub type LiveError = DocumentError;

pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join("live.json")
}

/// Reads it; none if it was never written.
pub(super) fn load(path: &Path) -> Result<Option<LiveState>, LiveError> {
    DOCUMENT.load(path)
}

/// Writes it; returns once it would survive a power cut.
pub(super) fn save(path: &Path, live: &LiveState) -> io::Result<()> {
    let mut live = live.clone();
    // The file is written before traffic moves: it must stay small.
    let surplus = live.switches.len().saturating_sub(SWITCHES_KEPT);
    live.switches.drain(..surplus);
    DOCUMENT.save(path, &live)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use daemon::Time;
    use failover::Side;
    use failover::switch::Kind;

    use super::{Frozen, LiveError, LiveState, PastSwitch, SWITCHES_KEPT, load, save};

    fn live(epoch: u64) -> LiveState {
        let frozen = Frozen { by: "root".into(), why: "upgrade".into(), since: Time::from_unix_ms(5) };
        let switch = |epoch| PastSwitch { epoch, at: Time::from_unix_ms(7), kind: Kind::Failover, to: Side::Standby };
        LiveState {
            live: Side::Standby,
            epoch,
            frozen: Some(frozen),
            switches: (1..=epoch).map(switch).collect(),
            chosen: true,
            maintenance: vec![],
        }
    }

    #[test]
    fn what_is_saved_is_loaded_and_old_switches_are_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("live.json");
        assert_eq!(load(&path).unwrap(), None);
        save(&path, &live(3)).unwrap();
        assert_eq!(load(&path).unwrap(), Some(live(3)));
        save(&path, &live(500)).unwrap();
        let loaded = load(&path).unwrap().unwrap();
        assert_eq!((loaded.switches.len(), loaded.switches.last().unwrap().epoch), (SWITCHES_KEPT, 500));
    }

    #[test]
    fn every_torn_file_is_told_from_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("live.json");
        save(&path, &live(3)).unwrap();
        let whole = fs::read(&path).unwrap();
        let whole = whole.trim_ascii_end();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(load(&path), Err(LiveError::Corrupt { .. })), "{length} bytes");
        }
    }

    #[test]
    fn foreign_files_and_other_versions_are_named_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("live.json");
        for (text, word) in [
            (r#"{"live":"main"}"#, "not bascule's"),
            (r#"{"format":"bascule live side","version":2}"#, "format 2"),
            (r#"{"format":"bascule live side","version":1,"live":"main"}"#, "epoch"),
            (r#"{"format":"bascule live side"}"#, "no version"),
        ] {
            fs::write(&path, text).unwrap();
            let error = load(&path).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("live.json"), "{error}");
        }
        fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
        assert!(matches!(load(&path), Err(LiveError::Corrupt { .. })));
    }
}
