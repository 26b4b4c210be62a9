//! Whatever text is given as a configuration becomes a tree, or flaws with lines; and what a tree says, it says again.

use ::fuzz::Target;

use super::*;

const WORDS: &[&[u8]] = &[
    b"\n",
    b"\n  ",
    b": ",
    b":\n",
    b"- ",
    b"\n- ",
    b"{",
    b"}",
    b"[",
    b"]",
    b", ",
    b"? ",
    b"&a ",
    b"*a",
    b"!b ",
    b"'",
    b"\"",
    b"\\",
    b"|\n",
    b">-\n",
    b"#",
    b"%YAML 1.2\n",
    b"---\n",
    b"...\n",
    b"<<: ",
    b"~",
    b"null",
    b"true",
    b"no",
    b"0x1f",
    b"1e3",
    b".inf",
    b".nan",
    b"\t",
    b"\r\n",
    b"\xef\xbb\xbf",
    "\u{2028}".as_bytes(),
    "\u{85}".as_bytes(),
    b"key: value\n",
    b"key: { a: 1, b: [2, 3] }\n",
];

const KIND: Kind = Kind { example: "conf/edge.yaml", least: "something", sample: "key: value" };

/// Levels and items beyond the bounds would have been flaws.
fn keeps_its_bounds(node: &Node, level: usize) {
    match &node.content {
        Content::Scalar(_) => {}
        Content::List(items) => {
            assert!(level < DEEPEST && items.len() <= LONGEST);
            items.iter().for_each(|item| keeps_its_bounds(&item.node, level + 1));
        }
        Content::Mapping(entries) => {
            assert!(level < DEEPEST);
            entries.iter().for_each(|entry| keeps_its_bounds(&entry.node, level + 1));
        }
    }
}

fn have_a_place(flaws: &[Flaw], text: &str) {
    let lines = text.replace("\r\n", "\n").split(['\n', '\r']).count();
    for Flaw { line, message, remedy, .. } in flaws {
        assert!((1..=lines + 1).contains(line), "line {line} of {lines}: {message}");
        assert!(!message.is_empty() && !remedy.is_empty());
    }
    assert!(flaws.len() <= MOST_ERRORS + 1, "{} flaws", flaws.len());
}

/// A number that is none is not even itself.
fn has_nan(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_nan(),
        Value::Sequence(items) => items.iter().any(has_nan),
        Value::Mapping(entries) => entries.values().any(has_nan),
        _ => false,
    }
}

// Each plain scalar is read by a parser of its own (`plain`), which takes some 50 KiB to begin: much, but not held.
#[test]
fn a_text_becomes_a_tree_or_flaws_with_lines() {
    Target::new("settings-tree", 12_000).words(WORDS).allocates(4 << 20, 1 << 16).holds(1 << 20, 4096).check(|input| {
        let Ok(text) = std::str::from_utf8(input) else { return None };
        let (tree, flaws) = match Tree::read(text, &KIND) {
            Ok(read) => read,
            Err(flaws) => {
                assert!(!flaws.is_empty(), "refused without a word");
                have_a_place(&flaws, text);
                return flaws
                    .last()
                    .map(|flaw| (flaws.len().min(4), flaw.message.split(':').next().map(str::to_owned)));
            }
        };
        have_a_place(&flaws, text);
        keeps_its_bounds(&tree.root, 0);
        let value = tree.value();
        // What writes here is of YAML 1.1, where these end lines as well.
        let has_odd_lines = text.contains(['\u{85}', '\u{2028}', '\u{2029}']);
        if !has_nan(&value) && !has_odd_lines {
            let again = serde_yaml::to_string(&value).unwrap();
            let (reread, none) = Tree::read(&again, &KIND).unwrap_or_else(|flaws| panic!("{flaws:?} in {again}"));
            assert!(none.is_empty(), "{none:?} in {again}");
            assert_eq!(reread.value(), value, "written as {again}");
        }
        Some((flaws.len().min(4), Some(format!("{}", tree.size().min(40)))))
    });
}
