//! What is wrong with a file, in words: where, which key, what, and what to do. Finding it is left to the others.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use crate::read::Kind;
use crate::tree::Tree;

/// More errors than anyone mends before the next try.
pub(crate) const MOST_ERRORS: usize = 100;

/// One finding about a file, worded for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Problem {
    /// The file as it was named.
    pub file: String,
    /// Counted from 1; none when the file could not be read at all.
    pub line: Option<usize>,
    /// Path of the key, for example `sides.main.cc`; empty for the file as a whole.
    pub key: String,
    /// What is wrong, value included.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}; {}", self.message, self.remedy)
    }
}

/// A finding one can live with.
pub type Warning = Problem;

/// Everything that is wrong with a file, in the order of its lines. Displays as one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(Vec<Problem>);

impl Errors {
    /// The one error about a file that could not be looked into.
    pub fn about_file(file: &str, message: String, remedy: &str) -> Self {
        let key = String::new();
        Self(vec![Problem { file: file.to_owned(), line: None, key, message, remedy: remedy.to_owned() }])
    }

    /// The one error about a line that could not be looked into.
    pub fn about_line(file: &str, line: usize, message: &str, remedy: &str) -> Self {
        let mut errors = Self::about_file(file, message.to_owned(), remedy);
        errors.0.iter_mut().for_each(|problem| problem.line = Some(line));
        errors
    }

    /// The findings, in the order of their lines.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// Path of a key from the top of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPath(Vec<Step>);

/// One step of a [`KeyPath`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a mapping, to the value of this key.
    Key(String),
    /// Into a list, counted from 0.
    Item(usize),
}

impl KeyPath {
    /// The key `name` at the top.
    pub fn top(name: &str) -> Self {
        Self::default().key(name)
    }

    /// The key `name` below this one.
    pub fn key(&self, name: &str) -> Self {
        self.step(Step::Key(name.to_owned()))
    }

    /// The item at `index` of the list this key holds.
    pub fn item(&self, index: usize) -> Self {
        self.step(Step::Item(index))
    }

    /// Returns the path with one more step at its end.
    pub fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Returns the steps, from the top of the file.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Path without its last step, and that step.
    pub fn split_last(&self) -> Option<(Self, &Step)> {
        let (last, rest) = self.0.split_last()?;
        Some((Self(rest.to_vec()), last))
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(name) if index == 0 => write!(f, "{name}")?,
                Step::Key(name) => write!(f, ".{name}")?,
                Step::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}

/// Collects findings about one file and knows the lines of its keys.
#[derive(Debug)]
pub struct Findings {
    file: String,
    kind: &'static Kind,
    tree: Tree,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Keys already reported: that they are missing, too, is no news.
    reported: HashSet<String>,
}

impl Findings {
    pub(crate) fn new(file: &str, kind: &'static Kind, tree: Tree) -> Self {
        Self { file: file.to_owned(), kind, tree, errors: Vec::new(), warnings: Vec::new(), reported: HashSet::new() }
    }

    pub(crate) fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// What is left of the file.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Notes that the value at `at` is wrong.
    pub fn error(&mut self, at: &KeyPath, message: impl Into<String>, remedy: impl Into<String>) {
        let problem = self.problem(at, message.into(), remedy.into());
        self.reported.insert(problem.key.clone());
        self.errors.push(problem);
    }

    /// Notes an error the tree has already placed.
    pub(crate) fn placed_error(&mut self, line: usize, key: String, message: String, remedy: String) {
        self.reported.insert(key.clone());
        self.errors.push(Problem { file: self.file.clone(), line: Some(line), key, message, remedy });
    }

    /// Notes that `at` is missing, unless it (or what holds it) is there but was reported already.
    pub fn missing(&mut self, at: &KeyPath, message: impl Into<String>, remedy: impl Into<String>) {
        if !self.is_reported(at) {
            self.error(at, message, remedy);
        }
    }

    /// Notes that the value at `at` may surprise.
    pub fn warn(&mut self, at: &KeyPath, message: impl Into<String>, remedy: impl Into<String>) {
        let problem = self.problem(at, message.into(), remedy.into());
        self.warnings.push(problem);
    }

    /// Takes what is at `at` out of the tree, so that the rest can be read. False when nothing is there.
    pub(crate) fn prune(&mut self, at: &KeyPath) -> bool {
        self.tree.prune(at)
    }

    /// Counts `key` as reported although the report names another.
    pub(crate) fn excuse(&mut self, key: String) {
        self.reported.insert(key);
    }

    /// Whether `at`, or what holds it, was reported.
    pub fn is_reported(&self, at: &KeyPath) -> bool {
        let mut path = Some(at.clone());
        while let Some(here) = path {
            if self.reported.contains(&self.tree.locate(&here).0) {
                return true;
            }
            path = here.split_last().map(|(parent, _)| parent).filter(|parent| !parent.steps().is_empty());
        }
        false
    }

    /// Whether an error was noted.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Notes that there are more errors than were looked for.
    pub(crate) fn too_many(&mut self) {
        let last = self.errors.iter().filter_map(|problem| problem.line).max().unwrap_or(1);
        self.placed_error(last, String::new(), "there are more mistakes".to_owned(), "mend these first".to_owned());
    }

    /// Ends the collection: the warnings, or the errors.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of its lines.
    pub fn finish(self) -> Result<Vec<Warning>, Errors> {
        let errors = in_order(self.errors);
        if errors.is_empty() { Ok(in_order(self.warnings)) } else { Err(Errors(errors)) }
    }

    fn problem(&self, at: &KeyPath, message: String, remedy: String) -> Problem {
        let (key, line) = self.tree.locate(at);
        Problem { file: self.file.clone(), line: Some(line), key, message, remedy }
    }
}

/// By line, each once: one setting may serve several services.
fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    let mut seen = HashSet::new();
    problems.retain(|problem| seen.insert(problem.clone()));
    problems.sort_by_key(|problem| problem.line);
    problems
}

/// The candidate most like `word`, if one is like it.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        // One letter may be wrong, and one more for each four: of a short word with more wrong nobody can tell what was
        // meant.
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(word.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `value` in quotes, cut to a readable length.
pub fn quoted(value: &str) -> String {
    const LONGEST: usize = 80;
    if value.chars().count() <= LONGEST {
        return format!("{value:?}");
    }
    let head: String = value.chars().take(LONGEST).collect();
    format!("{head:?}…")
}
