//! The seeds of a target on the disk: `fuzz/corpus/NAME`, one file each.

use std::path::{Path, PathBuf};

/// Seeds are files, so that whoever finds an input adds it without touching code.
pub(crate) struct Corpus {
    directory: PathBuf,
    seeds: Vec<Vec<u8>>,
}

impl Corpus {
    /// Reads the seeds, in the order of their names, so that each run begins alike.
    ///
    /// # Panics
    /// When there is none: a target without seeds would try noise alone, and pass.
    pub(crate) fn read(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .collect();
        files.sort();
        let seeds: Vec<Vec<u8>> = files.iter().filter_map(|file| std::fs::read(file).ok()).collect();
        assert!(!seeds.is_empty(), "no seeds in {}", directory.display());
        Self { directory, seeds }
    }

    pub(crate) fn seeds(&self) -> &[Vec<u8>] {
        &self.seeds
    }

    /// Writes an input that was found beside the seeds; where it is, in words.
    pub(crate) fn keep(&self, input: &[u8]) -> String {
        let file = self.directory.join(format!("found-{:016x}", super::hash(&input)));
        match std::fs::write(&file, input) {
            Ok(()) => format!("kept in {}", file.display()),
            Err(error) => format!("not kept in {}: {error}", file.display()),
        }
    }
}
