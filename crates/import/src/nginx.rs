//! The configuration of nginx: words, `;`, `{`, `}`, comments and quotes, as `ngx_conf_file.c` reads them, and includes.
//!
//! No crate is used: `nginx-config` has rested since 2019 and refuses directives it does not know, `nginx-lint-parser` is
//! young, recurses without a bound and brings a syntax tree library. The grammar is smaller than either.

pub(crate) mod carry;
mod include;
#[cfg(test)]
mod tests;
mod words;

use std::rc::Rc;

use crate::Source;
use crate::note::{ImportError, Origin};
pub use include::{Disk, Files};
use words::{Word, Words};

/// nginx nests main, http, server, location, and locations; deeper is a mistake, and each level is a call.
const DEEPEST: usize = 16;
/// Directives of all files together; a large Edge has some hundreds.
const MOST: usize = 20_000;

/// One directive with its words; `block` is what stands in its braces, none where it ends with a semicolon.
#[derive(Debug, Clone)]
pub(crate) struct Directive {
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
    pub(crate) block: Option<Vec<Directive>>,
    file: Rc<str>,
    line: usize,
}

impl Directive {
    pub(crate) fn origin(&self) -> Origin {
        Origin { file: self.file.to_string(), line: self.line }
    }

    pub(crate) fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }
}

/// Reads a file and what it includes.
pub(crate) fn read(source: &Source, files: &dyn Files) -> Result<Vec<Directive>, ImportError> {
    let root = source.path.parent().unwrap_or(&source.path).to_owned();
    let mut reader = Reader { files, root, open: vec![source.path.clone()], directives: 0, files_read: 1 };
    reader.file(source)
}

struct Reader<'a> {
    files: &'a dyn Files,
    /// Where relative includes begin: nginx takes the directory of its main file.
    root: std::path::PathBuf,
    /// The files that are being read, the outermost first.
    open: Vec<std::path::PathBuf>,
    directives: usize,
    files_read: usize,
}

impl Reader<'_> {
    fn file(&mut self, source: &Source) -> Result<Vec<Directive>, ImportError> {
        let name: Rc<str> = source.name.as_str().into();
        let mut words = Words::new(&source.text, &source.name);
        self.block(&mut words, &name, 0)
    }

    /// Directives up to the brace that closes the block, or to the end of the file outside of all.
    fn block(&mut self, words: &mut Words<'_>, file: &Rc<str>, depth: usize) -> Result<Vec<Directive>, ImportError> {
        let wrong = |line, message: String, remedy| Err(ImportError::new(file, line, message, remedy));
        let mut directives = Vec::new();
        let mut current: Option<Directive> = None;
        loop {
            let (line, word) = words.next()?;
            match (word, current.take()) {
                (Word::End, None) if depth == 0 => return Ok(directives),
                (Word::End, None) => return wrong(line, "the file ends inside a block".to_owned(), "close it with }"),
                (Word::Close, None) if depth > 0 => return Ok(directives),
                (Word::Close, None) => return wrong(line, "} closes nothing".to_owned(), "take it away"),
                (Word::End | Word::Close, Some(directive)) => {
                    return wrong(line, format!("`{}` is not ended", directive.name), "end it with ;");
                }
                (Word::Semicolon | Word::Open, None) => {
                    return wrong(line, "a directive has no name".to_owned(), "write one");
                }
                (Word::Text(name), None) => {
                    self.directives += 1;
                    if self.directives > MOST {
                        return wrong(
                            line,
                            "there are more directives than any Edge has".to_owned(),
                            "is this nginx's file?",
                        );
                    }
                    current = Some(Directive { name, args: Vec::new(), block: None, file: file.clone(), line });
                }
                (Word::Text(arg), Some(mut directive)) => {
                    directive.args.push(arg);
                    current = Some(directive);
                }
                (Word::Semicolon, Some(directive)) if directive.name == "include" => {
                    directives.extend(self.include(&directive)?);
                }
                (Word::Semicolon, Some(directive)) => directives.push(directive),
                (Word::Open, Some(directive)) if directive.name.ends_with("_by_lua_block") => {
                    return wrong(
                        line,
                        format!("`{}` is a program in Lua", directive.name),
                        "take it out, and import again",
                    );
                }
                (Word::Open, Some(_)) if depth == DEEPEST => {
                    return wrong(line, "blocks are nested too deeply".to_owned(), "close them with }");
                }
                (Word::Open, Some(mut directive)) => {
                    directive.block = Some(self.block(words, file, depth + 1)?);
                    directives.push(directive);
                }
            }
        }
    }
}
