//! The way in: a file or a text becomes a [`Config`], or everything that is wrong with it.

use std::path::Path;

use settings::{Errors, Kind, Warning};

use super::{Config, file, resolve};

/// How messages name a watchdog's file.
static KIND: Kind =
    Kind { example: "conf/watchdog-main.yaml", least: "role, side, listen, peer and witness", sample: "role: xivo" };

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with line, key, value and remedy.
    pub fn load(path: &Path) -> Result<(Self, Vec<Warning>), Errors> {
        Self::parse(&settings::read_text(path)?, &path.display().to_string())
    }

    /// Reads `text` as if it stood in `file_name`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, file_name: &str) -> Result<(Self, Vec<Warning>), Errors> {
        let (file, mut findings) = settings::parse::<file::File>(text, file_name, &KIND)?;
        let config = file.and_then(|file| resolve::resolve(file, &mut findings));
        let warnings = findings.finish()?;
        config.map(|config| (config, warnings)).ok_or_else(|| {
            Errors::about_file(
                file_name,
                "could not be understood".to_owned(),
                "compare it with conf/watchdog-main.yaml",
            )
        })
    }
}
