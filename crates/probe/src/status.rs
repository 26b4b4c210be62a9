//! The set of answer codes that count as working, as an operator writes it.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// SIP goes to 699; HTTP's codes are three digits too.
const CODES: RangeInclusive<u16> = 100..=699;
/// Far more than anybody writes; bounds the work per answer.
const MOST_RANGES: usize = 32;

/// A non-empty set of HTTP or SIP status codes. Its text form is a list of `200`, `200-299`, `2xx`, `below 500` or
/// `<500`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSet(Vec<RangeInclusive<u16>>);

/// Names the part of a text that is not a set of status codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a set of status codes (100 to 699) such as `200`, `200-299`, `2xx`, `below 500`, or several separated by commas"
)]
pub struct InvalidStatusSet(String);

impl StatusSet {
    /// Every code up to but without `limit` (100..=699), for instance 500: whatever is not the server's own failure.
    #[must_use]
    pub fn below(limit: u16) -> Self {
        Self(vec![*CODES.start()..=limit.clamp(*CODES.start() + 1, *CODES.end() + 1) - 1])
    }

    /// Makes the set of 200 to 299.
    #[must_use]
    pub fn success() -> Self {
        Self(vec![200..=299])
    }

    /// Makes the set of `code` alone.
    #[must_use]
    pub fn only(code: u16) -> Self {
        Self(vec![code..=code])
    }

    /// Returns whether `code` is expected.
    #[must_use]
    pub fn contains(&self, code: u16) -> bool {
        self.0.iter().any(|range| range.contains(&code))
    }
}

impl FromStr for StatusSet {
    type Err = InvalidStatusSet;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ranges = text.split(',').take(MOST_RANGES + 1).map(range).collect::<Result<Vec<_>, _>>()?;
        if ranges.len() > MOST_RANGES {
            return Err(InvalidStatusSet(crate::line::line(text)));
        }
        Ok(Self(ranges))
    }
}

fn range(part: &str) -> Result<RangeInclusive<u16>, InvalidStatusSet> {
    let invalid = || InvalidStatusSet(crate::line::line(part.trim()));
    let code = |text: &str| {
        let text = text.trim();
        if text.len() != 3 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        text.parse::<u16>().ok()
    };
    let part = part.trim();
    let range = if let Some(limit) = part.strip_prefix("below ").or_else(|| part.strip_prefix('<')) {
        code(limit).map(|limit| *CODES.start()..=limit.saturating_sub(1))
    } else if let Some(class) = part.strip_suffix("xx").or_else(|| part.strip_suffix("XX")) {
        code(&format!("{class}00")).map(|first| first..=first + 99)
    } else if let Some((first, last)) = part.split_once('-') {
        code(first).zip(code(last)).map(|(first, last)| first..=last)
    } else {
        code(part).map(|code| code..=code)
    };
    range
        .filter(|range| !range.is_empty() && CODES.contains(range.start()) && CODES.contains(range.end()))
        .ok_or_else(invalid)
}

impl Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            match (*range.start(), *range.end()) {
                (first, last) if first == last => write!(f, "{first}")?,
                (100, last) => write!(f, "below {}", last + 1)?,
                (first, last) => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_set_is_understood() {
        let table: [(&str, &[u16], &[u16]); 6] = [
            ("200", &[200], &[199, 201]),
            ("200-299", &[200, 299], &[199, 300]),
            ("2xx", &[200, 299], &[199, 300]),
            ("below 500", &[100, 499], &[500, 699]),
            ("<500", &[100, 499], &[99, 500]),
            (" 2xx , 401,500 - 503 ", &[204, 401, 501], &[400, 402, 504]),
        ];
        for (text, inside, outside) in table {
            let set: StatusSet = text.parse().unwrap();
            assert!(inside.iter().all(|&code| set.contains(code)), "{text}");
            assert!(!outside.iter().any(|&code| set.contains(code)), "{text}");
            assert_eq!(set.to_string().parse::<StatusSet>().unwrap(), set, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_set_is_refused_by_name() {
        for text in [
            "",
            "ok",
            "20",
            "2000",
            "+20",
            "0xx",
            "7xx",
            "xx",
            "299-200",
            "below 100",
            "<700a",
            "200,",
            "-",
            "éxx",
            "099",
            "200-",
        ] {
            assert!(text.parse::<StatusSet>().is_err(), "{text}");
        }
        assert!(vec!["200"; 33].join(",").parse::<StatusSet>().is_err());
        assert!("200, never".parse::<StatusSet>().unwrap_err().to_string().starts_with("`never`"));
    }

    #[test]
    fn below_500_is_every_answer_that_is_not_the_servers_failure() {
        assert_eq!(StatusSet::below(500).to_string(), "below 500");
        assert!(StatusSet::below(0).contains(100) && !StatusSet::below(0).contains(101));
        assert!(StatusSet::below(u16::MAX).contains(699));
    }
}
