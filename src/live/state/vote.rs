//! The witness's vote on the disk: whom it is promised to, and the highest duty epoch known.

use std::io;
use std::path::{Path, PathBuf};

use failover::lease::Memory;
use store::{Document, DocumentError};

const DOCUMENT: Document = Document {
    format: "bascule witness",
    version: 1,
    program: "bascule",
    what: "vote of the witness",
    anew: "to grant nothing for the quiet time",
};

/// Where the witness keeps its vote.
#[derive(Debug)]
pub struct VoteFile {
    path: PathBuf,
}

/// What stands there is not a vote this program can keep.
#[derive(Debug, thiserror::Error)]
pub enum VoteError {
    /// The system refused.
    #[error(transparent)]
    Read(DocumentError),
    /// Half of a file, somebody else's, or of a version this program does not know.
    #[error("{problem}; {kept}")]
    Unusable {
        /// What is wrong with it.
        #[source]
        problem: DocumentError,
        /// Where it was moved, or why it could not be.
        kept: String,
    },
}

impl VoteFile {
    /// The file in this state directory.
    pub fn of(directory: &Path) -> Self {
        Self { path: directory.join("witness.json") }
    }

    /// Reads it; none if there is none. What cannot be used is moved aside, so that it can be looked at.
    ///
    /// # Errors
    /// The system refuses; or what stands there is no vote, and was set aside.
    pub fn load(&self) -> Result<Option<Memory>, VoteError> {
        match DOCUMENT.load(&self.path) {
            Ok(memory) => Ok(memory),
            // Left where it is: what cannot be read at the moment may be a sound vote.
            Err(error @ DocumentError::Read { .. }) => Err(VoteError::Read(error)),
            Err(problem) => Err(VoteError::Unusable { problem, kept: self.set_aside() }),
        }
    }

    fn set_aside(&self) -> String {
        match Document::keep_aside(&self.path) {
            Ok(kept) => format!("it is kept as {}", kept.display()),
            Err(error) => format!("it cannot be moved aside ({error})"),
        }
    }

    /// Writes it; returns once it would survive a power cut.
    ///
    /// # Errors
    /// The disk does not take it: the vote must not be told to anybody then.
    pub fn save(&self, memory: &Memory) -> io::Result<()> {
        DOCUMENT.save(&self.path, memory)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use failover::Side;
    use failover::lease::{Promise, Record};

    use super::*;

    fn promised() -> Memory {
        let length = Duration::from_millis(3_905);
        let promise = Promise { holder: Side::Standby, campaign: 4, epoch: 9, length, instance: Some(u64::MAX) };
        Memory { record: Record::Promised(promise), epoch: 11 }
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
    fn a_vote_of_a_version_that_knew_neither_lengths_nor_machines_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = VoteFile::of(dir.path());
        let vote = r#"{"promised":{"holder":"main","campaign":4,"epoch":9}}"#;
        fs::write(&file.path, format!(r#"{{"format":"bascule witness","version":1,"vote":{vote},"epoch":9}}"#))
            .unwrap();
        let promise = Promise { holder: Side::Main, campaign: 4, epoch: 9, length: Duration::ZERO, instance: None };
        assert_eq!(file.load().unwrap(), Some(Memory { record: Record::Promised(promise), epoch: 9 }));
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
            (r#"{"vote":"free"}"#, "not bascule's"),
            (r#"{"format":"bascule witness","version":2}"#, "format 2"),
            (r#"{"format":"bascule witness","version":1,"vote":"free"}"#, "epoch"),
            (r#"{"format":"bascule witness"}"#, "no version"),
        ] {
            fs::write(&file.path, text).unwrap();
            let error = file.load().unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("witness.json.corrupt"), "{error}");
        }
    }

    #[test]
    fn every_word_of_the_vote_is_spelled_as_it_always_was() {
        let promise = |length: &str, instance: &str| {
            format!(
                r#"{{
    "promised": {{
      "holder": "standby",
      "campaign": 4,
      "epoch": 9{length}{instance}
    }}
  }}"#
            )
        };
        let (length, instance) = (",\n      \"length_ms\": 3905", ",\n      \"instance\": 7");
        for (vote, told) in [
            (r#""free""#.to_owned(), "record: Free"),
            (r#""unknown""#.to_owned(), "record: Unknown"),
            (promise(length, ""), "instance: None"),
            (promise(length, instance), "holder: Standby, campaign: 4, epoch: 9, length: 3.905s, instance: Some(7)"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let file = VoteFile::of(dir.path());
            let text = format!(
                "{{\n  \"format\": \"bascule witness\",\n  \"version\": 1,\n  \"vote\": {vote},\n  \"epoch\": 11\n}}\n"
            );
            fs::write(&file.path, &text).unwrap();
            let memory = file.load().unwrap().unwrap();
            assert!(format!("{memory:?}").contains(told), "{memory:?}");
            file.save(&memory).unwrap();
            assert_eq!(fs::read_to_string(&file.path).unwrap(), text);
        }
    }
}
