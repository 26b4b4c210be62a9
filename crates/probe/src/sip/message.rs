//! Reads as much of a SIP message as tells whether it answers our request: the start line and five headers (RFC 3261,
//! 7 and 25).
//!
//! Tolerant in form (folded headers, compact names, bare LF), strict in meaning: a doubtful message is no answer.

/// A head with more lines than this is hostile or broken.
const MOST_LINES: usize = 256;

/// What is needed of a message's head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The status of a response; `None` for a request.
    pub(super) status: Option<u16>,
    /// The branch of the topmost Via, which is the request's own.
    pub(super) branch: Option<String>,
    pub(super) call_id: Option<String>,
    /// The number and method that CSeq holds.
    pub(super) sequence: Option<(u32, String)>,
    /// 0 if absent: on a stream the next message then begins at once.
    pub(super) content_length: usize,
}

/// Says why bytes are not a SIP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("its head never ends")]
    Endless,
    #[error("its first line is not SIP's")]
    StartLine,
    #[error("it has too many lines")]
    TooManyLines,
    #[error("a header has no colon")]
    NoColon,
    #[error("it has two {0}")]
    Twice(&'static str),
    #[error("its CSeq is invalid")]
    Sequence,
    #[error("its Content-Length is invalid")]
    ContentLength,
}

/// Finds the end of the head, just behind the empty line, looking from `from` on (a place where an earlier search gave
/// up).
pub(super) fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    // An empty line is LF LF or LF CR LF; the search steps back far enough to see one that straddles `from`.
    let from = from.saturating_sub(2);
    let tail = bytes.get(from..)?;
    tail.iter().enumerate().filter(|&(_, &byte)| byte == b'\n').find_map(|(at, _)| match tail.get(at + 1..) {
        Some([b'\n', ..]) => Some(from + at + 2),
        Some([b'\r', b'\n', ..]) => Some(from + at + 3),
        _ => None,
    })
}

impl Head {
    /// Parses the head of `message`; what follows the empty line is not looked at.
    pub(super) fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let end = head_end(message, 0).ok_or(Malformed::Endless)?;
        let text = String::from_utf8_lossy(&message[..end]);
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let status = start_line(lines.next().unwrap_or_default())?;
        let mut head = Self { status, branch: None, call_id: None, sequence: None, content_length: 0 };
        let mut seen = Seen::default();
        for (name, value) in unfold(lines)? {
            head.take(name.trim_end(), value.trim(), &mut seen)?;
        }
        Ok(head)
    }

    fn take(&mut self, name: &str, value: &str, seen: &mut Seen) -> Result<(), Malformed> {
        let is = |long: &str, compact: &str| name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(compact);
        if is("Via", "v") {
            // Only the first: the others belong to hops behind it.
            if !std::mem::replace(&mut seen.via, true) {
                self.branch = branch(value);
            }
        } else if is("Call-ID", "i") {
            once(&mut self.call_id, value.to_owned(), "Call-IDs")?;
        } else if name.eq_ignore_ascii_case("CSeq") {
            once(&mut self.sequence, sequence(value).ok_or(Malformed::Sequence)?, "CSeqs")?;
        } else if is("Content-Length", "l") {
            let length = digits(value).and_then(|digits| digits.parse().ok()).ok_or(Malformed::ContentLength)?;
            // Two lengths would cut the stream at two places: a message that has both is no answer.
            once(&mut seen.content_length, length, "Content-Lengths")?;
            self.content_length = length;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Seen {
    via: bool,
    content_length: Option<usize>,
}

fn once<T>(place: &mut Option<T>, value: T, name: &'static str) -> Result<(), Malformed> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed::Twice(name)),
    }
}

/// Returns a response's status, or `None` for a request.
fn start_line(line: &str) -> Result<Option<u16>, Malformed> {
    let (first, rest) = line.split_once(' ').ok_or(Malformed::StartLine)?;
    if !first.eq_ignore_ascii_case("SIP/2.0") {
        let version = rest.rsplit(' ').next().unwrap_or_default();
        let is_request = !first.is_empty()
            && first.bytes().all(|byte| byte.is_ascii_uppercase())
            && version.eq_ignore_ascii_case("SIP/2.0");
        return if is_request { Ok(None) } else { Err(Malformed::StartLine) };
    }
    let code = rest.split(' ').next().unwrap_or_default();
    let status = digits(code).filter(|code| code.len() == 3).and_then(|code| code.parse().ok());
    status.filter(|status| (100..=699).contains(status)).map(Some).ok_or(Malformed::StartLine)
}

/// Joins folded lines and splits names from values.
fn unfold<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<(&'a str, String)>, Malformed> {
    let mut headers: Vec<(&str, String)> = Vec::new();
    for (number, line) in lines.take_while(|line| !line.is_empty()).enumerate() {
        if number == MOST_LINES {
            return Err(Malformed::TooManyLines);
        }
        if line.starts_with([' ', '\t']) {
            let (_, value) = headers.last_mut().ok_or(Malformed::NoColon)?;
            value.push(' ');
            value.push_str(line.trim());
        } else {
            let (name, value) = line.split_once(':').ok_or(Malformed::NoColon)?;
            headers.push((name, value.to_owned()));
        }
    }
    Ok(headers)
}

/// Finds the branch of the first of the Vias in `value`.
fn branch(value: &str) -> Option<String> {
    let first = outside_quotes(value, ',').next()?;
    outside_quotes(first, ';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("branch").then(|| value.trim().to_owned())
    })
}

/// Splits at each `separator` that is not inside a quoted string.
fn outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character| {
        if escaped {
            escaped = false;
        } else if quoted && character == '\\' {
            escaped = true;
        } else if character == '"' {
            quoted = !quoted;
        }
        !quoted && character == separator
    })
}

fn sequence(value: &str) -> Option<(u32, String)> {
    let mut words = value.split_ascii_whitespace();
    let number = digits(words.next()?)?.parse().ok()?;
    let method = words.next()?.to_owned();
    words.next().is_none().then_some((number, method))
}

/// `parse` alone would let a plus sign pass.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod fuzz;
