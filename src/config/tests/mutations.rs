//! conf/edge.yaml, damaged in every way at hand: no panic, and every error has a line.

use std::path::Path;

use super::super::{Errors, Problem};
use super::parse;

/// Lines a hand might write by mistake.
const GARBLES: &[&str] = &[
    "\t", "- ", ": ", "{", "}", "[", "]", "&a ", "*a", "!b ", "'", "\"", "|", ">", "%", "@", "`", "?", "? ", "---",
    "...", "<<: *a", "~", "\u{0}", "\u{feff}", "é: é", "sides:", "  main:", "#",
];

const SIGNS: &[char] = &[
    '\t', '\n', ' ', ':', '-', '[', ']', '{', '}', '\'', '"', '#', '&', '*', '!', '|', '>', '%', '@', '`', '0', '~',
    ',',
];

fn edge_yaml() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/edge.yaml")).unwrap()
}

/// Lines with something in them, and only those: the prose is not what is tested.
fn lines() -> Vec<String> {
    edge_yaml()
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("  #"))
        .map(str::to_owned)
        .collect()
}

fn survives(lines: &[String]) {
    let text = lines.join("\n");
    if let Err(errors) = parse(&text) {
        assert_every_error_has_a_line(&errors, lines.len(), &text);
    }
}

fn assert_every_error_has_a_line(errors: &Errors, lines: usize, text: &str) {
    assert!(errors.iter().next().is_some());
    for Problem { line, message, remedy, .. } in errors.iter() {
        let line = line.unwrap_or_else(|| panic!("no line: {errors}\n{text}"));
        assert!((1..=lines + 1).contains(&line), "line {line} of {lines}: {errors}\n{text}");
        assert!(!message.is_empty() && !remedy.is_empty(), "{errors}");
    }
}

#[test]
fn no_line_removed_or_doubled_makes_a_panic_or_an_error_without_line() {
    let lines = lines();
    for index in 0..lines.len() {
        let mut fewer = lines.clone();
        fewer.remove(index);
        survives(&fewer);
        let mut more = lines.clone();
        more.insert(index, lines[index].clone());
        survives(&more);
    }
}

#[test]
fn no_garbled_line_makes_a_panic_or_an_error_without_line() {
    let lines = lines();
    for index in 0..lines.len() {
        for garble in GARBLES {
            let line = &lines[index];
            let middle = line.find(": ").map_or(line.len(), |colon| colon + 2);
            let indentation = line.len() - line.trim_start().len();
            let garbled = [
                format!("{garble}{line}"),
                format!("{line}{garble}"),
                format!("{}{garble}{}", &line[..indentation], &line[indentation..]),
                format!("{}{garble}{}", &line[..middle], &line[middle..]),
            ];
            for line in garbled {
                let mut lines = lines.clone();
                lines[index] = line;
                survives(&lines);
            }
        }
    }
}

#[test]
fn no_random_damage_makes_a_panic_or_an_error_without_line() {
    let text = lines().join("\n");
    let seed = 42;
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..2000 {
        let mut damaged: Vec<char> = text.chars().collect();
        for _ in 0..random.usize(1..8) {
            let at = random.usize(..damaged.len());
            match random.u8(..4) {
                0 => drop(damaged.remove(at)),
                1 => damaged.insert(at, *random.choice(&damaged.clone()).unwrap()),
                2 => damaged.truncate(at.max(damaged.len() - 40)),
                _ => damaged[at] = random.choice(SIGNS).copied().unwrap(),
            }
        }
        let damaged: String = damaged.into_iter().collect();
        survives(&damaged.split('\n').map(str::to_owned).collect::<Vec<_>>());
    }
}

#[test]
fn every_value_of_the_wrong_kind_is_answered_with_its_line() {
    let lines = lines();
    for (index, line) in lines.iter().enumerate() {
        let Some((key, _)) = line.split_once(": ") else { continue };
        for value in
            ["{ a: b }", "[[]]", "-1", "1.5", "99999999999999999999", "true", "x y", "''", "[1, 2]", "2026-11-22"]
        {
            let mut lines = lines.clone();
            lines[index] = format!("{key}: {value}");
            let text = lines.join("\n");
            if let Err(errors) = parse(&text) {
                assert_every_error_has_a_line(&errors, lines.len(), &text);
                assert!(errors.iter().any(|problem| problem.line == Some(index + 1)), "{}: {errors}", lines[index]);
            }
        }
    }
}
