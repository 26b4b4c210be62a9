//! Presets: what is known of a kind of site, written in the file's own syntax and laid beneath the user's file.

use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::{IntoDeserializer, value};

use super::file::{File, PresetName};

const XIVO_TEXT: &str = include_str!("xivo.yaml");

static NOTHING: LazyLock<File> = LazyLock::new(File::default);

static XIVO: LazyLock<File> =
    LazyLock::new(|| settings::trusted(XIVO_TEXT).expect("the preset is read by every test that names it"));

/// What lies beneath a file with this preset; nothing without one.
pub(super) fn of(name: Option<PresetName>) -> &'static File {
    match name {
        None => &NOTHING,
        // The generations differ in what a CC's answer proves, not in what is carried and asked.
        Some(PresetName::Xivo | PresetName::XivoNextlts | PresetName::Xivo2025) => &XIVO,
    }
}

/// A preset as it is written, or nothing for a name that is none.
pub fn preset_text(name: &str) -> Option<&'static str> {
    let name: Result<PresetName, value::Error> = PresetName::deserialize(name.into_deserializer());
    match name.ok()? {
        PresetName::Xivo | PresetName::XivoNextlts | PresetName::Xivo2025 => Some(XIVO_TEXT),
    }
}
