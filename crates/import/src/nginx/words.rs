//! A file of nginx as words: quotes and comments are gone behind this, and each word has its line.

use crate::note::ImportError;

/// Longer than any word that means something here.
const LONGEST: usize = 16 * 1024;

/// What `ngx_conf_read_token` tells apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    Text(String),
    Semicolon,
    Open,
    Close,
    End,
}

pub(super) struct Words<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
    file: &'a str,
}

impl<'a> Words<'a> {
    pub(super) fn new(text: &'a str, file: &'a str) -> Self {
        Self { chars: text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable(), line: 1, file }
    }

    fn take(&mut self) -> Option<char> {
        let c = self.chars.next();
        self.line += usize::from(c == Some('\n'));
        c
    }

    /// The next word, and the line on which it begins.
    pub(super) fn next(&mut self) -> Result<(usize, Word), ImportError> {
        loop {
            let line = self.line;
            return Ok((
                line,
                match self.take() {
                    None => Word::End,
                    Some(c) if c.is_whitespace() => continue,
                    Some('#') => {
                        while self.chars.peek().is_some_and(|c| *c != '\n') {
                            self.take();
                        }
                        continue;
                    }
                    Some(';') => Word::Semicolon,
                    Some('{') => Word::Open,
                    Some('}') => Word::Close,
                    Some(mark @ ('"' | '\'')) => Word::Text(self.quoted(mark, line)?),
                    Some(first) => Word::Text(self.bare(first, line)?),
                },
            ));
        }
    }

    fn quoted(&mut self, mark: char, line: usize) -> Result<String, ImportError> {
        let mut text = String::new();
        loop {
            match self.take() {
                None => return Err(ImportError::new(self.file, line, "a quote is opened and not closed", "close it")),
                Some('\\') => text.extend(self.take()),
                Some(c) if c == mark => return Ok(text),
                Some(c) => text.push(c),
            }
            self.bound(&text, line)?;
        }
    }

    /// `${NAME}` is part of a word, any other brace ends it.
    fn bare(&mut self, first: char, line: usize) -> Result<String, ImportError> {
        let mut text = String::from(first);
        let mut in_braces = false;
        while let Some(c) = self.chars.peek().copied() {
            match c {
                '{' if text.ends_with('$') => in_braces = true,
                '}' if in_braces => in_braces = false,
                c if c.is_whitespace() || matches!(c, ';' | '{' | '}') => break,
                _ => {}
            }
            self.take();
            match c {
                '\\' => {
                    // Kept: it is of a regular expression.
                    text.push(c);
                    text.extend(self.take());
                }
                c => text.push(c),
            }
            self.bound(&text, line)?;
        }
        Ok(text)
    }

    fn bound(&self, text: &str, line: usize) -> Result<(), ImportError> {
        if text.len() > LONGEST {
            return Err(ImportError::new(self.file, line, "a word is longer than 16 KiB", "is a quote not closed?"));
        }
        Ok(())
    }
}
