//! The witness's vote on the disk: whom it is promised to, and the highest duty epoch known.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use failover::Side;
use failover::lease::{Memory, Promise, Record};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{atomic, live};
use crate::control::api::side;

const FORMAT: &str = "bascule witness";
const VERSION: u64 = 1;
/// Ours is a hundred bytes.
const MOST_BYTES: u64 = 64 << 10;

/// Where the witness keeps its vote.
#[derive(Debug)]
pub struct VoteFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: String,
    version: u64,
    vote: Vote,
    epoch: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Vote {
    Free,
    Promised {
        #[serde(with = "side")]
        holder: Side,
        campaign: u64,
        epoch: u64,
    },
    Unknown,
}

/// What stands there is not a vote this program can keep.
#[derive(Debug, thiserror::Error)]
pub enum VoteError {
    /// The system refused.
    #[error("{path}: cannot read the witness's vote ({source})")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Half of a file, somebody else's, or of a version this program does not know.
    #[error("{path}: {why}; {kept}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What became of it.
        kept: String,
    },
}

impl VoteFile {
    /// The file in this state directory.
    pub fn of(directory: &Path) -> Self {
        Self { path: directory.join("witness.json") }
    }

    /// Reads it; none if there is none. What cannot be used is moved aside, so that it can be looked at.
    pub fn load(&self) -> Result<Option<Memory>, VoteError> {
        let mut text = Vec::new();
        let read = File::open(&self.path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut text));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(VoteError::Read { path: self.path.clone(), source }),
        }
        parse(&text).map(Some).map_err(|why| VoteError::Unusable {
            path: self.path.clone(),
            why,
            kept: self.set_aside(),
        })
    }

    fn set_aside(&self) -> String {
        match live::keep_aside(&self.path) {
            Ok(kept) => format!("it is kept as {}", kept.display()),
            Err(error) => format!("it cannot be moved aside ({error})"),
        }
    }

    /// Writes it; returns once it would survive a power cut.
    pub fn save(&self, memory: &Memory) -> io::Result<()> {
        let vote = match memory.record {
            Record::Free => Vote::Free,
            Record::Promised(Promise { holder, campaign, epoch }) => Vote::Promised { holder, campaign, epoch },
            Record::Unknown => Vote::Unknown,
        };
        let written = Written { format: FORMAT.to_owned(), version: VERSION, vote, epoch: memory.epoch };
        let mut text = serde_json::to_vec(&written)?;
        text.push(b'\n');
        atomic::replace(&self.path, &text)
    }
}

fn parse(text: &[u8]) -> Result<Memory, String> {
    if text.len() as u64 > MOST_BYTES {
        return Err(format!("more than {MOST_BYTES} bytes"));
    }
    let unreadable = |error: serde_json::Error| format!("the witness's vote is not readable ({error})");
    let value: Value = serde_json::from_slice(text).map_err(unreadable)?;
    if value.get("format").and_then(Value::as_str) != Some(FORMAT) {
        return Err("this is JSON, but no vote of a witness".to_owned());
    }
    match value.get("version").and_then(Value::as_u64) {
        Some(VERSION) => {}
        Some(found) => {
            let known = format!("format {found}, this program knows {VERSION}");
            return Err(format!("the witness's vote was written by another version of bascule ({known})"));
        }
        None => return Err("the witness's vote has no version".to_owned()),
    }
    let written: Written = serde_json::from_value(value).map_err(unreadable)?;
    let record = match written.vote {
        Vote::Free => Record::Free,
        Vote::Promised { holder, campaign, epoch } => Record::Promised(Promise { holder, campaign, epoch }),
        Vote::Unknown => Record::Unknown,
    };
    Ok(Memory { record, epoch: written.epoch })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn promised() -> Memory {
        Memory { record: Record::Promised(Promise { holder: Side::Standby, campaign: 4, epoch: 9 }), epoch: 11 }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let file = VoteFile::of(dir.path());
        assert_eq!(file.load().unwrap(), None);
        for memory in
            [promised(), Memory { record: Record::Free, epoch: 3 }, Memory { record: Record::Unknown, epoch: 0 }]
        {
            file.save(&memory).unwrap();
            assert_eq!(file.load().unwrap(), Some(memory));
        }
    }

    #[test]
    fn every_torn_file_is_set_aside_and_told_from_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = VoteFile::of(dir.path());
        file.save(&promised()).unwrap();
        let whole = fs::read(&file.path).unwrap();
        for length in 0..whole.trim_ascii_end().len() {
            fs::write(&file.path, &whole[..length]).unwrap();
            assert!(matches!(file.load(), Err(VoteError::Unusable { .. })), "{length} bytes");
            assert_eq!(file.load().unwrap(), None, "it is out of the way");
        }
    }

    #[test]
    fn foreign_files_and_other_versions_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = VoteFile::of(dir.path());
        for (text, word) in [
            (r#"{"vote":"free"}"#, "no vote of a witness"),
            (r#"{"format":"bascule witness","version":2}"#, "format 2"),
            (r#"{"format":"bascule witness","version":1,"vote":"free"}"#, "epoch"),
            (r#"{"format":"bascule witness"}"#, "no version"),
        ] {
            fs::write(&file.path, text).unwrap();
            let error = file.load().unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("witness.json.corrupt"), "{error}");
        }
    }
}
