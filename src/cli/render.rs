//! Answers for people, fit for three in the morning: the sentence first, one screen, what is wrong stands out.

mod history;
mod nodes;
mod status;
pub(super) mod switchover;
mod tone;

use std::borrow::Cow;

use daemon::visible;

use crate::admin::api::Time;
pub(super) use history::{done, explain, history, report, switched};
pub(super) use status::{maintenance, sessions, status};
use tone::Tone;

/// Whether words are coloured: not where a program reads, nor for who set `NO_COLOR`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    pub(super) fn on(on: bool) -> Self {
        Self(on)
    }

    fn with<'t>(self, code: &str, text: &'t str) -> Cow<'t, str> {
        match self.0 {
            true => Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m")),
            false => Cow::Borrowed(text),
        }
    }

    fn bold(self, text: &str) -> Cow<'_, str> {
        self.with("1", text)
    }

    fn tone(self, tone: Tone, text: &str) -> Cow<'_, str> {
        match tone {
            Tone::Good => self.good(text),
            Tone::Calm => Cow::Borrowed(text),
            Tone::Odd => self.odd(text),
            Tone::Bad => self.bad(text),
        }
    }

    /// The sentence above all others.
    fn headline(self, tone: Tone, text: &str) -> Cow<'_, str> {
        match tone {
            Tone::Good | Tone::Calm => self.bold(text),
            Tone::Odd => self.with("1;33", text),
            Tone::Bad => self.bad(text),
        }
    }

    fn good(self, text: &str) -> Cow<'_, str> {
        self.with("32", text)
    }

    fn bad(self, text: &str) -> Cow<'_, str> {
        self.with("1;31", text)
    }

    fn odd(self, text: &str) -> Cow<'_, str> {
        self.with("33", text)
    }
}

/// A length of time in the two largest units that matter.
fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A point of time to the minute; with its day when that was not within a day of `now`.
fn minute(at: Time, now: Time) -> String {
    let text = at.to_string();
    let clock = text.get(11..16).unwrap_or_default();
    let day = if now.ms_since(at).abs() < 86_400_000 { "" } else { text.get(..11).unwrap_or_default() };
    format!("{}{clock} UTC", day.replace('T', " "))
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// Rows in columns as wide as they must be; the last one is not padded. Widths count characters.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned).to_vec()] }
    }

    fn row<const N: usize>(&mut self, cells: [String; N]) {
        // What stands in a cell may come from a client or a node: an operator's terminal must not obey it.
        self.rows.push(cells.iter().map(|cell| visible(cell).into_owned()).collect());
    }

    /// Paints each row, the head excepted, once it is laid out.
    fn draw(self, paint: impl Fn(usize, String) -> String) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |n: usize| self.rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|n| width(n).unwrap_or(0)).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::from("  ");
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            // Painted behind its widths: colours are characters, too, and would shift the columns.
            let line = line.trim_end().to_owned();
            text.push_str(&if number == 0 { line } else { paint(number - 1, line) });
            text.push('\n');
        }
        text
    }
}
