//! Presets: what is known of a kind of site, written in the file's own syntax and laid beneath the user's file.

use super::file::{File, PresetName};
use super::typed;

const XIVO: &str = include_str!("xivo.yaml");

/// What lies beneath a file with this preset; nothing without one.
pub(super) fn of(name: Option<PresetName>) -> File {
    match name {
        None => File::default(),
        Some(PresetName::Xivo) => typed::trusted(XIVO).expect("the preset is read by a test"),
    }
}
