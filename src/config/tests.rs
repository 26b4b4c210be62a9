//! Whole files: what is read, what is refused, and in which words.

mod examples;
mod files;
mod forms;
mod mistakes;
mod mutations;
mod preset;
mod site;

use site::{MINIMAL, errors, parse};
