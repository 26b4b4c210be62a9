//! Values with a unit or a form of their own: time spans, sizes, and what a program adds with [`leaf!`](crate::leaf).

use std::fmt;
use std::time::Duration;

use serde::de::{self, Visitor};

/// A span of time: `800ms`, `1s`, `1m30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    const UNITS: [(&'static str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

    /// Reads numbers with units, largest unit first.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut total: u64 = 0;
        let mut smallest = u64::MAX;
        while !rest.is_empty() {
            let (count, after) = leading_number(rest)?;
            let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            let &(_, milliseconds) = Self::UNITS.iter().find(|(name, _)| *name == unit)?;
            // Units come largest first, each once: `1s1m` is a slip of the pen, and its sum not what was meant.
            if milliseconds >= smallest {
                return None;
            }
            smallest = milliseconds;
            total = total.checked_add(count.checked_mul(milliseconds)?)?;
            rest = after.trim_start();
        }
        (smallest < u64::MAX).then_some(Self(Duration::from_millis(total)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, milliseconds) in Self::UNITS {
            let count = rest / milliseconds;
            rest %= milliseconds;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

/// A number of bytes: `64KiB`, `10MB`, `512B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    const UNITS: [(&'static str, u64); 7] = [
        ("GiB", 1 << 30),
        ("GB", 1_000_000_000),
        ("MiB", 1 << 20),
        ("MB", 1_000_000),
        ("KiB", 1 << 10),
        ("kB", 1_000),
        ("B", 1),
    ];

    /// Reads one number with one unit.
    pub fn parse(text: &str) -> Option<Self> {
        let (count, unit) = leading_number(text.trim())?;
        let unit = unit.trim_start();
        let &(_, bytes) = Self::UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        count.checked_mul(bytes).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, bytes): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*bytes);
        let (unit, bytes) =
            Self::UNITS.iter().filter(|(name, _)| name.contains('i') || *name == "B").find(fits).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

/// A whole number at the beginning, and what follows it.
pub fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

/// A leaf that is read from text; numbers are taken as the text they were written as.
pub trait Leaf: Sized {
    /// What may stand there, in words.
    const EXPECTED: &'static str;

    /// What `text` says, if anything.
    fn from_text(text: &str) -> Option<Self>;
}

impl Leaf for Span {
    const EXPECTED: &'static str = "a time with its unit, such as 800ms, 5s or 1m30s";

    fn from_text(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

impl Leaf for Size {
    const EXPECTED: &'static str = "a size with its unit, such as 512B, 64KiB or 10MiB";

    fn from_text(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

/// Reads a [`Leaf`] from whatever stands there.
#[derive(Debug)]
pub struct LeafVisitor<T>(pub std::marker::PhantomData<T>);

impl<T: Leaf> Visitor<'_> for LeafVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &T::EXPECTED))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        T::from_text(&value.to_string()).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(value), &T::EXPECTED))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        T::from_text(&value.to_string()).ok_or_else(|| E::invalid_value(de::Unexpected::Float(value), &T::EXPECTED))
    }
}

/// Makes a [`Leaf`] a type of a file: the second argument is its JSON Schema.
#[macro_export]
macro_rules! leaf {
    ($type:ident, $schema:tt) => {
        impl<'de> $crate::used_by_macros::Deserialize<'de> for $type {
            fn deserialize<D: $crate::used_by_macros::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any($crate::LeafVisitor::<Self>(::std::marker::PhantomData))
            }
        }

        impl $crate::used_by_macros::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut $crate::used_by_macros::SchemaGenerator) -> $crate::used_by_macros::Schema {
                $crate::used_by_macros::json_schema!($schema)
            }
        }
    };
}

leaf!(Span, { "type": "string", "pattern": "^([0-9]+(d|h|m|s|ms) *)+$" });
leaf!(Size, { "type": "string", "pattern": "^[0-9]+ *([kKMG]i?)?B$" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_printed_as_it_is_read() {
        for text in ["0s", "800ms", "1s", "1m30s", "2h", "1d12h", "10ms", "1s500ms"] {
            assert_eq!(Span::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Span::parse("90s").unwrap().to_string(), "1m30s");
        assert_eq!(Span::parse("1m 30s"), Some(Span(Duration::from_secs(90))));
    }

    #[test]
    fn a_span_without_unit_or_with_a_strange_one_is_refused() {
        for text in [
            "",
            "5",
            "5 ",
            "s",
            "5sec",
            "1s1m",
            "1s1s",
            "-1s",
            "1.5s",
            "99999999999999999999s",
            "99999999999999999d",
            "5s,",
        ] {
            assert_eq!(Span::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_size_is_printed_as_it_is_read() {
        for text in ["0B", "512B", "64KiB", "10MiB", "1GiB", "1000B"] {
            assert_eq!(Size::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Size::parse("10MB"), Some(Size(10_000_000)));
        assert_eq!(Size::parse("64 kib"), Some(Size(65_536)));
        for text in ["", "64", "KiB", "64K", "1.5MiB", "99999999999999GiB"] {
            assert_eq!(Size::parse(text), None, "{text:?}");
        }
    }
}
