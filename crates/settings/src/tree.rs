//! YAML as a tree that remembers its lines. What the keys mean is left to the file's types.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_yaml::Value;

use crate::problem::{KeyPath, MOST_ERRORS, Step};
use crate::read::Kind;
use crate::scalar::plain;

/// Deeper nesting has no meaning in any of our files.
const DEEPEST: usize = 32;

/// Longer lists have no meaning either, and whatever compares each item with all others needs a bound.
const LONGEST: usize = 4096;

/// One document with the lines of its keys.
#[derive(Debug)]
pub struct Tree {
    root: Node,
}

#[derive(Debug)]
struct Node {
    line: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Scalar(Value),
    List(Vec<Item>),
    Mapping(Vec<Entry>),
}

/// `index` is the place in the file; it stays when a neighbour is pruned.
#[derive(Debug)]
struct Item {
    index: usize,
    node: Node,
}

#[derive(Debug)]
struct Entry {
    key: String,
    line: usize,
    node: Node,
}

/// Something that is wrong with the YAML itself.
#[derive(Debug)]
pub(crate) struct Flaw {
    /// The line of the file, counted from 1.
    pub(crate) line: usize,
    /// Path of the key as text; empty for the file as a whole.
    pub(crate) key: String,
    /// What is wrong, without a remedy.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) remedy: String,
}

impl Default for Tree {
    fn default() -> Self {
        Self { root: Node { line: 1, content: Content::Mapping(Vec::new()) } }
    }
}

impl Tree {
    /// Reads one document. Small flaws are left out of the tree and listed; `Err` is a text that is no YAML mapping.
    pub(crate) fn read(text: &str, kind: &Kind) -> Result<(Self, Vec<Flaw>), Vec<Flaw>> {
        let mut builder = Builder::default();
        // A byte order mark is no text, and would be part of the first key.
        for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
            let taken = match event {
                Ok((event, span)) => builder.take(event, span.start.line()),
                Err(error) => Err(syntax_flaw(text, error.marker().line(), error.info())),
            };
            if let Err(fatal) = taken {
                builder.flaws.push(fatal);
                return Err(builder.flaws);
            }
        }
        match builder.root {
            Some(root @ Node { content: Content::Mapping(_), .. }) => Ok((Self { root }, builder.flaws)),
            Some(Node { line, content: Content::Scalar(Value::Null) }) => Err(vec![empty_flaw(line, kind)]),
            None if builder.flaws.is_empty() => Err(vec![empty_flaw(1, kind)]),
            None => Err(builder.flaws),
            Some(Node { line, .. }) => {
                builder.flaws.push(Flaw::new(
                    line,
                    "the file holds no mapping",
                    format!("write lines of `key: value`, such as `{}`", kind.sample),
                ));
                Err(builder.flaws)
            }
        }
    }

    /// The key `at` as the file counts it, and its line. What is not there is placed at what would hold it.
    pub(crate) fn locate(&self, at: &KeyPath) -> (String, usize) {
        let mut label = KeyPath::default();
        let mut line = self.root.line;
        let mut node = Some(&self.root);
        for step in at.steps() {
            let found = node.and_then(|node| node.child(step));
            match (step, found) {
                (_, Some(child)) => {
                    label = label.step(child.step);
                    line = child.line;
                    node = Some(child.node);
                }
                (step, None) => {
                    label = label.step(step.clone());
                    node = None;
                }
            }
        }
        (label.to_string(), line)
    }

    /// Whether something stands at `at`.
    pub fn has(&self, at: &KeyPath) -> bool {
        self.at(at).is_some()
    }

    /// Whether a list stands at `at`.
    pub fn is_list(&self, at: &KeyPath) -> bool {
        self.at(at).is_some_and(|node| matches!(node.content, Content::List(_)))
    }

    fn at(&self, at: &KeyPath) -> Option<&Node> {
        at.steps().iter().try_fold(&self.root, |node, step| node.child(step).map(|child| child.node))
    }

    /// Removes what is at `at`; false when nothing is there.
    pub(crate) fn prune(&mut self, at: &KeyPath) -> bool {
        let Some((parent, last)) = at.split_last() else { return false };
        let mut node = &mut self.root;
        for step in parent.steps() {
            match node.child_mut(step) {
                Some(child) => node = child,
                None => return false,
            }
        }
        match (&mut node.content, last) {
            (Content::Mapping(entries), Step::Key(name)) => {
                let before = entries.len();
                entries.retain(|entry| entry.key != *name);
                entries.len() < before
            }
            (Content::List(items), Step::Item(index)) if *index < items.len() => {
                items.remove(*index);
                true
            }
            _ => false,
        }
    }

    /// The tree without its lines.
    pub(crate) fn value(&self) -> Value {
        self.root.value()
    }

    /// How many values it holds, collections among them: what [`Self::value`] copies.
    pub(crate) fn size(&self) -> usize {
        self.root.size()
    }
}

struct Child<'a> {
    step: Step,
    line: usize,
    node: &'a Node,
}

impl Node {
    fn child(&self, step: &Step) -> Option<Child<'_>> {
        match (&self.content, step) {
            (Content::Mapping(entries), Step::Key(name)) => {
                let entry = entries.iter().find(|entry| entry.key == *name)?;
                Some(Child { step: step.clone(), line: entry.line, node: &entry.node })
            }
            (Content::List(items), Step::Item(index)) => {
                let item = items.get(*index)?;
                Some(Child { step: Step::Item(item.index), line: item.node.line, node: &item.node })
            }
            _ => None,
        }
    }

    fn child_mut(&mut self, step: &Step) -> Option<&mut Self> {
        match (&mut self.content, step) {
            (Content::Mapping(entries), Step::Key(name)) => {
                entries.iter_mut().find(|entry| entry.key == *name).map(|entry| &mut entry.node)
            }
            (Content::List(items), Step::Item(index)) => items.get_mut(*index).map(|item| &mut item.node),
            _ => None,
        }
    }

    /// As deep as [`DEEPEST`] at most.
    fn size(&self) -> usize {
        1 + match &self.content {
            Content::Scalar(_) => 0,
            Content::List(items) => items.iter().map(|item| item.node.size()).sum(),
            Content::Mapping(entries) => entries.iter().map(|entry| entry.node.size()).sum(),
        }
    }

    fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Value::Sequence(items.iter().map(|item| item.node.value()).collect()),
            Content::Mapping(entries) => Value::Mapping(
                entries.iter().map(|entry| (Value::String(entry.key.clone()), entry.node.value())).collect(),
            ),
        }
    }
}

impl Flaw {
    fn new(line: usize, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { line, key: String::new(), message: message.into(), remedy: remedy.into() }
    }
}

fn empty_flaw(line: usize, kind: &Kind) -> Flaw {
    Flaw::new(line, "the file is empty", format!("write at least {}", kind.least))
}

fn syntax_flaw(text: &str, line: usize, info: &str) -> Flaw {
    let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let indentation: String = written.chars().take_while(|c| c.is_whitespace()).collect();
    if indentation.contains('\t') || info.contains("tab") {
        return Flaw::new(line, "a tab indents this line", "YAML wants spaces: replace the tab");
    }
    if info.contains("anchor") {
        return Flaw::new(
            line,
            "an alias (`*name`) stands here",
            "quote a value that begins with *; aliases are not taken",
        );
    }
    let remedy = "look at the indentation, brackets and quotes of this line and the one above";
    Flaw::new(line, format!("this is not YAML: {info}"), remedy)
}

/// Puts events together. Iterative: a hostile depth meets [`DEEPEST`], not the end of the stack.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    flaws: Vec<Flaw>,
    documents: usize,
}

/// A collection whose end was not seen yet.
struct Open {
    line: usize,
    collection: Collection,
}

enum Collection {
    List(Vec<Item>),
    Mapping { entries: Vec<Entry>, lines: HashMap<String, usize>, key: Option<PendingKey> },
}

struct PendingKey {
    name: String,
    line: usize,
    /// A key that was reported: its value is read and dropped.
    dropped: bool,
}

impl Builder {
    /// Takes the next event; `Err` is the flaw after which reading on has no sense.
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Flaw> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                // Nobody would read a second document, and whoever wrote it would not learn of that.
                if self.documents > 1 {
                    return Err(Flaw::new(
                        line,
                        "a second document begins here",
                        "keep one document: remove the `---`",
                    ));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_decoration(line, anchor, tag.as_deref());
                self.scalar(&text, style, line);
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_decoration(line, anchor, tag.as_deref());
                self.open(line, Collection::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_decoration(line, anchor, tag.as_deref());
                let collection = Collection::Mapping { entries: Vec::new(), lines: HashMap::new(), key: None };
                self.open(line, collection)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(_) => {
                self.flaw(line, "an alias (`*name`) stands here", "aliases are not taken: write the value out");
                self.place_nothing(line);
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        if self.flaws.len() >= MOST_ERRORS {
            return Err(Flaw::new(line, "there are more mistakes", "mend these first"));
        }
        match self.open.last() {
            Some(Open { collection: Collection::List(items), .. }) if items.len() > LONGEST => Err(Flaw {
                key: self.path().to_string(),
                ..Flaw::new(line, format!("more than {LONGEST} items are listed here"), "list fewer")
            }),
            _ => Ok(()),
        }
    }

    fn open(&mut self, line: usize, collection: Collection) -> Result<(), Flaw> {
        // Whoever reads the tree goes down its levels, one call each: their number is bounded here.
        if self.open.len() >= DEEPEST {
            return Err(Flaw::new(
                line,
                format!("more than {DEEPEST} levels are nested here"),
                "remove the extra brackets",
            ));
        }
        self.open.push(Open { line, collection });
        Ok(())
    }

    fn close(&mut self) {
        let Some(Open { line, collection }) = self.open.pop() else { return };
        let content = match collection {
            Collection::List(items) => Content::List(items),
            Collection::Mapping { entries, .. } => Content::Mapping(entries),
        };
        self.place(Node { line, content });
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, line: usize) {
        if let Some(Open { collection: Collection::Mapping { key: None, .. }, .. }) = self.open.last() {
            return self.key(text, line);
        }
        let value = if style == ScalarStyle::Plain { plain(text) } else { Value::String(text.to_owned()) };
        if value.is_null() && !self.open.is_empty() && !self.is_dropped() {
            // An empty value would else count as left out, and a default stand where somebody meant to write.
            self.flaw(line, "has no value", "write one, or remove the line to get the default");
            return self.place_nothing(line);
        }
        self.place(Node { line, content: Content::Scalar(value) });
    }

    fn key(&mut self, name: &str, line: usize) {
        let Some(Open { collection: Collection::Mapping { lines, key, .. }, .. }) = self.open.last_mut() else {
            return;
        };
        let first = lines.get(name).copied();
        lines.entry(name.to_owned()).or_insert(line);
        *key = Some(PendingKey { name: name.to_owned(), line, dropped: first.is_some() });
        // YAML's readers take one of the two in silence, and not all the same one.
        if let Some(first) = first {
            self.flaw(line, format!("stands here a second time, first on line {first}"), "keep one of the two");
        }
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, node: Node) {
        match self.open.last_mut().map(|open| &mut open.collection) {
            None => self.root = self.root.take().or(Some(node)),
            Some(Collection::List(items)) => {
                let index = items.len();
                items.push(Item { index, node });
            }
            Some(Collection::Mapping { entries, key, .. }) => match key.take() {
                Some(PendingKey { name, line, dropped: false }) => entries.push(Entry { key: name, line, node }),
                Some(PendingKey { dropped: true, .. }) => {}
                None => {
                    let line = node.line;
                    *key = Some(PendingKey { name: "?".to_owned(), line, dropped: true });
                    self.flaw(
                        line,
                        "a key is not plain text",
                        "write keys as words; quote a value that begins with `[` or `{`",
                    );
                }
            },
        }
    }

    fn is_dropped(&self) -> bool {
        matches!(self.open.last(), Some(Open { collection: Collection::Mapping { key: Some(key), .. }, .. }) if key.dropped)
    }

    /// Passes over what was reported and has no meaning: as the value of a key, or in a list.
    fn place_nothing(&mut self, line: usize) {
        match self.open.last_mut().map(|open| &mut open.collection) {
            Some(Collection::Mapping { key: pending @ Some(_), .. }) => *pending = None,
            Some(Collection::List(_)) => {}
            _ => self.place(Node { line, content: Content::Scalar(Value::Null) }),
        }
    }

    fn refuse_decoration(&mut self, line: usize, anchor: usize, tag: Option<&Tag>) {
        if anchor > 0 {
            self.flaw(line, "an anchor (`&name`) stands here", "anchors are not taken: remove it");
        }
        if tag.is_some() {
            self.flaw(line, "a tag (`!name`) stands here", "tags are not taken: remove it, or quote the text");
        }
    }

    fn flaw(&mut self, line: usize, message: impl Into<String>, remedy: impl Into<String>) {
        let key = self.path().to_string();
        self.flaws.push(Flaw { line, key, message: message.into(), remedy: remedy.into() });
    }

    /// Where the next node will be placed.
    fn path(&self) -> KeyPath {
        self.open.iter().fold(KeyPath::default(), |path, open| match &open.collection {
            Collection::List(items) => path.item(items.len()),
            Collection::Mapping { key: Some(key), .. } => path.key(&key.name),
            Collection::Mapping { key: None, .. } => path,
        })
    }
}

#[cfg(test)]
mod fuzz;
