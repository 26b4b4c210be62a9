//! The live side and the switch epoch on the disk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use failover::Side;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::atomic;
use crate::control::api::{Frozen, SwitchKind, Time, side};

const FORMAT: &str = "bascule live side";
const VERSION: u64 = 1;
/// Ours is a few kilobytes.
const MOST_BYTES: u64 = 1 << 20;
/// Past switches kept: enough for any budget per hour that makes sense.
pub const SWITCHES_KEPT: usize = 200;

/// What a restarted Edge must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveState {
    /// The side that receives traffic.
    #[serde(with = "side")]
    pub live: Side,
    /// Grows by one with each switch; never goes back.
    pub epoch: u64,
    /// Who forbids automatic switches, or none.
    pub frozen: Option<Frozen>,
    /// The last switches, oldest first; the last [`SWITCHES_KEPT`] are written.
    pub switches: Vec<PastSwitch>,
    /// An operator's choice of the live side still binds.
    #[serde(default)]
    pub chosen: bool,
}

/// A switch that counts against the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastSwitch {
    /// The epoch it began.
    pub epoch: u64,
    /// When.
    pub at: Time,
    /// What sort.
    pub kind: SwitchKind,
    /// The side it made live.
    #[serde(with = "side")]
    pub to: Side,
}

#[derive(Serialize)]
struct Written<'a> {
    format: &'a str,
    version: u64,
    #[serde(flatten)]
    live: &'a LiveState,
}

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The system refused.
    #[error("{path}: cannot read the live side; see to it that this user may read the file and that the disk is well")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Half of a file, or no JSON.
    #[error("{path}: the live side is not readable ({why})")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Somebody else's file.
    #[error(
        "{path}: this is JSON, but not bascule's; give another `state` directory, or move the file away to begin anew"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Of a version this program does not know.
    #[error(
        "{path}: written by another version of bascule (format {found}, this program knows {VERSION}); run that version, \
         or move the file away to let health choose the live side"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
}

/// Where it is.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join("live.json")
}

/// Reads it; none if it was never written.
pub(super) fn load(path: &Path) -> Result<Option<LiveState>, LiveError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LiveError::Read { path: path.to_owned(), source }),
    }
    let corrupt = |why: String| LiveError::Corrupt { path: path.to_owned(), why };
    if text.len() as u64 > MOST_BYTES {
        return Err(corrupt(format!("more than {MOST_BYTES} bytes")));
    }
    let value: Value = serde_json::from_slice(&text).map_err(|error| corrupt(error.to_string()))?;
    if value.get("format").and_then(Value::as_str) != Some(FORMAT) {
        return Err(LiveError::Foreign { path: path.to_owned() });
    }
    match value.get("version").and_then(Value::as_u64) {
        Some(VERSION) => serde_json::from_value(value).map(Some).map_err(|error| corrupt(error.to_string())),
        Some(found) => Err(LiveError::Version { path: path.to_owned(), found }),
        None => Err(corrupt("no version".into())),
    }
}

/// Writes it; returns once it would survive a power cut.
pub(super) fn save(path: &Path, live: &LiveState) -> io::Result<()> {
    let mut live = live.clone();
    let surplus = live.switches.len().saturating_sub(SWITCHES_KEPT);
    live.switches.drain(..surplus);
    let mut text = serde_json::to_vec_pretty(&Written { format: FORMAT, version: VERSION, live: &live })?;
    text.push(b'\n');
    atomic::replace(path, &text)
}

/// Moves an unreadable file out of the way, and says where to. One is kept: the latest.
pub(super) fn keep_aside(path: &Path) -> io::Result<PathBuf> {
    let kept = atomic::beside(path, ".corrupt");
    fs::rename(path, &kept)?;
    atomic::sync_directory(path)?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use failover::Side;

    use super::{LiveError, LiveState, PastSwitch, SWITCHES_KEPT, load, save};
    use crate::control::api::{Frozen, SwitchKind, Time};

    fn live(epoch: u64) -> LiveState {
        let frozen = Frozen { by: "root".into(), why: "upgrade".into(), since: Time::from_unix_ms(5) };
        let switch =
            |epoch| PastSwitch { epoch, at: Time::from_unix_ms(7), kind: SwitchKind::Failover, to: Side::Standby };
        LiveState {
            live: Side::Standby,
            epoch,
            frozen: Some(frozen),
            switches: (1..=epoch).map(switch).collect(),
            chosen: true,
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
