//! Configuration files that are understood whole: every mistake at once, each with its line, its key, its value and what
//! to do about it.
//!
//! ```text
//!  file ── read ──▶ text ── Tree ──▶ keys with lines ── typed ──▶ the file's own types ── (the program's) ──▶ meaning
//!                                        └───────── Findings: what is wrong, and where ─────────┘
//! ```
//!
//! What the keys mean is left to the programs.

pub mod address;
mod causes;
mod forms;
mod leaf;
mod problem;
mod read;
mod scalar;
mod schema;
mod tree;
mod typed;

pub use causes::with_causes;
pub use forms::{Abbreviated, Named, OneOrMany, Short};
pub use leaf::{Leaf, LeafVisitor, Size, Span, leading_number};
pub use problem::{Errors, Findings, KeyPath, Problem, Step, Warning, nearest, quoted};
pub use read::{Kind, LARGEST, in_words, parse, read_bytes, read_text, trusted};
pub use schema::{key_paths, schema};
pub use tree::Tree;

#[doc(hidden)]
pub mod used_by_macros {
    //! What the expansion of [`leaf!`](crate::leaf) names.
    pub use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
    pub use serde::de::{Deserialize, Deserializer};
}

use std::path::Path;

/// The item at `index` of a [`OneOrMany`] at `at`: the key itself when one value stands there without a list.
pub fn item(at: &KeyPath, index: usize, findings: &Findings) -> KeyPath {
    if findings.tree().is_list(at) { at.item(index) } else { at.clone() }
}

/// Notes an error unless `path` is absolute.
pub fn absolute(path: &Path, at: &KeyPath, findings: &mut Findings) -> bool {
    if !path.is_absolute() {
        findings.error(
            at,
            format!("{} is not an absolute path", quoted(&path.display().to_string())),
            "begin it with /",
        );
    }
    path.is_absolute()
}
